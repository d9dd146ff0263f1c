/* Counts the calls for memory that training steps make, of all threads; for test_trainer_allocations.py.
 *
 * Prints one line for each step: its batch, the calls of malloc and its like, and those of mmap. Functions of the executable come before those of the C library,
 * whose own are underneath here (glibc alone has these names). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "speediff.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static atomic_long calls, mappings;

void *malloc(size_t size) {
  calls++;
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  calls++;
  return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  calls++;
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  calls++;
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
  calls++;
  return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  calls++;
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  mappings++;
  return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

static void check(speediff_status status) {
  if (status == SPEEDIFF_OK) return;
  fprintf(stderr, "%s\n", speediff_last_error());
  exit(1);
}

enum { SIZE = 8, CHANNELS = 2, LARGEST = 6 };

/* The version of MDT or 0 for a DiT, threads, micro-batches of a step, precision, then the batch of each step */
int main(int count, char **arguments) {
  const char *const names[] = {"input_size", "in_channels", "hidden_size", "depth",
                               "num_heads",  "num_classes", "version",     "decode_layer"};
  const int version = atoi(arguments[1]);
  const double values[] = {SIZE, CHANNELS, 32, 4, 2, 5, version, 2};
  speediff_network *network = NULL;
  check(speediff_network_create(version == 0 ? "dit" : "mdt", names, values, version == 0 ? 6 : 8, &network));
  speediff_trainer_options options = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  options.max_grad_norm = 1;
  options.threads = atoi(arguments[2]);
  options.precision = atoi(arguments[4]);
  speediff_sampler_options draw = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  draw.accumulation = atoi(arguments[3]);
  speediff_schedule *schedule = NULL;
  speediff_sampler *sampler = NULL;
  speediff_trainer *trainer = NULL;
  check(speediff_schedule_create_linear(1000, 1e-4, 0.02, &schedule));
  check(speediff_sampler_create_speed(schedule, 5, 143.5, 0.6, &draw, &sampler));
  check(speediff_trainer_create(network, &options, sampler, &trainer));
  speediff_network_destroy(network);

  float x[LARGEST * CHANNELS * SIZE * SIZE];
  int64_t y[LARGEST], t[LARGEST];
  float losses[LARGEST];
  for (int i = 0; i < LARGEST * CHANNELS * SIZE * SIZE; i++) x[i] = (float)(i % 17) / 8 - 1;
  for (int i = 0; i < LARGEST; i++) y[i] = i % 5;
  for (int step = 5; step < count; step++) {
    int batch = atoi(arguments[step]);
    long before[] = {calls, mappings};
    double loss = 0, norm = 0;
    for (int micro = 0; micro < draw.accumulation; micro++) {
      check(speediff_trainer_backward(trainer, &(speediff_training_batch){.size = sizeof(speediff_training_batch), .x = x, .y = y, .n = batch}, &loss));
      check(speediff_trainer_last_losses(trainer, t, losses, batch));
    }
    check(speediff_trainer_apply(trainer, &norm));
    long after[] = {calls, mappings};
    printf("%d %ld %ld\n", batch, after[0] - before[0], after[1] - before[1]);
  }
  speediff_trainer_destroy(trainer);
  speediff_sampler_destroy(sampler);
  speediff_schedule_destroy(schedule);
  return 0;
}
