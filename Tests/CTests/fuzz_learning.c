/* Calls to samplers that learn from losses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* A sampler that learns, if there is one. */
static const object *pick_learner(void) {
  const object *sampler = pick(SAMPLER);
  for (int trial = 0; trial < 20 && sampler->history == 0 && !one_in(20); trial++) sampler = pick(SAMPLER);
  return sampler;
}

/* What a sampler has learned, to be freed; NULL while other threads may change it. */
static double *snapshot(const object *sampler) {
  if (pool_is_frozen() || sampler->handle == NULL || sampler->history == 0 || one_in(2)) return NULL;
  double *history = malloc((size_t)sampler->history * sizeof *history);
  if (speediff_sampler_history(sampler->handle, history, sampler->history) != SPEEDIFF_OK) {
    defect("no history");
    memset(history, 0, (size_t)sampler->history * sizeof *history);
  }
  return history;
}

static void check_same_history(const object *sampler, const double *expected, const char *text) {
  if (expected == NULL) return;
  double *now = malloc((size_t)sampler->history * sizeof *now);
  const speediff_status status = speediff_sampler_history(sampler->handle, now, sampler->history);
  CHECK(status == SPEEDIFF_OK && memcmp(now, expected, (size_t)sampler->history * sizeof *now) == 0, "%s", text);
  free(now);
}

static void update(void) {
  begin("speediff_sampler_update");
  const object *sampler = pick_learner();
  const int64_t right = one_in(3) ? 3 * sampler->steps : below(2 * sampler->steps);
  const int64_t n = one_in(12) ? any_count(right, true) : right;
  /* Up to 2^31 entries are honoured. */
  const int64_t given = n < 0 || n >= INT64_C(1) << 32 ? 3 : n == INT64_C(1) << 31 ? 0 : n;
  const int64_t count = n == INT64_C(1) << 31 ? 0 : n;
  int64_t *t = one_in(50) ? NULL : input((size_t)given * sizeof *t);
  float *losses = one_in(50) ? NULL : input((size_t)given * sizeof *losses);
  const bool in_turn = one_in(2);
  bool is_bad = sampler->handle != NULL && sampler->history == 0;
  bool is_large = false;
  for (int64_t i = 0; i < given; i++) {
    const int64_t step = one_in(2000) ? any_integer() : in_turn ? i % sampler->steps : below(sampler->steps);
    const float loss = one_in(1000) ? any_float() : (float)unit();
    is_bad = is_bad || step < 0 || step >= sampler->steps || !(loss >= 0 && isfinite(loss));
    is_large = is_large || loss > 1e6f;
    if (t != NULL) t[i] = step;
    if (losses != NULL) losses[i] = loss;
  }
  if (t == NULL || losses == NULL) null_argument(count > 0);
  arguments("%s, %" PRId64, made(sampler), count);
  if (t != NULL) argument_integers(t, given);
  double *before = snapshot(sampler);
  if (count < 0 || count >= INT64_C(1) << 32 || is_bad) {
    expect_failure();
  } else if (count == 0) {
    expect_success();
  }
  if (!end(speediff_sampler_update(required(sampler), t, losses, count)))
    check_same_history(sampler, before, "a failed update changed what was learned");
  free(before);
  finish();
}

static void read_history(void) {
  if (one_in(4)) {
    begin("speediff_sampler_history_count");
    const object *sampler = pick(SAMPLER);
    int64_t *count = output(sizeof *count);
    arguments("%s", made(sampler));
    expect_success();
    if (end(speediff_sampler_history_count(required(sampler), count)))
      CHECK(*count == sampler->history, "another length");
    finish();
    return;
  }
  begin("speediff_sampler_history");
  const object *sampler = pick_learner();
  const int64_t count = any_count(sampler->history, true);
  double *out = output_array(count, sampler->history, sizeof *out);
  arguments("%s, %" PRId64, made(sampler), count);
  if (count != sampler->history) {
    expect_failure();
  } else if (count > 0) {
    expect_success();
  }
  if (end(speediff_sampler_history(required(sampler), out, count))) {
    for (int64_t i = 0; i < count; i++) {
      if (!isfinite(out[i])) {
        defect("history[%" PRId64 "] is %.17g", i, out[i]);
        break;
      }
    }
  }
  finish();
}

