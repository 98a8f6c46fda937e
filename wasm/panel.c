#include "panel.h"

/* Tokens in the tile that starts at token t, of `left` that remain. */
INLINE int tile_of(int left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }

/* The tile of token t among n: where it starts and how many tokens it has. */
static void find_tile(int n, int t, int *start, int *size) {
  int whole = n & ~3;
  *start = t < whole ? t & ~3 : whole + (((n & 2) && t - whole >= 2) ? 2 : 0);
  *size = tile_of(n - *start);
}

static size_t round_up(size_t n) { return (n + 63) & ~(size_t)63; }

size_t acts_bytes(int tokens, int cols, int block) {
  size_t scales = round_up(sizeof(float) * (size_t)tokens * (size_t)(cols / block));
  return round_up((size_t)tokens * (size_t)cols / GROUP * ACT) + 2 * scales;
}

void acts_place(Acts *a, void *at, int tokens, int cols, Kind kind) {
  int block = block_of(kind);
  size_t scales = round_up(sizeof(float) * (size_t)tokens * (size_t)(cols / block));
  char *p = at;
  *a = (Acts){.scale = (float *)p, .sum = (float *)(p + scales), .q = (int8_t *)(p + 2 * scales),
              .tokens = tokens, .cols = cols, .block = block, .kind = kind};
}

void acts_set(Acts *a, int t, const float *x, int from, int to) {
  int start, size, blocks = a->cols / a->block, groups = a->block / GROUP;
  float top = a->kind == Q7 ? 63.0f : 127.0f;
  find_tile(a->tokens, t, &start, &size);
  for (int b = from / a->block; b < to / a->block; b++, x += a->block) {
    F4 peaks = f4(0.0f);
    for (int i = 0; i < a->block; i += 4) peaks = f4_max(peaks, f4_abs(f4_load(x + i)));
    float peak = f4_peak(peaks), scale = peak / top, inverse = peak > 0.0f ? top / peak : 0.0f;
    I4 total = i4(0);
    int8_t *q = a->q + ((size_t)start * (size_t)a->cols / GROUP +
                        (size_t)(b * groups * size + (t - start))) * ACT;
    for (int g = 0; g < groups; g++, q += size * ACT) {
      I4 v = i4_round(f4_load(x + g * GROUP) * inverse);
      total += v;
      act_store(q, v);
    }
    size_t at = (size_t)start * (size_t)blocks + (size_t)(b * size + (t - start));
    a->scale[at] = scale;
    if (a->kind == Q7) {
      uint32_t low = (uint32_t)(total[0] + total[1]) * -64u, high = (uint32_t)(total[2] + total[3]) * -64u;
      uint32_t lanes = (low & 0xffff) | high << 16;
      WRITE(a->sum + at, lanes);
    } else {
      a->sum[at] = scale * (float)(total[0] + total[1] + total[2] + total[3]);
    }
  }
}

/* A block of nibbles of a panel times n tokens. */
INLINE void nibble_sums(size_t n, const uint8_t *nibbles, const int8_t *q, Sums acc[TILE][PARTS]) {
  UNROLL for (size_t t = 0; t < n; t++)
    UNROLL for (size_t h = 0; h < PARTS; h++) acc[t][h] = (Sums){0};
  UNROLL for (size_t g = 0; g < 8; g++) {
    Wide w[PARTS];
    nibbles_load(nibbles + g * 16, w);
    UNROLL for (size_t h = 0; h < PARTS; h++) SETTLE(w[h]);
    UNROLL for (size_t t = 0; t < n; t++) {
      Act a = act_load(q + (g * n + t) * ACT);
      UNROLL for (size_t h = 0; h < PARTS; h++) {
        acc[t][h] += dot(w[h], a);
        SETTLE(acc[t][h]);
      }
    }
  }
}

