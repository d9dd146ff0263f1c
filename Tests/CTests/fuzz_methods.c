/* Calls that make samplings and weightings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* A method's name, and a usual range for each of its parameters. */
typedef struct method {
  const char *name;
  double ranges[6][2];
  int count;
} method;

static const method samplings[] = {
    {"uniform", {{0}}, 0},
    {"asymmetric", {{1, 20}, {1.001, 5}}, 2},
    {"log_normal", {{-2, 2}, {0.2, 2}}, 2},
    {"logit_normal", {{-1, 1}, {0.2, 2}}, 2},
    {"mode", {{-1, 1.75}}, 1},
    {"cosmap", {{0}}, 0},
    {"beta", {{0.1, 5}, {0.1, 5}, {0, 0.5}, {0.5, 1}}, 4},
    {"clts", {{1, 20}, {1, 20}, {1, 1000}}, 3},
    {"noise_to_detail", {{-2, 2}, {0.1, 2}, {1, 1000}}, 3},
    {"laplace", {{-2, 2}, {0.1, 2}}, 2},
    {"cauchy", {{-2, 2}, {0.1, 2}}, 2},
    {"loss_second_moment", {{1, 3}, {0, 0.5}}, 2},
    {"adaptive", {{1, 4}, {0, 0.999}}, 2},
    {"info_noise", {{1, 4}, {0, 0.999}, {0, 2}, {0.5, 4}, {0.001, 0.5}, {1, 3}}, 6},
};
static const method weightings[] = {
    {"uniform", {{0}}, 0},
    {"change_aware", {{0.5, 1}}, 1},
    {"p2", {{0.1, 3}, {0.1, 3}}, 2},
    {"min_snr", {{0.1, 10}}, 1},
    {"soft_min_snr", {{0.1, 10}}, 1},
    {"debiased", {{0}}, 0},
    {"snr", {{0}}, 0},
    {"inverse_snr", {{0}}, 0},
    {"max_snr", {{0.1, 10}}, 1},
    {"truncated_snr", {{0}}, 0},
    {"sigmoid", {{-3, 3}}, 1},
    {"edm", {{0.1, 2}}, 1},
    {"sigma_sqrt", {{0}}, 0},
    {"cosmap", {{0}}, 0},
    {"bsmntw", {{0}}, 0},
    {"linear_sigma", {{0, 5}}, 1},
    {"importance", {{0}}, 0},
    {"uncertainty", {{1, 4}, {0, 0.999}}, 2},
};
enum { sampling_count = sizeof samplings / sizeof samplings[0] };
enum { weighting_count = sizeof weightings / sizeof weightings[0] };

static bool is_whole(const method *of, int parameter) {
  if (strcmp(of->name, "clts") == 0 || strcmp(of->name, "noise_to_detail") == 0) return parameter == 2;
  if (strcmp(of->name, "info_noise") == 0 && parameter == 5) return true;
  return parameter == 0 && (strcmp(of->name, "loss_second_moment") == 0 || strcmp(of->name, "adaptive") == 0 || strcmp(of->name, "info_noise") == 0 ||
                            strcmp(of->name, "uncertainty") == 0);
}

