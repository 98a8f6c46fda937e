/* Inverted lists of 1-bit codes: a query's way from the rotation to its best rows. The Python side is
 * pysrc/inglenook/index/{codes,rabitq,ivf}.py; the classes `Plain` there say the same in numpy and are this file's oracle.
 *
 * Codes are those of RaBitQ (Gao and Long, 2405.12497): signs of a randomly rotated residual, and two numbers a row. They
 * are scanned as André, Kermarrec and Le Scouarnec do it ("Cache locality is not enough", VLDB 2015): 32 rows side by
 * side, tables of 16 entries looked up in a register. An entry has 6 bits, so four of them add up in a byte and those of
 * 4096 dimensions in 16 bits. Sums of integers are exact and floats are added on four lanes in a fixed order, never
 * contracted: every build finds the same rows. */
#include "seven.h"

enum { BLOCK = 32, GROUP = 4, CENTRE = 64, TAIL = 128 }; /* rows of a block; dimensions of a table; bytes of factors */
enum { INNER_PRODUCT = 0, SQUARED = 1, COSINE = 2 };

typedef uint16_t H8 __attribute__((vector_size(16)));
typedef uint16_t H4 __attribute__((vector_size(8)));

typedef struct {
  int32_t dim, width, rows, lists, space, rounds, half; /* half: `exact` is float16 */
  float slope, noise, fine_noise, bound; /* see index/ivf.py: reach of lists, errors of codes, how sure to be */
  const float *mean, *signs;             /* (dim), (rounds, width) */
  const uint8_t *centroids;              /* (lists, width): 64 + value / spacing */
  const float *centres;                  /* (lists, 4): spacing, squared length, offset, reach */
  const float *factors;                  /* (lists, 6): low and steps of the rows' factors, of the codes and the fine ones */
  const int32_t *start, *first;          /* (lists + 1): rows and blocks of each list */
  const uint8_t *blocks;                 /* (blocks, 4 width + TAIL) */
  const uint8_t *fine;                   /* (rows, width / 2 + 4) or null */
  const void *exact;                     /* (rows, dim) or null */
} Lists;

typedef struct {
  float estimate, error;
  int32_t row, list;
} Found;

/* What is known of a query; everything after it lies in the same arena. */
typedef struct {
  int32_t probed, scanned, size, room; /* lists and (allowed) rows looked at; rows found so far, and room for them */
  int32_t waiting, best, high_sum, low_sum;
  float square, unit, low, step; /* |q|²; q = unit * (128 high + low); sum of signs = low + step * entries */
  float shift;                   /* what centring took from every score */
  float threshold, kth;          /* no row below is wanted; the k-th best estimate */
  float *asked, *turned;         /* the query, normalised if need be (dim); centred and rotated (width) */
  int8_t *high, *rest;           /* (width) each: the rotated query in units, 128 high + rest */
  uint8_t *tables;               /* (width / 4, 16) */
  float *upper;                  /* (lists): what a list's best row could score */
  int32_t *queue;                /* (lists): a heap by `upper`, of `waiting` lists */
  float *top;                    /* (k): a heap of the best estimates, worst first */
  Found *found;
} Query;

/* ── rotation ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Walsh–Hadamard transform of n numbers, n a power of two and at least 64. */
static void hadamard(float *v, int32_t n) {
  for (int32_t i = 0; i < n; i += 8) { /* steps of 4, 2 and 1 */
    F4 a = f4_load(v + i), b = f4_load(v + i + 4), c = a + b, d = a - b;
    a = __builtin_shufflevector(c, d, 0, 1, 4, 5), b = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    c = a + b, d = a - b;
    a = __builtin_shufflevector(c, d, 0, 2, 4, 6), b = __builtin_shufflevector(c, d, 1, 3, 5, 7);
    c = a + b, d = a - b;
    f4_store(v + i, __builtin_shufflevector(c, d, 0, 4, 2, 6));
    f4_store(v + i + 4, __builtin_shufflevector(c, d, 1, 5, 3, 7));
  }
  for (int32_t h = 8; h < n; h *= 2)
    for (int32_t i = 0; i < n; i += 2 * h)
      for (int32_t j = i; j < i + h; j += 4) {
        F4 a = f4_load(v + j), b = f4_load(v + j + h);
        f4_store(v + j, a + b);
        f4_store(v + j + h, a - b);
      }
}

