/* Vectors for one source and many machines: clang's vector types, and the few operations that need a machine's own.
 *
 * Floating point is done on 4 lanes everywhere and never contracted, so every build gives the same bits. What differs
 * is the width and the instruction of the int8 dot products (`Wide` below): WebAssembly relaxed SIMD, AVX2, or plain
 * 16-bit multiplies that any 128-bit machine has. All of them are exact, so they agree too.
 */
#ifndef VEC_H
#define VEC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__SSE2__)
#include <immintrin.h>
#endif

#define API __attribute__((visibility("default"), used))
#define INLINE static inline __attribute__((always_inline))
/* Reads or writes a vector (or anything) wherever it lies. */
#define READ(type, p) ({ type read_; __builtin_memcpy(&read_, p, sizeof read_); read_; })
#define WRITE(p, v) __builtin_memcpy(p, &(v), sizeof(v))

/* The value of a vector is settled here: compilers for WebAssembly must not move its computation further down, where it
 * would keep its operands alive; what does not fit in 15 registers goes through memory. */
#if defined(__wasm__)
#define SETTLE(v) __asm__ volatile("" : "+r"(v))
#else
#define SETTLE(v) (void)0
#endif

typedef float F4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
typedef int16_t S8 __attribute__((vector_size(16)));
typedef int8_t B8 __attribute__((vector_size(8)));
typedef int16_t S4 __attribute__((vector_size(8)));

#define UNROLL _Pragma("clang loop unroll(full)")

/* Constants read from memory: V8 makes all others anew, with three instructions, wherever they are used. */
#if defined(__wasm__)
#define CONSTANT(type, ...)                                                                                            \
  ({                                                                                                                   \
    static const type value_ = {__VA_ARGS__};                                                                          \
    const type *at_ = &value_;                                                                                         \
    __asm__("" : "+r"(at_)); /* or the compiler would see through it */                                                \
    *at_;                                                                                                              \
  })
#else
#define CONSTANT(type, ...) ((type){__VA_ARGS__})
#endif
#define F4C(x) CONSTANT(F4, x, x, x, x)
#define I4C(x) CONSTANT(I4, x, x, x, x)

INLINE F4 f4_load(const float *p) { return READ(F4, p); }
INLINE void f4_store(float *p, F4 v) { WRITE(p, v); }
INLINE F4 f4(float x) { return (F4){x, x, x, x}; }
INLINE I4 i4(int32_t x) { return (I4){x, x, x, x}; }
INLINE F4 f4_of(I4 v) { return __builtin_convertvector(v, F4); }
INLINE I4 bits_of(F4 v) { return (I4)v; }
INLINE F4 f4_pick(I4 mask, F4 yes, F4 no) { return (F4)((mask & (I4)yes) | (~mask & (I4)no)); }
/* Is any lane of a mask set? */
#if defined(__wasm_simd128__)
INLINE int i4_any(I4 mask) { return wasm_v128_any_true((v128_t)mask); }
#elif defined(__SSE2__)
INLINE int i4_any(I4 mask) { return _mm_movemask_epi8((__m128i)mask) != 0; }
#else
INLINE int i4_any(I4 mask) { return (mask[0] | mask[1] | mask[2] | mask[3]) != 0; }
#endif
/* b where it is larger (smaller) than a, else a. */
#if defined(__wasm_simd128__)
INLINE F4 f4_max(F4 a, F4 b) { return (F4)wasm_f32x4_pmax((v128_t)a, (v128_t)b); }
INLINE F4 f4_min(F4 a, F4 b) { return (F4)wasm_f32x4_pmin((v128_t)a, (v128_t)b); }
#else
INLINE F4 f4_max(F4 a, F4 b) { return f4_pick(a < b, b, a); }
INLINE F4 f4_min(F4 a, F4 b) { return f4_pick(b < a, b, a); }
#endif
INLINE F4 f4_abs(F4 a) { return (F4)((I4)a & I4C(0x7fffffff)); }
INLINE float f4_sum(F4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }
INLINE float f4_peak(F4 v) {
  float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}

