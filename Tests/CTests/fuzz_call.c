/* One call of the library: its arrays, its description, and what holds for every call. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static const unsigned char pattern = 0xA5;
enum { outcomes = 11, text_size = 4096, arrays_per_call = 8, shown_entries = 12, longest_output = 1 << 16 };

/* Every function of the header; `fails` says that it can. */
static struct {
  const char *name;
  bool fails;
  _Atomic long count[outcomes];
} functions[] = {
#define FAILS(name) {"speediff_" #name, true, {0}}
#define NEVER_FAILS(name) {"speediff_" #name, false, {0}}
    NEVER_FAILS(abi_version), NEVER_FAILS(version), NEVER_FAILS(last_error),
    FAILS(schedule_create_linear), FAILS(schedule_create_quadratic), FAILS(schedule_create_cosine),
    FAILS(schedule_create_sigmoid), FAILS(schedule_create_warmup), FAILS(schedule_create_jsd),
    FAILS(schedule_create_constant), FAILS(schedule_create_from_betas), FAILS(schedule_create_from_alphas_cumprod),
    FAILS(schedule_create_zero_terminal_snr), FAILS(schedule_create_respaced), NEVER_FAILS(schedule_destroy),
    FAILS(schedule_steps), FAILS(schedule_table), FAILS(schedule_acceleration_end),
    FAILS(schedule_convergence_start), FAILS(schedule_closed_form_acceleration_end),
    FAILS(schedule_closed_form_convergence_start), FAILS(respacing_sections), FAILS(respacing_ddim),
    FAILS(sigma_sampler_update), FAILS(sigma_sampler_history_count), FAILS(sigma_sampler_history),
    FAILS(sigma_sampler_restore_history), FAILS(sampling_create_truncated_levels), FAILS(sampling_create_stages), FAILS(sampling_create_table),
    FAILS(weighting_create_table), FAILS(sampling_create), FAILS(sampling_create_asymmetric), FAILS(sampling_create_shifted),
    FAILS(sampling_create_truncated), FAILS(sampling_create_mixture), FAILS(sampling_create_blend),
    NEVER_FAILS(sampling_names), NEVER_FAILS(sampling_destroy), FAILS(weighting_create),
    FAILS(weighting_create_product), FAILS(weighting_create_reciprocal), FAILS(weighting_create_to_emphasis),
    NEVER_FAILS(weighting_names), NEVER_FAILS(weighting_destroy), FAILS(sampler_create), FAILS(sampler_create_speed),
    FAILS(sampler_create_official_speed), NEVER_FAILS(sampler_destroy), FAILS(sampler_probabilities),
    FAILS(sampler_marginal), FAILS(sampler_weights), FAILS(sampler_expected_weight), FAILS(sampler_emphasis),
    FAILS(sampler_update), FAILS(sampler_history_count), FAILS(sampler_history), FAILS(sampler_restore_history),
    FAILS(sampler_draw), FAILS(sampler_draw_slice), FAILS(process_create_vp), FAILS(process_create_ve),
    FAILS(process_create_edm), FAILS(process_create_flow), NEVER_FAILS(process_destroy), FAILS(process_evaluate),
    FAILS(sigma_sampler_create), NEVER_FAILS(sigma_sampler_destroy), FAILS(sigma_sampler_emphasis),
    FAILS(sigma_sampler_draw), FAILS(sigma_sampler_draw_slice), FAILS(sigma_sampler_draw_shifted),
    FAILS(fdm_input_scale),
    FAILS(network_create), FAILS(network_create_official),
    NEVER_FAILS(network_destroy), FAILS(network_family), FAILS(network_value), NEVER_FAILS(network_family_names),
    FAILS(network_family_value_count), FAILS(network_family_value), FAILS(thread_limits), FAILS(memory_limit),
    FAILS(fastest_precision),
    FAILS(trainer_create), NEVER_FAILS(trainer_destroy),
    FAILS(trainer_network), FAILS(trainer_get_options), FAILS(trainer_set_learning_rate), FAILS(trainer_set_ema_decay),
    FAILS(trainer_set_precision), FAILS(trainer_global_step), FAILS(trainer_set_global_step), FAILS(trainer_backward),
    FAILS(trainer_discard), FAILS(trainer_apply), FAILS(trainer_learn),
    FAILS(trainer_last_count), FAILS(trainer_last_losses), FAILS(trainer_forward),
    FAILS(trainer_parameter_count), FAILS(trainer_parameter), FAILS(trainer_buffer), FAILS(trainer_generate),
    FAILS(trainer_save), FAILS(checkpoint_open), NEVER_FAILS(checkpoint_destroy), FAILS(checkpoint_note),
    FAILS(checkpoint_schedule), FAILS(checkpoint_trainer),
};
enum { function_count = sizeof functions / sizeof functions[0] };