/* Rotates n vectors x (n, dim), less the mean where there is one, into out (n, width): see index/codes.py. */
API void nook_rotate(const float *x, int32_t n, int32_t dim, int32_t width, const float *mean, const float *signs,
                     int32_t rounds, float *out) {
  int32_t power = 64;
  while (2 * power <= width) power *= 2;
  for (int32_t row = 0; row < n; row++, x += dim, out += width) {
    for (int32_t i = 0; i < dim; i++) out[i] = mean ? x[i] - mean[i] : x[i];
    for (int32_t i = dim; i < width; i++) out[i] = 0;
    for (int32_t round = 0; round < rounds; round++) {
      const float *sign = signs + (intptr_t)round * width;
      for (int32_t i = 0; i < width; i += 4) f4_store(out + i, f4_load(out + i) * f4_load(sign + i));
      hadamard(out + (round & 1 ? width - power : 0), power);
      if (power < width)
        for (int32_t i = 0; i < width / 2; i += 4) {
          F4 a = f4_load(out + i), b = f4_load(out + width / 2 + i);
          f4_store(out + i, (a + b) * f4(0.70710678f));
          f4_store(out + width / 2 + i, (a - b) * f4(0.70710678f));
        }
    }
  }
}

/* ── codes ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Where row j of a block has its nibbles: byte of 16, and shift. Even bytes are rows 0..7 (16..23), odd ones 8..15. */
static inline int32_t nibble_byte(int32_t j) { return 2 * (j & 7) + ((j >> 3) & 1); }
static inline int32_t nibble_shift(int32_t j) { return j & 16 ? 4 : 0; }

/* Encodes n rotated vectors x (n, width). labels and rows (n) say in which list and at which row each goes; blocks start
 * zeroed. plain and rough (rows, 2) get addend and factor of the fine and the 1-bit code, squares (rows) the squared
 * residual; the codes' losses are added to losses[0..1], losses[2] is the greatest of the 1-bit code's. fine may be null. */
API void nook_encode(const float *x, int32_t n, int32_t width, int32_t space, const uint8_t *centroids,
                     const float *centres, const int32_t *start, const int32_t *first, const int32_t *labels,
                     const int32_t *rows, uint8_t *blocks, uint8_t *fine, float *rough, float *plain, float *squares,
                     float *losses) {
  float residual[4096];
  const float twice = space == SQUARED ? 2.0f : 1.0f, cell = 0.3352f; /* the best step for a normal's 16 levels (Max 1960) */
  for (int32_t i = 0; i < n; i++, x += width) {
    const uint8_t *c = centroids + (intptr_t)labels[i] * width;
    const float spacing = centres[4 * labels[i]];
    const int32_t slot = rows[i] - start[labels[i]], j = slot & (BLOCK - 1);
    uint8_t *block = blocks + (intptr_t)(first[labels[i]] + slot / BLOCK) * (4 * width + TAIL) + nibble_byte(j);
    F4 squared = {0}, absolute = {0}, along = {0}, signed_ = {0};
    for (int32_t d = 0; d < width; d += GROUP) {
      F4 centre = {(float)c[d] - CENTRE, (float)c[d + 1] - CENTRE, (float)c[d + 2] - CENTRE, (float)c[d + 3] - CENTRE};
      centre *= f4(spacing);
      F4 r = f4_load(x + d) - centre;
      I4 positive = r > 0.0f;
      f4_store(residual + d, r);
      squared += r * r;
      absolute += f4_abs(r);
      along += centre * r;
      signed_ += f4_pick(positive, centre, -centre);
      uint8_t bits = (positive[0] & 1) | (positive[1] & 2) | (positive[2] & 4) | (positive[3] & 8);
      block[4 * d] |= (uint8_t)(bits << nibble_shift(j));
    }
    const float square = f4_sum(squared), sum = f4_sum(absolute), inner = f4_sum(along), length = __builtin_sqrtf(square);
    const float factor = sum > 0 ? square / sum : 0;
    const float base = space == SQUARED ? -square : inner;
    const float loss = square > 0 ? 1.0f - sum * sum / (square * (float)width) : 0; /* squared sine of the angle */
    rough[2 * rows[i]] = base - twice * factor * f4_sum(signed_);
    rough[2 * rows[i] + 1] = twice * factor;
    squares[rows[i]] = square;
    losses[0] += loss;
    losses[2] = loss > losses[2] ? loss : losses[2];
    if (!fine) continue;
    uint8_t *nibbles = fine + (intptr_t)rows[i] * (width / 2 + 4);
    const float step = cell * length / __builtin_sqrtf((float)width), inverse = step > 0 ? 1.0f / step : 0;
    float code_r = 0, code_c = 0, code_code = 0;
    for (int32_t d = 0; d < width; d += 32)
      for (int32_t e = 0; e < 16; e++) {
        int32_t code[2];
        for (int32_t h = 0; h < 2; h++) {
          int32_t at = d + 16 * h + e;
          float level = __builtin_floorf(residual[at] * inverse) + 8.0f;
          level = level < 0 ? 0 : level > 15 ? 15 : level;
          code[h] = (int32_t)level;
          level -= 7.5f;
          code_r += level * residual[at];
          code_c += level * ((float)c[at] - CENTRE);
          code_code += level * level;
        }
        nibbles[d / 2 + e] = (uint8_t)(code[0] | code[1] << 4);
      }
    const float fitted = code_r > 0 ? square / code_r : 0;
    plain[2 * rows[i]] = base - twice * fitted * code_c * spacing;
    plain[2 * rows[i] + 1] = twice * fitted;
    losses[1] += square > 0 && code_r > 0 ? code_code * square / (code_r * code_r) - 1.0f : 0; /* squared tangent */
  }
}

