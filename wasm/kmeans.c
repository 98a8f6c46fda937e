/* Lloyd's algorithm on int8 codes: which centroid is nearest, and the sums of which new centroids are made. The Python
 * side is pysrc/inglenook/index/kmeans.py, whose class `Plain` is this file's oracle.
 *
 * A vector is scale * codes (int8), a centroid scale * (codes - 64) with codes of 0..127. Products are exact integers,
 * so every build and every way of cutting the work gives the same labels. */
#include "seven.h"

enum { CENTRE = 64, TALL = 2, BROAD = 4 }; /* vectors and centroids of one tile */

/* dots[t][b] = products of vector t with centroid b. */
static MACHINE inline void tile(const int8_t *x, const uint8_t *c, int32_t width, int32_t dots[TALL][BROAD]) {
  I4 sums[TALL][BROAD] = {{{0}}};
  for (int32_t i = 0; i < width; i += 16) {
    Bytes a[TALL];
    for (int32_t t = 0; t < TALL; t++) a[t] = bytes(READ(U16, x + (intptr_t)t * width + i));
    for (int32_t b = 0; b < BROAD; b++) {
      Sevens d = sevens(READ(U16, c + (intptr_t)b * width + i));
      for (int32_t t = 0; t < TALL; t++) sums[t][b] = madd(sums[t][b], a[t], d);
    }
  }
  for (int32_t t = 0; t < TALL; t++)
    for (int32_t b = 0; b < BROAD; b++) dots[t][b] = i4_total(sums[t][b]);
}

/* For each of n vectors x (n, width) the centroid with the highest 2 x·c - |c|², the first of equals. squares (k) holds
 * |c|². Writes labels (n) and those values (n). */
API MACHINE void nook_assign(const int8_t *x, const float *scale, int32_t n, int32_t width, const uint8_t *centroids,
                             const float *spacing, const float *squares, int32_t k, int32_t *labels, float *values) {
  for (int32_t row = 0; row < n; row += TALL) {
    int32_t tall = n - row < TALL ? n - row : TALL, sums[TALL] = {0};
    for (int32_t t = 0; t < tall; t++) {
      const int8_t *v = x + (intptr_t)(row + t) * width;
      for (int32_t i = 0; i < width; i++) sums[t] += v[i];
      labels[row + t] = 0;
      values[row + t] = -__builtin_inff();
    }
    for (int32_t c = 0; c < k; c += BROAD) {
      int32_t broad = k - c < BROAD ? k - c : BROAD, dots[TALL][BROAD];
      const uint8_t *centre = centroids + (intptr_t)c * width;
      if (tall == TALL && broad == BROAD)
        tile(x + (intptr_t)row * width, centre, width, dots);
      else
        for (int32_t t = 0; t < tall; t++)
          for (int32_t b = 0; b < broad; b++)
            dots[t][b] = products(x + (intptr_t)(row + t) * width, centre + (intptr_t)b * width, width);
      for (int32_t t = 0; t < tall; t++)
        for (int32_t b = 0; b < broad; b++) {
          float product = (float)(dots[t][b] - CENTRE * sums[t]) * (2.0f * scale[row + t] * spacing[c + b]);
          float value = product - squares[c + b];
          if (value > values[row + t]) {
            values[row + t] = value;
            labels[row + t] = c + b;
          }
        }
    }
  }
}

/* Adds each vector to the sum of its label: sums (k, width). */
API void nook_gather(const int8_t *x, const float *scale, const int32_t *labels, int32_t n, int32_t width, float *sums) {
  for (int32_t row = 0; row < n; row++) {
    const int8_t *v = x + (intptr_t)row * width;
    float *sum = sums + (intptr_t)labels[row] * width;
    for (int32_t i = 0; i < width; i++) sum[i] += scale[row] * (float)v[i];
  }
}
