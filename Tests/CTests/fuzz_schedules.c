/* Calls that make and read schedules. */
#include <math.h>
#include <stdlib.h>

#include "fuzz.h"

/* Nearly always a small number of steps. Never one so large that the library would spend seconds on it. */
static int64_t any_steps(void) {
  if (one_in(12)) {
    const int64_t steps = any_integer();
    return steps > 2000 && steps <= INT64_C(1) << 25 ? 2000 : steps;
  }
  if (one_in(12)) return 2 + below(1100);
  return 2 + below(62);
}

/* The end points of a schedule's beta. */
static void any_betas(double *start, double *end) {
  *start = usually(1e-5, 0.01);
  *end = one_in(20) ? *start : usually(0.005, 0.2);
}

static void finish_schedule(speediff_status status, speediff_schedule **out, int depth) {
  object info = {.depth = depth};
  if (!end(status)) {
    finish();
    return;
  }
  /* Not counted as calls: what the other parts need to know of a schedule. */
  double *table;
  CHECK(speediff_schedule_steps(*out, &info.steps) == SPEEDIFF_OK && info.steps >= 2, "a schedule without steps");
  table = malloc((size_t)info.steps * sizeof *table);
  CHECK(speediff_schedule_table(*out, SPEEDIFF_TABLE_ALPHAS_CUMPROD, table, info.steps) == SPEEDIFF_OK, "no table");
  info.last_alphas_cumprod = table[info.steps - 1];
  free(table);
  created(SCHEDULE, status, (void **)out, info);
}

static void create_from_numbers(void) {
  const int64_t steps = any_steps();
  double start, stop;
  any_betas(&start, &stop);
  const int64_t which = below(7);
  static const char *const functions[] = {
      "speediff_schedule_create_linear",   "speediff_schedule_create_quadratic", "speediff_schedule_create_sigmoid",
      "speediff_schedule_create_warmup",   "speediff_schedule_create_constant",  "speediff_schedule_create_cosine",
      "speediff_schedule_create_jsd"};
  begin(functions[which]);
  speediff_schedule **out = output(sizeof *out);
  const double fraction = usually(0.01, 1);
  speediff_status status;
  arguments("%" PRId64, steps);
  if (which == 3) arguments(", %.17g", fraction);
  if (which <= 3) arguments(", %.17g, %.17g", start, stop);
  if (which == 4) arguments(", %.17g", start);
  if (steps < 2 || steps > INT64_C(1) << 24) expect_failure();
  switch (which) {
    case 0: status = speediff_schedule_create_linear(steps, start, stop, out); break;
    case 1: status = speediff_schedule_create_quadratic(steps, start, stop, out); break;
    case 2: status = speediff_schedule_create_sigmoid(steps, start, stop, out); break;
    case 3: status = speediff_schedule_create_warmup(steps, fraction, start, stop, out); break;
    case 4: status = speediff_schedule_create_constant(steps, start, out); break;
    case 5: status = speediff_schedule_create_cosine(steps, out); break;
    default: status = speediff_schedule_create_jsd(steps, out); break;
  }
  finish_schedule(status, out, 1);
}

static void create_from_table(void) {
  const bool from_betas = one_in(2);
  begin(from_betas ? "speediff_schedule_create_from_betas" : "speediff_schedule_create_from_alphas_cumprod");
  const int64_t right = 2 + below(40);
  const int64_t count = any_count(right, true);
  const int64_t given = count < 0 ? 0 : count < 100 ? count : right;
  double *table = one_in(50) ? NULL : input((size_t)given * sizeof *table);
  double value = 1;
  for (int64_t i = 0; table != NULL && i < given; i++) {
    value *= from_betas ? 1 : unit();
    table[i] = one_in(200) ? any_double() : from_betas ? unit() * 0.9 + 1e-6 : value;
  }
  if (table != NULL && given > 0 && one_in(4)) table[given - 1] = from_betas ? 1 : 0;
  speediff_schedule **out = output(sizeof *out);
  if (table == NULL) null_argument(true);
  if (count < 2 || count > INT64_C(1) << 24) expect_failure();
  arguments("%" PRId64, count);
  if (table != NULL) argument_doubles(table, given);
  finish_schedule(from_betas ? speediff_schedule_create_from_betas(table, count, out)
                             : speediff_schedule_create_from_alphas_cumprod(table, count, out),
                  out, 1);
}