/* Tables for the sums of ±q over 4 dimensions each: entry n of a table is round((sum + least) / step), 6 bits. */
static void tabulate(Query *q, int32_t width) {
  const F4 first = {-1, 1, -1, 1}, second = {-1, -1, 1, 1};
  float widest = 0, low = 0;
  for (int32_t d = 0; d < width; d += GROUP) {
    F4 v = f4_abs(f4_load(q->turned + d));
    float sum = f4_sum(v);
    widest = sum > widest ? sum : widest;
    low -= sum;
  }
  q->step = 2 * widest / 63.0f;
  q->low = low;
  const float inverse = q->step > 0 ? 1.0f / q->step : 0;
  for (int32_t d = 0; d < width; d += GROUP) {
    const float *v = q->turned + d;
    F4 pair = f4(v[0]) * first + f4(v[1]) * second, least = f4(f4_sum(f4_abs(f4_load(v))));
    for (int32_t n = 0; n < 4; n++) {
      F4 all = pair + f4((n & 1 ? v[2] : -v[2]) + (n & 2 ? v[3] : -v[3])) + least;
      int32_t entries = i4_bytes(i4_round(all * f4(inverse)));
      WRITE(q->tables + 4 * d + 4 * n, entries);
    }
  }
}

/* Sums of the table entries of a block's 32 rows. */
#if defined(__AVX2__)
INNER void add_up(const uint8_t *block, const uint8_t *tables, int32_t width, H8 sums[4]) {
  typedef uint16_t H16 __attribute__((vector_size(32)));
  typedef uint8_t U32 __attribute__((vector_size(32)));
  const H16 nibble = (H16)_mm256_set1_epi8(15);
  H16 even[2] = {{0}}, odd[2] = {{0}};
  for (int32_t d = 0; d < 4 * width; d += 128) { /* two groups in a register, four additions in a byte */
    U32 part[2];
    for (int32_t g = 0; g < 128; g += 32) {
      H16 codes = READ(H16, block + d + g), table = READ(H16, tables + d + g);
      U32 low = (U32)_mm256_shuffle_epi8((__m256i)table, (__m256i)(codes & nibble));
      U32 high = (U32)_mm256_shuffle_epi8((__m256i)table, (__m256i)((codes >> 4) & nibble));
      part[0] = g ? part[0] + low : low;
      part[1] = g ? part[1] + high : high;
    }
    for (int32_t h = 0; h < 2; h++) {
      even[h] += (H16)part[h];
      odd[h] += (H16)part[h] >> 8;
    }
  }
  for (int32_t h = 0; h < 2; h++) {
    H8 e = (H8)_mm256_castsi256_si128((__m256i)even[h]) + (H8)_mm256_extracti128_si256((__m256i)even[h], 1);
    H8 o = (H8)_mm256_castsi256_si128((__m256i)odd[h]) + (H8)_mm256_extracti128_si256((__m256i)odd[h], 1);
    sums[2 * h] = e - (o << 8);
    sums[2 * h + 1] = o;
  }
}
#else
INNER void add_up(const uint8_t *block, const uint8_t *tables, int32_t width, H8 sums[4]) {
  const H8 nibble = (H8)CONSTANT(S8, 3855, 3855, 3855, 3855, 3855, 3855, 3855, 3855);
  H8 even[2] = {{0}}, odd[2] = {{0}};
  for (int32_t d = 0; d < 4 * width; d += 64) {
    U16 part[2];
    for (int32_t g = 0; g < 64; g += 16) {
      H8 codes = READ(H8, block + d + g);
      U16 table = READ(U16, tables + d + g);
      U16 low = look_up(table, (U16)(codes & nibble)), high = look_up(table, (U16)((codes >> 4) & nibble));
      part[0] = g ? part[0] + low : low;
      part[1] = g ? part[1] + high : high;
    }
    for (int32_t h = 0; h < 2; h++) {
      even[h] += (H8)part[h];
      odd[h] += (H8)part[h] >> 8;
    }
  }
  for (int32_t h = 0; h < 2; h++) {
    sums[2 * h] = even[h] - (odd[h] << 8);
    sums[2 * h + 1] = odd[h];
  }
}
#endif