static _Atomic long defects = 0;
static unsigned time_limit = 30;

static _Thread_local struct {
  int function;
  char text[text_size];
  size_t length;
  bool got_null, must_fail, must_succeed, is_known_to_fail;
  struct {
    unsigned char *bytes;
    size_t size;
    bool is_output;
  } arrays[arrays_per_call];
  int array_count;
} call;

const char *last_call(void) { return call.text; }

void begin(const char *function) {
  call.function = 0;
  while (call.function < function_count && strcmp(functions[call.function].name, function) != 0) call.function++;
  if (call.function == function_count) {
    fprintf(stderr, "%s is not in the list of functions\n", function);
    exit(EXIT_FAILURE);
  }
  call.length = (size_t)snprintf(call.text, sizeof call.text, "%s()", function + strlen("speediff_"));
  call.got_null = call.must_fail = call.must_succeed = false;
  call.array_count = 0;
  if (!pool_is_frozen()) alarm(time_limit);
}

static void append(const char *format, va_list values) {
  /* The text ends in a parenthesis, before which arguments go. */
  call.length--;
  const size_t room = sizeof call.text - 2 - call.length;
  const int written = vsnprintf(call.text + call.length, room, format, values);
  call.length += written < 0 ? 0 : (size_t)written < room ? (size_t)written : room - 1;
  strcpy(call.text + call.length, ")");
  call.length++;
}

void arguments(const char *format, ...) {
  va_list values;
  va_start(values, format);
  append(format, values);
  va_end(values);
}

void argument_doubles(const double *values, int64_t count) {
  arguments(" {");
  for (int64_t i = 0; i < count && i < shown_entries; i++) arguments(i == 0 ? "%.17g" : ", %.17g", values[i]);
  arguments(count > shown_entries ? ", ...}" : "}");
}

void argument_integers(const int64_t *values, int64_t count) {
  arguments(" {");
  for (int64_t i = 0; i < count && i < shown_entries; i++) arguments(i == 0 ? "%" PRId64 : ", %" PRId64, values[i]);
  arguments(count > shown_entries ? ", ...}" : "}");
}

static void *array(size_t bytes, bool is_output) {
  unsigned char *memory = malloc(bytes);
  if (call.array_count == arrays_per_call || (memory == NULL && bytes > 0)) {
    fprintf(stderr, "no memory for an array of the fuzzer\n");
    exit(EXIT_FAILURE);
  }
  if (bytes > 0) memset(memory, pattern, bytes);
  call.arrays[call.array_count].bytes = memory;
  call.arrays[call.array_count].size = bytes;
  call.arrays[call.array_count].is_output = is_output;
  call.array_count++;
  return memory;
}

void *output(size_t bytes) {
  if (one_in(50)) {
    null_argument(bytes > 0);
    return NULL;
  }
  return array(bytes, true);
}

void *output_array(int64_t count, int64_t right, size_t size) {
  const int64_t room = count < 0 ? 0 : count <= longest_output ? count : right;
  return output((size_t)room * size);
}

void *input(size_t bytes) { return array(bytes, false); }

void null_argument(bool must_fail) {
  call.got_null = true;
  if (must_fail) call.must_fail = true;
}

void expect_success(void) { call.must_succeed = true; }
void expect_failure(void) { call.must_fail = true; }

