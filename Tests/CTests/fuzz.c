/* Drives the whole C interface with random calls: every function, handles in any order, odd numbers, names, counts and
 * options, and several threads at once. Never what the header excludes: a handle after `destroy`, an invalid pointer.
 *
 *     fuzz CALLS [SEED [SECONDS]]
 *
 * The same seed makes the same calls, but for what threads do. SECONDS (default 60) is how long a thousand calls may
 * take. Each defect is printed with the call, and with the calls that made its handles; then the exit status is 1. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"

/* Each as often as it stands here. */
static void (*const parts[])(void) = {
    create_schedule, use_schedule,   use_schedule,      use_respacing,    create_sampling,      create_sampling,
    create_weighting, use_nothing,   create_sampler,    create_sampler,   use_sampler,          use_sampler,
    draw_sampler,    draw_sampler,   learn_from_losses, learn_from_losses, create_process,      use_process,
    create_sigma_sampler, use_sigma_sampler, use_sigma_sampler, create_trainer,
    use_trainer,     use_trainer,    use_trainer,       use_files,         destroy_one};

enum { part_count = sizeof parts / sizeof parts[0], round_length = 1000, thread_calls = 100 };

int main(int count, char **values) {
  if (count < 2) {
    fprintf(stderr, "usage: fuzz CALLS [SEED [SECONDS]]\n");
    return EXIT_FAILURE;
  }
  const long calls = strtol(values[1], NULL, 10);
  const uint64_t seed = count > 2 ? strtoull(values[2], NULL, 10) : 1;
  const unsigned seconds = count > 3 ? (unsigned)strtoul(values[3], NULL, 10) : 60;
  seed_random(seed);
  watch_signals();
  set_time_limit(seconds);
  for (long done = 0; done < calls;) {
    alarm(seconds);
    for (int i = 0; i < round_length - thread_calls && done < calls; i++, done++) parts[below(part_count)]();
    if (done < calls) {
      run_threads(random_bits(), thread_calls);
      done += thread_calls;
    }
  }
  destroy_all();
  remove_files();
  const int unused = print_summary();
  printf("fuzz: %ld calls, seed %llu, %ld defects\n", calls, (unsigned long long)seed, defect_count());
  /* A short run need not reach everything. */
  const bool is_incomplete = unused > 0 && calls >= 20000;
  if (is_incomplete) fprintf(stderr, "%d functions were not exercised both ways\n", unused);
  return defect_count() == 0 && !is_incomplete ? EXIT_SUCCESS : EXIT_FAILURE;
}
