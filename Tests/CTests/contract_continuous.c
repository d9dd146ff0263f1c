/* Respacing, and continuous processes. */
#include "contract.h"

void respacing(void) {
  int64_t t[250];
  int64_t steps = 0;
  speediff_schedule *schedule = NULL;
  speediff_schedule *derived = NULL;
  double bars[1000];
  CHECK(speediff_respacing_sections(1000, (const int64_t[]){250}, 1, t, 250) == SPEEDIFF_OK);
  CHECK(t[0] == 0 && t[1] == 4 && t[249] == 999);
  CHECK(speediff_respacing_sections(300, (const int64_t[]){10, 15, 20}, 3, t, 45) == SPEEDIFF_OK);
  CHECK(t[9] == 99 && t[10] == 100 && t[25] == 200 && t[44] == 299);
  CHECK(speediff_respacing_ddim(1000, t, 50) == SPEEDIFF_OK && t[1] == 20 && t[49] == 980);
  CHECK_ERROR(speediff_respacing_ddim(1000, t, 999), SPEEDIFF_ERROR_INVALID_ARGUMENT, "count");
  CHECK_ERROR(speediff_respacing_sections(10, (const int64_t[]){3, 6}, 2, t, 9), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "section_counts[1] must be in [1, 5]");
  CHECK_ERROR(speediff_respacing_sections(10, (const int64_t[]){3, 5}, 2, t, 9), SPEEDIFF_ERROR_WRONG_COUNT, "8");
  CHECK_ERROR(speediff_respacing_sections(10, NULL, 2, t, 9), SPEEDIFF_ERROR_NULL_POINTER, "section_counts");

  CHECK(speediff_schedule_create_linear(1000, 1e-4, 0.02, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_respacing_ddim(1000, t, 50) == SPEEDIFF_OK);
  CHECK(speediff_schedule_create_respaced(schedule, t, 50, &derived) == SPEEDIFF_OK);
  CHECK(speediff_schedule_steps(derived, &steps) == SPEEDIFF_OK && steps == 50);
  speediff_schedule_destroy(derived);
  CHECK(speediff_schedule_create_zero_terminal_snr(schedule, &derived) == SPEEDIFF_OK);
  CHECK(speediff_schedule_table(derived, SPEEDIFF_TABLE_ALPHAS_CUMPROD, bars, 1000) == SPEEDIFF_OK);
  CHECK(bars[999] == 0 && bars[998] > 0 && fabs(bars[0] - 0.9999) < 1e-15);
  speediff_schedule_destroy(derived);
  derived = NULL;
  t[1] = 0;
  CHECK_ERROR(speediff_schedule_create_respaced(schedule, t, 50, &derived), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "timesteps[1]");
  CHECK_ERROR(speediff_schedule_create_respaced(schedule, t, 1, &derived), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "timesteps must have a number of entries at least 2");
  CHECK_ERROR(speediff_schedule_create_zero_terminal_snr(NULL, &derived), SPEEDIFF_ERROR_NULL_POINTER, "schedule");
  CHECK(derived == NULL);
  speediff_schedule_destroy(schedule);
}

/* A sampler of flow that learns, and another one that takes over what it has learned. */
static void learn_from_levels(const speediff_process *process) {
  enum { n = 1000 };
  float levels[n];
  float losses[n];
  float again[n];
  float w[n];
  double history[64];
  int64_t count = 0;
  speediff_sampling *sampling = NULL;
  speediff_sigma_sampler *sampler = NULL;
  speediff_sigma_sampler *other = NULL;
  speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  CHECK(speediff_sampling_create("adaptive", (const double[]){10}, 1, &sampling) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_create(process, sampling, NULL, &options, 0, &sampler) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_create(process, sampling, NULL, &options, 0, &other) == SPEEDIFF_OK);
  options.normalize = 1;
  CHECK_ERROR(speediff_sigma_sampler_create(process, sampling, NULL, &options, 0, &other),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "normalize must be false");
  speediff_sampling_destroy(sampling);
  for (int i = 0; i < n; i++) {
    levels[i] = ((float)i + 0.5F) / n;
    losses[i] = levels[i] < 0.1F ? 1 : 0;
  }
  CHECK(speediff_sigma_sampler_update(sampler, 0, levels, losses, n) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_history_count(sampler, &count) == SPEEDIFF_OK && count == 21);
  CHECK(speediff_sigma_sampler_history(sampler, history, count) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_restore_history(other, history, count) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_draw(sampler, 7, 1, n, again, w) == SPEEDIFF_OK);
  int low = 0;
  for (int i = 0; i < n; i++) low += again[i] < 0.1F;
  CHECK(low > 990);
  CHECK(speediff_sigma_sampler_draw(other, 7, 1, n, levels, losses) == SPEEDIFF_OK);
  CHECK(memcmp(levels, again, sizeof levels) == 0 && memcmp(losses, w, sizeof w) == 0);

  levels[4] = 1;
  CHECK_ERROR(speediff_sigma_sampler_update(sampler, 0, levels, losses, n), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "levels[4] must be in (0, 1), got 1");
  losses[2] = -1;
  CHECK_ERROR(speediff_sigma_sampler_update(sampler, 0, levels, losses, 3), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "losses[2]");
  CHECK_ERROR(speediff_sigma_sampler_update(sampler, -1, levels, losses, 1), SPEEDIFF_ERROR_INVALID_ARGUMENT, "step");
  CHECK_ERROR(speediff_sigma_sampler_update(sampler, 0, NULL, losses, 1), SPEEDIFF_ERROR_NULL_POINTER, "levels");
  CHECK_ERROR(speediff_sigma_sampler_history(sampler, history, 20), SPEEDIFF_ERROR_WRONG_COUNT, "21");
  history[0] = 0.5;
  CHECK_ERROR(speediff_sigma_sampler_restore_history(sampler, history, count), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "history[0] must be a whole number");
  CHECK_ERROR(speediff_sigma_sampler_restore_history(sampler, NULL, count), SPEEDIFF_ERROR_NULL_POINTER, "history");
  speediff_sigma_sampler_destroy(sampler);
  speediff_sigma_sampler_destroy(other);
}

void processes(void) {
  enum { n = 4096 };
  static float levels[n];
  static float again[n];
  static float w[n];
  static double log_snr[SPEEDIFF_SIGMA_EMPHASIS_COUNT];
  static double density[SPEEDIFF_SIGMA_EMPHASIS_COUNT];
  const double times[2] = {0.25, 0.5};
  double out[2];
  double mean = 0;
  speediff_process *process = NULL;
  speediff_sampling *sampling = NULL;
  speediff_sigma_sampler *sampler = NULL;
  speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;

  CHECK(speediff_process_create_edm(-1.2, 1.2, 0.5, &process) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_create(process, NULL, NULL, &options, 0, &sampler) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_draw(sampler, 3, 1, n, levels, w) == SPEEDIFF_OK);
  for (int i = 0; i < n; i++) {
    const double weight = (levels[i] * levels[i] + 0.25) / (levels[i] * 0.5) / (levels[i] * 0.5);
    CHECK(levels[i] > 0 && fabs(w[i] / weight - 1) < 1e-5);
    mean += log(levels[i]) / n;
  }
  CHECK(fabs(mean + 1.2) < 0.1);
  CHECK(speediff_sigma_sampler_draw_slice(sampler, 3, 10, 20, n, again, w) == SPEEDIFF_OK);
  CHECK(memcmp(again, levels + 10, 20 * sizeof levels[0]) == 0);
  CHECK(speediff_sigma_sampler_draw_shifted(sampler, 3, 10, 20, n, NULL, NULL, again, w) == SPEEDIFF_OK);
  CHECK(memcmp(again, levels + 10, 20 * sizeof levels[0]) == 0);
  CHECK(speediff_sigma_sampler_draw_shifted(sampler, 3, 10, 2, n, (const double[]){1, 2}, NULL, again, w) ==
        SPEEDIFF_OK);
  CHECK(again[0] == levels[10] && again[1] == 2 * levels[11]);
  CHECK(speediff_sigma_sampler_draw_shifted(sampler, 3, 10, 2, n, NULL, (const double[]){0, log(2)}, again, w) ==
        SPEEDIFF_OK);
  CHECK(again[0] == levels[10] && fabs(again[1] / levels[11] - 2) < 1e-6);
  CHECK_ERROR(speediff_sigma_sampler_draw_shifted(sampler, 3, 10, 2, n, (const double[]){1, 0}, NULL, again, w),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "shift[1]");
  CHECK_ERROR(speediff_sigma_sampler_draw_shifted(sampler, 3, 10, 2, n, NULL, (const double[]){NAN, 0}, again, w),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "offset[0]");
  CHECK(speediff_sigma_sampler_emphasis(sampler, 0, log_snr, density, SPEEDIFF_SIGMA_EMPHASIS_COUNT) == SPEEDIFF_OK);
  CHECK(log_snr[0] > log_snr[1] && density[500] > 0);
  CHECK_ERROR(speediff_sigma_sampler_emphasis(sampler, 0, log_snr, density, 1000), SPEEDIFF_ERROR_WRONG_COUNT, "1024");
  CHECK_ERROR(speediff_sigma_sampler_draw(sampler, -1, 1, n, levels, w), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "first_call");
  CHECK_ERROR(speediff_sigma_sampler_draw(sampler, 0, 1, n, NULL, w), SPEEDIFF_ERROR_NULL_POINTER, "levels");
  CHECK_ERROR(speediff_sigma_sampler_draw_slice(sampler, 0, 5, 6, 10, levels, w), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "offset");
  speediff_sigma_sampler_destroy(sampler);

  sampler = NULL;
  CHECK(speediff_sampling_create("logit_normal", NULL, 0, &sampling) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_sigma_sampler_create(process, sampling, NULL, &options, 0, &sampler),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "sampling");
  CHECK_ERROR(speediff_sigma_sampler_create(process, NULL, NULL, &options, -1, &sampler),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "warm_up");
  CHECK_ERROR(speediff_sigma_sampler_create(NULL, NULL, NULL, &options, 0, &sampler), SPEEDIFF_ERROR_NULL_POINTER,
              "process");
  CHECK(sampler == NULL);
  speediff_process_destroy(process);

  CHECK(speediff_process_create_flow(1, &process) == SPEEDIFF_OK);
  CHECK(speediff_sigma_sampler_create(process, sampling, NULL, &options, 0, &sampler) == SPEEDIFF_OK);
  speediff_sampling_destroy(sampling);
  CHECK(speediff_process_evaluate(process, SPEEDIFF_PROCESS_SIGMA, times, out, 2) == SPEEDIFF_OK);
  CHECK(fabs(out[0] - 1 / 3.0) < 1e-15 && out[1] == 1);
  CHECK_ERROR(speediff_process_evaluate(process, SPEEDIFF_PROCESS_SCALE, (const double[]){0.5, 1}, out, 2),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "t[1] must be in (0, 1), got 1");
  CHECK_ERROR(speediff_process_evaluate(process, (speediff_process_quantity)9, times, out, 2),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "quantity");
  CHECK(speediff_sigma_sampler_draw(sampler, 0, 1, n, levels, w) == SPEEDIFF_OK);
  for (int i = 0; i < n; i++) CHECK(levels[i] > 0 && levels[i] < 1 && w[i] == 1);
  CHECK_ERROR(speediff_sigma_sampler_update(sampler, 0, levels, w, n), SPEEDIFF_ERROR_INVALID_ARGUMENT, "learns");
  learn_from_levels(process);
  speediff_process_destroy(process);
  speediff_sigma_sampler_destroy(sampler);
  speediff_sigma_sampler_destroy(NULL);
  speediff_process_destroy(NULL);

  process = NULL;
  CHECK_ERROR(speediff_process_create_vp(0, 0.1, 1e-5, 0.5, &process), SPEEDIFF_ERROR_INVALID_ARGUMENT, "beta_d");
  CHECK_ERROR(speediff_process_create_ve(1, 1, 0.5, &process), SPEEDIFF_ERROR_INVALID_ARGUMENT, "sigma_max");
  CHECK_ERROR(speediff_process_create_edm(0, 0, 0.5, &process), SPEEDIFF_ERROR_INVALID_ARGUMENT, "p_std");
  CHECK_ERROR(speediff_process_create_flow(NAN, &process), SPEEDIFF_ERROR_INVALID_ARGUMENT, "sigma_data");
  CHECK(process == NULL);
  CHECK(speediff_process_create_vp(19.9, 0.1, 1e-5, 0.5, &process) == SPEEDIFF_OK);
  CHECK(speediff_process_evaluate(process, SPEEDIFF_PROCESS_SIGMA_DERIVATIVE, times, out, 2) == SPEEDIFF_OK);
  speediff_process_destroy(process);
  CHECK(speediff_process_create_ve(0.02, 100, 0.5, &process) == SPEEDIFF_OK);
  speediff_process_destroy(process);

  CHECK(speediff_fdm_input_scale(0, 1, 2, times, out, 2) == SPEEDIFF_OK);
  {
    const double growth = 2 * (0.1 * 0.5 + 9.95 * 0.25);
    CHECK(fabs(out[1] - exp(-growth) * (1 + growth)) < 1e-15);
  }
  CHECK_ERROR(speediff_fdm_input_scale(1, 1, 2, times, out, 2), SPEEDIFF_ERROR_INVALID_ARGUMENT, "sigma_max");
  CHECK_ERROR(speediff_fdm_input_scale(0, 1, 2, NULL, out, 2), SPEEDIFF_ERROR_NULL_POINTER, "sigma");
}
