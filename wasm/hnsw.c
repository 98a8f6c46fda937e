/* Hierarchical navigable small worlds (Malkov and Yashunin, 1603.09320) over int8 codes. The Python side is
 * pysrc/inglenook/index/hnsw.py, the same in plain Python index/graph.py, class `Plain`: it builds the same graphs.
 *
 * What differs from the paper: one sorted pool is candidate queue and result set at once (a candidate that fell out of
 * the pool would never be followed); scores come from codes, the query's in 7 bits (dot.h); and a vector whose code is
 * in the graph already is hung onto that one as its twin, so that a thousand copies of a page cannot fill each other's
 * lists and become an island.
 *
 * Nothing is allocated: Python gives the arrays. A graph depends on the order of rows and their levels alone.
 */
#include "near.h"

enum { AHEAD = 4 }; /* rows scored at a time, and prefetched for the next time */

/* The largest list of links, 2m + 1 rows; hnsw.py keeps m below. */
enum { LIST = 256 };

typedef struct {
  Aim aim;
  float scale, bias; /* score = (4·dot - shift) * (scale * row's scale) + row's bias + bias */
} Target;

static inline const int8_t *code_of(const Graph *g, int32_t row) { return g->codes + (intptr_t)row * g->stride; }

static inline void target(const Graph *g, Target *t, const int8_t *code, float scale, float bias) {
  aim(&t->aim, code, g->stride);
  t->scale = scale * (g->space == 2 ? 1.0f : 0.5f);
  t->bias = bias;
}

static inline void target_row(const Graph *g, Target *t, int32_t row) {
  target(g, t, code_of(g, row), g->facts[row].scale, g->facts[row].bias);
}

static inline void fetch(const Graph *g, int32_t row) {
#if !defined(__wasm__)
  const int8_t *code = code_of(g, row);
  __builtin_prefetch(g->facts + row);
  for (int32_t i = 0; i < g->stride; i += 64) __builtin_prefetch(code + i);
#else
  (void)g, (void)row;
#endif
}

/* Scores of `count` rows. */
static MACHINE void score(const Graph *g, const Target *t, const int32_t *rows, int32_t count, float *scores) {
  for (int32_t i = 0; i < count; i += AHEAD) {
    const int8_t *four[AHEAD];
    int32_t dots[AHEAD], left = count - i < AHEAD ? count - i : AHEAD;
    for (int32_t j = 0; j < AHEAD; j++) {
      if (i + AHEAD + j < count) fetch(g, rows[i + AHEAD + j]);
      four[j] = code_of(g, rows[i + (j < left ? j : left - 1)]);
    }
    aim4(&t->aim, four, dots);
    for (int32_t j = 0; j < left; j++) {
      const Fact *fact = g->facts + rows[i + j];
      scores[i + j] = (float)(4 * dots[j] - fact->shift) * (t->scale * fact->scale) + fact->bias + t->bias;
    }
  }
}

static inline Near near_to(const Graph *g, const Target *t, int32_t row) {
  Near one = {0, row};
  score(g, t, &row, 1, &one.score);
  return one;
}

static void forget(const Graph *g, int32_t n) {
  for (int32_t i = 0; i < (n + 31) / 32; i++) g->seen[i] = 0;
}

/* The links of a row that were not seen yet; they are now. */
static inline int32_t unseen(const Graph *g, int32_t row, int32_t level, int32_t *rows) {
  const int32_t *links = links_of(g, row, level);
  int32_t count = 0, most = most_links(g, level);
  for (int32_t i = 0; i < most && links[i] >= 0; i++) {
    rows[count] = links[i];
    count += !mark(g->seen, links[i]);
  }
  for (int32_t i = 0; i < AHEAD && i < count; i++) fetch(g, rows[i]);
  return count;
}

/* Algorithm 2, with ef = 1: from level `from` down to just above `to`. */
static Near descend(const Graph *g, const Target *t, Near best, int32_t from, int32_t to) {
  int32_t batch[LIST];
  float scores[LIST];
  for (int32_t level = from; level > to; level--)
    for (int32_t row = -1; row != best.row;) {
      const int32_t *links = links_of(g, row = best.row, level);
      int32_t count = 0, most = most_links(g, level);
      for (; count < most && links[count] >= 0; count++) batch[count] = links[count];
      for (int32_t i = 0; i < AHEAD && i < count; i++) fetch(g, batch[i]);
      score(g, t, batch, count, scores);
      for (int32_t i = 0; i < count; i++) {
        Near other = {scores[i], batch[i]};
        if (better(other, best)) best = other;
      }
    }
  return best;
}