static void create_named(kind of, const method *methods, int64_t method_count) {
  static const char *const unknown[] = {"", "Uniform", "uniform ", "uniform cosmap", "\xff\xfe", "%s%n", "cosma",
                                        "a long name that no method has, and that no buffer of a message should mind"};
  const method *chosen = &methods[below(method_count)];
  const char *name = one_in(40) ? unknown[below((int64_t)(sizeof unknown / sizeof unknown[0]))] : chosen->name;
  const int64_t count = one_in(2) ? chosen->count : any_count(below(chosen->count + 1), true);
  const int64_t given = count < 0 ? 0 : count < 100 ? count : 8;
  begin(of == SAMPLING ? "speediff_sampling_create" : "speediff_weighting_create");
  double *parameters = one_in(50) ? NULL : input((size_t)given * sizeof *parameters);
  for (int64_t i = 0; parameters != NULL && i < given; i++) {
    const double *range = chosen->ranges[i < 6 ? i : 5];
    parameters[i] = usually(range[0], range[1]);
    if (i < chosen->count && is_whole(chosen, (int)i) && !one_in(40)) {
      parameters[i] = floor(parameters[i]);
      /* A history that is honoured takes memory. */
      if (strcmp(chosen->name, "loss_second_moment") == 0 && parameters[i] > 100) parameters[i] = 0x1p40;
    }
    if (strcmp(chosen->name, "clts") == 0 && i < 2 && one_in(4)) parameters[i] = NAN;
    if (strcmp(chosen->name, "info_noise") == 0 && i == 2 && one_in(2)) parameters[i] = NAN;
  }
  if (one_in(60)) name = NULL;
  void **out = output(sizeof *out);
  if (name == NULL) null_argument(true);
  if (parameters == NULL && count != 0) null_argument(count > 0);
  arguments("\"%s\", %" PRId64, name == NULL ? "NULL" : name, count);
  if (parameters != NULL) argument_doubles(parameters, given);
  if ((name != NULL && name != chosen->name) || count < 0 || count > chosen->count) expect_failure();
  if (name == chosen->name && count == 0) expect_success();
  const speediff_status status = of == SAMPLING
                                     ? speediff_sampling_create(name, parameters, count, (speediff_sampling **)out)
                                     : speediff_weighting_create(name, parameters, count, (speediff_weighting **)out);
  end(status);
  created(of, status, out, (object){.depth = 1});
}

static int deeper(const object *a, const object *b) { return 1 + (a->depth > b->depth ? a->depth : b->depth); }

static void create_from_samplings(void) {
  static const char *const functions[] = {
      "speediff_sampling_create_asymmetric", "speediff_sampling_create_shifted", "speediff_sampling_create_truncated",
      "speediff_sampling_create_mixture", "speediff_sampling_create_blend",
      "speediff_sampling_create_truncated_levels"};
  const int64_t which = below(6);
  begin(functions[which]);
  const object *a = pick(SAMPLING);
  const object *b = pick(SAMPLING);
  speediff_sampling **out = output(sizeof *out);
  speediff_status status;
  int depth = 1 + a->depth;
  switch (which) {
    case 0: {
      const double k = usually(1, 20);
      const int64_t tau = usually_integer(1, 30);
      arguments("%.17g, %" PRId64, k, tau);
      if (!(k >= 1) || tau <= 0) expect_failure();
      status = speediff_sampling_create_asymmetric(k, tau, out);
      depth = 1;
      break;
    }
    case 1: {
      const double shift = usually(0.1, 10);
      arguments("%s, %.17g", made(a), shift);
      if (!(shift > 0)) expect_failure();
      status = speediff_sampling_create_shifted(required(a), shift, out);
      break;
    }
    case 2: {
      const int64_t start = usually_integer(0, 10);
      const int64_t stop = one_in(3) ? INT64_MAX : one_in(12) ? any_integer() : 1 + below(30);
      arguments("%s, %" PRId64 ", %" PRId64, made(a), start, stop);
      if (start < 0 || (stop <= start && stop != INT64_MAX)) expect_failure();
      status = speediff_sampling_create_truncated(required(a), start, stop, out);
      break;
    }
    case 3: {
      const double share = usually(0, 1);
      arguments("%s, %s, %.17g", made(a), made(b), share);
      if (!(share >= 0 && share <= 1)) expect_failure();
      depth = deeper(a, b);
      status = speediff_sampling_create_mixture(required(a), required(b), share, out);
      break;
    }
    case 5: {
      const double low = usually(0, 0.5);
      const double high = one_in(4) ? INFINITY : usually(0.5, 1);
      arguments("%s, %.17g, %.17g", made(a), low, high);
      if (!(low >= 0 && isfinite(low) && low < high)) expect_failure();
      status = speediff_sampling_create_truncated_levels(required(a), low, high, out);
      break;
    }
    default: {
      const int64_t start = usually_integer(0, 30);
      const int64_t stop = usually_integer(20, 2000);
      arguments("%s, %s, %" PRId64 ", %" PRId64, made(a), made(b), start, stop);
      if (start < 0 || stop <= start || stop > INT64_C(1) << 53) expect_failure();
      depth = deeper(a, b);
      status = speediff_sampling_create_blend(required(a), required(b), start, stop, out);
      break;
    }
  }
  end(status);
  created(SAMPLING, status, (void **)out, (object){.depth = depth});
}