/* One panel times one tile of n tokens: out[token][part]. All of these are specialised for n = 4, 2, 1. Indices are
 * unsigned, because only then may WebAssembly loads take them as constant offsets. */
INLINE void tile_q4(size_t n, const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,
                    const float *sum, Floats out[TILE][PARTS]) {
  (void)low;
  for (int b = 0; b < blocks; b++, p += 160, q += 8 * n * ACT, scale += n, sum += n) {
    Sums acc[TILE][PARTS];
    nibble_sums(n, p + 32, q, acc);
    Floats d[PARTS], m[PARTS];
    UNROLL for (size_t h = 0; h < PARTS; h++) {
      d[h] = halves_load((const uint16_t *)p + h * ROWS), m[h] = halves_load((const uint16_t *)(p + 16) + h * ROWS);
      SETTLE(d[h]);
      SETTLE(m[h]);
    }
    UNROLL for (size_t t = 0; t < n; t++) {
      Floats s = floats(scale[t]), u = floats(sum[t]);
      UNROLL for (size_t h = 0; h < PARTS; h++) {
        Floats o = out[t][h] + (floats_of(pairs(acc[t][h])) * (d[h] * s) + m[h] * u);
        SETTLE(o);
        out[t][h] = o;
      }
    }
  }
}

INLINE void tile_q7(size_t n, const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,
                    const float *sum, Floats out[TILE][PARTS]) {
  (void)low;
  for (int b = 0; b < blocks; b++, p += 528, scale += n, sum += n) {
    Sums acc[TILE][PARTS];
    UNROLL for (size_t t = 0; t < n; t++)
      UNROLL for (size_t h = 0; h < PARTS; h++) acc[t][h] = sums(READ(int32_t, sum + t));
    UNROLL for (size_t g = 0; g < 16; g++, q += n * ACT) {
      SETTLE(q); /* or each load of activations computes its address anew */
      Wide w[PARTS];
      wide_load(p + 16 + g * 32, w);
      UNROLL for (size_t h = 0; h < PARTS; h++) SETTLE(w[h]);
      UNROLL for (size_t t = 0; t < n; t++) {
        Act a = act_load(q + t * ACT);
        UNROLL for (size_t h = 0; h < PARTS; h++) {
          acc[t][h] += dot(w[h], a);
          SETTLE(acc[t][h]);
        }
      }
    }
    Floats d[PARTS];
    UNROLL for (size_t h = 0; h < PARTS; h++) {
      d[h] = halves_load((const uint16_t *)p + h * ROWS);
      SETTLE(d[h]);
    }
    UNROLL for (size_t t = 0; t < n; t++) {
      Floats s = floats(scale[t]);
      UNROLL for (size_t h = 0; h < PARTS; h++) {
        Floats o = out[t][h] + floats_of(pairs(acc[t][h])) * (d[h] * s);
        SETTLE(o);
        out[t][h] = o;
      }
    }
  }
}

INLINE void tile_q8(size_t n, const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,
                    const float *sum, Floats out[TILE][PARTS]) {
  (void)low;
  for (int b = 0; b < blocks; b++, p += 272, q += 8 * n * ACT, scale += n, sum += n) {
    Sums lows[TILE][PARTS], highs[TILE][PARTS];
    UNROLL for (size_t t = 0; t < n; t++)
      UNROLL for (size_t h = 0; h < PARTS; h++) lows[t][h] = highs[t][h] = (Sums){0};
    UNROLL for (size_t g = 0; g < 8; g++) {
      Wide w[PARTS];
      wide_load(p + 16 + g * 32, w);
      UNROLL for (size_t t = 0; t < n; t++) {
        Act a = act_load(q + (g * n + t) * ACT);
        UNROLL for (size_t h = 0; h < PARTS; h++) {
          lows[t][h] += dot(low_nibbles(w[h]), a);
          highs[t][h] += dot(high_nibbles(w[h]), a);
          SETTLE(lows[t][h]);
          SETTLE(highs[t][h]);
        }
      }
    }
    UNROLL for (size_t h = 0; h < PARTS; h++) {
      Floats d = halves_load((const uint16_t *)p + h * ROWS);
      UNROLL for (size_t t = 0; t < n; t++) {
        Ints whole = (pairs(highs[t][h]) << 4) + pairs(lows[t][h]);
        out[t][h] += d * (floats_of(whole) * scale[t] - 128.0f * sum[t]);
      }
    }
  }
}

