/* Grouped-query attention (Ainslie et al., 2305.13245) over keys and values of 8 bits in pages (Kwon et al.,
 * 2309.06180, section 4.1). No sum depends on where a page lies, how a prompt is cut, or on the number of threads. */
#include "llama.h"

size_t attend_floats(const Llama *m) { return (size_t)m->group * (size_t)(m->context + QUAD) + (size_t)m->width; }

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

/* Turns keys and puts keys and values of the tokens dealt to me in their pages. */
void remember(Llama *m, int layer, int groups, int me, int stride) {
  int d = m->head;
  for (int t = me; t < m->n; t += m->team.count) {
    int position = place(m, t), p = position % PAGE;
    float *row = m->qkv + (size_t)t * (size_t)stride;
    for (int g = 0; g < groups; g++) {
      float *key = row + (m->heads + g) * d, *value = key + m->kv_heads * d;
      Slot s = slot(m, t, position / PAGE, layer, g);
      rotate(key, m->cosine + (size_t)position * (size_t)d, m->sine + (size_t)position * (size_t)d, d);
      s.key_scale[p] = store_row(key, d, s.keys + p * d);
      s.value_scale[p] = store_row(value, d, s.values + p * d);
    }
  }
}

/* A query in 16 bits; returns its scale, the division by sqrt(d) included. */
static float narrow(const float *query, int d, int16_t *q) {
  F4 peaks = f4(0.0f);
  for (int i = 0; i < d; i += 4) peaks = f4_max(peaks, f4_abs(f4_load(query + i)));
  float peak = f4_peak(peaks), inverse = peak > 0.0f ? 32767.0f / peak : 0.0f;
  for (int i = 0; i < d; i += 8) {
    S8 v = s8_of(i4_round(f4_load(query + i) * inverse), i4_round(f4_load(query + i + 4) * inverse));
    WRITE(q + i, v);
  }
  return peak / 32767.0f / root((float)d);
}

/* scores[h][p] = query h . key p for the n positions of a page and `heads` heads, four positions at a time, exact sums;
 * best[h] is the best, lane by lane. */
INLINE void score(int heads, int16_t q[3][MAX_HEAD], const float *scale, int d, const Slot *s, int n, float *scores,
                  int row, F4 *best) {
  for (int p = 0; p < n; p += QUAD) {
    I4 sums[3][QUAD];
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < QUAD; j++) sums[h][j] = i4(0);
    const int8_t *k = s->keys + p * d;
    for (int i = 0; i < d; i += 8)
      for (int j = 0; j < QUAD; j++) {
        S8 key = s8_load(k + j * d + i);
        for (int h = 0; h < heads; h++) sums[h][j] += s8_dot(key, READ(S8, q[h] + i));
      }
    for (int h = 0; h < heads; h++) {
      I4 *of = sums[h];
      I4 ab = __builtin_shufflevector(of[0], of[1], 0, 4, 1, 5) + __builtin_shufflevector(of[0], of[1], 2, 6, 3, 7);
      I4 cd = __builtin_shufflevector(of[2], of[3], 0, 4, 1, 5) + __builtin_shufflevector(of[2], of[3], 2, 6, 3, 7);
      I4 all = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
      F4 v = f4_of(all) * (f4_load(s->key_scale + p) * scale[h]);
      if (n - p < QUAD) v = f4_pick((I4){0, 1, 2, 3} < (n - p), v, f4(-3.0e38f));
      f4_store(scores + h * row + p, v);
      best[h] = f4_max(best[h], v);
    }
  }
}

/* Softmax without its division, weighted with the values' scales, for the n positions of a page, in 16 bits: w[p] times
 * the scale that is returned; `total` sums up. */
static float soften(const float *scores, const float *value_scale, int n, float peak, F4 *total, int16_t *w) {
  F4 weights[PAGE / QUAD], peaks = f4(0.0f);
  for (int i = 0; i * QUAD < n; i++) {
    F4 e = f4_exp(f4_load(scores + i * QUAD) - peak);
    *total += e;
    if (n - i * QUAD < QUAD) e = f4_pick((I4){0, 1, 2, 3} < (n - i * QUAD), e, f4(0.0f));
    weights[i] = f4_pick(e > f4(0.0f), e * f4_load(value_scale + i * QUAD), f4(0.0f));
    peaks = f4_max(peaks, weights[i]);
  }
  float most = f4_peak(peaks), inverse = most > 0.0f ? 32767.0f / most : 0.0f;
  for (int i = 0; i * QUAD < n; i += 2) {
    F4 after = (i + 1) * QUAD < n ? weights[i + 1] : f4(0.0f);
    S8 v = s8_of(i4_round(weights[i] * inverse), i4_round(after * inverse));
    WRITE(w + i * QUAD, v);
  }
  return most / 32767.0f;
}