INNER F4 f4_widen(H4 v) {
#if defined(__wasm_simd128__)
  return (F4)wasm_f32x4_convert_i32x4(wasm_u32x4_load16x4(&v));
#elif defined(__x86_64__)
  return (F4)_mm_cvtepi32_ps(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)&v)));
#else
  return __builtin_convertvector(v, F4);
#endif
}

/* Estimates of a block's rows: base + addend + factor * sum of signs; `factor` as it is, for the error. */
INNER void estimate(const Query *q, const uint8_t *block, int32_t width, const float *factors, float base, float *estimates,
                    float *rows_factors) {
  H8 sums[4];
  add_up(block, q->tables, width, sums);
  const uint8_t *tail = block + 4 * width;
  const F4 low = f4(base + factors[0]), unit = f4(factors[1]), turn = f4(factors[2]), from = f4(q->low), step = f4(q->step);
  for (int32_t j = 0; j < BLOCK; j += 4) {
    F4 sum = f4_widen(READ(H4, (const uint8_t *)sums + 2 * j));
    F4 factor = f4_widen(READ(H4, tail + BLOCK * 2 + 2 * j)) * turn;
    f4_store(rows_factors + j, factor);
    f4_store(estimates + j, low + f4_widen(READ(H4, tail + 2 * j)) * unit + factor * (from + sum * step));
  }
}

/* ── the best so far ───────────────────────────────────────────────────────────────────────────────────────────── */

static inline int better(const Found *a, const Found *b) {
  return a->estimate > b->estimate || (a->estimate == b->estimate && a->row < b->row);
}
static inline void swap(Found *a, Found *b) {
  Found c = *a;
  *a = *b;
  *b = c;
}

/* Brings the `want` best to the front (quickselect; the pivot is the median of three). */
static void select_best(Found *v, int32_t n, int32_t want) {
  int32_t low = 0, high = n - 1;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    if (better(v + middle, v + low)) swap(v + middle, v + low);
    if (better(v + high, v + low)) swap(v + high, v + low);
    if (better(v + high, v + middle)) swap(v + high, v + middle);
    Found pivot = v[middle];
    int32_t i = low, j = high;
    while (i <= j) {
      while (better(v + i, &pivot)) i++;
      while (better(&pivot, v + j)) j--;
      if (i <= j) swap(v + i++, v + j--);
    }
    if (want - 1 <= j)
      high = j;
    else if (want - 1 >= i)
      low = i;
    else
      return;
  }
}

static void sort_best(Found *v, int32_t n) { /* heap sort, the worst at the root */
  for (int32_t end = n, root = n / 2; end > 1;) {
    if (root > 0)
      root--;
    else
      swap(v, v + --end);
    for (int32_t slot = root, child; (child = 2 * slot + 1) < end; slot = child) {
      if (child + 1 < end && better(v + child, v + child + 1)) child++;
      if (better(v + child, v + slot)) break;
      swap(v + slot, v + child);
    }
  }
}