INLINE void tile_high(size_t n, const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,
                      const float *sum, Floats out[TILE][PARTS]) {
  (void)low;
  for (int b = 0; b < blocks; b++, p += 144, q += 8 * n * ACT, scale += n, sum += n) {
    Sums acc[TILE][PARTS];
    nibble_sums(n, p + 16, q, acc);
    UNROLL for (size_t h = 0; h < PARTS; h++) {
      Floats d = halves_load((const uint16_t *)p + h * ROWS);
      UNROLL for (size_t t = 0; t < n; t++)
        out[t][h] += d * (floats_of(pairs(acc[t][h]) << 4) * scale[t] - 120.5f * sum[t]);
    }
  }
}

INLINE void tile_planes(size_t n, const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,
                        const float *sum, Floats out[TILE][PARTS]) {
  for (int b = 0; b < blocks; b++, p += 144, low += LOW, q += 8 * n * ACT, scale += n, sum += n) {
    Sums lows[TILE][PARTS], highs[TILE][PARTS];
    UNROLL for (size_t t = 0; t < n; t++)
      UNROLL for (size_t h = 0; h < PARTS; h++) lows[t][h] = highs[t][h] = (Sums){0};
    UNROLL for (size_t g = 0; g < 8; g++) {
      Wide w[PARTS], v[PARTS];
      nibbles_load(p + 16 + g * 16, w);
      nibbles_load(low + g * 16, v);
      UNROLL for (size_t t = 0; t < n; t++) {
        Act a = act_load(q + (g * n + t) * ACT);
        UNROLL for (size_t h = 0; h < PARTS; h++) {
          lows[t][h] += dot(v[h], a);
          highs[t][h] += dot(w[h], a);
          SETTLE(lows[t][h]);
          SETTLE(highs[t][h]);
        }
      }
    }
    UNROLL for (size_t h = 0; h < PARTS; h++) {
      Floats d = halves_load((const uint16_t *)p + h * ROWS);
      UNROLL for (size_t t = 0; t < n; t++) {
        Ints whole = (pairs(highs[t][h]) << 4) + pairs(lows[t][h]);
        out[t][h] += d * (floats_of(whole) * scale[t] - 128.0f * sum[t]);
      }
    }
  }
}

#define TILES(name)                                                                                                    \
  static void name##_4(const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,          \
                       const float *sum, Floats out[TILE][PARTS]) {                                                    \
    tile_##name(4, p, low, blocks, q, scale, sum, out);                                                                \
  }                                                                                                                    \
  static void name##_2(const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,          \
                       const float *sum, Floats out[TILE][PARTS]) {                                                    \
    tile_##name(2, p, low, blocks, q, scale, sum, out);                                                                \
  }                                                                                                                    \
  static void name##_1(const uint8_t *p, const uint8_t *low, int blocks, const int8_t *q, const float *scale,          \
                       const float *sum, Floats out[TILE][PARTS]) {                                                    \
    tile_##name(1, p, low, blocks, q, scale, sum, out);                                                                \
  }
TILES(q4)
TILES(q7)
TILES(q8)
TILES(planes)
TILES(high)

typedef void (*Tile)(const uint8_t *, const uint8_t *, int, const int8_t *, const float *, const float *,
                     Floats[TILE][PARTS]);
