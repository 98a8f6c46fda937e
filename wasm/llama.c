/* The Llama family's forward pass: RMSNorm, rotary positions, grouped-query attention, SwiGLU (Touvron et al.,
 * 2302.13971; Ainslie et al., 2305.13245), over weights in panels (panel.h) and a key-value cache of 8 bits.
 * The oracle is pysrc/inglenook/elastic/reference.py.
 *
 * A prompt is read in chunks of up to 64 tokens; a token gives the same bits whichever way a prompt is cut, on every
 * build and with any number of threads, because no sum depends on any of these.
 *
 * Each layer has its own count of active FFN neurons and key-value groups (llama_size): weights are in panels of rows
 * and blocks of columns, so a smaller model is a prefix of the same bytes (ELMS, 2409.09071, section 3.1).
 */
#include "mathv.h"
#include "panel.h"
#include "team.h"

enum { CHUNK = 64, MAX_LAYERS = 64, MAX_HEAD = 128, MAX_THREADS = 16, UNIT = 32, QUAD = 4 };
enum { TENSORS_BEFORE = 3, TENSORS_PER_LAYER = 9 };

typedef struct {
  const float *attn_norm, *ffn_norm;
  Mat q, k, v, o, gate, up, down;
  int8_t *keys, *values;         /* (kv_heads, context, head) */
  float *key_scale, *value_scale; /* (kv_heads, context) */
  int hidden, groups;            /* active */
} Layer;

typedef struct {
  Team team; /* first: the driver of the threads knows only this */
  int layers, width, hidden, heads, kv_heads, vocabulary, head, group, context, held;
  float epsilon;
  Mat embedding;
  const float *norm;
  float *cosine, *sine; /* (context, head): the turn of each channel, sine negative where its partner is subtracted */
  Layer layer[MAX_LAYERS];
  float *x, *qkv, *logits; /* (CHUNK, width), (CHUNK, width + 2 kv), (vocabulary) */
  char *attn_at, *ffn_at;  /* activations in int8: width wide, hidden wide */
  Acts attn, ffn;
  float *local[MAX_THREADS]; /* each thread's own scratch */
  const int32_t *tokens;     /* the job */
  int n, at, last;
} Llama;

static size_t round_up(size_t n) { return (n + 63) & ~(size_t)63; }

static void *take(char **at, size_t bytes) {
  void *p = *at;
  *at += round_up(bytes);
  return p;
}

static size_t local_floats(const Llama *m) {
  size_t scores = (size_t)m->group * (size_t)(m->context + QUAD) + (size_t)m->width;
  size_t gated = 2 * (size_t)CHUNK * UNIT;
  return scores > gated ? scores : gated;
}

/* Lays out everything that is not a weight from `base` on; returns its size. */
static size_t lay_out(Llama *m, char *base) {
  char *at = base;
  size_t kv = (size_t)m->kv_heads * (size_t)m->context;
  m->cosine = take(&at, sizeof(float) * (size_t)(m->context * m->head));
  m->sine = take(&at, sizeof(float) * (size_t)(m->context * m->head));
  m->x = take(&at, sizeof(float) * (size_t)(CHUNK * m->width));
  m->qkv = take(&at, sizeof(float) * (size_t)(CHUNK * (m->width + 2 * m->kv_heads * m->head)));
  m->logits = take(&at, sizeof(float) * (size_t)m->vocabulary);
  m->attn_at = take(&at, acts_bytes(CHUNK, m->width, 32));
  m->ffn_at = take(&at, acts_bytes(CHUNK, m->hidden, 32));
  for (int i = 0; i < m->layers; i++) {
    Layer *l = &m->layer[i];
    l->keys = take(&at, kv * (size_t)m->head);
    l->values = take(&at, kv * (size_t)m->head);
    l->key_scale = take(&at, kv * sizeof(float));
    l->value_scale = take(&at, kv * sizeof(float));
  }
  for (int i = 0; i < m->team.count; i++) m->local[i] = take(&at, sizeof(float) * local_floats(m));
  return (size_t)(at - base);
}

