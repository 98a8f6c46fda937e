/* A graph of near neighbours as Python lays it out (index/graph.py), and the sorted pool that walks through it keep. */
#ifndef NEAR_H
#define NEAR_H

#include "dot.h"

enum { DONE = (int32_t)0x80000000, ROW = 0x7fffffff }; /* in Near.row: its links were followed */

typedef struct {
  float score;
  int32_t row;
} Near;

/* What a code needs to become a score, and the row with the same code (or -1) that is not in the graph itself. Codes are
 * of x = vector - centre; the bias is -|x|² for l2, centre·x else. */
typedef struct {
  float scale, bias;
  int32_t shift, twin;
} Fact;

/* Rows of level l > 0 have l lists of m links in `upper`, from list places[row] on; all rows have one of 2m in `links`.
 * Lists are filled from the front, -1 ends them. */
typedef struct {
  int32_t stride, dim, space; /* space: 0 ip, 1 cosine, 2 l2 */
  int32_t m, effort;          /* effort: efConstruction */
  int32_t linked, entry, top; /* rows 0 … linked - 1 are in the graph; -1, -1 while it is empty */
  const int8_t *codes;        /* (n, stride) */
  Fact *facts;                /* (n) */
  const float *centre;        /* (dim): codes are of differences from it */
  const uint8_t *levels;      /* (n) */
  const int32_t *places;      /* (n) */
  int32_t *links, *upper;     /* (n, 2m), (sum of levels, m) */
  uint32_t *seen;             /* n bits, rounded up to 32 */
  Near *pool;                 /* room for the largest ef, and for 2m + 1 */
  Near *heap;                 /* (n), used by filtered searches only */
  int8_t *code;               /* (stride): the code of the last query */
  float code_scale, offset;   /* and its scale; offset: what was added to its scores */
} Graph;

static inline int32_t *links_of(const Graph *g, int32_t row, int32_t level) {
  return level ? g->upper + (intptr_t)(g->places[row] + level - 1) * g->m : g->links + (intptr_t)row * 2 * g->m;
}

static inline int32_t most_links(const Graph *g, int32_t level) { return level ? g->m : 2 * g->m; }

/* Marks a row; was it marked before? */
static inline int32_t mark(uint32_t *seen, int32_t row) {
  uint32_t word = seen[row >> 5], bit = 1u << (row & 31);
  seen[row >> 5] = word | bit;
  return (word & bit) != 0;
}

static inline int better(Near a, Near b) {
  return a.score > b.score || (a.score == b.score && (a.row & ROW) < (b.row & ROW));
}

/* Puts x into the pool of the `most` best, best first. Where it went, `most` if nowhere. */
static inline int32_t offer(Near *pool, int32_t *size, int32_t most, Near x) {
  int32_t at = *size;
  if (at == most) {
    if (!better(x, pool[at - 1])) return most;
    at--;
  } else
    ++*size;
  for (; at > 0 && better(x, pool[at - 1]); at--) pool[at] = pool[at - 1];
  pool[at] = x;
  return at;
}

#endif