static void create_from_schedule(void) {
  const bool respaced = one_in(2);
  begin(respaced ? "speediff_schedule_create_respaced" : "speediff_schedule_create_zero_terminal_snr");
  const object *schedule = pick(SCHEDULE);
  speediff_schedule **out = output(sizeof *out);
  arguments("%s", made(schedule));
  if (!respaced) {
    finish_schedule(speediff_schedule_create_zero_terminal_snr(required(schedule), out), out, schedule->depth + 1);
    return;
  }
  int64_t chosen[64];
  int64_t right = 0;
  for (int64_t i = 0; i < schedule->steps && right < 64; i++) {
    if (one_in(2)) chosen[right++] = i;
  }
  const int64_t count = any_count(right, true);
  const int64_t given = count < 0 ? 0 : count < 100 ? count : right;
  int64_t *timesteps = one_in(50) ? NULL : input((size_t)given * sizeof *timesteps);
  for (int64_t i = 0; timesteps != NULL && i < given; i++) {
    timesteps[i] = one_in(200) ? any_integer() : i < right ? chosen[i] : i;
  }
  if (timesteps == NULL) null_argument(true);
  if (count < 2 || count > schedule->steps) expect_failure();
  arguments(", %" PRId64, count);
  if (timesteps != NULL) argument_integers(timesteps, given);
  finish_schedule(speediff_schedule_create_respaced(required(schedule), timesteps, count, out), out,
                  schedule->depth + 1);
}

void create_schedule(void) {
  switch (below(4)) {
    case 0: create_from_table(); break;
    case 1: create_from_schedule(); break;
    default: create_from_numbers(); break;
  }
}

/* Which entry of a table need not be finite: none but the last, where alphas_cumprod is 0 there. */
static bool is_allowed(const object *schedule, int64_t table, int64_t i, double value) {
  if (isfinite(value)) return true;
  if (i != schedule->steps - 1 || schedule->last_alphas_cumprod != 0) return false;
  if (table == SPEEDIFF_TABLE_LOG_SNR) return value == -INFINITY;
  return (table == SPEEDIFF_TABLE_SIGMAS || table == SPEEDIFF_TABLE_INCREMENT_MAGNITUDE) && value == INFINITY;
}

static void read_table(void) {
  begin("speediff_schedule_table");
  const object *schedule = pick(SCHEDULE);
  const int64_t table = one_in(12) ? (int32_t)any_integer() : 1 + below(16);
  const int64_t right =
      schedule->steps - (table == SPEEDIFF_TABLE_INCREMENT_MEAN_FACTOR || table == SPEEDIFF_TABLE_INCREMENT_VARIANCE);
  const int64_t count = any_count(right, true);
  double *out = output_array(count, right, sizeof *out);
  arguments("%s, %" PRId64 ", %" PRId64, made(schedule), table, count);
  if (table < 1 || table > 16 || count != right) expect_failure();
  if (table >= 1 && table <= 12 && count == right) expect_success();
  if (end(speediff_schedule_table(required(schedule), (speediff_table)table, out, count))) {
    for (int64_t i = 0; i < count; i++) {
      if (!is_allowed(schedule, table, i, out[i])) {
        defect("table %" PRId64 "[%" PRId64 "] is %.17g", table, i, out[i]);
        break;
      }
    }
  }
  finish();
}

