/* Calls that make samplers of timesteps, read their tables, and draw. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { longest_checked = 128 };

void create_sampler(void) {
  static const char *const functions[] = {"speediff_sampler_create", "speediff_sampler_create_speed",
                                          "speediff_sampler_create_official_speed"};
  const int64_t which = one_in(2) ? 0 : below(3);
  begin(functions[which]);
  const object *schedule = pick(SCHEDULE);
  const object *sampling = pick(SAMPLING);
  const object *weighting = pick(WEIGHTING);
  /* Official SpeeD takes no other sampling. */
  for (int trial = 0; which == 2 && trial < 20 && strstr(made(sampling), "_asymmetric(") == NULL; trial++)
    sampling = pick(SAMPLING);
  const double k = usually(1, 20);
  const double r = usually(1.001, 5);
  const double lam = usually(0.5, 1);
  speediff_sampler_options chosen = any_options();
  if (which == 2 && !one_in(10)) chosen.strata = SPEEDIFF_STRATA_NONE;
  const speediff_sampler_options *options = one_in(60) ? NULL : &chosen;
  speediff_sampler **out = output(sizeof *out);
  speediff_status status;
  if (options == NULL) null_argument(true);
  if (chosen.rank < 0 || chosen.rank >= chosen.world_size || chosen.world_size > INT64_C(1) << 31 ||
      chosen.accumulation < 1 || chosen.accumulation > INT64_C(1) << 31 || chosen.prediction < 0 ||
      chosen.prediction > 4 || chosen.strata < 0 || chosen.strata > 2 || chosen.normalize < 0 || chosen.normalize > 1)
    expect_failure();
  arguments("%s", made(schedule));
  if (which != 1) arguments(", %s", made(sampling));
  switch (which) {
    case 0:
      arguments(", %s, %s", made(weighting), options_text(options));
      status = speediff_sampler_create(required(schedule), required(sampling), required(weighting), options, out);
      break;
    case 1:
      arguments(", %.17g, %.17g, %.17g, %s", k, r, lam, options_text(options));
      if (!(k >= 1) || !(r > 1) || !(lam >= 0.5 && lam <= 1)) expect_failure();
      status = speediff_sampler_create_speed(required(schedule), k, r, lam, options, out);
      break;
    default:
      arguments(", %.17g, %s", lam, options_text(options));
      if (!(lam >= 0.5 && lam <= 1) || chosen.strata != SPEEDIFF_STRATA_NONE) expect_failure();
      status = speediff_sampler_create_official_speed(required(schedule), required(sampling), lam, options, out);
      break;
  }
  object info = {.depth = 1, .steps = schedule->steps, .last_alphas_cumprod = schedule->last_alphas_cumprod};
  info.official = which == 2;
  info.options = chosen;
  if (end(status)) CHECK(speediff_sampler_history_count(*out, &info.history) == SPEEDIFF_OK, "no history count");
  created(SAMPLER, status, (void **)out, info);
}

static void read_sampler_table(void) {
  static const char *const functions[] = {"speediff_sampler_probabilities", "speediff_sampler_marginal",
                                          "speediff_sampler_weights"};
  const int64_t which = below(3);
  begin(functions[which]);
  const object *sampler = pick(SAMPLER);
  const int64_t step = any_step();
  const int64_t n = one_in(4) ? any_integer() : 1 + below(200);
  const int64_t count = any_count(sampler->steps, true);
  double *out = output_array(count, sampler->steps, sizeof *out);
  const bool has_batch = which != 1 || (n >= 1 && n <= INT64_C(1) << 31);
  speediff_status status;
  arguments("%s, %" PRId64, made(sampler), step);
  if (which == 1) arguments(", %" PRId64, n);
  arguments(", %" PRId64, count);
  if (step < 0 || count != sampler->steps || !has_batch) {
    expect_failure();
  } else {
    expect_success();
  }
  switch (which) {
    case 0: status = speediff_sampler_probabilities(required(sampler), step, out, count); break;
    case 1: status = speediff_sampler_marginal(required(sampler), step, n, out, count); break;
    default: status = speediff_sampler_weights(required(sampler), step, out, count); break;
  }
  if (end(status)) {
    if (which == 2) {
      check_nonnegative("weights", out, count);
    } else {
      check_probabilities(out, count);
    }
  }
  finish();
}

static void read_expected_weight(void) {
  begin("speediff_sampler_expected_weight");
  const object *sampler = pick(SAMPLER);
  const int64_t step = any_step();
  const int64_t n = one_in(4) ? any_integer() : below(200);
  double *out = output(sizeof *out);
  arguments("%s, %" PRId64 ", %" PRId64, made(sampler), step, n);
  if (step < 0 || n < 0 || n > INT64_C(1) << 31) {
    expect_failure();
  } else {
    expect_success();
  }
  if (end(speediff_sampler_expected_weight(required(sampler), step, n, out)))
    check_nonnegative("expected weight", out, 1);
  finish();
}

