/* What the parts of the language model share: its sizes, its weights, its pages, the job at hand. */
#ifndef LLAMA_H
#define LLAMA_H

#include "mathv.h"
#include "panel.h"
#include "team.h"

enum { CHUNK = 64, PAGE = 64, MAX_LAYERS = 64, MAX_LEVELS = 16, MAX_HEAD = 128, MAX_THREADS = 16, UNIT = 32, QUAD = 4 };
enum { MAX_EACH = 16, SPAN = 256 }; /* tokens whose logits are kept; rows of the head that are summed up at a time */
enum { MARGIN = 64, MAX_SCREENED = 512 }; /* rows beyond those wanted that are looked at by all bits; and all together */

typedef struct {
  const float *attn_norm, *ffn_norm;
  Mat q, k, v, o, gate, up, down;
  Kind kind; /* of down: Q4, as the others, or Q8 */
} Layer;

/* What takes part of a layer at a level: FFN neurons, key-value groups, and what makes up for the rest. */
typedef struct {
  int hidden, groups;
  const float *bias; /* or null */
  Mat a, b;          /* (rank, hidden), (width, rank); rank 0: none */
} Size;

typedef struct {
  Team team; /* first: the driver of the threads knows only this */
  int layers, width, hidden, heads, kv_heads, vocabulary, head, group, context, pages, levels, rank, spans;
  float epsilon;
  Mat embedding;
  const float *norm;
  float *cosine, *sine; /* (context, head): the turn of each channel, sine negative where its partner is subtracted */
  Layer layer[MAX_LAYERS];
  Size *size;    /* (levels, layers) */
  char *pool;    /* the pages */
  int32_t *held; /* (pages): how many positions of each were written */
  float *x, *qkv, *logits; /* (CHUNK, width), (CHUNK, width + 2 kv), (MAX_EACH, vocabulary) */
  float *low;              /* (CHUNK, rank) */
  float *peaks, *sums;     /* (CHUNK, spans): of the logits, for their log-sum-exp */
  char *attn_at, *ffn_at;  /* activations in int8: width wide, hidden wide */
  Acts attn, ffn;
  float *local[MAX_THREADS]; /* each thread's own scratch */
  const int32_t *tokens, *table; /* the job: what is run, the pages of its positions, */
  const int32_t *places;         /* where each token stands, if each is of a session of its own, */
  int stride;                    /* whose pages begin so far apart in the table, */
  const Size *active;            /* its level, */
  int n, at, first, rows, row;   /* and for which of its n tokens logits are wanted: `rows` from `first` on, as `row` */
  float *scores;                 /* if logits are only to be scored: where to put those of the tokens that follow */
  int screened;                  /* whether the head's high bits alone are read first */
  const uint8_t *read;           /* or bytes that are only to be read */
  size_t bytes;
} Llama;

/* A page holds PAGE positions of all layers: for each layer and key-value head keys, values (PAGE, head) in int8 and
 * their scales. */
typedef struct {
  int8_t *keys, *values;
  float *key_scale, *value_scale;
} Slot;

INLINE size_t slot_bytes(const Llama *m) { return (size_t)PAGE * (2 * (size_t)m->head + 2 * sizeof(float)); }
INLINE size_t page_bytes(const Llama *m) { return (size_t)(m->layers * m->kv_heads) * slot_bytes(m); }

/* Where token t of the job stands. */
INLINE int place(const Llama *m, int t) { return m->places ? m->places[t] : m->at + t; }

/* Where page number `i` of token t's session keeps head `g` of `layer`. */
INLINE Slot slot(const Llama *m, int t, int i, int layer, int g) {
  size_t page = (size_t)m->table[t * m->stride + i];
  char *at = m->pool + page * page_bytes(m) + (size_t)(layer * m->kv_heads + g) * slot_bytes(m);
  size_t rows = (size_t)PAGE * (size_t)m->head;
  float *scales = (float *)(at + 2 * rows);
  return (Slot){(int8_t *)at, (int8_t *)at + rows, scales, scales + PAGE};
}

/* My share [from, to) of `n` units of work. */
INLINE void share(const Llama *m, int me, int n, int *from, int *to) {
  *from = n * me / m->team.count, *to = n * (me + 1) / m->team.count;
}

/* pass.c: what a member of the team does of the job. */
void run_chunk(Llama *m, int me);

/* attention.c: keys and values of the job's tokens to their pages; then attention, its result to m->attn. `stride` is
 * that of m->qkv; `groups` take part. */
void remember(Llama *m, int layer, int groups, int me, int stride);
void attend_all(Llama *m, int layer, int groups, int me, int stride);
size_t attend_floats(const Llama *m); /* scratch a thread needs */

/* head.c: logits of the tokens whose normed states are in m->attn, `rows` of them; and what is made of them. */
void head_rows(Llama *m, int me, int rows);
void head_confirm(Llama *m, int row, int top, const uint8_t *allow);
float head_total(const Llama *m, int row);
int head_best(const float *logits, int count, int top, const uint8_t *allow, int32_t *ids, float *values);

#endif