bool end(speediff_status status) {
  const int outcome = (int)status;
  if (outcome < 0 || outcome >= outcomes) {
    defect("unknown status %d", outcome);
    return false;
  }
  functions[call.function].count[outcome]++;
  const char *message = speediff_last_error();
  if (getenv("FUZZ_TRACE") != NULL) {
    printf("%s -> %d %s\n", call.text, outcome, outcome == 0 ? "" : message);
  }
  if (status == SPEEDIFF_OK) {
    CHECK(!call.must_fail, "success where the header asks for a failure");
    return true;
  }
  CHECK(status != SPEEDIFF_ERROR_INTERNAL, "internal error");
  CHECK(message != NULL && message[0] != '\0', "failure without a message");
  CHECK(status != SPEEDIFF_ERROR_NULL_POINTER || call.got_null, "no pointer was NULL");
  CHECK(status != SPEEDIFF_ERROR_NULL_POINTER || strstr(message, " must not be NULL") != NULL, "wrong message");
  CHECK(status == SPEEDIFF_ERROR_NULL_POINTER || strstr(message, ", got ") != NULL, "message without a value");
  CHECK(!call.must_succeed || call.got_null, "failure where nothing is wrong");
  /* A generation that is stopped leaves unfinished images. */
  if (status == SPEEDIFF_ERROR_CANCELLED) return false;
  for (int i = 0; i < call.array_count; i++) {
    for (size_t j = 0; call.arrays[i].is_output && j < call.arrays[i].size; j++) {
      if (call.arrays[i].bytes[j] != pattern) {
        defect("written on failure: output %d, byte %zu", i, j);
        break;
      }
    }
  }
  return false;
}

void finish(void) {
  for (int i = 0; i < call.array_count; i++) free(call.arrays[i].bytes);
  call.array_count = 0;
}

void defect(const char *format, ...) {
  const long so_far = ++defects;
  if (so_far > 200) return;
  char text[512];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  fprintf(stderr, "DEFECT: %s\n  call: %s\n  last error: %s\n", text, call.text, speediff_last_error());
}

void check_nonnegative(const char *what, const double *values, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (!(values[i] >= 0 && isfinite(values[i]))) {
      defect("%s[%" PRId64 "] is %.17g", what, i, values[i]);
      return;
    }
  }
}

void check_nonnegative_floats(const char *what, const float *values, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (!(values[i] >= 0 && isfinite(values[i]))) {
      defect("%s[%" PRId64 "] is %.9g", what, i, (double)values[i]);
      return;
    }
  }
}

void check_probabilities(const double *values, int64_t count) {
  double sum = 0;
  check_nonnegative("probabilities", values, count);
  for (int64_t i = 0; i < count; i++) sum += values[i];
  CHECK(fabs(sum - 1) < 1e-12, "the probabilities' sum is 1 + %g", sum - 1);
}

void check_emphasis(const double *log_snr, const double *emphasis, int64_t count) {
  check_nonnegative("emphasis", emphasis, count);
  for (int64_t i = 0; i < count; i++) {
    if (!isfinite(log_snr[i]) || (i > 0 && !(log_snr[i] < log_snr[i - 1]))) {
      defect("log_snr[%" PRId64 "] is %.17g", i, log_snr[i]);
      return;
    }
  }
}

static struct sigaction previous[65];

static void on_signal(int number) {
  static const char lead[] = "DEFECT: a signal (or, for 14, the time limit) in\n  call: ";
  ssize_t ignored = write(STDERR_FILENO, lead, sizeof lead - 1);
  ignored = write(STDERR_FILENO, call.text, call.length);
  ignored = write(STDERR_FILENO, "\n", 1);
  (void)ignored;
  if (number == SIGALRM) _exit(EXIT_FAILURE);
  /* Whoever was there before, such as a sanitizer, sees the signal again. */
  sigaction(number, &previous[number], NULL);
}

void watch_signals(void) {
  const int numbers[] = {SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    sigaction(numbers[i], &action, &previous[numbers[i]]);
  }
}

void set_time_limit(unsigned seconds) { time_limit = seconds; }

long defect_count(void) { return defects; }

int print_summary(void) {
  int unused = 0;
  static const char *const names[outcomes] = {"ok",   "null",       "argument", "count",     "internal", "memory",
                                              "file", "not finite", "busy",     "cancelled", "threads"};
  printf("%-48s", "function");
  for (int j = 0; j < outcomes; j++) printf(" %10s", names[j]);
  printf("\n");
  for (int i = 0; i < function_count; i++) {
    long failures = 0;
    printf("%-48s %10ld", functions[i].name, (long)functions[i].count[0]);
    for (int j = 1; j < outcomes; j++) {
      failures += functions[i].count[j];
      printf(" %10ld", (long)functions[i].count[j]);
    }
    const bool is_unused = functions[i].count[0] == 0 || (functions[i].fails && failures == 0);
    printf("%s\n", is_unused ? "  not exercised" : "");
    unused += is_unused;
  }
  return unused;
}
