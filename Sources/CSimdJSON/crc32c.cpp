// CRC32C of crc32c.h: SSE4.2 where the running processor has it, ARMv8 where it was compiled for it, a table otherwise.
// One stream of the instruction takes 8 bytes per 3 cycles: faster than the memory it reads, so it is not interleaved.
#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace {

// tables[k][b]: byte b followed by k zero bytes (slicing by 8).
using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables t{};
  for (uint32_t b = 0; b < 256; b++) {
    uint32_t c = b;
    for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (c & 1 ? 0x82F63B78u : 0);
    t[0][b] = c;
  }
  for (int k = 1; k < 8; k++)
    for (uint32_t b = 0; b < 256; b++) t[k][b] = (t[k - 1][b] >> 8) ^ t[0][t[k - 1][b] & 255];
  return t;
}

constexpr Tables kTables = make_tables();

uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n) {
  while (n >= 8) {
    uint32_t low = crc ^ (p[0] | uint32_t(p[1]) << 8 | uint32_t(p[2]) << 16 | uint32_t(p[3]) << 24);
    crc = kTables[7][low & 255] ^ kTables[6][low >> 8 & 255] ^ kTables[5][low >> 16 & 255] ^ kTables[4][low >> 24] ^
          kTables[3][p[4]] ^ kTables[2][p[5]] ^ kTables[1][p[6]] ^ kTables[0][p[7]];
    p += 8;
    n -= 8;
  }
  while (n--) crc = (crc >> 8) ^ kTables[0][(crc ^ *p++) & 255];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n) {
  uint64_t c = crc;
  while (n >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    c = __builtin_ia32_crc32di(c, word);
    p += 8;
    n -= 8;
  }
  crc = uint32_t(c);
  while (n--) crc = __builtin_ia32_crc32qi(crc, *p++);
  return crc;
}
bool has_instruction() { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__ARM_FEATURE_CRC32)
uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n) {
  while (n >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    crc = __crc32cd(crc, word);
    p += 8;
    n -= 8;
  }
  while (n--) crc = __crc32cb(crc, *p++);
  return crc;
}
bool has_instruction() { return true; }
#else
uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n) { return by_table(crc, p, n); }
bool has_instruction() { return false; }
#endif

}  // namespace

extern "C" uint32_t tm_crc32c(uint32_t crc, const void *bytes, size_t length) {
  static const bool instruction = has_instruction();
  auto p = static_cast<const uint8_t *>(bytes);
  return ~(instruction ? by_instruction(~crc, p, length) : by_table(~crc, p, length));
}

extern "C" uint32_t tm_crc32c_by_table(uint32_t crc, const void *bytes, size_t length) {
  return ~by_table(~crc, static_cast<const uint8_t *>(bytes), length);
}
