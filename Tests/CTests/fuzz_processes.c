/* Calls that make and read continuous processes and their samplers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

void create_process(void) {
  static const char *const functions[] = {"speediff_process_create_vp", "speediff_process_create_ve",
                                          "speediff_process_create_edm", "speediff_process_create_flow"};
  const int64_t which = below(4);
  begin(functions[which]);
  const double sigma_data = usually(0.1, 2);
  speediff_process **out = output(sizeof *out);
  speediff_status status;
  if (!(sigma_data > 0)) expect_failure();
  switch (which) {
    case 0: {
      const double beta_d = usually(1, 40);
      const double beta_min = usually(0.01, 1);
      const double epsilon = usually(1e-6, 0.1);
      arguments("%.17g, %.17g, %.17g, ", beta_d, beta_min, epsilon);
      if (!(beta_d > 0 && beta_min > 0 && epsilon > 0 && epsilon < 1)) expect_failure();
      status = speediff_process_create_vp(beta_d, beta_min, epsilon, sigma_data, out);
      break;
    }
    case 1: {
      const double sigma_min = usually(0.001, 1);
      const double sigma_max = usually(1, 200);
      arguments("%.17g, %.17g, ", sigma_min, sigma_max);
      if (!(sigma_min > 0 && sigma_min < sigma_max)) expect_failure();
      status = speediff_process_create_ve(sigma_min, sigma_max, sigma_data, out);
      break;
    }
    case 2: {
      const double mean = usually(-3, 3);
      const double std = usually(0.1, 3);
      arguments("%.17g, %.17g, ", mean, std);
      if (!(std > 0)) expect_failure();
      status = speediff_process_create_edm(mean, std, sigma_data, out);
      break;
    }
    default: status = speediff_process_create_flow(sigma_data, out); break;
  }
  arguments("%.17g", sigma_data);
  end(status);
  created(PROCESS, status, (void **)out, (object){.depth = 1, .flow = which == 3});
}

static void evaluate(void) {
  begin("speediff_process_evaluate");
  const object *process = pick(PROCESS);
  const int64_t quantity = one_in(12) ? (int32_t)any_integer() : 1 + below(3);
  /* A huge count would be honoured. */
  const int64_t count = any_count(below(20), false);
  const int64_t given = count < 0 ? 0 : count;
  double *t = one_in(50) ? NULL : input((size_t)given * sizeof *t);
  bool is_valid = true;
  for (int64_t i = 0; t != NULL && i < given; i++) {
    t[i] = one_in(60) ? any_double() : unit() * 0.99 + 1e-3;
    is_valid = is_valid && t[i] > 0 && isfinite(t[i]) && (!process->flow || t[i] < 1);
  }
  if (t == NULL) null_argument(count > 0);
  double *out = output_array(count, 0, sizeof *out);
  arguments("%s, %" PRId64 ", %" PRId64, made(process), quantity, count);
  if (t != NULL) argument_doubles(t, given);
  if (quantity < 1 || quantity > 3 || count < 0 || !is_valid) {
    expect_failure();
  } else {
    expect_success();
  }
  if (end(speediff_process_evaluate(required(process), (speediff_process_quantity)quantity, t, out, count))) {
    for (int64_t i = 0; i < count; i++) {
      /* Far away a quantity may be infinite. */
      if (isnan(out[i])) {
        defect("quantity %" PRId64 " at %.17g is %.17g", quantity, t[i], out[i]);
        break;
      }
    }
  }
  finish();
}

static void scale_input(void) {
  begin("speediff_fdm_input_scale");
  const double sigma_min = usually(0, 1);
  const double sigma_max = usually(1, 100);
  const double multiplier = usually(0.1, 3);
  const int64_t count = any_count(below(20), false);
  const int64_t given = count < 0 ? 0 : count;
  double *sigma = one_in(50) ? NULL : input((size_t)given * sizeof *sigma);
  double *out = output_array(count, 0, sizeof *out);
  for (int64_t i = 0; sigma != NULL && i < given; i++) sigma[i] = one_in(60) ? any_double() : unit() * 100;
  if (sigma == NULL) null_argument(count > 0);
  arguments("%.17g, %.17g, %.17g, %" PRId64, sigma_min, sigma_max, multiplier, count);
  if (sigma != NULL) argument_doubles(sigma, given);
  if (!(sigma_min >= 0 && sigma_min < sigma_max && multiplier > 0) || count < 0) expect_failure();
  if (end(speediff_fdm_input_scale(sigma_min, sigma_max, multiplier, sigma, out, count))) {
    for (int64_t i = 0; i < count; i++) {
      if (!isfinite(out[i])) {
        defect("c_in at %.17g is %.17g", sigma[i], out[i]);
        break;
      }
    }
  }
  finish();
}

void use_process(void) {
  if (one_in(3)) {
    scale_input();
  } else {
    evaluate();
  }
}

void create_sigma_sampler(void) {
  begin("speediff_sigma_sampler_create");
  const object none = {.handle = NULL};
  const object *process = pick(PROCESS);
  const object *sampling = one_in(3) ? &none : pick(SAMPLING);
  const object *weighting = one_in(3) ? &none : pick(WEIGHTING);
  speediff_sampler_options chosen = any_options();
  const speediff_sampler_options *options = one_in(60) ? NULL : &chosen;
  const int64_t warm_up = one_in(2) ? 0 : usually_integer(1, 1000);
  speediff_sigma_sampler **out = output(sizeof *out);
  if (warm_up > 0 && !one_in(10)) chosen.normalize = 0;
  if (options == NULL) null_argument(true);
  if (warm_up < 0 || (warm_up > 0 && chosen.normalize == 1)) expect_failure();
  arguments("%s, %s, %s, %s, %" PRId64, made(process), made(sampling), made(weighting), options_text(options), warm_up);
  const speediff_status status = speediff_sigma_sampler_create(required(process), optional(sampling),
                                                               optional(weighting), options, warm_up, out);
  object info = {.depth = 1, .flow = process->flow, .options = chosen};
  if (end(status))
    CHECK(speediff_sigma_sampler_history_count(*out, &info.history) == SPEEDIFF_OK, "no history count");
  created(SIGMA_SAMPLER, status, (void **)out, info);
}