/* Notes an estimate among the k best. */
static inline void note(Query *q, float estimate, int32_t k) {
  float *top = q->top;
  int32_t slot;
  if (q->best < k) {
    for (slot = q->best++; slot > 0 && top[(slot - 1) / 2] > estimate; slot = (slot - 1) / 2) top[slot] = top[(slot - 1) / 2];
    top[slot] = estimate;
  } else if (estimate > top[0]) {
    slot = 0;
    for (int32_t child = 1; child < k; child = 2 * slot + 1) {
      if (child + 1 < k && top[child + 1] < top[child]) child++;
      if (top[child] >= estimate) break;
      top[slot] = top[child];
      slot = child;
    }
    top[slot] = estimate;
  }
  if (q->best == k) q->kth = top[0];
}

/* ── a query ───────────────────────────────────────────────────────────────────────────────────────────────────── */

INNER int32_t signs_of(I4 v) {
#if defined(__wasm_simd128__)
  return (int32_t)wasm_i32x4_bitmask((v128_t)v);
#elif defined(__x86_64__)
  return _mm_movemask_ps((__m128)v);
#else
  return (v[0] & 1) | (v[1] & 2) | (v[2] & 4) | (v[3] & 8);
#endif
}

static inline void *take(uint8_t **at, intptr_t size) {
  uint8_t *here = *at;
  *at += (size + 63) & -64;
  return here;
}

static intptr_t lay_out(const Lists *v, Query *q, uint8_t *at, int32_t want, int32_t k) {
  uint8_t *start = at;
  take(&at, sizeof(Query));
  q->room = 2 * want + 2 * BLOCK;
  q->asked = take(&at, 4 * (intptr_t)v->dim);
  q->turned = take(&at, 4 * (intptr_t)v->width);
  q->high = take(&at, v->width);
  q->rest = take(&at, v->width);
  q->tables = take(&at, 4 * (intptr_t)v->width);
  q->upper = take(&at, 4 * (intptr_t)v->lists);
  q->queue = take(&at, 4 * (intptr_t)v->lists);
  q->top = take(&at, 4 * (intptr_t)k);
  q->found = take(&at, (intptr_t)sizeof(Found) * q->room);
  return at - start;
}

/* Bytes of the arena that a query needs; it starts at a multiple of 16. */
API int64_t nook_ivf_room(const Lists *v, int32_t want, int32_t k) {
  Query q;
  return lay_out(v, &q, 0, want, k);
}

static inline int before(const Query *q, int32_t a, int32_t b) {
  return q->upper[a] > q->upper[b] || (q->upper[a] == q->upper[b] && a < b);
}
static void settle(Query *q, int32_t slot) {
  int32_t *queue = q->queue, list = queue[slot];
  for (int32_t child; (child = 2 * slot + 1) < q->waiting; slot = child) {
    if (child + 1 < q->waiting && before(q, queue[child + 1], queue[child])) child++;
    if (before(q, list, queue[child])) break;
    queue[slot] = queue[child];
  }
  queue[slot] = list;
}

static inline float distance(const Query *q, float inner, float square) {
  float squared = q->square - 2 * inner + square;
  return squared > 0 ? __builtin_sqrtf(squared) : 0;
}