/* words: layers, width, hidden, heads, kv_heads, vocabulary, bits of epsilon. Returns 0 if the kernel cannot do it. */
static int read_words(Llama *m, const int32_t *words, int context, int threads) {
  __builtin_memset(m, 0, sizeof *m);
  m->layers = words[0], m->width = words[1], m->hidden = words[2], m->heads = words[3], m->kv_heads = words[4];
  m->vocabulary = words[5];
  __builtin_memcpy(&m->epsilon, &words[6], 4);
  m->head = m->width / m->heads, m->group = m->heads / m->kv_heads;
  m->context = (context + QUAD - 1) / QUAD * QUAD;
  m->team.count = threads;
  return m->layers <= MAX_LAYERS && m->head <= MAX_HEAD && m->head % UNIT == 0 && m->width % UNIT == 0 &&
         m->hidden % UNIT == 0 && m->vocabulary % PANEL == 0 && threads >= 1 && threads <= MAX_THREADS &&
         m->heads % m->kv_heads == 0 && context > 0;
}

/* Bytes llama_open needs at `arena`, 64-byte aligned; 0 if this kernel cannot run such a model. */
API size_t llama_bytes(const int32_t *words, int context, int threads) {
  Llama m;
  if (!read_words(&m, words, context, threads)) return 0;
  return round_up(sizeof(Llama)) + lay_out(&m, (char *)0);
}

static Mat mat(const void *data, int rows, int cols) { return (Mat){data, rows, cols}; }

/* cos and sin of position * frequency, by turning step after step in double precision. */
static void fill_rotations(Llama *m, const double *step) {
  for (int i = 0; i < m->head / 2; i++) {
    double c = 1.0, s = 0.0, dc = step[2 * i], ds = step[2 * i + 1];
    for (int p = 0; p < m->context; p++) {
      float *cosine = m->cosine + (size_t)p * (size_t)m->head + 2 * i, *sine = m->sine + (cosine - m->cosine);
      cosine[0] = cosine[1] = (float)c;
      sine[0] = -(float)s, sine[1] = (float)s;
      double turned = c * dc - s * ds;
      s = s * dc + c * ds;
      c = turned;
    }
  }
}

/* A model at `arena` over the weights of the file at `file`. offsets: where its tensors start, in the order
 * rotation (head / 2 pairs of cos and sin, double), embedding, norm, and for each layer
 * attn_norm, q, k, v, o, ffn_norm, gate, up, down. */
API Llama *llama_open(void *arena, const int32_t *words, const uint32_t *offsets, const uint8_t *file, int context,
                      int threads) {
  Llama *m = arena;
  if (!read_words(m, words, context, threads)) return 0;
  lay_out(m, (char *)arena + round_up(sizeof(Llama)));
  int w = m->width, h = m->hidden, kv = m->kv_heads * m->head;
  fill_rotations(m, (const double *)(file + offsets[0]));
  m->embedding = mat(file + offsets[1], m->vocabulary, w);
  m->norm = (const float *)(file + offsets[2]);
  for (int i = 0; i < m->layers; i++) {
    const uint32_t *o = offsets + TENSORS_BEFORE + i * TENSORS_PER_LAYER;
    Layer *l = &m->layer[i];
    l->attn_norm = (const float *)(file + o[0]);
    l->q = mat(file + o[1], w, w), l->k = mat(file + o[2], kv, w), l->v = mat(file + o[3], kv, w);
    l->o = mat(file + o[4], w, w);
    l->ffn_norm = (const float *)(file + o[5]);
    l->gate = mat(file + o[6], h, w), l->up = mat(file + o[7], h, w), l->down = mat(file + o[8], w, h);
    l->hidden = h, l->groups = m->kv_heads;
  }
  return m;
}

/* The part of `layer` that takes part from now on: the first `hidden` FFN neurons (a multiple of 32) and the first
 * `groups` key-value groups with their query heads. What is in the cache stays. Returns 0 if out of range. */