/* Nearest integer, ties to even, of |x| < 2^22: the float's own rounding does it. */
INLINE I4 i4_round(F4 x) {
  const F4 magic = F4C(12582912.0f); /* 1.5 * 2^23 */
  return bits_of(x + magic) - bits_of(magic);
}

/* 8 signed bytes, as 16-bit lanes. */
INLINE S8 s8_load(const int8_t *p) {
#if defined(__wasm_simd128__)
  return (S8)wasm_i16x8_load8x8(p);
#else
  return __builtin_convertvector(READ(B8, p), S8);
#endif
}

/* Adds the products of neighbours: lane i = a[2i] * b[2i] + a[2i + 1] * b[2i + 1]. */
INLINE I4 s8_dot(S8 a, S8 b) {
#if defined(__wasm_simd128__)
  return (I4)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
#elif defined(__SSE2__)
  return (I4)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  I4 even = __builtin_convertvector(__builtin_shufflevector(a, a, 0, 2, 4, 6), I4) *
            __builtin_convertvector(__builtin_shufflevector(b, b, 0, 2, 4, 6), I4);
  I4 odd = __builtin_convertvector(__builtin_shufflevector(a, a, 1, 3, 5, 7), I4) *
           __builtin_convertvector(__builtin_shufflevector(b, b, 1, 3, 5, 7), I4);
  return even + odd;
#endif
}

/* Whole numbers of 16 bits at most, as 16-bit lanes. */
INLINE S8 s8_of(I4 a, I4 b) {
#if defined(__wasm_simd128__)
  return (S8)wasm_i16x8_narrow_i32x4((v128_t)a, (v128_t)b);
#elif defined(__SSE2__)
  return (S8)_mm_packs_epi32((__m128i)a, (__m128i)b);
#else
  return __builtin_shufflevector((S8)a, (S8)b, 0, 2, 4, 6, 8, 10, 12, 14);
#endif
}

/* The low bytes of the lanes: 4 int8 in an int32. */
INLINE int32_t i4_bytes(I4 v) {
  typedef int8_t B16 __attribute__((vector_size(16)));
  B16 b = (B16)v;
  return ((I4)__builtin_shufflevector(b, b, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12))[0];
}

/* ── Wide: the int8 dot product. A Wide holds ROWS rows x 4 columns of weights (0..127); dot() multiplies them with
 *    4 activations (-127..127), held in `Act` form for every row, and gives two 16-bit sums a row ─────────────────── */

#if defined(__AVX2__)

#define ACT_BYTES 1
enum { ROWS = 8, ACT = 4 }; /* rows in a vector; bytes of 4 activations */
typedef int8_t Wide __attribute__((vector_size(32)));
typedef int16_t Sums __attribute__((vector_size(32)));
typedef int32_t Ints __attribute__((vector_size(32)));
typedef float Floats __attribute__((vector_size(32)));
typedef struct {
  Wide v;
} Act;

INLINE Act act_load(const int8_t *p) {
  return (Act){(Wide)_mm256_set1_epi32(READ(int32_t, p))};
}
INLINE Sums dot(Wide w, Act a) { return (Sums)_mm256_maddubs_epi16((__m256i)w, (__m256i)a.v); }
INLINE Wide nibble(void) { return (Wide)_mm256_set1_epi8(15); }
INLINE Ints pairs(Sums s) { return (Ints)_mm256_madd_epi16((__m256i)s, _mm256_set1_epi16(1)); }
INLINE Floats halves_load(const uint16_t *p) { return (Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE void wide_load(const uint8_t *p, Wide w[1]) { w[0] = (Wide)_mm256_loadu_si256((const __m256i *)p); }
/* 16 bytes of nibbles: the low ones are rows 0..3, the high ones rows 4..7. */
INLINE void nibbles_load(const uint8_t *p, Wide w[1]) {
  __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p));
  w[0] = (Wide)_mm256_and_si256(_mm256_srlv_epi64(both, _mm256_set_epi64x(4, 4, 0, 0)), _mm256_set1_epi8(15));
}