/* What was taken over is given back, and taken again. `expected` is NULL where it was not one that had been given. */
static void check_restored(const object *sampler, const double *expected) {
  double *history = malloc((size_t)sampler->history * sizeof *history);
  check_same_history(sampler, expected, "a restored history differs");
  CHECK(speediff_sampler_history(sampler->handle, history, sampler->history) == SPEEDIFF_OK, "no history");
  CHECK(speediff_sampler_restore_history(sampler->handle, history, sampler->history) == SPEEDIFF_OK,
        "its own history cannot be restored");
  check_same_history(sampler, history, "its own history differs once restored");
  free(history);
}

static void restore(void) {
  begin("speediff_sampler_restore_history");
  const object *sampler = pick_learner();
  const int64_t right = sampler->history;
  const int64_t count = any_count(right, true);
  const int64_t given = count < 0 ? 0 : count < 1 << 16 ? count : right;
  double *history = one_in(50) ? NULL : input((size_t)given * sizeof *history);
  if (history != NULL && given > 0) memset(history, 0, (size_t)given * sizeof *history);
  double *before = snapshot(sampler);
  bool is_changed = false;
  if (history != NULL && given == right && right > 0 && sampler->handle != NULL) {
    CHECK(speediff_sampler_history(sampler->handle, history, right) == SPEEDIFF_OK, "no history");
    for (int changes = one_in(2) ? 0 : 1 + (int)below(4); changes > 0; changes--) {
      const int64_t place = below(right);
      history[place] = one_in(2) ? (double)below(4) : any_double();
      is_changed = true;
    }
  }
  if (history == NULL) null_argument(count > 0);
  arguments("%s, %" PRId64, made(sampler), count);
  if (history != NULL) argument_doubles(history, given);
  if (count != right) {
    expect_failure();
  } else if (!is_changed) {
    expect_success();
  }
  if (end(speediff_sampler_restore_history(required(sampler), history, count))) {
    if (!pool_is_frozen() && right > 0) check_restored(sampler, is_changed ? NULL : history);
  } else if (sampler->handle != NULL) {
    check_same_history(sampler, before, "a failed restoration changed what was learned");
  }
  free(before);
  finish();
}

/* A sampler of noise levels that learns, if there is one. */
static const object *pick_level_learner(void) {
  const object *sampler = pick(SIGMA_SAMPLER);
  for (int trial = 0; trial < 20 && sampler->history == 0 && !one_in(20); trial++) sampler = pick(SIGMA_SAMPLER);
  return sampler;
}

/* What a sampler of noise levels has learned, to be freed; NULL if nothing, or while other threads may change it. */
static double *levels_snapshot(const object *sampler) {
  if (pool_is_frozen() || sampler->handle == NULL || sampler->history == 0) return NULL;
  double *history = malloc((size_t)sampler->history * sizeof *history);
  CHECK(speediff_sigma_sampler_history(sampler->handle, history, sampler->history) == SPEEDIFF_OK, "no history");
  return history;
}

static void check_same_levels_history(const object *sampler, double *expected, const char *text) {
  double *now = expected == NULL ? NULL : levels_snapshot(sampler);
  if (now != NULL) CHECK(memcmp(now, expected, (size_t)sampler->history * sizeof *now) == 0, "%s", text);
  free(now);
}

