/* A BERT encoder's forward pass (Devlin et al., 1810.04805) with mean pooling and unit length at its end, as
 * all-MiniLM-L6-v2 wants it (Reimers and Gurevych, 1908.10084), over weights of 7 bits in panels (panel.h).
 * One sequence at a time: no padding, no mask. The oracle is pysrc/inglenook/embed/reference.py.
 */
#include "mathv.h"
#include "panel.h"

enum { MAX_LAYERS = 24, UNIT = 64, TENSORS_BEFORE = 4, TENSORS_PER_LAYER = 12 };
/* Attention is computed in whole numbers: queries and keys of at most CHANNEL, shares of a query's attention of at most
 * SHARE, values of at most VALUE. Sums of their products fit in 32 bits for as many channels and tokens. */
enum { CHANNEL = 4095, SHARE = 4095, VALUE = 1023, MOST_CHANNELS = 128, MOST_TOKENS = 512 };
_Static_assert((int64_t)CHANNEL * CHANNEL * MOST_CHANNELS <= INT32_MAX, "a score");
static const float LOG2_SHARE = 11.9996477f, LOG2_E = 1.44269504f;
_Static_assert((int64_t)(SHARE + 1) * VALUE * MOST_TOKENS <= INT32_MAX, "a mean of values");

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
  float *x, *qkv, *unit, *scores, *mixed; /* (n, width), (n, 3 width), (n, UNIT), (4, n), (n, width) */
  int32_t *keys, *values, *queries;       /* (head / 2, n), (head / 16, n / 2, 16), (head / 2, 4): pairs of 16 bits */
  int16_t *shares;                        /* (4, n) */
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
  m->keys = take(&at, 2 * n * (size_t)m->head);
  m->values = take(&at, 2 * n * (size_t)m->head);
  m->queries = take(&at, 2 * 4 * (size_t)m->head);
  m->shares = take(&at, 2 * n * 4);
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
         m->heads * m->head == m->width && m->head <= MOST_CHANNELS && m->positions <= MOST_TOKENS;
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
  m->words = mat(file + offsets[0], m->vocabulary, w);
  m->places = (const float *)(file + offsets[1]);
  m->gain = (const float *)(file + offsets[2]), m->shift = (const float *)(file + offsets[3]);
  for (int i = 0; i < m->layers; i++) {
    const uint32_t *o = offsets + TENSORS_BEFORE + i * TENSORS_PER_LAYER;
    const float *floats[TENSORS_PER_LAYER];
    for (int j = 0; j < TENSORS_PER_LAYER; j++) floats[j] = (const float *)(file + o[j]);
    m->layer[i] = (Layer){
        .qkv = mat(file + o[0], 3 * w, w), .qkv_bias = floats[1], .out = mat(file + o[2], w, w), .out_bias = floats[3],
        .attn_gain = floats[4], .attn_shift = floats[5], .up = mat(file + o[6], h, w), .up_bias = floats[7],
        .down = mat(file + o[8], w, h), .down_bias = floats[9], .ffn_gain = floats[10], .ffn_shift = floats[11]};
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

/* Steps a unit, where `peak` is `top` steps. */
static float inverse_of(float peak, int top) { return peak > 0.0f ? (float)top / peak : 0.0f; }

/* 4 rows of `x`, each in steps of 1 / inverse[i], transposed: out (head / 2, stride) pairs of channels. */
static void pair_channels(const float *x, int row, int head, const float *inverse, int32_t *out, int stride) {
  for (int c = 0; c < head; c += 8, out += 4 * stride) {
    I4 r[4];
    UNROLL for (int i = 0; i < 4; i++) {
      const float *at = x + i * row + c;
      r[i] = (I4)s8_of(i4_round(f4_load(at) * inverse[i]), i4_round(f4_load(at + 4) * inverse[i]));
    }
    I4 a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    I4 e = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7), f = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    I4 t[4] = {__builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
               __builtin_shufflevector(e, f, 0, 1, 4, 5), __builtin_shufflevector(e, f, 2, 3, 6, 7)};
    UNROLL for (int i = 0; i < 4; i++) WRITE(out + i * stride, t[i]);
  }
}