API int llama_size(Llama *m, int layer, int hidden, int groups) {
  if (layer < 0 || layer >= m->layers || hidden < 0 || hidden > m->hidden || hidden % UNIT || groups < 0 ||
      groups > m->kv_heads)
    return 0;
  m->layer[layer].hidden = hidden, m->layer[layer].groups = groups;
  return 1;
}

/* ── the parts of a layer; `me` is the thread's number, work is cut into ranges or dealt out by token ──────────────── */

/* My share [from, to) of `n` units of work. */
static void share(const Llama *m, int me, int n, int *from, int *to) {
  *from = n * me / m->team.count, *to = n * (me + 1) / m->team.count;
}

static void rms_norm(const Llama *m, const float *x, const float *weight, float *out) {
  F4 squares = f4(0.0f);
  for (int i = 0; i < m->width; i += 4) squares += f4_load(x + i) * f4_load(x + i);
  float scale = 1.0f / root(f4_sum(squares) / (float)m->width + m->epsilon);
  for (int i = 0; i < m->width; i += 4) f4_store(out + i, f4_load(x + i) * scale * f4_load(weight + i));
}

/* Norms and quantises the tokens dealt to me. */
static void norm_tokens(Llama *m, int me, const float *weight) {
  for (int t = me; t < m->n; t += m->team.count) {
    rms_norm(m, m->x + (size_t)t * (size_t)m->width, weight, m->local[me]);
    acts_set(&m->attn, t, m->local[me], 0, m->width);
  }
}

static void rotate(float *x, const float *cosine, const float *sine, int n) {
  for (int i = 0; i < n; i += 4) {
    F4 v = f4_load(x + i), partner = __builtin_shufflevector(v, v, 1, 0, 3, 2);
    f4_store(x + i, v * f4_load(cosine + i) + partner * f4_load(sine + i));
  }
}

/* Stores n floats as int8 with one scale, which is returned. */
static float store_row(const float *x, int n, int8_t *out) {
  F4 peaks = f4(0.0f);
  for (int i = 0; i < n; i += 4) peaks = f4_max(peaks, f4_abs(f4_load(x + i)));
  float peak = f4_peak(peaks), inverse = peak > 0.0f ? 127.0f / peak : 0.0f;
  for (int i = 0; i < n; i += 4) {
    int32_t bytes = i4_bytes(i4_round(f4_load(x + i) * inverse));
    WRITE(out + i, bytes);
  }
  return peak / 127.0f;
}

/* Turns keys and puts keys and values of the tokens dealt to me in the cache. */
static void remember(Llama *m, const Layer *l, int me, int stride) {
  int d = m->head;
  for (int t = me; t < m->n; t += m->team.count) {
    int position = m->at + t;
    float *row = m->qkv + (size_t)t * (size_t)stride;
    for (int g = 0; g < l->groups; g++) {
      float *key = row + (m->heads + g) * d, *value = key + m->kv_heads * d;
      size_t at = (size_t)g * (size_t)m->context + (size_t)position;
      rotate(key, m->cosine + (size_t)position * (size_t)d, m->sine + (size_t)position * (size_t)d, d);
      l->key_scale[at] = store_row(key, d, l->keys + at * (size_t)d);
      l->value_scale[at] = store_row(value, d, l->values + at * (size_t)d);
    }
  }
}