static const Tile tiles[5][5] = {[Q4] = {0, q4_1, q4_2, 0, q4_4},
                                 [Q7] = {0, q7_1, q7_2, 0, q7_4},
                                 [Q8] = {0, q8_1, q8_2, 0, q8_4},
                                 [PLANES] = {0, planes_1, planes_2, 0, planes_4},
                                 [HIGH] = {0, high_1, high_2, 0, high_4}};

/* Where the low plane of a matrix in planes has a panel. */
INLINE const uint8_t *low_plane(const Mat *m, int panel) {
  size_t blocks = (size_t)(m->cols / block_of(PLANES));
  return m->data + blocks * ((size_t)(m->rows / PANEL) * block_bytes(PLANES) + (size_t)panel * LOW);
}

void multiply(Kind kind, const Mat *m, const Acts *a, const float *bias, float *out, int stride, int add, int from,
              int to) {
  int blocks = a->cols / a->block, all = m->cols / a->block, band = m->banded ? BAND : all;
  for (int b = 0; b < blocks; b += band) {
    int wide = all - b < band ? all - b : band, n_blocks = blocks - b < wide ? blocks - b : wide;
    const uint8_t *data = m->data + (size_t)b * (size_t)(m->rows / PANEL) * block_bytes(kind);
    for (int panel = from; panel < to; panel++) {
      const uint8_t *p = data + (size_t)panel * (size_t)wide * block_bytes(kind);
      const uint8_t *low = kind == PLANES ? low_plane(m, panel) : 0;
      for (int t = 0, n; t < a->tokens; t += n) {
        n = tile_of(a->tokens - t);
        Floats sums[TILE][PARTS];
        float *o = out + (size_t)t * (size_t)stride + (panel - from) * PANEL;
        for (int i = 0; i < n; i++)
          for (int h = 0; h < PARTS; h++) {
            sums[i][h] = bias && !b ? floats_load(bias + panel * PANEL + h * ROWS) : (Floats){0};
            if (add || b) sums[i][h] += floats_load(o + (size_t)i * (size_t)stride + h * ROWS);
          }
        int done = t * blocks + b * n;
        tiles[kind][n](p, low, n_blocks, a->q + (size_t)done * (size_t)(a->block / GROUP) * ACT, a->scale + done,
                       a->sum + done, sums);
        for (int i = 0; i < n; i++)
          for (int h = 0; h < PARTS; h++) floats_store(o + (size_t)i * (size_t)stride + h * ROWS, sums[i][h]);
      }
    }
  }
}

void unpack_row(Kind kind, const Mat *m, int row, float *out) {
  int block = block_of(kind), blocks = m->cols / block, r = row % PANEL;
  const uint8_t *p = m->data + (size_t)(row / PANEL) * (size_t)blocks * block_bytes(kind);
  const uint8_t *low = kind == PLANES ? low_plane(m, row / PANEL) : p;
  for (int b = 0; b < blocks; b++, p += block_bytes(kind), low += LOW) {
    float scale[PANEL], minimum[PANEL];
    for (int h = 0; h < PARTS; h++) {
      floats_store(scale + h * ROWS, halves_load((const uint16_t *)p + h * ROWS));
      if (kind == Q4) floats_store(minimum + h * ROWS, halves_load((const uint16_t *)(p + 16) + h * ROWS));
    }
    const uint8_t *q = p + (kind == Q4 ? 32 : 16);
    for (int c = 0; c < block; c++) {
      int g = c / GROUP, i = c % GROUP, at = g * 16 + r % 4 * 4 + i, shift = r >= 4 ? 4 : 0;
      int v = kind == Q4       ? q[at] >> shift & 15
              : kind == PLANES ? (q[at] >> shift & 15) << 4 | (low[at] >> shift & 15)
                               : q[g * 32 + r * 4 + i];
      *out++ = kind == Q4 ? scale[r] * (float)v + minimum[r] : scale[r] * (float)(v - (kind == Q7 ? 64 : 128));
    }
  }
}