/* Algorithm 2: from one row, the `ef` nearest of a level into the pool, best first. Returns how many. */
static int32_t explore(const Graph *g, const Target *t, Near from, int32_t level, int32_t ef) {
  int32_t batch[LIST], size = 1;
  float scores[LIST];
  Near *pool = g->pool;
  forget(g, g->linked);
  mark(g->seen, from.row);
  pool[0] = from;
  for (int32_t at = 0; at < size;) {
    int32_t row = pool[at].row, next = at + 1;
    if (row < 0) {
      at++;
      continue;
    }
    pool[at].row = row | DONE;
    int32_t count = unseen(g, row, level, batch);
    score(g, t, batch, count, scores);
    for (int32_t i = 0; i < count; i++) {
      int32_t place = offer(pool, &size, ef, (Near){scores[i], batch[i]});
      next = place < next ? place : next;
    }
    at = next;
  }
  for (int32_t i = 0; i < size; i++) pool[i].row &= ROW;
  return size;
}

/* ── searches under a filter ───────────────────────────────────────────────────────────────────────────────────── */

static inline int32_t allowed(const Graph *g, const uint8_t *allow, int32_t row) {
  for (; row >= 0; row = g->facts[row].twin)
    if (allow[row]) return 1;
  return 0;
}

static void push(Near *heap, int32_t *size, Near x) {
  int32_t at = (*size)++;
  for (; at > 0 && better(x, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = x;
}

static Near pop(Near *heap, int32_t *size) {
  Near best = heap[0], last = heap[--*size];
  int32_t at = 0;
  for (int32_t child = 1; child < *size; child = 2 * at + 1) {
    if (child + 1 < *size && better(heap[child + 1], heap[child])) child++;
    if (!better(heap[child], last)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = last;
  return best;
}

/* `explore` on level 0 where only some rows may enter the pool; the others are walked through. */
static int32_t explore_allowed(const Graph *g, const Target *t, Near from, int32_t ef, const uint8_t *allow) {
  int32_t batch[LIST], size = 0, waiting = 0;
  float scores[LIST];
  Near *pool = g->pool;
  forget(g, g->linked);
  mark(g->seen, from.row);
  push(g->heap, &waiting, from);
  if (allowed(g, allow, from.row)) offer(pool, &size, ef, from);
  while (waiting) {
    Near best = pop(g->heap, &waiting);
    if (size == ef && better(pool[ef - 1], best)) break;
    int32_t count = unseen(g, best.row, 0, batch);
    score(g, t, batch, count, scores);
    for (int32_t i = 0; i < count; i++) {
      Near x = {scores[i], batch[i]};
      if (size == ef && better(pool[ef - 1], x)) continue;
      push(g->heap, &waiting, x);
      if (allowed(g, allow, x.row)) offer(pool, &size, ef, x);
    }
  }
  return size;
}

/* All allowed rows, one by one: exact in codes, and faster than a walk where few are allowed. */
static int32_t sift(const Graph *g, const Target *t, int32_t ef, const uint8_t *allow) {
  enum { MANY = 64 };
  int32_t batch[MANY], count = 0, size = 0;
  float scores[MANY];
  for (int32_t row = 0; row < g->linked; row++) {
    if (allow[row]) batch[count++] = row;
    if (count < MANY && row + 1 < g->linked) continue;
    score(g, t, batch, count, scores);
    for (int32_t i = 0; i < count; i++)
      if (size < ef || scores[i] > g->pool[size - 1].score) offer(g->pool, &size, ef, (Near){scores[i], batch[i]});
    count = 0;
  }
  return size;
}

/* Is a walk until `ef` of the allowed rows are found dearer than scoring all of them? A walk follows about
 * ef·linked/count rows, each with about m links not seen before and scattered in memory. */
static int32_t few(const Graph *g, int32_t ef, int32_t count) {
  return (int64_t)count * count < (int64_t)2 * g->m * ef * g->linked;
}

/* ── building ──────────────────────────────────────────────────────────────────────────────────────────────────── */

/* Algorithm 4: of `size` rows, best first, those that are nearer to the target than to any one chosen before. */
static int32_t choose(const Graph *g, const Near *rows, int32_t size, int32_t most, int32_t *chosen) {
  Target t;
  float scores[AHEAD];
  int32_t count = 0;
  for (int32_t i = 0; i < size && count < most; i++) {
    int32_t row = rows[i].row, good = 1;
    if (size > most && count) {
      target_row(g, &t, row);
      for (int32_t at = 0; at < count && good; at += AHEAD) {
        int32_t some = count - at < AHEAD ? count - at : AHEAD;
        score(g, &t, chosen + at, some, scores);
        for (int32_t j = 0; j < some; j++) good &= !(scores[j] > rows[i].score);
      }
    }
    if (good) chosen[count++] = row;
  }
  return count;
}

/* Adds `row` to the links of `other`; a full list is chosen anew. */
static void link_back(const Graph *g, int32_t other, int32_t row, int32_t level) {
  int32_t *links = links_of(g, other, level), most = most_links(g, level), count = 0;
  while (count < most && links[count] >= 0) count++;
  if (count < most) {
    links[count] = row;
    return;
  }
  Target t;
  int32_t rows[LIST], size = 0;
  float scores[LIST];
  Near sorted[LIST];
  for (int32_t i = 0; i < most; i++) rows[i] = links[i];
  rows[most] = row;
  target_row(g, &t, other);
  score(g, &t, rows, most + 1, scores);
  for (int32_t i = 0; i <= most; i++) offer(sorted, &size, LIST, (Near){scores[i], rows[i]});
  count = choose(g, sorted, size, most, links);
  for (; count < most; count++) links[count] = -1;
}

static int32_t same(const Graph *g, int32_t a, int32_t b) {
  const int8_t *x = code_of(g, a), *y = code_of(g, b);
  int32_t differs = g->facts[a].scale != g->facts[b].scale;
  for (int32_t i = 0; i < g->stride && !differs; i++) differs |= x[i] != y[i];
  return !differs;
}

/* Hangs `row` onto one of the `size` best of the pool that has the same code. */
static int32_t is_twin(Graph *g, int32_t size, int32_t row) {
  for (int32_t i = 0; i < size && g->pool[i].score >= g->pool[0].score; i++) {
    Fact *first = g->facts + g->pool[i].row;
    if (!same(g, g->pool[i].row, row)) continue;
    g->facts[row].twin = first->twin;
    first->twin = row;
    return 1;
  }
  return 0;
}

/* Algorithm 1 */
static void insert(Graph *g, int32_t row) {
  enum { GLANCE = 16 }; /* ef that is enough to find a row's own code */
  Target t;
  int32_t level = g->levels[row], chosen[LIST];
  if (g->entry < 0) {
    g->entry = row;
    g->top = level;
    return;
  }
  target_row(g, &t, row);
  Near best = near_to(g, &t, g->entry);
  best = descend(g, &t, best, g->top, level);
  if (level) {
    Near low = descend(g, &t, best, level < g->top ? level : g->top, 0);
    if (is_twin(g, explore(g, &t, low, 0, GLANCE), row)) return;
  }
  for (int32_t at = level < g->top ? level : g->top; at >= 0; at--) {
    int32_t size = explore(g, &t, best, at, g->effort);
    if (!level && is_twin(g, size, row)) return;
    best = g->pool[0];
    int32_t count = choose(g, g->pool, size, g->m, chosen), *links = links_of(g, row, at);
    for (int32_t i = 0; i < count; i++) links[i] = chosen[i];
    for (int32_t i = 0; i < count; i++) link_back(g, chosen[i], row, at);
  }
  if (level > g->top) {
    g->top = level;
    g->entry = row;
  }
}

/* ── what Python calls ─────────────────────────────────────────────────────────────────────────────────────────── */

/* Puts the next `count` rows into the graph; their codes, facts and levels are there, their lists hold -1. */
API void nook_hnsw_insert(Graph *g, int32_t count) {
  for (; count > 0; count--) {
    insert(g, g->linked);
    g->linked++;
  }
}

/* The query as a target: of unit length for cosine, relative to the centre, as a code. 0 if it is not finite. */
static MACHINE int32_t question(Graph *g, Target *t, const float *query) {
  float prepared[WIDEST], error;
  double squares = 0, left = 0, middle = 0;
  for (int32_t i = 0; i < g->dim; i++) squares += (double)query[i] * (double)query[i];
  if (!(squares <= 3e38)) return 0;
  float length = g->space == 1 && squares > 0 ? (float)__builtin_sqrt(squares) : 1.0f;
  for (int32_t i = 0; i < g->dim; i++) {
    float x = query[i] / length;
    prepared[i] = x - g->centre[i];
    left += (double)prepared[i] * (double)prepared[i];
    middle += (double)x * (double)g->centre[i];
  }
  if (!(left <= 3e38)) return 0;
  g->offset = (float)(g->space == 2 ? squares - left : middle);
  quantise_row(prepared, g->dim, g->stride, g->code, &g->code_scale, &error);
  target(g, t, g->code, g->code_scale, 0);
  return 1;
}

/* The `want` best rows that a search with `ef` finds, best first, and their scores from codes: ip and cosine q·x, l2
 * 2q·x - |x|². Where `allow` (n bytes) is given only rows with a byte other than 0 are returned. Returns how many, -1 if
 * the query is not finite. */
API int32_t nook_hnsw_search(Graph *g, const float *query, int32_t ef, int32_t want, const uint8_t *allow, int32_t *rows,
                             float *scores) {
  Target t;
  int32_t size, found = 0, permitted = g->linked, alone = 0;
  if (!question(g, &t, query)) return -1;
  if (g->entry < 0 || want < 1) return 0;
  if (allow) {
    permitted = 0;
    for (int32_t i = 0; i < g->linked; i++) permitted += allow[i] != 0;
  }
  if (!permitted) return 0;
  alone = allow && few(g, ef, permitted);
  if (alone)
    size = sift(g, &t, ef, allow);
  else {
    Near from = descend(g, &t, near_to(g, &t, g->entry), g->top, 0);
    size = permitted == g->linked ? explore(g, &t, from, 0, ef) : explore_allowed(g, &t, from, ef, allow);
  }
  for (int32_t i = 0; i < size && found < want; i++)
    for (int32_t row = g->pool[i].row; row >= 0 && found < want; row = alone ? -1 : g->facts[row].twin) {
      if (allow && !allow[row]) continue;
      rows[found] = row;
      scores[found++] = g->pool[i].score + g->offset;
    }
  return found;
}

/* The exact score of a vector: q·x, or 2q·x - |x|². Summed in double, in a fixed order. */
static MACHINE double exact(const float *x, const float *q, int32_t dim, int32_t l2) {
  enum { LANES = 8 };
  double sums[LANES] = {0};
  int32_t i = 0;
  if (l2)
    for (; i + LANES <= dim; i += LANES)
      for (int32_t j = 0; j < LANES; j++) sums[j] += (double)x[i + j] * (2.0 * (double)q[i + j] - (double)x[i + j]);
  else
    for (; i + LANES <= dim; i += LANES)
      for (int32_t j = 0; j < LANES; j++) sums[j] += (double)x[i + j] * (double)q[i + j];
  for (; i < dim; i++) sums[0] += (double)x[i] * (l2 ? 2.0 * (double)q[i] - (double)x[i] : (double)q[i]);
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

/* Puts `rows` in the order of their exact scores, best first, equal ones by row; the vector of rows[k] is vectors[k],
 * or vectors[rows[k]] where they are all there. Vectors of a cosine graph have unit length, the query need not. */
API MACHINE void nook_hnsw_confirm(const Graph *g, const float *vectors, int32_t all, const float *query, int32_t count,
                                   int32_t *rows, float *scores) {
  double length = g->space == 1 ? __builtin_sqrt(exact(query, query, g->dim, 0)) : 1;
  int32_t size = 0;
  for (int32_t k = 0; k < count; k++) {
    const float *x = vectors + (intptr_t)(all ? rows[k] : k) * g->dim;
#if !defined(__wasm__)
    if (all && k + 1 < count)
      for (int32_t i = 0; i < g->dim; i += 16) __builtin_prefetch(vectors + (intptr_t)rows[k + 1] * g->dim + i);
#endif
    double score = exact(x, query, g->dim, g->space == 2);
    offer(g->pool, &size, count, (Near){(float)(length > 0 ? score / length : score), rows[k]});
  }
  for (int32_t k = 0; k < size; k++) {
    rows[k] = g->pool[k].row;
    scores[k] = g->pool[k].score;
  }
}
