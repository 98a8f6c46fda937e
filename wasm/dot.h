/* Dot products of int8 codes (index/quantise.py), shared by all kernels that score them.
 *
 * `dot` is exact and belongs to a query that was unpacked once. `aim` and `score4` are for graphs, which need a hint of
 * the score and not the score: the query keeps 7 of its 8 bits, which halves the work wherever a machine multiplies
 * unsigned by signed bytes. Integers are exact in every build, so every build computes the same hints.
 */
#ifndef DOT_H
#define DOT_H

#include <stdint.h>

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__x86_64__)
#include <immintrin.h>
#endif

#define API __attribute__((visibility("default"), used))

#if defined(__x86_64__)
#define MACHINE __attribute__((target("sse4.1"))) /* widens bytes in one step; numpy asks for no less */
#else
#define MACHINE
#endif

/* The code of one vector (vectors.c). */
void quantise_row(const float *vector, int32_t dim, int32_t stride, int8_t *code, float *scale, float *error);

enum { BLOCK = 16, WIDEST = 4096 }; /* row stride: a multiple of BLOCK bytes, at most WIDEST */

/* ── int8 dot product: the query is unpacked once per scan into the form the machine multiplies best ─────────────── */

#if defined(__wasm_relaxed_simd__)
/* relaxed_dot is exact only while its second operand lies in 0..127, so the query is split: q = plus - minus. */
typedef struct {
  int8_t plus[WIDEST], minus[WIDEST];
} Query;

static inline void unpack(Query *q, const int8_t *codes, int32_t stride) {
  for (int32_t i = 0; i < stride; i++) {
    q->plus[i] = codes[i] > 0 ? codes[i] : 0;
    q->minus[i] = codes[i] < 0 ? -codes[i] : 0;
  }
}

static inline int32_t dot(const Query *q, const int8_t *row, int32_t stride) {
  v128_t plus = wasm_i32x4_splat(0), minus = plus;
  for (int32_t i = 0; i < stride; i += BLOCK) {
    v128_t c = wasm_v128_load(row + i);
    plus = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(c, wasm_v128_load(q->plus + i), plus);
    minus = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(c, wasm_v128_load(q->minus + i), minus);
  }
  v128_t sum = wasm_i32x4_sub(plus, minus);
  return wasm_i32x4_extract_lane(sum, 0) + wasm_i32x4_extract_lane(sum, 1) + wasm_i32x4_extract_lane(sum, 2) +
         wasm_i32x4_extract_lane(sum, 3);
}

#elif defined(__wasm_simd128__)
typedef struct {
  int16_t wide[WIDEST];
} Query;

static inline void unpack(Query *q, const int8_t *codes, int32_t stride) {
  for (int32_t i = 0; i < stride; i++) q->wide[i] = codes[i];
}

static inline int32_t dot(const Query *q, const int8_t *row, int32_t stride) {
  v128_t even = wasm_i32x4_splat(0), odd = even;
  for (int32_t i = 0; i < stride; i += BLOCK) {
    even = wasm_i32x4_add(even, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(row + i), wasm_v128_load(q->wide + i)));
    odd = wasm_i32x4_add(odd, wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(row + i + 8), wasm_v128_load(q->wide + i + 8)));
  }
  v128_t sum = wasm_i32x4_add(even, odd);
  return wasm_i32x4_extract_lane(sum, 0) + wasm_i32x4_extract_lane(sum, 1) + wasm_i32x4_extract_lane(sum, 2) +
         wasm_i32x4_extract_lane(sum, 3);
}

#else
typedef struct {
  int16_t wide[WIDEST];
} Query;

static inline void unpack(Query *q, const int8_t *codes, int32_t stride) {
  for (int32_t i = 0; i < stride; i++) q->wide[i] = codes[i];
}

static MACHINE inline int32_t dot(const Query *q, const int8_t *row, int32_t stride) {
  int32_t sum = 0;
  for (int32_t i = 0; i < stride; i += BLOCK)
    for (int32_t j = i; j < i + BLOCK; j++) sum += (int32_t)q->wide[j] * (int32_t)row[j];
  return sum;
}
#endif

