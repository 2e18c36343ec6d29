#pragma once
// CRC32C (Castagnoli), by the processor's instruction where it has one.
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The checksum of `length` bytes after those that gave `crc` (0 for the first). "123456789" gives 0xE3069283.
uint32_t tm_crc32c(uint32_t crc, const void *bytes, size_t length);

// The same by table, whatever the processor has: for tests.
uint32_t tm_crc32c_by_table(uint32_t crc, const void *bytes, size_t length);

#ifdef __cplusplus
}
#endif
