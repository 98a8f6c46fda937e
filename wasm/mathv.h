/* exp, log, SiLU and GELU on 4 lanes. Each is a fixed sequence of IEEE operations: the same bits on every machine. */
#ifndef MATHV_H
#define MATHV_H

#include "vec.h"

/* e^x, relative error below 2e-7 on -87..88; smaller x give 0, larger ones the value at 88.
 * x = n ln 2 + r, |r| <= ln 2 / 2, and a polynomial of degree 6 for e^r (Cephes expf, S. Moshier). */
INLINE F4 f4_exp(F4 x) {
  const F4 lowest = F4C(-87.0f);
  I4 tiny = x < lowest;
  x = f4_max(f4_min(x, F4C(88.0f)), lowest);
  I4 n = i4_round(x * F4C(1.44269504088896341f));
  F4 k = f4_of(n);
  F4 r = x - k * F4C(0.693359375f) - k * F4C(-2.12194440e-4f);
  F4 p = r * F4C(1.9875691500e-4f) + F4C(1.3981999507e-3f);
  p = p * r + F4C(8.3334519073e-3f);
  p = p * r + F4C(4.1665795894e-2f);
  p = p * r + F4C(1.6666665459e-1f);
  p = p * r + F4C(5.0000001201e-1f);
  p = p * (r * r) + r + F4C(1.0f);
  F4 power = p * (F4)((n + I4C(127)) << 23);
  return (F4)(bits_of(power) & ~tiny);
}

/* ln x of normal positive x, relative error below 3e-7: x = 2^n m, m from sqrt(1/2) to sqrt(2), and a polynomial of
 * degree 9 for ln m (Cephes logf, S. Moshier). */
INLINE F4 f4_log(F4 x) {
  I4 n = (bits_of(x) >> 23) - I4C(126);
  F4 m = (F4)((bits_of(x) & I4C(0x007fffff)) | I4C(0x3f000000));
  I4 small = m < F4C(0.707106781186547524f);
  n += small; /* minus one where the mask is set */
  m = m + f4_pick(small, m, f4(0.0f)) - F4C(1.0f);
  F4 k = f4_of(n), square = m * m, p = m * F4C(7.0376836292e-2f) + F4C(-1.1514610310e-1f);
  p = p * m + F4C(1.1676998740e-1f);
  p = p * m + F4C(-1.2420140846e-1f);
  p = p * m + F4C(1.4249322787e-1f);
  p = p * m + F4C(-1.6668057665e-1f);
  p = p * m + F4C(2.0000714765e-1f);
  p = p * m + F4C(-2.4999993993e-1f);
  p = p * m + F4C(3.3333331174e-1f);
  p = p * m * square + k * F4C(-2.12194440e-4f) - F4C(0.5f) * square;
  return m + p + k * F4C(0.693359375f);
}

/* x * sigmoid(x) (Elfwing et al., 1702.03118). */
INLINE F4 f4_silu(F4 x) { return x / (F4C(1.0f) + f4_exp(-x)); }

/* x * Phi(x) with the exact normal distribution function (Hendrycks and Gimpel, 1606.08415), erf after Abramowitz and
 * Stegun 7.1.28: absolute error of erf below 3e-7. A power too large for a float gives 1 - erf = 0, as it should. */
INLINE F4 f4_gelu(F4 x) {
  F4 z = f4_abs(x); /* the coefficients are those of x / sqrt(2) */
  F4 p = z * F4C(5.382975e-06f) + F4C(4.889063564e-05f);
  p = p * z + F4C(3.8003575e-05f);
  p = p * z + F4C(0.003277626324f);
  p = p * z + F4C(0.02114100615f);
  p = p * z + F4C(0.04986734697f);
  p = p * z + F4C(1.0f);
  p *= p, p *= p, p *= p, p *= p;
  return f4_max(x, f4(0.0f)) - z * F4C(0.5f) / p; /* 1 / p is 1 - erf */
}

/* Square root, as the machine rounds it. */
INLINE float root(float x) { return __builtin_sqrtf(x); }

#endif