static void read_emphasis(void) {
  begin("speediff_sampler_emphasis");
  const object *sampler = pick(SAMPLER);
  const int64_t step = any_step();
  const int64_t right = sampler->steps - (sampler->last_alphas_cumprod == 0);
  const int64_t count = any_count(right, true);
  double *log_snr = output_array(count, right, sizeof *log_snr);
  double *emphasis = output_array(count, right, sizeof *emphasis);
  arguments("%s, %" PRId64 ", %" PRId64, made(sampler), step, count);
  if (step < 0 || count != right) expect_failure();
  if (end(speediff_sampler_emphasis(required(sampler), step, log_snr, emphasis, count)))
    check_emphasis(log_snr, emphasis, count);
  finish();
}

void use_sampler(void) {
  switch (below(5)) {
    case 0: read_expected_weight(); break;
    case 1: read_emphasis(); break;
    default: read_sampler_table(); break;
  }
}

/* Each step that was drawn must have had a chance, and the weight of the table. */
static void check_against_tables(const object *sampler, const draw_numbers *slice, const int64_t *t, const float *w) {
  double p[longest_checked];
  double weights[longest_checked];
  if (sampler->steps > longest_checked || slice->n == 0 || (pool_is_frozen() && sampler->history > 0)) return;
  if (speediff_sampler_marginal(sampler->handle, slice->first, slice->n, p, sampler->steps) != SPEEDIFF_OK ||
      speediff_sampler_weights(sampler->handle, slice->first, weights, sampler->steps) != SPEEDIFF_OK) {
    defect("a sampler that draws has no tables");
    return;
  }
  for (int64_t i = 0; i < slice->n; i++) {
    if (t[i] < 0 || t[i] >= sampler->steps) return;
    if (!(p[t[i]] > 0)) {
      defect("step %" PRId64 " was drawn, whose probability is %.17g", t[i], p[t[i]]);
      return;
    }
    /* A weight that no float can hold is drawn as the largest one. */
    const double weight = fmin(weights[t[i]], FLT_MAX);
    if (!sampler->official && !(fabs((double)w[i] - weight) <= 1e-6 * weight + 1e-37)) {
      defect("the weight of step %" PRId64 " is %.9g, and %.17g in the table", t[i], (double)w[i], weight);
      return;
    }
  }
}

static void check_draws(const object *sampler, const int64_t *t, const float *w, int64_t count) {
  check_nonnegative_floats("weights", w, count);
  for (int64_t i = 0; i < count; i++) {
    if (t[i] < 0 || t[i] >= sampler->steps) {
      defect("t[%" PRId64 "] is %" PRId64, i, t[i]);
      return;
    }
  }
}

/* A slice draws what the calls drew. */
static void check_slice(const object *sampler, const draw_numbers *slice, const int64_t *t, const float *w) {
  if (pool_is_frozen() && sampler->history > 0) return;
  int64_t *again = input((size_t)slice->n * sizeof *again);
  float *weights = input((size_t)slice->n * sizeof *weights);
  CHECK(speediff_sampler_draw_slice(sampler->handle, slice->first, slice->offset, slice->n, slice->total, again,
                                    weights) == SPEEDIFF_OK,
        "the slice of a call cannot be drawn");
  CHECK(slice->n == 0 || (memcmp(again, t, (size_t)slice->n * sizeof *t) == 0 &&
                          memcmp(weights, w, (size_t)slice->n * sizeof *w) == 0),
        "a slice differs from the call");
}

void draw_sampler(void) {
  const bool slices = one_in(3);
  begin(slices ? "speediff_sampler_draw_slice" : "speediff_sampler_draw");
  const object *sampler = pick(SAMPLER);
  const speediff_sampler_options defaults = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  const speediff_sampler_options *options = sampler->handle == NULL ? &defaults : &sampler->options;
  draw_numbers numbers = slices ? any_slice() : any_calls(options);
  int64_t *t = draw_output(&numbers, sizeof *t);
  float *w = draw_output(&numbers, sizeof *w);
  if (numbers.is_valid) {
    expect_success();
  } else {
    expect_failure();
  }
  if (slices) {
    arguments("%s, %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64, made(sampler), numbers.first, numbers.offset,
              numbers.n, numbers.total);
    if (end(speediff_sampler_draw_slice(required(sampler), numbers.first, numbers.offset, numbers.n, numbers.total, t,
                                        w))) {
      check_draws(sampler, t, w, numbers.entries);
      if (one_in(4)) check_against_tables(sampler, &numbers, t, w);
    }
  } else {
    arguments("%s, %" PRId64 ", %" PRId64 ", %" PRId64, made(sampler), numbers.first, numbers.calls, numbers.n);
    if (end(speediff_sampler_draw(required(sampler), numbers.first, numbers.calls, numbers.n, t, w))) {
      check_draws(sampler, t, w, numbers.entries);
      if (one_in(3) && numbers.entries > 0) {
        const int64_t call = below(numbers.calls);
        const draw_numbers slice = slice_of_call(options, numbers.first + call, numbers.n);
        check_slice(sampler, &slice, t + call * numbers.n, w + call * numbers.n);
        check_against_tables(sampler, &slice, t + call * numbers.n, w + call * numbers.n);
      }
    }
  }
  finish();
}
