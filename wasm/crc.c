/* CRC-32 (ISO 3309, the polynomial of zlib and PNG), eight bytes at a time (Kounavis and Berry, "A Systematic Approach
 * to Building High Performance Software-Based CRC Generators", 2005). The oracle is Python's zlib.crc32. */
#include "vec.h"

static uint32_t table[8][256];

static void fill(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
    table[0][i] = value;
  }
  for (int step = 1; step < 8; step++)
    for (int i = 0; i < 256; i++) table[step][i] = (table[step - 1][i] >> 8) ^ table[0][table[step - 1][i] & 255];
}

API uint32_t models_crc(const uint8_t *data, size_t bytes) {
  if (!table[0][1]) fill();
  uint32_t crc = ~0u;
  for (; bytes >= 8; bytes -= 8, data += 8) {
    uint32_t low = READ(uint32_t, data) ^ crc, high = READ(uint32_t, data + 4);
    crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^ table[4][low >> 24] ^
          table[3][high & 255] ^ table[2][high >> 8 & 255] ^ table[1][high >> 16 & 255] ^ table[0][high >> 24];
  }
  for (; bytes; bytes--, data++) crc = (crc >> 8) ^ table[0][(crc ^ *data) & 255];
  return ~crc;
}