/* out[h] += scale[h] * sum over n positions of w[h][p] * values[p], exact sums of two positions at a time, 16 channels at a
 * time for `heads` heads at once. */
INLINE void mix(int heads, int16_t w[3][PAGE], const float *scale, const int8_t *values, int d, int n, float *out) {
  for (int c = 0; c < d; c += 16) {
    I4 sums[3][4];
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < 4; j++) sums[h][j] = i4(0);
    for (int p = 0; p < n; p += 2) {
      const int8_t *v = values + p * d + c;
      S8 pairs_of[4];
      for (int j = 0; j < 2; j++) {
        S8 one = s8_load(v + 8 * j), two = s8_load(v + d + 8 * j);
        pairs_of[2 * j] = __builtin_shufflevector(one, two, 0, 8, 1, 9, 2, 10, 3, 11);
        pairs_of[2 * j + 1] = __builtin_shufflevector(one, two, 4, 12, 5, 13, 6, 14, 7, 15);
      }
      for (int h = 0; h < heads; h++) {
        S8 both = (S8)i4(READ(int32_t, w[h] + p));
        for (int j = 0; j < 4; j++) sums[h][j] += s8_dot(pairs_of[j], both);
      }
    }
    for (int h = 0; h < heads; h++)
      for (int j = 0; j < 4; j++) {
        float *o = out + h * d + c + 4 * j;
        f4_store(o, f4_load(o) + f4_of(sums[h][j]) * f4(scale[h]));
      }
  }
}

INLINE int least(int a, int b) { return a < b ? a : b; }

/* Attention of token t for query heads [from, to), all of one key-value group; the result goes to the activations. */
static void attend(Llama *m, int layer, int me, int t, int from, int to, int stride) {
  int d = m->head, n = place(m, t) + 1, row = m->context + QUAD, g = from / m->group;
  float *scores = m->local[me], *out = scores + (size_t)m->group * (size_t)row;
  for (int h = from, heads; h < to; h += heads) {
    heads = least(to - h, 3);
    F4 total[3], best[3];
    int16_t q[3][MAX_HEAD];
    float scale[3];
    for (int i = 0; i < heads; i++) {
      float *query = m->qkv + (size_t)t * (size_t)stride + (h + i) * d;
      size_t turn = (size_t)(n - 1) * (size_t)d;
      rotate(query, m->cosine + turn, m->sine + turn, d);
      scale[i] = narrow(query, d, q[i]);
      total[i] = f4(0.0f), best[i] = f4(-3.0e38f);
    }
    for (int p = 0; p < n; p += PAGE) {
      Slot s = slot(m, t, p / PAGE, layer, g);
      if (heads == 3) score(3, q, scale, d, &s, least(n - p, PAGE), scores + p, row, best);
      else if (heads == 2) score(2, q, scale, d, &s, least(n - p, PAGE), scores + p, row, best);
      else score(1, q, scale, d, &s, least(n - p, PAGE), scores + p, row, best);
    }
    for (int c = 0; c < heads * d; c += 4) f4_store(out + c, f4(0.0f));
    for (int p = 0; p < n; p += PAGE) {
      int part = least(n - p, PAGE);
      Slot s = slot(m, t, p / PAGE, layer, g);
      int16_t w[3][PAGE];
      float step[3];
      for (int i = 0; i < heads; i++)
        step[i] = soften(scores + i * row + p, s.value_scale, part, f4_peak(best[i]), &total[i], w[i]);
      if (heads == 3) mix(3, w, step, s.values, d, part, out);
      else if (heads == 2) mix(2, w, step, s.values, d, part, out);
      else mix(1, w, step, s.values, d, part, out);
    }
    for (int i = 0; i < heads; i++) {
      float inverse = 1.0f / f4_sum(total[i]);
      for (int c = 0; c < d; c += 4) f4_store(out + i * d + c, f4_load(out + i * d + c) * inverse);
    }
    acts_set(&m->attn, t, out, h * d, (h + heads) * d);
  }
}

/* The heads of all tokens, dealt out: whole tokens where there are enough, else heads. */
void attend_all(Llama *m, int layer, int groups, int me, int stride) {
  int heads = groups * m->group, by_token = m->n >= m->team.count, from = 0, to = heads;
  if (!by_token) share(m, me, heads, &from, &to);
  for (int t = by_token ? me : 0; t < m->n; t += by_token ? m->team.count : 1)
    for (int h = from, end; h < to; h = end) {
      end = least((h / m->group + 1) * m->group, to);
      attend(m, layer, me, t, h, end, stride);
    }
}
