/* Nearest vectors by exhaustive scan: int8 codes give an upper bound of each score, the best rows come back for exact
 * confirmation against the float vectors. The Python side is pysrc/inglenook/index/kernel.py; its class `Plain` says the
 * same thing in numpy and is this file's oracle.
 *
 * One source, three builds: WebAssembly SIMD, WebAssembly relaxed SIMD (both as a side module that shares Pyodide's
 * memory) and native, where the compiler vectorises the plain loop. Integer sums are exact in all of them, so every
 * build returns the same rows; compile with -ffp-contract=off so that the float arithmetic agrees too.
 */
#include "dot.h"

/* ── the best rows so far: a heap with the worst of them at the root. Equal bounds are ordered by id, so that ties do
 *    not depend on the order in which the vectors came ───────────────────────────────────────────────────────────── */

typedef struct {
  int32_t *rows;
  float *bounds;
  const int64_t *ids;
} Heap;

/* Is the candidate (bound, row) worse than the one in `slot`? */
static inline int worse(const Heap *h, float bound, int32_t row, int32_t slot) {
  return bound < h->bounds[slot] || (bound == h->bounds[slot] && h->ids[row] > h->ids[h->rows[slot]]);
}

static inline void place(Heap *h, int32_t slot, float bound, int32_t row) {
  h->bounds[slot] = bound;
  h->rows[slot] = row;
}

static void rise(Heap *h, int32_t slot, float bound, int32_t row) {
  while (slot > 0 && worse(h, bound, row, (slot - 1) / 2)) {
    place(h, slot, h->bounds[(slot - 1) / 2], h->rows[(slot - 1) / 2]);
    slot = (slot - 1) / 2;
  }
  place(h, slot, bound, row);
}

/* Puts a candidate in the root's place and restores the order of the first `size` slots. */
static void sink(Heap *h, int32_t size, float bound, int32_t row) {
  int32_t slot = 0;
  for (int32_t child = 1; child < size; child = 2 * slot + 1) {
    if (child + 1 < size && worse(h, h->bounds[child + 1], h->rows[child + 1], child)) child++;
    if (worse(h, bound, row, child)) break;
    place(h, slot, h->bounds[child], h->rows[child]);
    slot = child;
  }
  place(h, slot, bound, row);
}

/* ── what Python calls ─────────────────────────────────────────────────────────────────────────────────────────── */

/* The `want` rows with the highest upper bound dot * query_scale * scale[row] + query_norm * slack[row], best first,
 * into `rows` and `bounds`; returns how many. codes is (n, stride) int8, query (stride) int8. Where `allow` is given,
 * a row counts only if its id is below `allowed` and allow[id] is not 0. */
API MACHINE int32_t nook_scan(const int8_t *codes, int32_t stride, int32_t n, const float *scale, const float *slack,
                              const int64_t *ids, const uint8_t *allow, int64_t allowed, const int8_t *query,
                              float query_scale, float query_norm, int32_t want, int32_t *rows, float *bounds) {
  Query q;
  Heap heap = {rows, bounds, ids};
  int32_t size = 0;
  if (stride > WIDEST || want < 1) return 0;
  unpack(&q, query, stride);
  for (int32_t row = 0; row < n; row++) {
    if (allow && (ids[row] >= allowed || !allow[ids[row]])) continue;
    float bound = (float)dot(&q, codes + (intptr_t)row * stride, stride) * (query_scale * scale[row]);
    bound += query_norm * slack[row];
    if (size < want)
      rise(&heap, size++, bound, row);
    else if (bound >= bounds[0] && !worse(&heap, bound, row, 0))
      sink(&heap, size, bound, row);
  }
  for (int32_t last = size - 1; last > 0; last--) { /* heap sort in place: the worst goes to the end */
    float bound = bounds[last];
    int32_t row = rows[last];
    place(&heap, last, bounds[0], rows[0]);
    sink(&heap, last, bound, row);
  }
  return size;
}

/* The code of one vector: see index/quantise.py. Sums and maxima run in LANES of their own, which the compiler can keep
 * in a register. */
MACHINE void quantise_row(const float *v, int32_t dim, int32_t stride, int8_t *c, float *scale, float *error) {
  enum { LANES = 8 };
  float peaks[LANES] = {0}, losses[LANES] = {0}, peak = 0, lost = 0;
  for (int32_t i = 0; i < dim; i += LANES)
    for (int32_t j = 0; j < LANES && i + j < dim; j++) {
      float size = __builtin_fabsf(v[i + j]);
      peaks[j] = size > peaks[j] ? size : peaks[j];
    }
  for (int32_t j = 0; j < LANES; j++) peak = peaks[j] > peak ? peaks[j] : peak;
  float unit = peak / 127.0f, safe = unit > 0 ? unit : 1.0f;
  for (int32_t i = 0; i < dim; i += LANES)
    for (int32_t j = 0; j < LANES && i + j < dim; j++) {
      float code = __builtin_rintf(v[i + j] / safe);
      code = code > 127.0f ? 127.0f : code;
      code = code < -127.0f ? -127.0f : code; /* a denormal unit does not divide evenly */
      c[i + j] = (int8_t)code;
      float gap = v[i + j] - code * unit;
      losses[j] += gap * gap;
    }
  for (int32_t i = dim; i < stride; i++) c[i] = 0;
  for (int32_t j = 0; j < LANES; j++) lost += losses[j];
  *scale = unit;
  *error = __builtin_sqrtf(lost) * 1.001f + 1e-9f; /* rounded up: bounds made of it hold */
}

/* Codes of n vectors (n, dim) into codes (n, stride), scale (n) and error (n). */
API MACHINE void nook_quantise(const float *vectors, int32_t n, int32_t dim, int32_t stride, int8_t *codes,
                               float *scale, float *error) {
  for (int32_t row = 0; row < n; row++)
    quantise_row(vectors + (intptr_t)row * dim, dim, stride, codes + (intptr_t)row * stride, scale + row, error + row);
}

/* Exact scores of `count` rows of vectors (n, dim) float32. Summed in double in a fixed order: every build and every
 * row position gives the same number, so equal vectors have equal scores. */
API void nook_confirm(const float *vectors, int32_t dim, const float *query, const int32_t *rows, int32_t count,
                      float *scores) {
  enum { LANES = 8 };
  for (int32_t k = 0; k < count; k++) {
    const float *v = vectors + (intptr_t)rows[k] * dim;
    double sums[LANES] = {0};
    int32_t i = 0;
    for (; i + LANES <= dim; i += LANES)
      for (int32_t j = 0; j < LANES; j++) sums[j] += (double)v[i + j] * (double)query[i + j];
    for (; i < dim; i++) sums[0] += (double)v[i] * (double)query[i];
    scores[k] = (float)(((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])));
  }
}