/* 2 rows of `x` in steps of 1 / inverse, interleaved: pairs of keys, 16 channels together, `stride` keys apart. */
static void pair_keys(const float *x, int row, int head, float inverse, int32_t *out, int stride) {
  for (int c = 0; c < head; c += 16, out += 8 * stride)
    UNROLL for (int i = 0; i < 16; i += 8) {
      const float *a = x + c + i, *b = a + row;
      S8 p = s8_of(i4_round(f4_load(a) * inverse), i4_round(f4_load(a + 4) * inverse));
      S8 q = s8_of(i4_round(f4_load(b) * inverse), i4_round(f4_load(b + 4) * inverse));
      S8 low = __builtin_shufflevector(p, q, 0, 8, 1, 9, 2, 10, 3, 11);
      S8 high = __builtin_shufflevector(p, q, 4, 12, 5, 13, 6, 14, 7, 15);
      WRITE(out + i, low);
      WRITE(out + i + 4, high);
    }
}

/* The largest |x| of n rows of `count` floats, `row` apart. */
static float peak_of(const float *x, int n, int count, int row) {
  F4 peaks = f4(0.0f);
  for (int t = 0; t < n; t++)
    for (int i = 0; i < count; i += 4) peaks = f4_max(peaks, f4_abs(f4_load(x + t * row + i)));
  return f4_peak(peaks);
}

/* scores[i][j] = factor[i] * q_i . k_j for 4 queries, pairs (head / 2, 4), and all keys, pairs (head / 2, stride). */
static void score(const int32_t *queries, const int32_t *keys, int head, int stride, const float *factor,
                  float *scores) {
  for (int j = 0; j < stride; j += 8) {
    I4 a[4], b[4];
    const int32_t *k = keys + j, *q = queries;
    UNROLL for (int i = 0; i < 4; i++) a[i] = b[i] = i4(0);
    for (int d = 0; d < head; d += 8)
      UNROLL for (int p = 0; p < 4; p++, k += stride, q += 4) {
        S8 low = READ(S8, k), high = READ(S8, k + 4);
        UNROLL for (int i = 0; i < 4; i++) {
          S8 two = (S8)i4(q[i]);
          a[i] += s8_dot(two, low);
          b[i] += s8_dot(two, high);
          SETTLE(a[i]);
          SETTLE(b[i]);
        }
      }
    UNROLL for (int i = 0; i < 4; i++) {
      f4_store(scores + i * stride + j, f4_of(a[i]) * factor[i]);
      f4_store(scores + i * stride + j + 4, f4_of(b[i]) * factor[i]);
    }
  }
}

/* SHARE * 2^x for x <= 0, to the nearest whole number; `up` is x + log2(SHARE). 2^x is 2^n * 2^f with |f| <= 1/2, and a
 * polynomial of degree 4 for 2^f, relative error below 3e-6. */
INLINE I4 share_of(F4 up) {
  const F4 magic = F4C(12582912.0f); /* 1.5 * 2^23: what is added to it is rounded to a whole number */
  F4 x = f4_max(up, F4C(-20.0f)), whole = x + magic, f = x - (whole - magic);
  F4 p = f * F4C(9.57006e-3f) + F4C(5.591786e-2f);
  p = p * f + F4C(0.24024746f);
  p = p * f + F4C(0.69312182f);
  p = p * f + F4C(0.99999926f);
  return i4_round((F4)(bits_of(p) + (bits_of(whole) << 23)));
}

/* Softmax over n scores to the base of 2, as whole numbers up to SHARE and without its division; returns what to divide
 * by. */
