/* What Swift needs of OpenBLAS, the C library and the processor, and cannot express itself.
 *
 * OpenBLAS is declared here and not included, so that the package builds with any of its header layouts.
 */
#ifndef SPEEDIFF_OPENBLAS_SHIM_H
#define SPEEDIFF_OPENBLAS_SHIM_H

#if defined(__linux__)
#include <sys/resource.h>
#endif

/* cblas.h */
enum { SPEEDIFF_ROW_MAJOR = 101, SPEEDIFF_NO_TRANSPOSE = 111, SPEEDIFF_TRANSPOSE = 112 };
void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
int openblas_get_num_threads(void);
void openblas_set_num_threads(int threads);
char *openblas_get_corename(void);

/* Of builds that choose their kernels on loading (DYNAMIC_ARCH); NULL in others. */
__attribute__((weak)) void gotoblas_dynamic_init(void);
__attribute__((weak)) void gotoblas_dynamic_quit(void);

/* Makes OpenBLAS choose its kernels again, OPENBLAS_CORETYPE being set by now. 0: this build has one set only. */
static inline int speediff_openblas_choose_again(void) {
  if (!gotoblas_dynamic_init || !gotoblas_dynamic_quit) return 0;
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
  return 1;
}

/* What OpenBLAS's products call for their buffers. Buffers that were given back stay mapped, for the next product. */
__attribute__((weak)) void *blas_memory_alloc(int position);
__attribute__((weak)) void blas_memory_free(void *buffer);

/* A buffer, or NULL where OpenBLAS has no such function. */
static inline void *speediff_openblas_take_buffer(void) { return blas_memory_alloc ? blas_memory_alloc(0) : 0; }
static inline void speediff_openblas_give_buffer_back(void *buffer) {
  if (buffer && blas_memory_free) blas_memory_free(buffer);
}

/* What this processor and operating system can run: 2 for AVX-512 (F, BW, DQ, VL), 1 for AVX2 with FMA, else 0. */
static inline int speediff_vector_level(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return 2;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
  return 0;
}

/* Whether the package is compiled for 32 vector registers of 16 floats. */
static inline int speediff_has_wide_vectors(void) {
#if defined(__AVX512F__)
  return 1;
#else
  return 0;
#endif
}

/* Whether x + a*b is one instruction. */
static inline int speediff_has_fused_products(void) {
#if defined(__FMA__) || defined(__aarch64__)
  return 1;
#else
  return 0;
#endif
}

/* Sixteen floats, as Swift's SIMD16<Float>. Swift's own choices by a mask take four times as many instructions with AVX2. */
typedef float speediff_float16 __attribute__((ext_vector_type(16)));

/* a where it is less than b (or greater), else b; b where either is NaN. */
static inline __attribute__((always_inline)) speediff_float16 speediff_lesser(speediff_float16 a, speediff_float16 b) {
  return a < b ? a : b;
}
static inline __attribute__((always_inline)) speediff_float16 speediff_greater(speediff_float16 a, speediff_float16 b) {
  return a > b ? a : b;
}

/* 0 where x is less than the bound, else the value. */
static inline __attribute__((always_inline)) speediff_float16 speediff_zero_where_less(
    speediff_float16 x, speediff_float16 bound, speediff_float16 value) {
  return x < bound ? (speediff_float16)0 : value;
}

/* The greatest of sixteen; of NaN and another number it may be either. */
static inline __attribute__((always_inline)) float speediff_greatest(speediff_float16 x) {
  typedef float float8 __attribute__((ext_vector_type(8)));
  typedef float float4 __attribute__((ext_vector_type(4)));
  float8 eight = x.lo > x.hi ? x.lo : x.hi;
  float4 four = eight.lo > eight.hi ? eight.lo : eight.hi;
  float first = four.x > four.z ? four.x : four.z, second = four.y > four.w ? four.y : four.w;
  return first > second ? first : second;
}

/* Sixteen reciprocals: to 2^-14, which a step of Newton's makes exact, where vectors are wide, since a division takes as long as
 * ten products there; exact elsewhere.
 */
