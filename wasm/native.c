/* Can this machine run the build for x86-64-v3 (AVX2 and half floats, and an operating system that keeps them)? */
#include "vec.h"

#if defined(__x86_64__)
#include <cpuid.h>

API int models_wide(void) {
  unsigned a, b, c, d, low, high;
  const unsigned needed = bit_AVX | bit_FMA | bit_F16C | bit_OSXSAVE | bit_MOVBE;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed) return 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 6) != 6) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (bit_AVX2 | bit_BMI | bit_BMI2)) == (bit_AVX2 | bit_BMI | bit_BMI2);
}
#else
API int models_wide(void) { return 0; }
#endif