static void create_stages(void) {
  begin("speediff_sampling_create_stages");
  const int64_t right = 1 + below(4);
  const int64_t count = any_count(right, false);
  const int64_t given = count < 0 ? 0 : count;
  int64_t *starts = one_in(50) ? NULL : input((size_t)given * sizeof *starts);
  const speediff_sampling **parts = one_in(50) ? NULL : input((size_t)given * sizeof *parts);
  int64_t start = 0;
  int depth = 1;
  bool is_bad = count <= 0;
  speediff_sampling **out = output(sizeof *out);
  for (int64_t i = 0; i < given; i++) {
    const object *part = pick(SAMPLING);
    const int64_t own = one_in(40) ? any_integer() : start;
    is_bad = is_bad || own != start;
    if (starts != NULL) starts[i] = own;
    if (parts != NULL) parts[i] = part->handle;
    if (parts != NULL && part->handle == NULL) null_argument(true);
    arguments("%" PRId64 ": %s, ", own, made(part));
    depth = depth > 1 + part->depth ? depth : 1 + part->depth;
    start += 1 + below(1000);
  }
  if (starts == NULL || parts == NULL) null_argument(count > 0);
  if (is_bad && count <= 0) expect_failure();
  arguments("%" PRId64, count);
  const speediff_status status = speediff_sampling_create_stages(starts, parts, count, out);
  end(status);
  created(SAMPLING, status, (void **)out, (object){.depth = depth});
}

/* A sampling or a weighting from a table. */
static void create_table(kind of) {
  begin(of == SAMPLING ? "speediff_sampling_create_table" : "speediff_weighting_create_table");
  const int64_t axis = one_in(12) ? (int32_t)any_integer() : below(3);
  const int64_t count = any_count(axis == 0 ? 3 + below(10) : 2 + below(10), false);
  const int64_t given = count < 0 ? 0 : count;
  double *knots = one_in(50) || (axis == 0 && one_in(2)) ? NULL : input((size_t)given * sizeof *knots);
  double *values = one_in(50) ? NULL : input((size_t)given * sizeof *values);
  for (int64_t i = 0; i < given; i++) {
    const double place = given < 2 ? 0 : (double)i / (double)(given - 1);
    if (knots != NULL) knots[i] = one_in(60) ? any_double() : axis == 2 ? 20 * place - 10 : place;
    if (values != NULL) values[i] = one_in(60) ? any_double() : unit();
  }
  void **out = output(sizeof *out);
  if (values == NULL || (knots == NULL && axis != 0)) null_argument(count > 0 && axis >= 0 && axis <= 2);
  if (axis < 0 || axis > 2 || count <= 0 || (axis > 0 && count < 2)) expect_failure();
  arguments("%" PRId64 ", %" PRId64, axis, count);
  if (knots != NULL) argument_doubles(knots, given);
  if (values != NULL) argument_doubles(values, given);
  const speediff_table_axis over = (speediff_table_axis)axis;
  speediff_status status;
  if (of == SAMPLING) {
    status = speediff_sampling_create_table(over, knots, values, count, (speediff_sampling **)out);
  } else {
    status = speediff_weighting_create_table(over, knots, values, count, (speediff_weighting **)out);
  }
  end(status);
  created(of, status, out, (object){.depth = 1});
}

