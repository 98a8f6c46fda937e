/* A BERT encoder's forward pass (Devlin et al., 1810.04805) with mean pooling and unit length at its end, as
 * all-MiniLM-L6-v2 wants it (Reimers and Gurevych, 1908.10084), over weights of 7 bits in panels (panel.h).
 * One sequence at a time: no padding, no mask. The oracle is pysrc/inglenook/embed/reference.py.
 */
#include "mathv.h"
#include "panel.h"

enum { MAX_LAYERS = 24, UNIT = 64, TENSORS_BEFORE = 4, TENSORS_PER_LAYER = 12 };

typedef struct {
  Mat qkv, out, up, down;
  const float *qkv_bias, *out_bias, *up_bias, *down_bias, *attn_gain, *attn_shift, *ffn_gain, *ffn_shift;
} Layer;

typedef struct {
  int layers, width, hidden, heads, vocabulary, positions, head;
  float epsilon;
  Mat words;
  const float *places, *gain, *shift;
  Layer layer[MAX_LAYERS];
  float *x, *qkv, *unit, *keys, *scores, *mixed; /* (n, width), (n, 3 width), (n, UNIT), (head, n), (4, n), (4, head) */
  char *narrow_at, *wide_at;
} Bert;

static size_t round_up(size_t n) { return (n + 63) & ~(size_t)63; }

static void *take(char **at, size_t bytes) {
  void *p = *at;
  *at += round_up(bytes);
  return p;
}

static size_t lay_out(Bert *m, char *base) {
  char *at = base;
  size_t n = (size_t)m->positions + 8, f = sizeof(float), w = (size_t)m->width;
  m->x = take(&at, f * n * w);
  m->qkv = take(&at, f * n * 3 * w);
  m->unit = take(&at, f * n * UNIT);
  m->keys = take(&at, f * n * (size_t)m->head);
  m->scores = take(&at, f * n * 4);
  m->mixed = take(&at, f * n * w);
  m->narrow_at = take(&at, acts_bytes(m->positions, m->width, UNIT));
  m->wide_at = take(&at, acts_bytes(m->positions, m->hidden, UNIT));
  return (size_t)(at - base);
}

/* words: layers, width, hidden, heads, vocabulary, positions, bits of epsilon. Returns 0 if the kernel cannot do it. */
static int read_words(Bert *m, const int32_t *words) {
  __builtin_memset(m, 0, sizeof *m);
  m->layers = words[0], m->width = words[1], m->hidden = words[2], m->heads = words[3], m->vocabulary = words[4];
  m->positions = words[5];
  __builtin_memcpy(&m->epsilon, &words[6], 4);
  m->head = m->width / m->heads;
  return m->layers <= MAX_LAYERS && m->width % UNIT == 0 && m->hidden % UNIT == 0 && m->head % 16 == 0 &&
         m->heads * m->head == m->width;
}

/* Bytes bert_open needs at `arena`, 64-byte aligned; 0 if this kernel cannot run such a model. */
API size_t bert_bytes(const int32_t *words) {
  Bert m;
  if (!read_words(&m, words)) return 0;
  return round_up(sizeof(Bert)) + lay_out(&m, (char *)0);
}

/* A model at `arena` over the weights of the file at `file`. offsets: where its tensors start, in the order
 * words, places, gain, shift, and for each layer
 * qkv, qkv_bias, out, out_bias, attn_gain, attn_shift, up, up_bias, down, down_bias, ffn_gain, ffn_shift. */
