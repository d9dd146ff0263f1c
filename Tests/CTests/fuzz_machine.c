/* Calls that ask what the machine gives. */
#include "fuzz.h"

static void read_thread_limits(void) {
  begin("speediff_thread_limits");
  int64_t *processors = output(sizeof *processors);
  int64_t *quota = output(sizeof *quota);
  int64_t *requested = output(sizeof *requested);
  if (end(speediff_thread_limits(processors, quota, requested)))
    CHECK(*processors >= 1 && *quota >= 0 && *requested >= 0, "limits that no process has");
  finish();
}

/* An output that is NULL now and then. */
static int64_t *output_or_null(void) {
  if (one_in(8)) {
    null_argument(true);
    return NULL;
  }
  return output(sizeof(int64_t));
}

static void read_memory_limit(void) {
  begin("speediff_memory_limit");
  int64_t *bytes = output_or_null();
  if (end(speediff_memory_limit(bytes))) CHECK(*bytes > 0, "no memory");
  finish();
}

static void read_fastest_precision(void) {
  begin("speediff_fastest_precision");
  int64_t *precision = output_or_null();
  if (end(speediff_fastest_precision(precision)))
    CHECK(*precision == SPEEDIFF_PRECISION_FLOAT32 || *precision == SPEEDIFF_PRECISION_BFLOAT16, "no precision");
  finish();
}

void use_machine(void) {
  one_in(3) ? read_thread_limits() : one_in(2) ? read_memory_limit() : read_fastest_precision();
}
