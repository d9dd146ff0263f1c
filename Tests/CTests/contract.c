/* The header as a C program sees it: compiled as C11 with -Wall -Wextra -Werror -pedantic, run against the library, and
 * again under valgrind. */
#include "contract.h"

int passed = 0;
int failed = 0;

static const double no_step_reaches = 1e9;

static void version(void) {
  CHECK(speediff_abi_version() == SPEEDIFF_ABI_VERSION);
  CHECK(strlen(speediff_version()) > 0);
  CHECK(strcmp(speediff_last_error(), "") == 0);
}

static void schedules(void) {
  speediff_schedule *schedule = NULL;
  double betas[1000];
  int64_t t = 0;
  double real = 0;

  CHECK(speediff_schedule_create_linear(1000, 1e-4, 0.02, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_schedule_steps(schedule, &t) == SPEEDIFF_OK && t == 1000);
  CHECK(speediff_schedule_table(schedule, SPEEDIFF_TABLE_BETAS, betas, 1000) == SPEEDIFF_OK);
  CHECK(fabs(betas[0] - 1e-4) < 1e-18 && fabs(betas[999] - 0.02) < 1e-16);
  CHECK(speediff_schedule_acceleration_end(schedule, &t) == SPEEDIFF_OK && t == 220);
  CHECK(speediff_schedule_convergence_start(schedule, 143.5, &t) == SPEEDIFF_OK && t == 700);
  CHECK(speediff_schedule_closed_form_acceleration_end(schedule, &real) == SPEEDIFF_OK);
  CHECK(fabs(real - 220.143) < 5e-4);
  CHECK(speediff_schedule_closed_form_convergence_start(schedule, 10, &real) == SPEEDIFF_OK);
  CHECK(fabs(real - 477.05) < 5e-3);

  CHECK_ERROR(speediff_schedule_table(schedule, SPEEDIFF_TABLE_BETAS, betas, 999), SPEEDIFF_ERROR_WRONG_COUNT,
              "count must be 1000, got 999");
  CHECK_ERROR(speediff_schedule_table(schedule, SPEEDIFF_TABLE_BETAS, NULL, 1000), SPEEDIFF_ERROR_NULL_POINTER,
              "out must not be NULL");
  CHECK_ERROR(speediff_schedule_table(schedule, (speediff_table)99, betas, 1000), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "table must be");
  CHECK_ERROR(speediff_schedule_table(NULL, SPEEDIFF_TABLE_BETAS, betas, 1000), SPEEDIFF_ERROR_NULL_POINTER,
              "schedule must not be NULL");
  CHECK_ERROR(speediff_schedule_convergence_start(schedule, no_step_reaches, &t), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "r must be below 1/alphas_cumprod");
  speediff_schedule_destroy(schedule);
  speediff_schedule_destroy(NULL);

  schedule = NULL;
  CHECK_ERROR(speediff_schedule_create_linear(20, 1e-4, 0.02, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT, "steps");
  CHECK_ERROR(speediff_schedule_create_linear(INT64_MIN, 1e-4, 0.02, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "steps must be at least 2");
  CHECK_ERROR(speediff_schedule_create_cosine(INT64_MAX, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "steps must be at most");
  CHECK_ERROR(speediff_schedule_create_from_betas(betas, INT64_MAX, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "count");
  CHECK_ERROR(speediff_schedule_create_from_betas(NULL, 10, &schedule), SPEEDIFF_ERROR_NULL_POINTER, "betas");
  CHECK_ERROR(speediff_schedule_create_cosine(1000, NULL), SPEEDIFF_ERROR_NULL_POINTER, "out");
  CHECK(schedule == NULL);

  betas[3] = NAN;
  CHECK_ERROR(speediff_schedule_create_from_betas(betas, 10, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT, "betas[3]");
  CHECK(schedule == NULL);
  CHECK(speediff_schedule_create_quadratic(1000, 0.00085, 0.012, &schedule) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  CHECK(speediff_schedule_create_constant(10, 0.5, &schedule) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  {
    const double alphas_cumprod[3] = {0.9, 0.5, 0};
    CHECK(speediff_schedule_create_from_alphas_cumprod(alphas_cumprod, 3, &schedule) == SPEEDIFF_OK);
    speediff_schedule_destroy(schedule);
  }
  CHECK(speediff_schedule_create_sigmoid(1000, 1e-4, 0.02, &schedule) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  CHECK(speediff_schedule_create_warmup(1000, 0.1, 1e-4, 0.02, &schedule) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  CHECK(speediff_schedule_create_jsd(4, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_schedule_table(schedule, SPEEDIFF_TABLE_ALPHAS_CUMPROD, betas, 4) == SPEEDIFF_OK);
  for (int i = 0; i < 4; i++) CHECK(fabs(betas[i] - (3 - i) / 4.0) < 1e-15);
  speediff_schedule_destroy(schedule);
  schedule = NULL;
  CHECK_ERROR(speediff_schedule_create_warmup(1000, 0, 1e-4, 0.02, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "fraction must be in (0, 1]");
  CHECK_ERROR(speediff_schedule_create_sigmoid(1000, 0, 0.02, &schedule), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "beta_start");
  CHECK(schedule == NULL);
}

static void draws(void) {
  enum { n = 4096 };
  static int64_t t[n];
  static int64_t again[n];
  static float w[n];
  double p[1000];
  double sum = 0;
  double mean = 0;
  speediff_schedule *schedule = NULL;
  speediff_sampling *sampling = NULL;
  speediff_weighting *weighting = NULL;
  speediff_sampler *sampler = NULL;
  speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;

  CHECK(speediff_schedule_create_linear(1000, 1e-4, 0.02, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_sampling_create_asymmetric(5, 700, &sampling) == SPEEDIFF_OK);
  CHECK(speediff_weighting_create("change_aware", NULL, 0, &weighting) == SPEEDIFF_OK);
  for (int strata = 0; strata <= 2; strata++) {
    options.strata = strata;
    CHECK(speediff_sampler_create(schedule, sampling, weighting, &options, &sampler) == SPEEDIFF_OK);
    CHECK(speediff_sampler_draw(sampler, 0, 4, n / 4, t, w) == SPEEDIFF_OK);
    for (int i = 0; i < n; i++) CHECK(t[i] >= 0 && t[i] < 1000 && w[i] >= 0.4f && w[i] <= 0.6f);
    CHECK(speediff_sampler_draw(sampler, 3, 1, n / 4, again, w) == SPEEDIFF_OK);
    CHECK(memcmp(again, t + 3 * n / 4, n / 4 * sizeof t[0]) == 0);
    CHECK(speediff_sampler_draw_slice(sampler, 3, 100, 50, n / 4, again, w) == SPEEDIFF_OK);
    CHECK(memcmp(again, t + 3 * n / 4 + 100, 50 * sizeof t[0]) == 0);
    speediff_sampler_destroy(sampler);
  }
  options.strata = 0;
  CHECK(speediff_sampler_create_official_speed(schedule, sampling, 0.6, &options, &sampler) == SPEEDIFF_OK);
  CHECK(speediff_sampler_marginal(sampler, 0, 32, p, 1000) == SPEEDIFF_OK);
  for (int i = 0; i < 1000; i++) sum += p[i];
  CHECK(fabs(sum - 1) < 1e-12);
  CHECK(speediff_sampler_weights(sampler, 0, p, 1000) == SPEEDIFF_OK && p[700] == 1);
  CHECK(speediff_sampler_probabilities(sampler, 0, p, 1000) == SPEEDIFF_OK && fabs(p[0] - 5.0 / 3800) < 1e-18);
  CHECK(speediff_sampler_expected_weight(sampler, 0, 0, &mean) == SPEEDIFF_OK && fabs(mean - 0.5437) < 5e-5);
  speediff_sampler_destroy(sampler);

  /* A sampler keeps what it was made from. */
  CHECK(speediff_sampler_create_speed(schedule, 5, 143.5, 0.6, &options, &sampler) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  speediff_sampling_destroy(sampling);
  speediff_weighting_destroy(weighting);
  CHECK(speediff_sampler_draw(sampler, 0, 1, n, t, w) == SPEEDIFF_OK);

  CHECK(speediff_sampler_draw(sampler, 0, 1, 0, NULL, NULL) == SPEEDIFF_OK);
  CHECK(speediff_sampler_draw(sampler, 0, 0, n, NULL, NULL) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_sampler_draw(NULL, 0, 1, n, t, w), SPEEDIFF_ERROR_NULL_POINTER, "sampler");
  CHECK_ERROR(speediff_sampler_draw(sampler, 0, 1, n, NULL, w), SPEEDIFF_ERROR_NULL_POINTER, "timesteps");
  CHECK_ERROR(speediff_sampler_draw(sampler, 0, 1, n, t, NULL), SPEEDIFF_ERROR_NULL_POINTER, "weights");
  CHECK_ERROR(speediff_sampler_draw(sampler, -1, 1, n, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "first_call");
  CHECK_ERROR(speediff_sampler_draw(sampler, 0, -1, n, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "calls");
  CHECK_ERROR(speediff_sampler_draw(sampler, 0, INT64_MAX, n, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "calls");
  CHECK_ERROR(speediff_sampler_draw(sampler, INT64_MAX, 1, n, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "calls");
  CHECK_ERROR(speediff_sampler_draw(sampler, 0, 1, -1, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "n must be");
  CHECK_ERROR(speediff_sampler_draw(sampler, 0, 1, INT64_MAX, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "n ");
  CHECK_ERROR(speediff_sampler_draw_slice(sampler, 0, INT64_MAX, 1, 10, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "offset");
  CHECK_ERROR(speediff_sampler_draw_slice(sampler, 0, 5, 6, 10, t, w), SPEEDIFF_ERROR_INVALID_ARGUMENT, "offset");
  CHECK_ERROR(speediff_sampler_marginal(sampler, 0, 0, p, 1000), SPEEDIFF_ERROR_INVALID_ARGUMENT, "n must be in");
  CHECK_ERROR(speediff_sampler_weights(sampler, 0, p, -1), SPEEDIFF_ERROR_WRONG_COUNT, "count");
  speediff_sampler_destroy(sampler);
  speediff_sampler_destroy(NULL);
  speediff_sampling_destroy(NULL);
  speediff_weighting_destroy(NULL);
}

static void options(void) {
  speediff_schedule *schedule = NULL;
  speediff_sampling *sampling = NULL;
  speediff_weighting *weighting = NULL;
  speediff_sampler *sampler = NULL;
  const speediff_sampler_options good = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  speediff_sampler_options bad[7];
  const char *const texts[7] = {"rank", "rank", "world_size", "accumulation", "prediction", "strata", "normalize"};

  CHECK(speediff_schedule_create_cosine(1000, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_sampling_create("uniform", NULL, 0, &sampling) == SPEEDIFF_OK);
  CHECK(speediff_weighting_create("uniform", NULL, 0, &weighting) == SPEEDIFF_OK);
  for (int i = 0; i < 7; i++) bad[i] = good;
  bad[0].rank = 1;
  bad[1].rank = INT64_MIN;
  bad[2].world_size = 0;
  bad[3].accumulation = INT64_MAX;
  bad[4].prediction = 99;
  bad[5].strata = -1;
  bad[6].normalize = 2;
  for (int i = 0; i < 7; i++) {
    CHECK_ERROR(speediff_sampler_create(schedule, sampling, weighting, &bad[i], &sampler),
                SPEEDIFF_ERROR_INVALID_ARGUMENT, texts[i]);
  }
  CHECK_ERROR(speediff_sampler_create(schedule, sampling, weighting, NULL, &sampler), SPEEDIFF_ERROR_NULL_POINTER,
              "options");
  CHECK_ERROR(speediff_sampler_create(schedule, NULL, weighting, &good, &sampler), SPEEDIFF_ERROR_NULL_POINTER,
              "sampling");
  CHECK_ERROR(speediff_sampler_create_official_speed(schedule, sampling, 0.6, &good, &sampler),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "sampling must be asymmetric");
  CHECK(sampler == NULL);
  speediff_schedule_destroy(schedule);
  speediff_sampling_destroy(sampling);
  speediff_weighting_destroy(weighting);
}

int main(void) {
  version();
  schedules();
  draws();
  options();
  methods();
  learning();
  emphasis();
  respacing();
  processes();
  memory();
  precision();
  training();
  trained_learning();
  printf("C interface: %d passed, %d failed\n", passed, failed);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