/* Everything that a query needs before the first list. 0, or -1 if it is not made of finite numbers. */
static MACHINE int32_t prepare(const Lists *v, Query *q, const float *query) {
  double squares = 0;
  for (int32_t i = 0; i < v->dim; i++) squares += (double)query[i] * (double)query[i];
  if (!(squares <= 3e38)) return -1;
  const float length = v->space == COSINE && squares > 0 ? (float)(1 / __builtin_sqrt(squares)) : 1.0f;
  double along = 0;
  for (int32_t i = 0; i < v->dim; i++) {
    q->asked[i] = query[i] * length;
    along += (double)q->asked[i] * (double)v->mean[i];
  }
  nook_rotate(q->asked, 1, v->dim, v->width, v->space == SQUARED ? v->mean : 0, v->signs, v->rounds, q->turned);
  F4 peak = {0}, squared = {0};
  for (int32_t i = 0; i < v->width; i += 4) {
    F4 x = f4_load(q->turned + i);
    peak = f4_max(peak, f4_abs(x));
    squared += x * x;
  }
  q->square = f4_sum(squared);
  q->shift = v->space == SQUARED ? (float)squares - q->square : (float)along;
  q->unit = f4_peak(peak) / (127 * 128);
  const float inverse = q->unit > 0 ? 1.0f / q->unit : 0;
  q->high_sum = q->low_sum = 0;
  for (int32_t i = 0; i < v->width; i += 4) {
    I4 whole = i4_round(f4_load(q->turned + i) * f4(inverse));
    I4 high = (whole + 64) >> 7, low = whole - (high << 7);
    int32_t high_bytes = i4_bytes(high), low_bytes = i4_bytes(low);
    WRITE(q->high + i, high_bytes);
    WRITE(q->rest + i, low_bytes);
    q->high_sum += i4_total(high);
    q->low_sum += i4_total(low);
  }
  tabulate(q, v->width);
  const float unit = 128 * q->unit, twice = v->space == SQUARED ? 2.0f : 1.0f;
  for (int32_t l = 0; l < v->lists; l++) {
    const float *centre = v->centres + 4 * (intptr_t)l;
    float inner = (float)(products(q->high, v->centroids + (intptr_t)l * v->width, v->width) - CENTRE * q->high_sum);
    inner *= unit * centre[0];
    float reach = v->slope * distance(q, inner, centre[1]) * centre[3];
    q->upper[l] = twice * (inner + reach) + centre[2];
    q->queue[l] = l;
  }
  q->waiting = v->lists;
  for (int32_t slot = v->lists / 2 - 1; slot >= 0; slot--) settle(q, slot);
  q->probed = q->scanned = q->size = q->best = 0;
  q->threshold = q->kth = -__builtin_inff();
  return 0;
}

static int32_t next_list(Query *q) {
  int32_t list = q->queue[0];
  q->queue[0] = q->queue[--q->waiting];
  if (q->waiting) settle(q, 0);
  return list;
}

/* Inner product with a list's centroid, as exactly as 15 bits of the query tell. */
static MACHINE float centre_product(const Lists *v, const Query *q, int32_t list) {
  const uint8_t *c = v->centroids + (intptr_t)list * v->width;
  float high = (float)(products(q->high, c, v->width) - CENTRE * q->high_sum);
  float low = (float)(products(q->rest, c, v->width) - CENTRE * q->low_sum);
  return (high * 128.0f + low) * (q->unit * v->centres[4 * (intptr_t)list]);
}

static inline float base_of(const Lists *v, int32_t list, float inner) {
  return v->space == SQUARED ? 2 * inner - v->centres[4 * (intptr_t)list + 1] : inner;
}

/* How many of n rows are allowed. */
static MACHINE int32_t allowed(const uint8_t *allow, int32_t n) {
  int32_t count = 0;
  if (n == BLOCK) {
    I4 both = READ(I4, allow) + READ(I4, allow + 16);
    uint32_t sum = (uint32_t)i4_total(both); /* four bytes of at most 8 each */
    return (int32_t)((sum * 0x01010101u) >> 24);
  }
  for (int32_t i = 0; i < n; i++) count += allow[i];
  return count;
}

/* Scans a list, whose blocks lie at `blocks`. */
static MACHINE void scan(const Lists *v, Query *q, int32_t list, const uint8_t *blocks, int32_t want,
                         const uint8_t *allow) {
  const float inner = centre_product(v, q, list), base = base_of(v, list, inner);
  const float error = v->noise * distance(q, inner, v->centres[4 * (intptr_t)list + 1]);
  const float *factors = v->factors + 6 * (intptr_t)list;
  float estimates[BLOCK], turns[BLOCK];
  q->probed++;
  for (int32_t row = v->start[list], end = v->start[list + 1]; row < end; row += BLOCK, blocks += 4 * v->width + TAIL) {
    int32_t count = end - row < BLOCK ? end - row : BLOCK;
    int32_t open = allow ? allowed(allow + row, count) : count;
    if (!open) continue;
    q->scanned += open;
    estimate(q, blocks, v->width, factors, base, estimates, turns);
    const F4 threshold = f4(q->threshold);
    uint32_t mask = 0;
    for (int32_t j = 0; j < BLOCK; j += 4) mask |= (uint32_t)signs_of(f4_load(estimates + j) >= threshold) << j;
    if (count < BLOCK) mask &= (1u << count) - 1;
    for (; mask; mask &= mask - 1) {
      int32_t j = __builtin_ctz(mask);
      if (allow && !allow[row + j]) continue;
      q->found[q->size++] = (Found){estimates[j], error * turns[j], row + j, list};
    }
    if (q->size > q->room - BLOCK) {
      select_best(q->found, q->size, want);
      q->size = want;
      q->threshold = q->found[0].estimate;
      for (int32_t i = 1; i < want; i++)
        q->threshold = q->found[i].estimate < q->threshold ? q->found[i].estimate : q->threshold;
    }
  }
}