API Bert *bert_open(void *arena, const int32_t *words, const uint32_t *offsets, const uint8_t *file) {
  Bert *m = arena;
  if (!read_words(m, words)) return 0;
  lay_out(m, (char *)arena + round_up(sizeof(Bert)));
  int w = m->width, h = m->hidden;
  m->words = (Mat){file + offsets[0], m->vocabulary, w};
  m->places = (const float *)(file + offsets[1]);
  m->gain = (const float *)(file + offsets[2]), m->shift = (const float *)(file + offsets[3]);
  for (int i = 0; i < m->layers; i++) {
    const uint32_t *o = offsets + TENSORS_BEFORE + i * TENSORS_PER_LAYER;
    const float *floats[TENSORS_PER_LAYER];
    for (int j = 0; j < TENSORS_PER_LAYER; j++) floats[j] = (const float *)(file + o[j]);
    m->layer[i] = (Layer){
        .qkv = {file + o[0], 3 * w, w}, .qkv_bias = floats[1], .out = {file + o[2], w, w}, .out_bias = floats[3],
        .attn_gain = floats[4], .attn_shift = floats[5], .up = {file + o[6], h, w}, .up_bias = floats[7],
        .down = {file + o[8], w, h}, .down_bias = floats[9], .ffn_gain = floats[10], .ffn_shift = floats[11]};
  }
  return m;
}

/* Layer normalisation of one row in place (Ba et al., 1607.06450). */
static void layer_norm(const Bert *m, float *x, const float *gain, const float *shift) {
  F4 total = f4(0.0f), squares = f4(0.0f);
  for (int i = 0; i < m->width; i += 4) total += f4_load(x + i);
  float mean = f4_sum(total) / (float)m->width;
  for (int i = 0; i < m->width; i += 4) {
    F4 v = f4_load(x + i) - mean;
    squares += v * v;
  }
  float scale = 1.0f / root(f4_sum(squares) / (float)m->width + m->epsilon);
  for (int i = 0; i < m->width; i += 4)
    f4_store(x + i, (f4_load(x + i) - mean) * scale * f4_load(gain + i) + f4_load(shift + i));
}

/* scores[i][j] = q_i . k_j for 4 queries and all n keys; keys are (head, stride), stride a multiple of 8. */
static void score(const Bert *m, const float *queries, int stride, int n, float *scores) {
  for (int j = 0; j < n; j += 8) {
    F4 a[4], b[4];
    for (int i = 0; i < 4; i++) a[i] = b[i] = f4(0.0f);
    for (int d = 0; d < m->head; d++) {
      F4 low = f4_load(m->keys + d * stride + j), high = f4_load(m->keys + d * stride + j + 4);
      for (int i = 0; i < 4; i++) {
        F4 q = f4(queries[i * 3 * m->width + d]);
        a[i] += q * low;
        b[i] += q * high;
      }
    }
    for (int i = 0; i < 4; i++) f4_store(scores + i * stride + j, a[i]), f4_store(scores + i * stride + j + 4, b[i]);
  }
}

/* Softmax over n scores in place, without its division; returns what to divide by. */
static float soften(float *scores, int n, float scale) {
  F4 best = f4(-3.0e38f), total = f4(0.0f);
  for (int j = n; j & 3; j++) scores[j] = -3.0e38f;
  for (int j = 0; j < n; j += 4) best = f4_max(best, f4_load(scores + j));
  float peak = f4_peak(best);
  for (int j = 0; j < n; j += 4) {
    F4 e = f4_exp((f4_load(scores + j) - peak) * scale);
    f4_store(scores + j, e);
    total += e;
  }
  return f4_sum(total);
}

/* out_i = sum_j scores[i][j] v_j / total[i] for 2 queries, 16 channels at a time. */
static void mix(const Bert *m, const float *scores, int stride, const float *values, int n, const float *total,
                float *out) {
  for (int c = 0; c < m->head; c += 16) {
    F4 a[4], b[4];
    for (int k = 0; k < 4; k++) a[k] = b[k] = f4(0.0f);
    for (int j = 0; j < n; j++) {
      const float *v = values + j * 3 * m->width + c;
      F4 p = f4(scores[j]), q = f4(scores[stride + j]);
      for (int k = 0; k < 4; k++) {
        F4 x = f4_load(v + 4 * k);
        a[k] += p * x;
        b[k] += q * x;
      }
    }
    for (int k = 0; k < 4; k++) {
      f4_store(out + c + 4 * k, a[k] * (1.0f / total[0]));
      f4_store(out + m->width + c + 4 * k, b[k] * (1.0f / total[1]));
    }
  }
}