/* scores[p] = query . key p for positions [0, n), four at a time: int8 keys, a query of 16 bits, exact sums. */
static float score(const float *query, int d, const int8_t *keys, const float *key_scale, int n, float *scores) {
  int16_t q[MAX_HEAD];
  F4 peaks = f4(0.0f);
  for (int i = 0; i < d; i += 4) peaks = f4_max(peaks, f4_abs(f4_load(query + i)));
  float peak = f4_peak(peaks), inverse = peak > 0.0f ? 32767.0f / peak : 0.0f;
  for (int i = 0; i < d; i += 4) {
    I4 v = i4_round(f4_load(query + i) * inverse);
    for (int j = 0; j < 4; j++) q[i + j] = (int16_t)v[j];
  }
  float scale = peak / 32767.0f / root((float)d);
  F4 best = f4(-3.0e38f);
  for (int p = 0; p < n; p += QUAD) {
    I4 sums[QUAD] = {i4(0), i4(0), i4(0), i4(0)};
    const int8_t *k = keys + (size_t)p * (size_t)d;
    for (int i = 0; i < d; i += 8) {
      S8 part = READ(S8, q + i);
      for (int j = 0; j < QUAD; j++) sums[j] += s8_dot(s8_load(k + j * d + i), part);
    }
    I4 ab = __builtin_shufflevector(sums[0], sums[1], 0, 4, 1, 5) + __builtin_shufflevector(sums[0], sums[1], 2, 6, 3, 7);
    I4 cd = __builtin_shufflevector(sums[2], sums[3], 0, 4, 1, 5) + __builtin_shufflevector(sums[2], sums[3], 2, 6, 3, 7);
    I4 all = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    F4 s = f4_of(all) * (f4_load(key_scale + p) * scale);
    if (n - p < QUAD) s = f4_pick((I4){0, 1, 2, 3} < (n - p), s, f4(-3.0e38f));
    f4_store(scores + p, s);
    best = f4_max(best, s);
  }
  return f4_peak(best);
}

/* Softmax without its division, weighted with the values' scales; returns what to divide by. */
static float soften(float *scores, const float *value_scale, int n, float peak) {
  F4 total = f4(0.0f);
  for (int p = 0; p < n; p += QUAD) {
    F4 e = f4_exp(f4_load(scores + p) - peak);
    total += e;
    f4_store(scores + p, e * f4_load(value_scale + p));
  }
  return f4_sum(total);
}

/* out[h] = sum over positions of weight[h][p] * values[p], 16 channels at a time for `heads` heads at once. */
INLINE void mix(int heads, const float *weights, int stride, const int8_t *values, int d, int n, float *out) {
  for (int c = 0; c < d; c += 16) {
    F4 sums[3][4];
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < 4; j++) sums[h][j] = f4(0.0f);
    for (int p = 0; p < n; p++) {
      const int8_t *v = values + (size_t)p * (size_t)d + c;
      F4 part[4];
      for (int j = 0; j < 2; j++) {
        S8 bytes = s8_load(v + 8 * j);
        part[2 * j] = f4_of(__builtin_convertvector(__builtin_shufflevector(bytes, bytes, 0, 1, 2, 3), I4));
        part[2 * j + 1] = f4_of(__builtin_convertvector(__builtin_shufflevector(bytes, bytes, 4, 5, 6, 7), I4));
      }
      for (int h = 0; h < heads; h++) {
        F4 w = f4(weights[h * stride + p]);
        for (int j = 0; j < 4; j++) sums[h][j] += w * part[j];
      }
    }
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < 4; j++) f4_store(out + h * d + c + 4 * j, sums[h][j]);
  }
}

/* Attention of token t for query heads [from, to), all of one key-value group; the result goes to the activations. */
static void attend(Llama *m, const Layer *l, int me, int t, int from, int to, int stride) {
  int d = m->head, n = m->at + t + 1, row = m->context + QUAD, g = from / m->group;
  size_t at = (size_t)g * (size_t)m->context;
  const int8_t *values = l->values + at * (size_t)d;
  float *scores = m->local[me], *out = scores + (size_t)m->group * (size_t)row, total[3];
  for (int h = from, heads; h < to; h += heads) {
    heads = to - h < 3 ? to - h : 3;
    for (int i = 0; i < heads; i++) {
      float *query = m->qkv + (size_t)t * (size_t)stride + (h + i) * d;
      size_t turn = (size_t)(m->at + t) * (size_t)d;
      rotate(query, m->cosine + turn, m->sine + turn, d);
      float peak = score(query, d, l->keys + at * (size_t)d, l->key_scale + at, n, scores + i * row);
      total[i] = soften(scores + i * row, l->value_scale + at, n, peak);
    }
    if (heads == 3) mix(3, scores, row, values, d, n, out);
    else if (heads == 2) mix(2, scores, row, values, d, n, out);
    else mix(1, scores, row, values, d, n, out);
    for (int i = 0; i < heads; i++) {
      float inverse = 1.0f / total[i];
      for (int c = 0; c < d; c += 4) f4_store(out + i * d + c, f4_load(out + i * d + c) * inverse);
    }
    acts_set(&m->attn, t, out, h * d, (h + heads) * d);
  }
}