/* Better estimates, from the fine codes. */
static MACHINE void refine(const Lists *v, Query *q) {
  const U16 nibble = {15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};
  const int32_t bytes_of_row = v->width / 2 + 4;
  const float unit = 128 * q->unit, ratio = v->noise > 0 ? v->fine_noise / v->noise : 0;
  int32_t list = -1;
  float base = 0;
  for (int32_t i = 0; i < q->size; i++) {
    Found *f = q->found + i;
    const uint8_t *code = v->fine + (intptr_t)f->row * bytes_of_row, *tail = code + v->width / 2;
    I4 sum = {0}, more = {0};
    for (int32_t d = 0; d < v->width; d += 32) {
      U16 both = READ(U16, code + d / 2);
      sum = madd(sum, bytes(READ(U16, q->high + d)), sevens(both & nibble));
      more = madd(more, bytes(READ(U16, q->high + d + 16)), sevens((U16)((H8)both >> 4) & nibble));
    }
    if (f->list != list) base = base_of(v, f->list, centre_product(v, q, f->list));
    list = f->list;
    const float *factors = v->factors + 6 * (intptr_t)list + 3;
    float turned = ((float)i4_total(sum + more) - 7.5f * (float)q->high_sum) * unit;
    f->estimate = base + (factors[0] + factors[1] * (float)READ(uint16_t, tail)) +
                  factors[2] * (float)READ(uint16_t, tail + 2) * turned;
    f->error *= ratio;
  }
}

/* Scores of the found rows from their vectors: inner product, or minus the squared distance. Halves are only about as
 * long as they should be. */
static void confirm(const Lists *v, Query *q) {
  const int32_t whole = v->dim & -4, squared = v->space == SQUARED, stretched = v->half && v->space == COSINE;
  const F4 zero = {0};
  for (int32_t i = 0; i < q->size; i++) {
    const intptr_t at = (intptr_t)q->found[i].row * v->dim;
    F4 sum = zero, length = zero;
    float part[4] = {0}, asked[4] = {0};
    for (int32_t d = 0; d < v->dim; d += 4) {
      F4 x, a;
      if (d < whole) {
        a = f4_load(q->asked + d);
        if (v->half) {
#if defined(__wasm_simd128__)
          I4 h = (I4)wasm_i32x4_load16x4((const uint16_t *)v->exact + at + d);
#else
          I4 h = __builtin_convertvector(READ(S4, (const uint16_t *)v->exact + at + d), I4);
#endif
          x = (F4)((h << 13) & (int32_t)0x8fffe000) * f4(0x1p112f);
        } else
          x = f4_load((const float *)v->exact + at + d);
      } else {
        for (int32_t e = 0; d + e < v->dim; e++) {
          asked[e] = q->asked[d + e];
          if (v->half) {
            I4 h = {((int16_t *)v->exact)[at + d + e]};
            part[e] = ((F4)((h << 13) & (int32_t)0x8fffe000) * f4(0x1p112f))[0];
          } else
            part[e] = ((const float *)v->exact)[at + d + e];
        }
        x = f4_load(part);
        a = f4_load(asked);
      }
      if (squared) {
        x -= a;
        sum -= x * x;
      } else
        sum += x * a;
      if (stretched) length += x * x;
    }
    const float square = f4_sum(length);
    q->found[i].estimate = square > 0 ? f4_sum(sum) / __builtin_sqrtf(square) : f4_sum(sum);
    q->found[i].error = 0;
  }
}

/* Cuts to the `want` best, makes them better as far as codes and vectors are here, drops those that surely are not among
 * the k best, and hands them out best first. */