#else

enum { ROWS = 4 };
typedef int8_t Wide __attribute__((vector_size(16)));
typedef S8 Sums;
typedef I4 Ints;
typedef F4 Floats;

#if defined(__wasm_relaxed_simd__)

#define ACT_BYTES 1
enum { ACT = 4 };
typedef struct {
  Wide v;
} Act;
INLINE Act act_load(const int8_t *p) { return (Act){(Wide)wasm_v128_load32_splat(p)}; }
INLINE Sums dot(Wide w, Act a) {
  return (Sums)wasm_i16x8_relaxed_dot_i8x16_i7x16((v128_t)a.v, (v128_t)w);
}

#else

enum { ACT = 8 }; /* activations as 16-bit pairs: columns 0 and 2, then 1 and 3 */
typedef struct {
  S8 even, odd;
} Act;
INLINE Act act_load(const int8_t *p) {
  return (Act){(S8)i4(READ(int32_t, p)), (S8)i4(READ(int32_t, p + 4))};
}
INLINE void act_store(int8_t *p, I4 v) {
  S8 s = (S8)v;
  S4 pairs = __builtin_shufflevector(s, s, 0, 4, 2, 6);
  WRITE(p, pairs);
}
INLINE Sums dot(Wide w, Act a) {
  typedef uint16_t U8 __attribute__((vector_size(16)));
  return ((S8)w & 255) * a.even + (S8)((U8)w >> 8) * a.odd;
}

#endif

INLINE Wide nibble(void) { return (Wide)CONSTANT(S8, 3855, 3855, 3855, 3855, 3855, 3855, 3855, 3855); }
#if defined(__wasm_simd128__)
INLINE Ints pairs(Sums s) { return (Ints)wasm_i32x4_extadd_pairwise_i16x8((v128_t)s); }
#else
INLINE Ints pairs(Sums s) { return s8_dot(s, (S8){1, 1, 1, 1, 1, 1, 1, 1}); }
#endif

/* Half precision to single, exact for everything but infinities and NaN. */
INLINE Floats halves_load(const uint16_t *p) {
#if defined(__wasm_simd128__)
  I4 h = (I4)wasm_i32x4_load16x4(p);
#else
  I4 h = __builtin_convertvector(READ(S4, p), I4);
#endif
  return (F4)((h << 13) & I4C((int32_t)0x8fffe000)) * F4C(0x1p112f);
}

INLINE void wide_load(const uint8_t *p, Wide w[2]) {
  w[0] = READ(Wide, p);
  w[1] = READ(Wide, p + 16);
}
INLINE void nibbles_load(const uint8_t *p, Wide w[2]) {
  typedef uint16_t U8 __attribute__((vector_size(16)));
  U8 both = READ(U8, p);
  w[0] = (Wide)(both & (U8)nibble());
  w[1] = (Wide)((both >> 4) & (U8)nibble());
}

#endif

#if ACT_BYTES
INLINE void act_store(int8_t *p, I4 v) {
  int32_t bytes = i4_bytes(v);
  WRITE(p, bytes);
}
#endif

enum { PANEL = 8, PARTS = PANEL / ROWS }; /* rows in a panel, and vectors it takes to hold them */

INLINE Floats floats_load(const float *p) { return READ(Floats, p); }
INLINE void floats_store(float *p, Floats v) { WRITE(p, v); }
INLINE Sums sums(int32_t lanes) { return (Sums)(lanes - (Ints){0}); }
INLINE Floats floats(float x) { return x - (Floats){0}; }
INLINE Floats floats_of(Ints v) { return __builtin_convertvector(v, Floats); }
INLINE Wide low_nibbles(Wide w) {
  typedef uint16_t U __attribute__((vector_size(4 * ROWS)));
  return (Wide)((U)w & (U)nibble());
}
INLINE Wide high_nibbles(Wide w) {
  typedef uint16_t U __attribute__((vector_size(4 * ROWS)));
  return (Wide)(((U)w >> 4) & (U)nibble());
}

#endif
