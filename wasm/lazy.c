/* Phased lazy loading (WebANNS, 2507.00521, Algorithm 1): a search of a graph whose float vectors are only partly in
 * memory. The Python side is pysrc/inglenook/index/lazy.py, whose class `Plain` is this file's oracle.
 *
 * A walk goes on among the vectors that are there; rows whose vectors are not go on the list `missing`. When that list
 * is longer than ef, or the walk of a level has nothing left to follow, `nook_lazy_run` returns and asks for them; they
 * come through `nook_lazy_take`, and the walk goes on where it stopped.
 */
#include "near.h"

enum { LEFT_ALONE, LAST_USE, USES }; /* what a use of a vector does to its key: see index/cache.py */
enum { OFTEN = 1 << 30 };

typedef struct {
  int32_t l2, ef, level, size, at, lacking, width, order, clock, used;
  const Graph *graph;
  const float *query;   /* (dim) */
  const float *vectors; /* (slots, dim): those in memory */
  const int32_t *slots; /* (n): where a row's vector is, -1 if it is not there */
  int32_t *keys;        /* (n) */
  uint32_t *seen;       /* n bits */
  Near *pool;           /* (ef) */
  int32_t *missing;     /* (ef + 2m + 1) */
} Lazy;

/* q·x or -|q - x|², in sixteen sums and one order, so that every build gives the same bits. */
static float score(const Lazy *s, const float *x) {
  enum { LANES = 16 };
  float sums[LANES] = {0};
  int32_t i = 0, dim = s->graph->dim;
  if (s->l2)
    for (; i + LANES <= dim; i += LANES)
      for (int32_t j = 0; j < LANES; j++) {
        float gap = s->query[i + j] - x[i + j];
        sums[j] -= gap * gap;
      }
  else
    for (; i + LANES <= dim; i += LANES)
      for (int32_t j = 0; j < LANES; j++) sums[j] += s->query[i + j] * x[i + j];
  for (int32_t j = 0; i + j < dim; j++) {
    float gap = s->query[i + j] - x[i + j];
    sums[j] += s->l2 ? -gap * gap : s->query[i + j] * x[i + j];
  }
  for (int32_t half = LANES / 2; half; half /= 2)
    for (int32_t j = 0; j < half; j++) sums[j] += sums[j + half];
  return sums[0];
}

static void use(Lazy *s, int32_t row, const float *x) {
  s->used++;
  if (s->order == LAST_USE) s->keys[row] = ++s->clock;
  if (s->order == USES && s->keys[row] < OFTEN) s->keys[row]++;
  int32_t at = offer(s->pool, &s->size, s->width, (Near){score(s, x), row});
  s->at = at < s->at ? at : s->at;
}

static void visit(Lazy *s, int32_t row) {
  if (mark(s->seen, row)) return;
  if (s->slots[row] < 0)
    s->missing[s->lacking++] = row;
  else
    use(s, row, s->vectors + (intptr_t)s->slots[row] * s->graph->dim);
}

/* A level begins, at one row. */
static void enter(Lazy *s, int32_t level) {
  s->level = level;
  s->width = level ? 1 : s->ef;
  s->at = 0;
  for (int32_t i = 0; i < (s->graph->linked + 31) / 32; i++) s->seen[i] = 0;
}

/* Begins a search: ef, query and the arrays are there. */
API void nook_lazy_start(Lazy *s) {
  s->size = s->lacking = s->used = 0;
  if (s->graph->entry < 0) {
    s->level = 0;
    return;
  }
  enter(s, s->graph->top);
  visit(s, s->graph->entry);
}

/* Walks on. Returns how many rows of `missing` it needs now; 0: it is done, and the pool holds the best rows. */
API int32_t nook_lazy_run(Lazy *s) {
  const Graph *g = s->graph;
  for (;;) {
    while (s->at < s->size) {
      int32_t row = s->pool[s->at].row;
      if (row < 0) {
        s->at++;
        continue;
      }
      s->pool[s->at++].row = row | DONE;
      const int32_t *links = links_of(g, row, s->level);
      for (int32_t i = 0; i < most_links(g, s->level) && links[i] >= 0; i++) visit(s, links[i]);
      if (s->lacking > s->width) return s->lacking; /* within a level */
    }
    if (s->lacking) return s->lacking; /* before the level is left */
    for (int32_t i = 0; i < s->size; i++) s->pool[i].row &= ROW;
    if (s->level == 0) return 0;
    enter(s, s->level - 1);
    mark(s->seen, s->pool[0].row);
  }
}

/* The vectors of all rows of `missing`. */
API void nook_lazy_take(Lazy *s, const float *vectors) {
  for (int32_t i = 0; i < s->lacking; i++) use(s, s->missing[i], vectors + (intptr_t)i * s->graph->dim);
  s->lacking = 0;
}