/* Every head's attention of n tokens, from qkv (n, 3 width) to mixed (n, width). Rows past n are scratch. */
static void attend(Bert *m, int n) {
  int stride = (n + 7) / 8 * 8, row = 3 * m->width;
  float scale = 1.0f / root((float)m->head), total[4];
  for (int h = 0; h < m->heads; h++) {
    const float *q = m->qkv + h * m->head, *k = q + m->width, *v = k + m->width;
    for (int d = 0; d < m->head; d++)
      for (int j = 0; j < stride; j++) m->keys[d * stride + j] = j < n ? k[j * row + d] : 0.0f;
    for (int i = 0; i < n; i += 4) {
      score(m, q + i * row, stride, n, m->scores);
      for (int s = 0; s < 4; s++) total[s] = soften(m->scores + s * stride, n, scale);
      for (int s = 0; s < 4; s += 2)
        mix(m, m->scores + s * stride, stride, v, n, total + s, m->mixed + (i + s) * m->width + h * m->head);
    }
  }
}

/* Embeds n token ids (1 <= n <= positions): `width` floats of unit length to out. Returns 0, or -1: too many or too few
 * tokens; -3: a token is not in the vocabulary. */
API int bert_encode(Bert *m, const int32_t *tokens, int n, float *out) {
  int w = m->width;
  Acts narrow, wide;
  if (n < 1 || n > m->positions) return -1;
  for (int t = 0; t < n; t++)
    if (tokens[t] < 0 || tokens[t] >= m->vocabulary) return -3;
  for (int t = 0; t < n; t++) {
    float *x = m->x + t * w;
    unpack_row(Q8, &m->words, tokens[t], x);
    for (int i = 0; i < w; i += 4) f4_store(x + i, f4_load(x + i) + f4_load(m->places + t * w + i));
    layer_norm(m, x, m->gain, m->shift);
  }
  acts_place(&narrow, m->narrow_at, n, w, Q7);
  acts_place(&wide, m->wide_at, n, m->hidden, Q7);
  __builtin_memset(m->qkv + n * 3 * w, 0, sizeof(float) * (size_t)(4 * 3 * w)); /* attention looks at queries by fours */
  for (int i = 0; i < m->layers; i++) {
    const Layer *l = &m->layer[i];
    for (int t = 0; t < n; t++) acts_set(&narrow, t, m->x + t * w, 0, w);
    multiply(Q7, &l->qkv, &narrow, l->qkv_bias, m->qkv, 3 * w, 0, 0, 3 * w / PANEL);
    attend(m, n);
    for (int t = 0; t < n; t++) acts_set(&narrow, t, m->mixed + t * w, 0, w);
    multiply(Q7, &l->out, &narrow, l->out_bias, m->x, w, 1, 0, w / PANEL);
    for (int t = 0; t < n; t++) {
      layer_norm(m, m->x + t * w, l->attn_gain, l->attn_shift);
      acts_set(&narrow, t, m->x + t * w, 0, w);
    }
    for (int u = 0; u < m->hidden; u += UNIT) {
      multiply(Q7, &l->up, &narrow, l->up_bias, m->unit, UNIT, 0, u / PANEL, (u + UNIT) / PANEL);
      for (int j = 0; j < n * UNIT; j += 4) f4_store(m->unit + j, f4_gelu(f4_load(m->unit + j)));
      for (int t = 0; t < n; t++) acts_set(&wide, t, m->unit + t * UNIT, u, u + UNIT);
    }
    multiply(Q7, &l->down, &wide, l->down_bias, m->x, w, 1, 0, w / PANEL);
    for (int t = 0; t < n; t++) layer_norm(m, m->x + t * w, l->ffn_gain, l->ffn_shift);
  }
  F4 squares = f4(0.0f);
  for (int i = 0; i < w; i += 4) {
    F4 total = f4(0.0f);
    for (int t = 0; t < n; t++) total += f4_load(m->x + t * w + i);
    total *= 1.0f / (float)n;
    squares += total * total;
    f4_store(out + i, total);
  }
  float length = root(f4_sum(squares)), scale = length > 0.0f ? 1.0f / length : 0.0f;
  for (int i = 0; i < w; i += 4) f4_store(out + i, f4_load(out + i) * scale);
  return 0;
}