/* ── hints: the query in 7 bits, four rows at a time ───────────────────────────────────────────────────────────────
 *
 * A query's code c becomes h = (c >> 1) + 64, which lies in 0..127; c is 2h - 127.5 on average, so with s the sum of a
 * row's codes, twice the dot product of the codes is about 4·(h·row) - 255·s. Rows bring 255·s along.
 */

typedef struct {
  int32_t stride;
#if defined(__wasm_simd128__) && !defined(__wasm_relaxed_simd__)
  int16_t half[WIDEST];
#else
  uint8_t half[WIDEST] __attribute__((aligned(32)));
#endif
} Aim;

static inline void aim(Aim *a, const int8_t *codes, int32_t stride) {
  a->stride = stride;
  for (int32_t i = 0; i < stride; i++) a->half[i] = (uint8_t)((codes[i] >> 1) + 64);
}

#if defined(__wasm_simd128__)
#if defined(__wasm_relaxed_simd__)
#define STEP(sum, row) sum = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load((row) + i), q, sum)
#else
#define STEP(sum, row)                                                                                                 \
  sum = wasm_i32x4_add(sum, wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(row + i), q),                       \
                                           wasm_i32x4_dot_i16x8(wasm_i16x8_load8x8(row + i + 8), r)))
#endif

static inline int32_t total(v128_t v) {
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(v, 0) + wasm_i32x4_extract_lane(v, 1);
}

/* h·row of four rows. */
static inline void aim4(const Aim *a, const int8_t *const rows[4], int32_t out[4]) {
  const int8_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
  v128_t s0 = wasm_i32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (int32_t i = 0; i < a->stride; i += BLOCK) {
    v128_t q = wasm_v128_load(a->half + i);
#if !defined(__wasm_relaxed_simd__)
    v128_t r = wasm_v128_load(a->half + i + 8);
#endif
    STEP(s0, r0);
    STEP(s1, r1);
    STEP(s2, r2);
    STEP(s3, r3);
  }
  out[0] = total(s0), out[1] = total(s1), out[2] = total(s2), out[3] = total(s3);
}
#undef STEP

#elif defined(__x86_64__)
static MACHINE inline int32_t total(__m128i v) {
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

/* h·row of four rows. A pair of products is at most 2 * 127 * 127 and fits the 16 bits of maddubs. */
static MACHINE inline void aim4(const Aim *a, const int8_t *const rows[4], int32_t out[4]) {
  const int8_t *r[4] = {rows[0], rows[1], rows[2], rows[3]};
  const __m128i ones = _mm_set1_epi16(1);
  __m128i low[4];
  int32_t i = 0;
#if defined(__AVX2__)
  const __m256i wide = _mm256_set1_epi16(1);
  __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (; i + 32 <= a->stride; i += 32) {
    __m256i q = _mm256_load_si256((const __m256i *)(a->half + i));
    for (int j = 0; j < 4; j++) {
      __m256i pairs = _mm256_maddubs_epi16(q, _mm256_loadu_si256((const __m256i *)(r[j] + i)));
      sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(pairs, wide));
    }
  }
  for (int j = 0; j < 4; j++)
    low[j] = _mm_add_epi32(_mm256_castsi256_si128(sums[j]), _mm256_extracti128_si256(sums[j], 1));
#else
  for (int j = 0; j < 4; j++) low[j] = _mm_setzero_si128();
#endif
  for (; i < a->stride; i += BLOCK) {
    __m128i q = _mm_load_si128((const __m128i *)(a->half + i));
    for (int j = 0; j < 4; j++) {
      __m128i pairs = _mm_maddubs_epi16(q, _mm_loadu_si128((const __m128i *)(r[j] + i)));
      low[j] = _mm_add_epi32(low[j], _mm_madd_epi16(pairs, ones));
    }
  }
  for (int j = 0; j < 4; j++) out[j] = total(low[j]);
}

#else
/* h·row of four rows. */
static inline void aim4(const Aim *a, const int8_t *const rows[4], int32_t out[4]) {
  for (int j = 0; j < 4; j++) {
    out[j] = 0;
    for (int32_t i = 0; i < a->stride; i++) out[j] += (int32_t)a->half[i] * (int32_t)rows[j][i];
  }
}
#endif

#endif
