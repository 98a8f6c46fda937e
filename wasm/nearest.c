/* Exactly the nearest of rows that lie in memory with their codes, in one call. Codes pick rows as in vectors.c, with the
 * same bounds; the best bounds are confirmed first, until no other row can be among the k best (the threshold algorithm
 * of Fagin, Lotem and Naor, 2003). The Python side is pysrc/inglenook/index/nearest.py; what it leaves to a search that
 * may have to wait (index/searching.py) is its oracle.
 *
 * Scores are summed in double in a fixed order: every build finds the same rows. */
#include "dot.h"

enum { LANES = 8, COSINE = 1, SQUARED = 2, BAD = -1, UNSURE = -2 };

/* Rows of one part of an index. */
typedef struct {
  int32_t count, half;                  /* half: vectors are float16, and of any length for cosine */
  float longest;                        /* no row's vector is longer, and none that a code stands for */
  const int8_t *codes;                  /* (count, stride) */
  const float *scale, *error, *squares; /* (count) each: see index/quantise.py; squared lengths */
  const void *vectors;                  /* (count, dim) */
  const int64_t *ids;                   /* (count) */
  const uint8_t *allow;                 /* (count) of 0 and 1, or null */
} View;

typedef struct {
  float bound;
  int32_t row, part;
} Candidate;

/* ── heaps with the worst at the root; equal ones are ordered by id ────────────────────────────────────────────────── */

static inline int worse(const View *views, Candidate a, Candidate b) {
  return a.bound < b.bound || (a.bound == b.bound && views[a.part].ids[a.row] > views[b.part].ids[b.row]);
}

static void rise(const View *views, Candidate *heap, int32_t slot, Candidate c) {
  while (slot > 0 && worse(views, c, heap[(slot - 1) / 2])) {
    heap[slot] = heap[(slot - 1) / 2];
    slot = (slot - 1) / 2;
  }
  heap[slot] = c;
}

static void sink(const View *views, Candidate *heap, int32_t size, Candidate c) {
  int32_t slot = 0;
  for (int32_t child = 1; child < size; child = 2 * slot + 1) {
    if (child + 1 < size && worse(views, heap[child + 1], heap[child])) child++;
    if (worse(views, c, heap[child])) break;
    heap[slot] = heap[child];
    slot = child;
  }
  heap[slot] = c;
}

/* Best first. */
static void sort(const View *views, Candidate *heap, int32_t size) {
  while (--size > 0) {
    Candidate last = heap[size];
    heap[size] = heap[0];
    sink(views, heap, size, last);
  }
}

/* ── scores ────────────────────────────────────────────────────────────────────────────────────────────────────── */

static inline float widened(const uint16_t *half) {
  union {
    int32_t bits;
    float value;
  } wide = {(int32_t)(((uint32_t)(int32_t)(int16_t)*half << 13) & 0x8fffe000u)};
  return wide.value * 0x1p112f;
}