static int32_t finish(const Lists *v, Query *q, int32_t want, int32_t k, int32_t *rows, float *scores) {
  if (q->size > want) {
    select_best(q->found, q->size, want);
    q->size = want;
  }
  if (v->fine) refine(v, q);
  if (v->bound > 0 && q->size > k) {
    int32_t kept = 0;
    q->best = 0;
    for (int32_t i = 0; i < q->size; i++) note(q, q->found[i].estimate - v->bound * q->found[i].error, k);
    for (int32_t i = 0; i < q->size; i++)
      if (q->found[i].estimate + v->bound * q->found[i].error >= q->kth) q->found[kept++] = q->found[i];
    q->size = kept;
  }
  if (v->exact) {
    confirm(v, q);
    if (q->size > k) {
      select_best(q->found, q->size, k);
      q->size = k;
    }
  }
  sort_best(q->found, q->size);
  for (int32_t i = 0; i < q->size; i++) {
    rows[i] = q->found[i].row;
    scores[i] = q->found[i].estimate + (v->exact ? 0 : q->shift);
  }
  return q->size;
}

/* The best rows of a query (dim), `want` of them by their codes (with vectors at hand the k best by those), best first;
 * returns how many, -1 for a query with other than finite numbers. Looks into lists until `enough` rows (of those allowed)
 * were seen, but into `most` at most. allow (rows) of 0 and 1, or null. */
API MACHINE int32_t nook_ivf_search(const Lists *v, void *arena, const float *query, int32_t want, int32_t k, int32_t most,
                                    int32_t enough, const uint8_t *allow, int32_t *rows, float *scores) {
  Query *q = arena;
  lay_out(v, q, arena, want, k);
  if (prepare(v, q, query)) return -1;
  while (q->waiting && q->probed < most && q->scanned < enough) {
    int32_t list = next_list(q);
    scan(v, q, list, v->blocks + (intptr_t)v->first[list] * (4 * v->width + TAIL), want, allow);
  }
  return finish(v, q, want, k, rows, scores);
}

/* The lists to look into for a query, most promising first: until they hold `enough` rows, but `most` at most. open
 * (lists), or null for all, is how many rows of each list are allowed; lists with none are left out. The arena is then
 * ready for nook_ivf_scan. */
API MACHINE int32_t nook_ivf_lists(const Lists *v, void *arena, const float *query, int32_t want, int32_t k, int32_t most,
                                   int32_t enough, const int32_t *open, int32_t *lists) {
  Query *q = arena;
  int32_t count = 0, seen = 0;
  lay_out(v, q, arena, want, k);
  if (prepare(v, q, query)) return -1;
  while (q->waiting && count < most && seen < enough) {
    int32_t list = next_list(q), rows = open ? open[list] : v->start[list + 1] - v->start[list];
    if (rows) lists[count++] = list;
    seen += rows;
  }
  return count;
}

/* Scans `count` lists whose blocks lie at blocks[i]; otherwise as nook_ivf_search. */
API MACHINE int32_t nook_ivf_scan(const Lists *v, void *arena, const uint8_t *const *blocks, const int32_t *lists,
                                  int32_t count, int32_t want, int32_t k, const uint8_t *allow, int32_t *rows,
                                  float *scores) {
  Query *q = arena;
  for (int32_t i = 0; i < count; i++) scan(v, q, lists[i], blocks[i], want, allow);
  return finish(v, q, want, k, rows, scores);
}

/* Estimates and errors of all rows of a list, for tests: see index/rabitq.py. */
API MACHINE void nook_ivf_estimates(const Lists *v, void *arena, int32_t list, const uint8_t *blocks, float *estimates,
                                    float *errors) {
  Query *q = arena;
  const float inner = centre_product(v, q, list), base = base_of(v, list, inner);
  const float error = v->noise * distance(q, inner, v->centres[4 * (intptr_t)list + 1]);
  for (int32_t row = 0; row < v->start[list + 1] - v->start[list]; row += BLOCK, blocks += 4 * v->width + TAIL) {
    estimate(q, blocks, v->width, v->factors + 6 * (intptr_t)list, base, estimates + row, errors + row);
    for (int32_t j = 0; j < BLOCK; j++) {
      estimates[row + j] += q->shift;
      errors[row + j] *= error;
    }
  }
}