void create_sampling(void) {
  switch (below(8)) {
    case 0: create_stages(); break;
    case 1: create_table(SAMPLING); break;
    case 2:
    case 3:
    case 4: create_from_samplings(); break;
    default: create_named(SAMPLING, samplings, sampling_count); break;
  }
}

static void create_product(void) {
  begin("speediff_weighting_create_product");
  const object *a = pick(WEIGHTING);
  const object *b = pick(WEIGHTING);
  speediff_weighting **out = output(sizeof *out);
  arguments("%s, %s", made(a), made(b));
  const speediff_status status = speediff_weighting_create_product(required(a), required(b), out);
  end(status);
  created(WEIGHTING, status, (void **)out, (object){.depth = deeper(a, b)});
}

static void create_reciprocal(void) {
  begin("speediff_weighting_create_reciprocal");
  const object *of = pick(WEIGHTING);
  speediff_weighting **out = output(sizeof *out);
  arguments("%s", made(of));
  const speediff_status status = speediff_weighting_create_reciprocal(required(of), out);
  end(status);
  created(WEIGHTING, status, (void **)out, (object){.depth = deeper(of, of)});
}

static void create_to_emphasis(void) {
  begin("speediff_weighting_create_to_emphasis");
  const int64_t right = one_in(4) ? 0 : 2 + below(20);
  const int64_t count = any_count(right, false);
  const int64_t given = count < 0 ? 0 : count;
  double *log_snr = one_in(50) || (count == 0 && one_in(2)) ? NULL : input((size_t)given * sizeof *log_snr);
  double *emphasis = one_in(50) || (count == 0 && one_in(2)) ? NULL : input((size_t)given * sizeof *emphasis);
  double value = 8;
  for (int64_t i = 0; i < given; i++) {
    value -= unit() * 2;
    if (log_snr != NULL) log_snr[i] = one_in(100) ? any_double() : value;
    if (emphasis != NULL) emphasis[i] = one_in(100) ? any_double() : unit();
  }
  speediff_weighting **out = output(sizeof *out);
  if (log_snr == NULL || emphasis == NULL) null_argument(count > 0);
  if (count == 1 || count < 0) expect_failure();
  if (count == 0) expect_success();
  arguments("%" PRId64, count);
  if (log_snr != NULL) argument_doubles(log_snr, given);
  if (emphasis != NULL) argument_doubles(emphasis, given);
  const speediff_status status = speediff_weighting_create_to_emphasis(log_snr, emphasis, count, out);
  end(status);
  created(WEIGHTING, status, (void **)out, (object){.depth = 1});
}

void create_weighting(void) {
  switch (below(8)) {
    case 7: create_table(WEIGHTING); break;
    case 0: create_product(); break;
    case 1: create_to_emphasis(); break;
    case 2: create_reciprocal(); break;
    default: create_named(WEIGHTING, weightings, weighting_count); break;
  }
}

/* The functions without arguments. */
void use_nothing(void) {
  static const struct {
    const char *function;
    const char *(*call)(void);
  } texts[] = {{"speediff_version", speediff_version},
               {"speediff_last_error", speediff_last_error},
               {"speediff_sampling_names", speediff_sampling_names},
               {"speediff_weighting_names", speediff_weighting_names}};
  const int64_t which = below(5);
  begin(which == 4 ? "speediff_abi_version" : texts[which].function);
  end(SPEEDIFF_OK);
  if (which == 4) {
    CHECK(speediff_abi_version() == SPEEDIFF_ABI_VERSION, "other version");
  } else {
    CHECK(texts[which].call() != NULL, "NULL");
    CHECK(which == 1 || strlen(texts[which].call()) > 0, "empty");
  }
  for (int i = 0; i < sampling_count && which == 2; i++)
    CHECK(strstr(speediff_sampling_names(), samplings[i].name) != NULL, "without %s", samplings[i].name);
  for (int i = 0; i < weighting_count && which == 3; i++)
    CHECK(strstr(speediff_weighting_names(), weightings[i].name) != NULL, "without %s", weightings[i].name);
  finish();
}
