/* Calls that generate images. */
#include "fuzz.h"

typedef struct watcher {
  void *trainer;
  int64_t stop_after;
  int64_t last;
} watcher;

static int32_t watch(void *context, int64_t done, int64_t total) {
  watcher *mine = context;
  int64_t step = 0;
  CHECK(done == mine->last + 1 && done <= total, "step %" PRId64 " of %" PRId64, done, total);
  mine->last = done;
  CHECK(speediff_trainer_global_step(mine->trainer, &step) == SPEEDIFF_ERROR_BUSY, "not busy while generating");
  return done != mine->stop_after;
}

void generate(const object *trainer) {
  begin("speediff_trainer_generate");
  bool is_bad = false;
  int64_t n = one_in(10) ? 0 : any_batch(&is_bad);
  int64_t *y = any_labels(trainer, room(n), &is_bad);
  uint64_t *seeds = input((size_t)room(n) * sizeof *seeds);
  for (int64_t i = 0; i < room(n); i++) seeds[i] = random_bits();
  speediff_generation_options options = SPEEDIFF_GENERATION_OPTIONS_DEFAULT;
  options.method = one_in(30) ? (int32_t)any_integer() : 1 + (int32_t)below(2);
  options.steps = usually_integer(2, 5);
  if (options.steps > 5 && options.steps <= trainer->steps) options.steps = 5;
  options.eta = one_in(2) ? 0 : usually(0, 1);
  options.cfg_scale = one_in(2) ? 1 : usually(0, 4);
  options.clip = (int32_t)below(2);
  options.ema = one_in(30) ? (int32_t)any_integer() : (int32_t)below(2);
  watcher mine = {trainer->handle, one_in(4) ? 1 + below(4) : -1, 0};
  float *out = n == 0 ? NULL : output((size_t)(room(n) * elements(trainer)) * sizeof *out);
  arguments("%s, %s, seeds, %" PRId64 ", {%d, %" PRId64 ", %g, %g, %d, %d}, out", made(trainer), y ? "y" : "NULL", n,
            options.method, options.steps, options.eta, options.cfg_scale, options.clip, options.ema);
  if (n != 0 && is_bad) expect_failure();
  const bool is_watched = one_in(2);
  end(speediff_trainer_generate(required(trainer), y, seeds, n, &options, is_watched ? watch : NULL,
                                is_watched ? &mine : NULL, out));
  finish();
}
