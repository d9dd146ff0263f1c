/* Random values of the fuzzer: the same for the same seed, in each thread its own. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "fuzz.h"

static _Thread_local uint64_t state;

static uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Mixed, so that the streams of neighbouring seeds do not run one behind the other. */
void seed_random(uint64_t seed) { state = mixed(seed ^ 0x5851f42d4c957f2du); }

/* SplitMix64. */
uint64_t random_bits(void) { return mixed(state += 0x9e3779b97f4a7c15u); }

int64_t below(int64_t bound) { return (int64_t)(random_bits() % (uint64_t)bound); }

bool one_in(int64_t n) { return below(n) == 0; }

double unit(void) { return (double)(random_bits() >> 11) * 0x1p-53; }

double any_double(void) {
  static const double special[] = {
      0,       -0.0,     1,         -1,      0.5,    2,        NAN,     INFINITY,          -INFINITY,
      DBL_MIN, -DBL_MIN, DBL_MAX,   -DBL_MAX, 5e-324, -5e-324,  DBL_EPSILON, 1 - DBL_EPSILON / 2, 1 + DBL_EPSILON,
      0x1p31,  0x1p53,   0x1p63,    -0x1p63, 0x1p64, 1e300,    1e-300,  1e150,             1e-150,
      1e-9,    1e9,      709.8,     -745.2,  1e-17,  1e17,     2147483647, 1e4,            10001};
  switch (below(4)) {
    case 0: {
      double value;
      const uint64_t bits = random_bits();
      memcpy(&value, &bits, sizeof value);
      return value;
    }
    case 1: return (unit() - 0.5) * pow(10, (double)(below(20) - 10));
    default: return special[below((int64_t)(sizeof special / sizeof special[0]))];
  }
}

float any_float(void) {
  static const float special[] = {0,       -0.0f, 1,        NAN,         INFINITY, -INFINITY,
                                  FLT_MAX, FLT_MIN, 1e-45f, -FLT_MIN, -1,       1e20f};
  return one_in(2) ? special[below((int64_t)(sizeof special / sizeof special[0]))] : (float)(unit() * 4);
}

int64_t any_integer(void) {
  static const int64_t special[] = {INT64_MIN,       INT64_MIN + 1,       INT64_MAX, INT64_MAX - 1, -1,
                                    0,               1,                   2,         INT32_MAX,     INT32_MIN,
                                    INT64_C(1) << 31, INT64_C(1) << 32,    (INT64_C(1) << 31) + 1,
                                    INT64_C(1) << 53, (INT64_C(1) << 53) + 1, INT64_C(1) << 62};
  if (one_in(4)) return (int64_t)random_bits();
  if (one_in(3)) return below(200) - 50;
  return special[below((int64_t)(sizeof special / sizeof special[0]))];
}

double usually(double low, double high) {
  if (one_in(16)) return any_double();
  if (one_in(16)) return one_in(2) ? low : high;
  return low + (high - low) * unit();
}

int64_t usually_integer(int64_t low, int64_t high) {
  if (one_in(16)) return any_integer();
  return low + below(high - low + 1);
}

int64_t any_step(void) {
  if (one_in(12)) return any_integer();
  return one_in(2) ? below(20) : below(100000);
}

int64_t any_count(int64_t right, bool huge) {
  static const int64_t large[] = {INT64_MAX, INT64_MAX - 1, INT64_C(1) << 31, INT64_C(1) << 53, INT64_C(1) << 61,
                                  INT64_C(1) << 32};
  if (!one_in(5)) return right;
  switch (below(8)) {
    case 0: return 0;
    case 1: return -1;
    case 2: return INT64_MIN;
    case 3: return right + 1;
    case 4: return right - 1;
    case 5: return huge ? large[below((int64_t)(sizeof large / sizeof large[0]))] : -right;
    default: return below(8);
  }
}