/* The heads of all tokens, dealt out: whole tokens where there are enough, else heads. */
static void attend_all(Llama *m, const Layer *l, int me, int stride) {
  int heads = l->groups * m->group, by_token = m->n >= m->team.count, from = 0, to = heads;
  if (!by_token) share(m, me, heads, &from, &to);
  for (int t = by_token ? me : 0; t < m->n; t += by_token ? m->team.count : 1)
    for (int h = from, end; h < to; h = end) {
      end = (h / m->group + 1) * m->group;
      if (end > to) end = to;
      attend(m, l, me, t, h, end, stride);
    }
}

/* gate, up and SiLU for units of 32 neurons; the result is quantised as it comes. */
static void gate_units(Llama *m, const Layer *l, int me) {
  int from, to;
  float *gate = m->local[me], *up = gate + CHUNK * UNIT;
  share(m, me, l->hidden / UNIT, &from, &to);
  for (int u = from; u < to; u++) {
    int first = u * (UNIT / PANEL), end = first + UNIT / PANEL;
    multiply(Q4, &l->gate, &m->attn, 0, gate, UNIT, 0, first, end);
    multiply(Q4, &l->up, &m->attn, 0, up, UNIT, 0, first, end);
    for (int i = 0; i < m->n * UNIT; i += 4) f4_store(gate + i, f4_silu(f4_load(gate + i)) * f4_load(up + i));
    for (int t = 0; t < m->n; t++) acts_set(&m->ffn, t, gate + t * UNIT, u * UNIT, (u + 1) * UNIT);
  }
}

/* My rows of weights times the activations, written (or added) to out. */
static void my_rows(Llama *m, int me, const Mat *w, int rows, const Acts *a, float *out, int stride, int add) {
  int from, to;
  share(m, me, rows / PANEL, &from, &to);
  multiply(Q4, w, a, 0, out + from * PANEL, stride, add, from, to);
}

/* One chunk of up to 64 tokens through all layers, and if it is the last one, the logits after its last token. */
static void run_chunk(Llama *m, int me) {
  int d = m->head, kv = m->kv_heads * d, stride = m->width + 2 * kv, from, to;
  int last = m->last; /* after the barrier that ends a chunk, the job may already be the next one */
  for (int t = me; t < m->n; t += m->team.count)
    unpack_row(Q8, &m->embedding, m->tokens[t], m->x + (size_t)t * (size_t)m->width);
  for (int i = 0; i < m->layers; i++) {
    const Layer *l = &m->layer[i];
    int active = l->groups * d;
    if (active) {
      if (me == 0) acts_place(&m->attn, m->attn_at, m->n, m->width, Q4);
      team_barrier(&m->team);
      norm_tokens(m, me, l->attn_norm);
      team_barrier(&m->team);
      my_rows(m, me, &l->q, active * m->group, &m->attn, m->qkv, stride, 0);
      my_rows(m, me, &l->k, active, &m->attn, m->qkv + m->width, stride, 0);
      my_rows(m, me, &l->v, active, &m->attn, m->qkv + m->width + kv, stride, 0);
      team_barrier(&m->team);
      if (me == 0) acts_place(&m->attn, m->attn_at, m->n, active * m->group, Q4);
      remember(m, l, me, stride);
      team_barrier(&m->team);
      attend_all(m, l, me, stride);
      team_barrier(&m->team);
      my_rows(m, me, &l->o, m->width, &m->attn, m->x, m->width, 1);
      team_barrier(&m->team);
    }
    if (l->hidden) {
      if (me == 0) {
        acts_place(&m->attn, m->attn_at, m->n, m->width, Q4);
        acts_place(&m->ffn, m->ffn_at, m->n, l->hidden, Q4);
      }
      team_barrier(&m->team);
      norm_tokens(m, me, l->ffn_norm);
      team_barrier(&m->team);
      gate_units(m, l, me);
      team_barrier(&m->team);
      my_rows(m, me, &l->down, m->width, &m->ffn, m->x, m->width, 1);
      team_barrier(&m->team);
    }
  }
  if (!last) return;
  if (me == 0) {
    acts_place(&m->attn, m->attn_at, 1, m->width, Q8);
    rms_norm(m, m->x + (size_t)(m->n - 1) * (size_t)m->width, m->norm, m->local[0]);
    acts_set(&m->attn, 0, m->local[0], 0, m->width);
  }
  team_barrier(&m->team);
  share(m, me, m->vocabulary / PANEL, &from, &to);
  multiply(Q8, &m->embedding, &m->attn, 0, m->logits + from * PANEL, m->vocabulary, 0, from, to);
  team_barrier(&m->team);
}

