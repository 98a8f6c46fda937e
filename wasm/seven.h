/* Products of signed bytes with bytes of 0..127: the widest integer product every machine has. A `Bytes` holds 16 of
 * the first kind, a `Sevens` 16 of the second; madd() adds 16 products to the four lanes of a sum. All builds agree. */
#ifndef SEVEN_H
#define SEVEN_H

#include "vec.h"

#if defined(__x86_64__)
#define MACHINE __attribute__((target("sse4.1"))) /* numpy asks for no less */
#define INNER MACHINE INLINE
#else
#define MACHINE
#define INNER INLINE
#endif

typedef uint8_t U16 __attribute__((vector_size(16)));

#if defined(__wasm_simd128__) && !defined(__wasm_relaxed_simd__)
typedef struct {
  S8 low, high;
} Bytes;
typedef Bytes Sevens;
INNER Bytes bytes(U16 v) {
  return (Bytes){(S8)wasm_i16x8_extend_low_i8x16((v128_t)v), (S8)wasm_i16x8_extend_high_i8x16((v128_t)v)};
}
INNER Sevens sevens(U16 v) { return bytes(v); }
INNER I4 madd(I4 sum, Bytes a, Sevens b) { return sum + s8_dot(a.low, b.low) + s8_dot(a.high, b.high); }
#else
typedef U16 Bytes;
typedef U16 Sevens;
INNER Bytes bytes(U16 v) { return v; }
INNER Sevens sevens(U16 v) { return v; }
INNER I4 madd(I4 sum, Bytes a, Sevens b) {
#if defined(__wasm_relaxed_simd__)
  return (I4)wasm_i32x4_relaxed_dot_i8x16_i7x16_add((v128_t)a, (v128_t)b, (v128_t)sum);
#elif defined(__x86_64__)
  return sum + (I4)_mm_madd_epi16(_mm_maddubs_epi16((__m128i)b, (__m128i)a), _mm_set1_epi16(1));
#else
  for (int i = 0; i < 16; i++) sum[i / 4] += (int8_t)a[i] * b[i];
  return sum;
#endif
}
#endif

INNER int32_t i4_total(I4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

/* Products of `width` of each, a multiple of 32. */
static MACHINE inline int32_t products(const int8_t *x, const uint8_t *c, int32_t width) {
  I4 sum = {0}, more = {0};
  for (int32_t i = 0; i < width; i += 32) {
    sum = madd(sum, bytes(READ(U16, x + i)), sevens(READ(U16, c + i)));
    more = madd(more, bytes(READ(U16, x + i + 16)), sevens(READ(U16, c + i + 16)));
  }
  return i4_total(sum + more);
}

/* Entry index[i] (0..15) of a table, for each i. */
INNER U16 look_up(U16 table, U16 index) {
#if defined(__wasm_relaxed_simd__)
  return (U16)wasm_i8x16_relaxed_swizzle((v128_t)table, (v128_t)index);
#elif defined(__wasm_simd128__)
  return (U16)wasm_i8x16_swizzle((v128_t)table, (v128_t)index);
#elif defined(__x86_64__)
  return (U16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
#else
  U16 out;
  for (int i = 0; i < 16; i++) out[i] = table[index[i]];
  return out;
#endif
}

#endif