static void update_levels(void) {
  begin("speediff_sigma_sampler_update");
  const object *sampler = pick_level_learner();
  const int64_t n = one_in(12) ? any_count(10, false) : below(100);
  const int64_t given = n < 0 ? 0 : n;
  const int64_t step = any_step();
  float *levels = one_in(50) ? NULL : input((size_t)given * sizeof *levels);
  float *losses = one_in(50) ? NULL : input((size_t)given * sizeof *losses);
  bool is_bad = step < 0 || n < 0 || (sampler->handle != NULL && sampler->history == 0);
  for (int64_t i = 0; i < given; i++) {
    const float level = one_in(1000) ? any_float() : (float)(unit() * 0.98 + 0.01);
    const float loss = one_in(1000) ? any_float() : (float)unit();
    is_bad = is_bad || !(level > 0 && isfinite(level) && (!sampler->flow || level < 1)) || !(loss >= 0 && isfinite(loss));
    if (levels != NULL) levels[i] = level;
    if (losses != NULL) losses[i] = loss;
  }
  if (levels == NULL || losses == NULL) null_argument(n > 0);
  if (is_bad) expect_failure();
  arguments("%s, %" PRId64 ", %" PRId64, made(sampler), step, n);
  double *before = levels_snapshot(sampler);
  if (!end(speediff_sigma_sampler_update(required(sampler), step, levels, losses, n)))
    check_same_levels_history(sampler, before, "a failed update changed what was learned");
  free(before);
  finish();
}

static void read_levels_history(void) {
  const bool counts = one_in(2);
  begin(counts ? "speediff_sigma_sampler_history_count" : "speediff_sigma_sampler_history");
  const object *sampler = pick_level_learner();
  arguments("%s", made(sampler));
  if (counts) {
    int64_t *count = output(sizeof *count);
    if (end(speediff_sigma_sampler_history_count(required(sampler), count)))
      CHECK(*count == sampler->history, "another length");
    finish();
    return;
  }
  const int64_t count = any_count(sampler->history, true);
  double *out = output_array(count, sampler->history, sizeof *out);
  if (count != sampler->history) expect_failure();
  if (end(speediff_sigma_sampler_history(required(sampler), out, count))) {
    for (int64_t i = 0; i < count; i++) CHECK(isfinite(out[i]), "history[%" PRId64 "] is %.17g", i, out[i]);
  }
  finish();
}

static void restore_levels(void) {
  begin("speediff_sigma_sampler_restore_history");
  const object *sampler = pick_level_learner();
  const int64_t right = sampler->history;
  const int64_t count = any_count(right, true);
  const int64_t given = count < 0 ? 0 : count < 1 << 16 ? count : right;
  double *history = one_in(50) ? NULL : input((size_t)given * sizeof *history);
  if (history != NULL && given > 0) memset(history, 0, (size_t)given * sizeof *history);
  double *before = levels_snapshot(sampler);
  bool is_changed = false;
  if (history != NULL && given == right && before != NULL) {
    memcpy(history, before, (size_t)right * sizeof *history);
    if (one_in(2)) {
      history[below(right)] = one_in(2) ? (double)below(4) : any_double();
      is_changed = true;
    }
  }
  if (history == NULL) null_argument(count > 0);
  arguments("%s, %" PRId64, made(sampler), count);
  if (count != right) expect_failure();
  if (end(speediff_sigma_sampler_restore_history(required(sampler), history, count))) {
    if (!is_changed) check_same_levels_history(sampler, before, "its own history changed what was learned");
  } else {
    check_same_levels_history(sampler, before, "a failed restoration changed what was learned");
  }
  free(before);
  finish();
}

static void learn_levels(void) {
  switch (below(4)) {
    case 0: read_levels_history(); break;
    case 1: restore_levels(); break;
    default: update_levels(); break;
  }
}

void learn_from_losses(void) {
  if (one_in(3)) {
    learn_levels();
    return;
  }
  switch (below(4)) {
    case 0: read_history(); break;
    case 1: restore(); break;
    default: update(); break;
  }
}
