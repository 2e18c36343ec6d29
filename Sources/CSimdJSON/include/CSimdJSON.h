#pragma once
#include "crc32c.h"
#include "decode.h"