static float soften(float *scores, int n, int16_t *shares) {
  F4 best = f4(-3.0e38f);
  I4 total = i4(0);
  for (int j = n; j & 7; j++) scores[j] = -3.0e38f;
  for (int j = 0; j < n; j += 8) best = f4_max(best, f4_max(f4_load(scores + j), f4_load(scores + j + 4)));
  float down = f4_peak(best) - LOG2_SHARE;
  for (int j = 0; j < n; j += 8) {
    I4 a = share_of(f4_load(scores + j) - down), b = share_of(f4_load(scores + j + 4) - down);
    S8 both = s8_of(a, b);
    WRITE(shares + j, both);
    total += a + b;
  }
  return (float)(total[0] + total[1] + total[2] + total[3]);
}

/* out_i = factor[i] * sum_j shares[i][j] v_j for 2 queries and 16 channels; values are pairs of keys (stride / 2, 16). */
static void mix(const int16_t *shares, const int32_t *values, int stride, const float *factor, float *out, int width) {
  I4 a[4], b[4];
  const int16_t *p = shares, *q = shares + stride;
  UNROLL for (int k = 0; k < 4; k++) a[k] = b[k] = i4(0);
  for (int j = 0; j < stride; j += 8)
    UNROLL for (int s = 0; s < 4; s++, p += 2, q += 2, values += 16) {
      S8 first = (S8)i4(READ(int32_t, p)), second = (S8)i4(READ(int32_t, q));
      UNROLL for (int k = 0; k < 4; k++) {
        S8 v = READ(S8, values + 4 * k);
        a[k] += s8_dot(first, v);
        b[k] += s8_dot(second, v);
        SETTLE(a[k]);
        SETTLE(b[k]);
      }
    }
  UNROLL for (int k = 0; k < 4; k++) {
    f4_store(out + 4 * k, f4_of(a[k]) * factor[0]);
    f4_store(out + width + 4 * k, f4_of(b[k]) * factor[1]);
  }
}

/* Every head's attention of n tokens, from qkv (n, 3 width) to mixed (n, width). The 7 rows of qkv past n are zero, those
 * of mixed scratch. */
static void attend(Bert *m, int n) {
  int stride = (n + 7) / 8 * 8, row = 3 * m->width, head = m->head;
  for (int h = 0; h < m->heads; h++) {
    const float *q = m->qkv + h * head, *k = q + m->width, *v = k + m->width;
    float k_peak = peak_of(k, n, head, row), v_peak = peak_of(v, n, head, row);
    float factor[4], inverse[4], k_inverse = inverse_of(k_peak, CHANNEL), v_inverse = inverse_of(v_peak, VALUE);
    float scale = k_peak * LOG2_E / ((float)CHANNEL * (float)CHANNEL * root((float)head));
    for (int i = 0; i < 4; i++) inverse[i] = k_inverse;
    for (int j = 0; j < stride; j += 4) pair_channels(k + j * row, row, head, inverse, m->keys + j, stride);
    for (int j = 0; j < stride; j += 2) pair_keys(v + j * row, row, head, v_inverse, m->values + 8 * j, stride);
    for (int i = 0; i < n; i += 4) {
      for (int s = 0; s < 4; s++) {
        float peak = peak_of(q + (i + s) * row, 1, head, row);
        inverse[s] = inverse_of(peak, CHANNEL);
        factor[s] = peak * scale;
      }
      pair_channels(q + i * row, row, head, inverse, m->queries, 4);
      score(m->queries, m->keys, head, stride, factor, m->scores);
      for (int s = 0; s < 4; s++)
        factor[s] = v_peak / ((float)VALUE * soften(m->scores + s * stride, n, m->shares + s * stride));
      for (int s = 0; s < 4; s += 2)
        for (int c = 0; c < head; c += 16)
          mix(m->shares + s * stride, m->values + c / 2 * stride, stride, factor + s,
              m->mixed + (i + s) * m->width + h * head + c, m->width);
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
  __builtin_memset(m->qkv + n * 3 * w, 0, sizeof(float) * (size_t)(7 * 3 * w)); /* attention looks at keys by eights */
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