static inline __attribute__((always_inline)) speediff_float16 speediff_near_reciprocal(speediff_float16 x) {
#if defined(__AVX512F__)
  typedef float machine_float16 __attribute__((vector_size(64)));
  machine_float16 result = __builtin_ia32_rcp14ps512_mask((machine_float16)x, (machine_float16)x, (unsigned short)-1);
  return (speediff_float16)result;
#else
  return 1 / x;
#endif
}

/* Sixteen square roots, correctly rounded. Swift's own of a vector calls a function for each float. */
static inline __attribute__((always_inline)) speediff_float16 speediff_square_roots(speediff_float16 x) {
  return __builtin_elementwise_sqrt(x);
}

/* Products of bfloat16. The instructions are written out, so that one build has them and processors without them run it:
 * whoever calls these has asked speediff_has_bfloat16_products first.
 */
#if defined(__AVX512F__) && defined(__AVX512BW__)
#define SPEEDIFF_BFLOAT16 1
#else
#define SPEEDIFF_BFLOAT16 0
#endif

/* Whether the package is compiled for the instructions below, and this processor has them. */
static inline int speediff_has_bfloat16_products(void) {
#if SPEEDIFF_BFLOAT16
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") && speediff_vector_level() == 2;
#else
  return 0;
#endif
}

/* Whether they do twice the work of float32's. Those of Intel take twice as long. */
static inline int speediff_has_fast_bfloat16_products(void) {
#if SPEEDIFF_BFLOAT16
  return speediff_has_bfloat16_products() && __builtin_cpu_is("amd");
#else
  return 0;
#endif
}

/* sum + a1*b1, then + a0*b0, of sixteen pairs of bfloat16. */
static inline __attribute__((always_inline)) speediff_float16 speediff_add_pair_products(
    speediff_float16 sum, speediff_float16 a, speediff_float16 b) {
#if SPEEDIFF_BFLOAT16
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#endif
  return sum;
}

/* Thirty-two floats rounded to bfloat16: those of x, then those of y. */
static inline __attribute__((always_inline)) speediff_float16 speediff_bfloat16(speediff_float16 x, speediff_float16 y) {
#if SPEEDIFF_BFLOAT16
  speediff_float16 result;
  __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(result) : "v"(x), "v"(y));
  return result;
#else
  return x + y;
#endif
}

/* Interleaves the halves of thirty-two bfloat16: the first with the seventeenth, and so on. */
static inline __attribute__((always_inline)) speediff_float16 speediff_interleaved_halves(speediff_float16 x) {
#if SPEEDIFF_BFLOAT16
  typedef short halves __attribute__((ext_vector_type(32)));
  halves h = (halves)x;
  return (speediff_float16)__builtin_shufflevector(h, h, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24,
                                                   9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
  return x;
#endif
}

/* Asks for a line of memory that will be read, or written, soon. Any address will do. */
static inline __attribute__((always_inline)) void speediff_prefetch(const float *line) {
  __builtin_prefetch(line, 0, 3);
}
static inline __attribute__((always_inline)) void speediff_prefetch_to_write(const float *line) {
  __builtin_prefetch(line, 1, 3);
}

/* The processors that this process may use; 0 where the system does not say. */
#if defined(__linux__)
int sched_getaffinity(int process, unsigned long size, void *mask);
static inline int speediff_available_processors(void) {
  unsigned long mask[128] = {0};
  int count = 0;
  if (sched_getaffinity(0, sizeof mask, mask) != 0) return 0;
  for (int i = 0; i < 128; i++) count += __builtin_popcountl(mask[i]);
  return count;
}
#else
static inline int speediff_available_processors(void) { return 0; }
#endif

/* The processes and threads that this user may have; -1: any number. */
#if defined(__linux__)
static inline long speediff_process_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NPROC, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return -1;
  return (long)limit.rlim_cur;
}
#else
static inline long speediff_process_limit(void) { return -1; }
#endif

/* Tells the processor that this thread waits for another. */
static inline void speediff_spin_hint(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
