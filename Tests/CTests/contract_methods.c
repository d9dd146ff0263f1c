/* Samplings and weightings by name, combinations, methods that learn, and emphasis. */
#include "contract.h"

enum { T = 100 };

static speediff_schedule *cosine(void) {
  speediff_schedule *schedule = NULL;
  CHECK(speediff_schedule_create_cosine(T, &schedule) == SPEEDIFF_OK);
  return schedule;
}

/* A sampler of these, which are destroyed. */
static speediff_sampler *combine(speediff_sampling *sampling, speediff_weighting *weighting) {
  speediff_schedule *schedule = cosine();
  speediff_sampler *sampler = NULL;
  speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  options.prediction = SPEEDIFF_PREDICTION_V;
  CHECK(speediff_sampler_create(schedule, sampling, weighting, &options, &sampler) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  speediff_sampling_destroy(sampling);
  speediff_weighting_destroy(weighting);
  return sampler;
}

static speediff_sampling *sampling(const char *name) {
  speediff_sampling *made = NULL;
  CHECK(speediff_sampling_create(name, NULL, 0, &made) == SPEEDIFF_OK);
  return made;
}

static speediff_weighting *weighting(const char *name) {
  speediff_weighting *made = NULL;
  CHECK(speediff_weighting_create(name, NULL, 0, &made) == SPEEDIFF_OK);
  return made;
}

/* P sums to 1, w is a number, draws are in range; destroys the sampler. */
static void check_and_destroy(speediff_sampler *sampler) {
  double p[T];
  double w[T];
  double sum = 0;
  int64_t t[64];
  float drawn[64];
  CHECK(speediff_sampler_probabilities(sampler, 7, p, T) == SPEEDIFF_OK);
  CHECK(speediff_sampler_weights(sampler, 7, w, T) == SPEEDIFF_OK);
  for (int i = 0; i < T; i++) {
    sum += p[i];
    CHECK(p[i] >= 0 && isfinite(w[i]) && w[i] >= 0);
  }
  CHECK(fabs(sum - 1) < 1e-12);
  CHECK(speediff_sampler_draw(sampler, 7, 1, 64, t, drawn) == SPEEDIFF_OK);
  for (int i = 0; i < 64; i++) CHECK(t[i] >= 0 && t[i] < T && p[t[i]] > 0 && drawn[i] == (float)w[t[i]]);
  speediff_sampler_destroy(sampler);
}

/* Calls `use` with each of the names, which stand with spaces between. */
static void for_each(const char *names, void (*use)(const char *name)) {
  char name[64];
  for (const char *rest = names; *rest != 0;) {
    size_t length = strcspn(rest, " ");
    CHECK(length < sizeof name);
    memcpy(name, rest, length);
    name[length] = 0;
    use(name);
    rest += length + (rest[length] == ' ');
  }
}

static void try_sampling(const char *name) { check_and_destroy(combine(sampling(name), weighting("uniform"))); }
static void try_weighting(const char *name) { check_and_destroy(combine(sampling("uniform"), weighting(name))); }

void methods(void) {
  speediff_sampling *base = NULL;
  speediff_sampling *made = NULL;
  speediff_weighting *product = NULL;
  speediff_weighting *a = weighting("min_snr");
  speediff_weighting *b = weighting("change_aware");
  const double parameters[3] = {-1, 0.5, 7};

  for_each(speediff_sampling_names(), try_sampling);
  for_each(speediff_weighting_names(), try_weighting);

  CHECK(speediff_sampling_create("laplace", parameters, 2, &base) == SPEEDIFF_OK);
  CHECK(speediff_sampling_create_shifted(base, 3, &made) == SPEEDIFF_OK);
  check_and_destroy(combine(made, weighting("snr")));
  CHECK(speediff_sampling_create_truncated(base, 10, INT64_MAX, &made) == SPEEDIFF_OK);
  check_and_destroy(combine(made, weighting("p2")));
  CHECK(speediff_sampling_create_mixture(base, base, 0.25, &made) == SPEEDIFF_OK);
  check_and_destroy(combine(made, weighting("edm")));
  CHECK(speediff_sampling_create_blend(base, base, 0, 10, &made) == SPEEDIFF_OK);
  check_and_destroy(combine(made, weighting("cosmap")));
  CHECK(speediff_sampling_create_stages((const int64_t[]){0, 7},
                                        (const speediff_sampling *const[]){base, base}, 2, &made) == SPEEDIFF_OK);
  check_and_destroy(combine(made, weighting("bsmntw")));
  CHECK(speediff_sampling_create_table(SPEEDIFF_TABLE_AXIS_U, (const double[]){0, 0.3, 1},
                                       (const double[]){0.2, 1, 0.1}, 3, &made) == SPEEDIFF_OK);
  CHECK(speediff_weighting_create_table(SPEEDIFF_TABLE_AXIS_LOG_SNR, (const double[]){-2, 3},
                                        (const double[]){1, 0}, 2, &product) == SPEEDIFF_OK);
  check_and_destroy(combine(made, product));
  CHECK(speediff_weighting_create_product(a, b, &product) == SPEEDIFF_OK);
  check_and_destroy(combine(sampling("beta"), product));
  CHECK(speediff_weighting_create_reciprocal(a, &product) == SPEEDIFF_OK);
  check_and_destroy(combine(sampling("beta"), product));
  made = NULL;
  product = NULL;
  CHECK_ERROR(speediff_sampling_create("laplace", parameters, 3, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "count must be in [0, 2] for laplace, got 3");
  CHECK_ERROR(speediff_sampling_create("laplace", NULL, 1, &made), SPEEDIFF_ERROR_NULL_POINTER, "parameters");
  CHECK_ERROR(speediff_sampling_create(NULL, NULL, 0, &made), SPEEDIFF_ERROR_NULL_POINTER, "name");
  CHECK_ERROR(speediff_sampling_create("Laplace", NULL, 0, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT, "laplace");
  CHECK_ERROR(speediff_sampling_create("cauchy", parameters + 1, 2, NULL), SPEEDIFF_ERROR_NULL_POINTER, "out");
  CHECK_ERROR(speediff_sampling_create("logit_normal", (const double[]){0, 0}, 2, &made),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "std must be finite and above 0, got 0");
  CHECK_ERROR(speediff_sampling_create("mode", (const double[]){NAN}, 1, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "scale must be in [-1, ");
  CHECK_ERROR(speediff_sampling_create("adaptive", (const double[]){1.5}, 1, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "bins must be a whole number, got 1.5");
  CHECK_ERROR(speediff_sampling_create_shifted(base, 0, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT, "shift");
  CHECK_ERROR(speediff_sampling_create_shifted(NULL, 1, &made), SPEEDIFF_ERROR_NULL_POINTER, "base");
  CHECK_ERROR(speediff_sampling_create_truncated(base, 5, 5, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT, "end");
  CHECK_ERROR(speediff_sampling_create_truncated_levels(base, 0.5, 0.5, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "high must be above low = 0.5, got 0.5");
  CHECK_ERROR(speediff_sampling_create_stages((const int64_t[]){0, 0},
                                              (const speediff_sampling *const[]){base, base}, 2, &made),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "start_steps[1]");
  CHECK_ERROR(speediff_sampling_create_stages((const int64_t[]){0}, (const speediff_sampling *const[]){NULL}, 1, &made),
              SPEEDIFF_ERROR_NULL_POINTER, "samplings[0]");
  CHECK_ERROR(speediff_sampling_create_stages(NULL, NULL, 0, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT, "stages");
  CHECK_ERROR(speediff_sampling_create_table(SPEEDIFF_TABLE_AXIS_STEPS, NULL, parameters, 2, &made),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "values[0] must be finite and at least 0, got -1");
  CHECK_ERROR(speediff_sampling_create_table(SPEEDIFF_TABLE_AXIS_U, NULL, parameters + 1, 2, &made),
              SPEEDIFF_ERROR_NULL_POINTER, "knots");
  CHECK_ERROR(speediff_sampling_create_table((speediff_table_axis)3, NULL, parameters + 1, 2, &made),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "axis");
  CHECK_ERROR(speediff_sampling_create_mixture(base, NULL, 1, &made), SPEEDIFF_ERROR_NULL_POINTER, "b must");
  CHECK_ERROR(speediff_sampling_create_mixture(base, base, 1.5, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT, "share");
  CHECK_ERROR(speediff_sampling_create_blend(base, base, INT64_MIN, 1, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "start_step");
  CHECK_ERROR(speediff_sampling_create_blend(base, base, 0, INT64_MAX, &made), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "end_step");
  CHECK_ERROR(speediff_weighting_create("min_snr", (const double[]){0}, 1, &product),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "gamma");
  CHECK_ERROR(speediff_weighting_create_table(SPEEDIFF_TABLE_AXIS_U, (const double[]){0, 0.5},
                                              (const double[]){1, 1}, 2, &product),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "knots[1] must be 1");
  CHECK_ERROR(speediff_weighting_create_product(a, NULL, &product), SPEEDIFF_ERROR_NULL_POINTER, "b must");
  CHECK_ERROR(speediff_weighting_create_reciprocal(NULL, &product), SPEEDIFF_ERROR_NULL_POINTER, "of must");
  CHECK(made == NULL && product == NULL);
  speediff_sampling_destroy(base);
  speediff_weighting_destroy(a);
  speediff_weighting_destroy(b);
}

void learning(void) {
  int64_t t[T];
  float losses[T];
  double p[T];
  double history[1024];
  int64_t count = 0;
  speediff_sampler *sampler = combine(sampling("adaptive"), weighting("uniform"));
  speediff_sampler *other = combine(sampling("adaptive"), weighting("uniform"));
  speediff_sampler *still = combine(sampling("laplace"), weighting("uniform"));
  for (int i = 0; i < T; i++) {
    t[i] = i;
    losses[i] = (float)(i + 1);
  }
  CHECK(speediff_sampler_update(sampler, t, losses, T) == SPEEDIFF_OK);
  CHECK(speediff_sampler_probabilities(sampler, 0, p, T) == SPEEDIFF_OK);
  for (int i = 0; i < T; i++) CHECK(fabs(p[i] - (i + 1) / 5050.0) < 1e-12);
  CHECK(speediff_sampler_history_count(sampler, &count) == SPEEDIFF_OK && count == 201);
  CHECK(speediff_sampler_history(sampler, history, count) == SPEEDIFF_OK);
  CHECK(speediff_sampler_restore_history(other, history, count) == SPEEDIFF_OK);
  CHECK(speediff_sampler_probabilities(other, 0, p, T) == SPEEDIFF_OK && fabs(p[99] - 100 / 5050.0) < 1e-12);

  losses[3] = -1;
  CHECK_ERROR(speediff_sampler_update(sampler, t, losses, T), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "losses[3] must be finite and at least 0, got -1");
  losses[3] = NAN;
  CHECK_ERROR(speediff_sampler_update(sampler, t, losses, T), SPEEDIFF_ERROR_INVALID_ARGUMENT, "losses[3]");
  losses[3] = 1;
  t[5] = T;
  CHECK_ERROR(speediff_sampler_update(sampler, t, losses, T), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "t[5] must be in [0, 100), got 100");
  CHECK_ERROR(speediff_sampler_update(sampler, t, losses, -1), SPEEDIFF_ERROR_INVALID_ARGUMENT, "n must be");
  CHECK_ERROR(speediff_sampler_update(sampler, NULL, losses, T), SPEEDIFF_ERROR_NULL_POINTER, "t must");
  CHECK_ERROR(speediff_sampler_update(still, t, losses, 1), SPEEDIFF_ERROR_INVALID_ARGUMENT, "learns");
  CHECK_ERROR(speediff_sampler_history(sampler, history, count - 1), SPEEDIFF_ERROR_WRONG_COUNT, "201");
  CHECK_ERROR(speediff_sampler_restore_history(still, history, count), SPEEDIFF_ERROR_WRONG_COUNT, "count must be 0");
  history[4] = -1;
  CHECK_ERROR(speediff_sampler_restore_history(sampler, history, count), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "history[4]");
  CHECK(speediff_sampler_probabilities(sampler, 0, p, T) == SPEEDIFF_OK && fabs(p[99] - 100 / 5050.0) < 1e-12);
  speediff_sampler_destroy(sampler);
  speediff_sampler_destroy(other);
  speediff_sampler_destroy(still);
}

void emphasis(void) {
  double level[T];
  double wanted[T];
  double given[T];
  speediff_weighting *to_emphasis = NULL;
  speediff_sampler *sampler = combine(sampling("laplace"), weighting("min_snr"));
  CHECK(speediff_sampler_emphasis(sampler, 0, level, wanted, T) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_sampler_emphasis(sampler, 0, level, wanted, T - 1), SPEEDIFF_ERROR_WRONG_COUNT, "100");
  CHECK_ERROR(speediff_sampler_emphasis(sampler, -1, level, wanted, T), SPEEDIFF_ERROR_INVALID_ARGUMENT, "step");
  speediff_sampler_destroy(sampler);
  CHECK(speediff_weighting_create_to_emphasis(level, wanted, T, &to_emphasis) == SPEEDIFF_OK);
  sampler = combine(sampling("uniform"), to_emphasis);
  CHECK(speediff_sampler_emphasis(sampler, 0, level, given, T) == SPEEDIFF_OK);
  for (int i = 0; i < T; i++) CHECK(fabs(given[i] - wanted[i]) < 1e-12);
  speediff_sampler_destroy(sampler);

  to_emphasis = NULL;
  CHECK_ERROR(speediff_weighting_create_to_emphasis(level, wanted, 1, &to_emphasis), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "log_snr must have at least 2 entries");
  level[3] = level[2];
  CHECK_ERROR(speediff_weighting_create_to_emphasis(level, wanted, T, &to_emphasis), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "log_snr[3]");
  CHECK_ERROR(speediff_weighting_create_to_emphasis(NULL, wanted, T, &to_emphasis), SPEEDIFF_ERROR_NULL_POINTER,
              "log_snr");
  CHECK(to_emphasis == NULL);
  CHECK(speediff_weighting_create_to_emphasis(NULL, NULL, 0, &to_emphasis) == SPEEDIFF_OK);
  check_and_destroy(combine(sampling("asymmetric"), to_emphasis));
}
