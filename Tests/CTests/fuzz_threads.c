/* Several threads on the same handles: some draw, one lets samplers learn, one reads tables, two train. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

typedef struct job {
  pthread_t thread;
  uint64_t seed;
  long calls;
  int number;
} job;

static void *work(void *argument) {
  const job *mine = argument;
  seed_random(mine->seed);
  for (long i = 0; i < mine->calls; i++) {
    switch (mine->number) {
      case 0: learn_from_losses(); break;
      case 1:
        if (one_in(3)) {
          use_trainer();
        } else if (one_in(3)) {
          use_schedule();
        } else {
          use_sampler();
        }
        break;
      case 2:
        if (one_in(8)) {
          create_sampler();
        } else if (one_in(3)) {
          use_trainer();
        } else if (one_in(2)) {
          use_sigma_sampler();
        } else {
          draw_sampler();
        }
        break;
      default: draw_sampler(); break;
    }
  }
  return NULL;
}

void run_threads(uint64_t seed, long calls) {
  enum { threads = 4 };
  job jobs[threads];
  freeze_pool(true);
  for (int i = 0; i < threads; i++) {
    jobs[i].seed = seed + (uint64_t)i + 1;
    jobs[i].calls = calls / threads;
    jobs[i].number = i;
    if (pthread_create(&jobs[i].thread, NULL, work, &jobs[i]) != 0) {
      fprintf(stderr, "no thread\n");
      exit(EXIT_FAILURE);
    }
  }
  for (int i = 0; i < threads; i++) pthread_join(jobs[i].thread, NULL);
  freeze_pool(false);
}