static void read_sigma_emphasis(void) {
  begin("speediff_sigma_sampler_emphasis");
  const object *sampler = pick(SIGMA_SAMPLER);
  const int64_t step = any_step();
  const int64_t right = SPEEDIFF_SIGMA_EMPHASIS_COUNT;
  const int64_t count = any_count(right, true);
  double *log_snr = output_array(count, right, sizeof *log_snr);
  double *emphasis = output_array(count, right, sizeof *emphasis);
  arguments("%s, %" PRId64 ", %" PRId64, made(sampler), step, count);
  if (step < 0 || count != right) expect_failure();
  if (end(speediff_sigma_sampler_emphasis(required(sampler), step, log_snr, emphasis, count)))
    check_emphasis(log_snr, emphasis, count);
  finish();
}

static void check_levels(const object *sampler, const float *levels, const float *w, int64_t count) {
  check_nonnegative_floats("weights", w, count);
  check_nonnegative_floats("levels", levels, count);
  for (int64_t i = 0; sampler->flow && i < count; i++) {
    if (levels[i] > 1) {
      defect("level %" PRId64 " of flow is %.9g", i, (double)levels[i]);
      return;
    }
  }
}

static void draw_levels(void) {
  const bool slices = one_in(3);
  begin(slices ? "speediff_sigma_sampler_draw_slice" : "speediff_sigma_sampler_draw");
  const object *sampler = pick(SIGMA_SAMPLER);
  const speediff_sampler_options defaults = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  const speediff_sampler_options *options = sampler->handle == NULL ? &defaults : &sampler->options;
  const draw_numbers numbers = slices ? any_slice() : any_calls(options);
  float *levels = draw_output(&numbers, sizeof *levels);
  float *w = draw_output(&numbers, sizeof *w);
  if (numbers.is_valid) {
    expect_success();
  } else {
    expect_failure();
  }
  if (slices) {
    arguments("%s, %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64, made(sampler), numbers.first, numbers.offset,
              numbers.n, numbers.total);
    if (end(speediff_sigma_sampler_draw_slice(required(sampler), numbers.first, numbers.offset, numbers.n,
                                              numbers.total, levels, w)))
      check_levels(sampler, levels, w, numbers.entries);
    finish();
    return;
  }
  arguments("%s, %" PRId64 ", %" PRId64 ", %" PRId64, made(sampler), numbers.first, numbers.calls, numbers.n);
  if (end(speediff_sigma_sampler_draw(required(sampler), numbers.first, numbers.calls, numbers.n, levels, w))) {
    check_levels(sampler, levels, w, numbers.entries);
    if (numbers.entries > 0 && one_in(3)) {
      const int64_t call = below(numbers.calls);
      const draw_numbers slice = slice_of_call(options, numbers.first + call, numbers.n);
      const size_t bytes = (size_t)slice.n * sizeof(float);
      float *again = input(bytes);
      float *weights = input(bytes);
      CHECK(speediff_sigma_sampler_draw_slice(sampler->handle, slice.first, slice.offset, slice.n, slice.total, again,
                                              weights) == SPEEDIFF_OK,
            "the slice of a call cannot be drawn");
      CHECK(memcmp(again, levels + call * slice.n, bytes) == 0 && memcmp(weights, w + call * slice.n, bytes) == 0,
            "a slice differs from the call");
    }
  }
  finish();
}

/* Values for each entry, mostly valid; or NULL. */
static double *any_moves(int64_t n, double low, double high) {
  if (one_in(3)) return NULL;
  double *values = input((size_t)n * sizeof *values);
  for (int64_t i = 0; i < n; i++) values[i] = one_in(200) ? any_double() : low + (high - low) * unit();
  return values;
}

static void draw_shifted(void) {
  begin("speediff_sigma_sampler_draw_shifted");
  const object *sampler = pick(SIGMA_SAMPLER);
  const draw_numbers numbers = any_slice();
  const int64_t n = numbers.is_valid ? numbers.n : 0;
  double *shifts = any_moves(n, 0.25, 4);
  double *offsets = any_moves(n, -1, 1);
  float *levels = draw_output(&numbers, sizeof *levels);
  float *w = draw_output(&numbers, sizeof *w);
  if (!numbers.is_valid) {
    expect_failure();
  } else if (n > 0 && shifts == NULL && offsets == NULL) {
    expect_success();
  }
  arguments("%s, %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64, made(sampler), numbers.first, numbers.offset,
            numbers.n, numbers.total);
  if (shifts != NULL) argument_doubles(shifts, n);
  if (offsets != NULL) argument_doubles(offsets, n);
  if (end(speediff_sigma_sampler_draw_shifted(required(sampler), numbers.first, numbers.offset, numbers.n,
                                              numbers.total, shifts, offsets, levels, w)))
    check_levels(sampler, levels, w, numbers.entries);
  finish();
}

void use_sigma_sampler(void) {
  if (one_in(5)) {
    read_sigma_emphasis();
  } else if (one_in(4)) {
    draw_shifted();
  } else {
    draw_levels();
  }
}