static void read_number(void) {
  static const char *const functions[] = {
      "speediff_schedule_steps", "speediff_schedule_acceleration_end", "speediff_schedule_convergence_start",
      "speediff_schedule_closed_form_acceleration_end", "speediff_schedule_closed_form_convergence_start"};
  const int64_t which = below(5);
  begin(functions[which]);
  const object *schedule = pick(SCHEDULE);
  const double r = usually(1, 30);
  void *out = output(8);
  const int64_t *integer = out;
  const double *real = out;
  arguments("%s, %.17g", made(schedule), r);
  if (which < 2) expect_success();
  if ((which == 2 || which == 4) && !(r > 1 && isfinite(r))) expect_failure();
  switch (which) {
    case 0:
      if (end(speediff_schedule_steps(required(schedule), out))) CHECK(*integer == schedule->steps, "other steps");
      break;
    case 1:
      if (end(speediff_schedule_acceleration_end(required(schedule), out)))
        CHECK(*integer >= 1 && *integer <= schedule->steps, "t_ad is %" PRId64, *integer);
      break;
    case 2:
      if (end(speediff_schedule_convergence_start(required(schedule), r, out)))
        CHECK(*integer >= 1 && *integer <= schedule->steps, "t_dc is %" PRId64, *integer);
      break;
    case 3:
      if (end(speediff_schedule_closed_form_acceleration_end(required(schedule), out)))
        CHECK(isfinite(*real), "t_ad is %.17g", *real);
      break;
    default:
      if (end(speediff_schedule_closed_form_convergence_start(required(schedule), r, out)))
        CHECK(isfinite(*real) && *real >= 0, "tau is %.17g", *real);
      break;
  }
  finish();
}

void use_schedule(void) {
  if (one_in(3)) {
    read_number();
  } else {
    read_table();
  }
}

/* Checks that steps are strictly increasing in [0, T). */
static void check_steps(const int64_t *steps, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; i++) {
    if (steps[i] < 0 || steps[i] >= limit || (i > 0 && steps[i] <= steps[i - 1])) {
      defect("timesteps[%" PRId64 "] is %" PRId64, i, steps[i]);
      return;
    }
  }
}

void use_respacing(void) {
  const int64_t steps = any_steps();
  if (one_in(2)) {
    begin("speediff_respacing_ddim");
    const int64_t stride = 1 + below(8);
    const int64_t right = steps > 0 && steps <= 4096 ? (steps + stride - 1) / stride : 4;
    const int64_t count = any_count(right, true);
    int64_t *timesteps = output_array(count, right, sizeof *timesteps);
    arguments("%" PRId64 ", %" PRId64, steps, count);
    if (steps < 2 || steps > INT64_C(1) << 24 || count < 1 || count > steps) expect_failure();
    if (end(speediff_respacing_ddim(steps, timesteps, count))) check_steps(timesteps, count, steps);
    finish();
    return;
  }
  begin("speediff_respacing_sections");
  const int64_t right_sections = 1 + below(4);
  const int64_t sections = any_count(right_sections, false);
  const int64_t given = sections < 0 ? 0 : sections;
  int64_t *section_counts = one_in(50) ? NULL : input((size_t)given * sizeof *section_counts);
  int64_t sum = 0;
  for (int64_t i = 0; section_counts != NULL && i < given; i++) {
    section_counts[i] = one_in(50) ? any_integer() : 1 + below(steps >= 8 && steps < 64 ? steps / 4 : 2);
    sum = section_counts[i] > 0 && section_counts[i] < 4096 ? sum + section_counts[i] : sum;
  }
  const int64_t count = any_count(sum, true);
  int64_t *timesteps = output_array(count, sum, sizeof *timesteps);
  if (section_counts == NULL) null_argument(given > 0);
  arguments("%" PRId64 ", %" PRId64 ", %" PRId64, steps, sections, count);
  if (section_counts != NULL) argument_integers(section_counts, given);
  if (steps < 2 || steps > INT64_C(1) << 24 || sections < 1 || count != sum) expect_failure();
  if (end(speediff_respacing_sections(steps, section_counts, sections, timesteps, count)))
    check_steps(timesteps, count, steps);
  finish();
}