/* ── the best logits: a heap with the worst of them at its root ────────────────────────────────────────────────────── */

static int worse(const float *logits, int a, int b) { return logits[a] < logits[b] || (logits[a] == logits[b] && a > b); }

static void sink(const float *logits, int32_t *heap, int size, int slot, int id) {
  for (int child = 2 * slot + 1; child < size; child = 2 * slot + 1) {
    if (child + 1 < size && worse(logits, heap[child + 1], heap[child])) child++;
    if (worse(logits, id, heap[child])) break;
    heap[slot] = heap[child];
    slot = child;
  }
  heap[slot] = id;
}

static void best(const float *logits, int count, int top, int32_t *ids, float *values) {
  for (int i = 0; i < top; i++) ids[i] = i;
  for (int i = top / 2 - 1; i >= 0; i--) sink(logits, ids, top, i, ids[i]);
  for (int i = top; i < count; i++)
    if (worse(logits, ids[0], i)) sink(logits, ids, top, 0, i);
  for (int size = top - 1; size > 0; size--) { /* heap sort: the worst goes to the end */
    int32_t id = ids[size];
    ids[size] = ids[0];
    sink(logits, ids, size, 0, id);
  }
  for (int i = 0; i < top; i++) values[i] = logits[ids[i]];
}

/* ── what the drivers call ─────────────────────────────────────────────────────────────────────────────────────────── */

/* Runs `n` tokens placed from position `at` on, and writes the `top` best next tokens, best first. Returns how many, or
 * -1: the cache does not reach `at`; -2: no room in the context; -3: a token is not in the vocabulary. */
API int llama_forward(Llama *m, const int32_t *tokens, int n, int at, int top, int32_t *ids, float *logits) {
  if (n < 1 || at < 0 || at > m->held) return -1;
  if (n > m->context - at) return -2;
  for (int i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= m->vocabulary) return -3;
  for (int done = 0; done < n; done += m->n) {
    m->tokens = tokens + done, m->at = at + done;
    m->n = n - done < CHUNK ? n - done : CHUNK;
    m->last = done + m->n == n && top > 0;
    team_start(&m->team);
    run_chunk(m, 0);
    m->held = m->at + m->n;
  }
  if (top > m->vocabulary) top = m->vocabulary;
  if (top > 0) best(m->logits, m->vocabulary, top, ids, logits);
  return top;
}

/* All logits of the last forward: a test looks at them. */
API const float *llama_logits(const Llama *m) { return m->logits; }

/* A thread's life, for me = 1, 2, …: it ends after llama_close. */
API void llama_thread(Llama *m, int me) {
  for (int32_t job = 0; team_await(&m->team, job); job++) run_chunk(m, me);
}

API void llama_close(Llama *m) { team_end(&m->team); }