static inline double added(const double *sums) {
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

/* The inner product, or minus the squared distance. */
static float exact(const View *view, int32_t row, const float *query, int32_t dim, int32_t space) {
  double sums[LANES] = {0}, squares[LANES] = {0};
  const float *single = (const float *)view->vectors + (intptr_t)row * dim;
  const uint16_t *half = (const uint16_t *)view->vectors + (intptr_t)row * dim;
  for (int32_t i = 0; i < dim; i += LANES) {
    float x[LANES] = {0}, q[LANES] = {0};
    const int32_t some = dim - i < LANES ? dim - i : LANES;
    if (some == LANES) {
      for (int32_t j = 0; j < LANES; j++) q[j] = query[i + j];
      if (view->half)
        for (int32_t j = 0; j < LANES; j++) x[j] = widened(half + i + j);
      else
        for (int32_t j = 0; j < LANES; j++) x[j] = single[i + j];
    } else
      for (int32_t j = 0; j < some; j++) {
        q[j] = query[i + j];
        x[j] = view->half ? widened(half + i + j) : single[i + j];
      }
    if (space == SQUARED)
      for (int32_t j = 0; j < LANES; j++) {
        double apart = (double)x[j] - (double)q[j];
        sums[j] -= apart * apart;
      }
    else
      for (int32_t j = 0; j < LANES; j++) sums[j] += (double)x[j] * (double)q[j];
    if (view->half && space == COSINE)
      for (int32_t j = 0; j < LANES; j++) squares[j] += (double)x[j] * (double)x[j];
  }
  const double square = added(squares);
  return (float)(square > 0 ? added(sums) / __builtin_sqrt(square) : added(sums));
}

/* ── what Python calls ─────────────────────────────────────────────────────────────────────────────────────────── */

/* The k nearest of a query (dim) among the rows of `count` views, best first, equal scores by id; returns how many.
 * The `want` best bounds are looked at, for which `heap` has room; UNSURE if they do not suffice, BAD if the query is not
 * made of finite numbers. For cosine the query gets unit length in place. */
API MACHINE int32_t nook_nearest(const View *views, int32_t count, int32_t dim, int32_t space, float *query,
                                 int32_t want, int32_t k, Candidate *heap, int64_t *ids, float *scores) {
  int8_t code[WIDEST];
  float unit, lost;
  Query q;
  const int32_t stride = (dim + BLOCK - 1) / BLOCK * BLOCK;
  double square = 0;
  for (int32_t i = 0; i < dim; i++) square += (double)query[i] * (double)query[i];
  if (!(square <= 3e38)) return BAD;
  if (space == COSINE && square > 0 && __builtin_fabs(square - 1) > 1e-6) {
    const float length = (float)__builtin_sqrt(square);
    square = 0;
    for (int32_t i = 0; i < dim; i++) {
      query[i] /= length;
      square += (double)query[i] * (double)query[i];
    }
  }
  quantise_row(query, dim, stride, code, &unit, &lost);
  unpack(&q, code, stride);
  const float twice = space == SQUARED ? 2.0f : 1.0f, norm = twice * (float)__builtin_sqrt(square) * 1.0001f;
  const float rounding = 1e-6f * norm;
  float far = 0;
  for (int32_t part = 0; part < count; part++) far = views[part].longest > far ? views[part].longest : far;
  double slack = ((double)(twice * lost) + rounding) * far; /* the query's own error, and that of these floats */
  if (space == SQUARED) slack += 8e-6 * ((double)far * far + square) - square;

  int32_t size = 0, seen = 0;
  for (int32_t part = 0; part < count; part++) {
    const View *view = views + part;
    for (int32_t row = 0; row < view->count; row++) {
      if (view->allow && !view->allow[row]) continue;
      float bound = (float)dot(&q, view->codes + (intptr_t)row * stride, stride) * (twice * unit * view->scale[row]);
      bound += norm * view->error[row];
      if (space == SQUARED) bound -= view->squares[row];
      seen++;
      const Candidate c = {bound, row, part};
      if (size < want)
        rise(views, heap, size++, c);
      else if (bound >= heap[0].bound && worse(views, heap[0], c))
        sink(views, heap, size, c);
    }
  }
  sort(views, heap, size);

  int32_t found = 0, next = 0; /* the k best so far take the places of candidates that were looked at, as a heap */
  for (; next < size; next++) {
    Candidate c = heap[next];
    if (found == k && (double)c.bound + slack < (double)heap[0].bound) break;
    c.bound = exact(views + c.part, c.row, query, dim, space);
    if (found < k)
      rise(views, heap, found++, c);
    else if (worse(views, heap[0], c))
      sink(views, heap, found, c);
  }
  if (next == size && seen > size) return UNSURE;
  sort(views, heap, found);
  for (int32_t i = 0; i < found; i++) {
    ids[i] = views[heap[i].part].ids[heap[i].row];
    scores[i] = heap[i].bound;
  }
  return found;
}
