/* The options of samplers, and the numbers of draws. */
#include <stdio.h>

#include "fuzz.h"

static const int64_t largest_batch = INT64_C(1) << 31;

speediff_sampler_options any_options(void) {
  speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  options.seed = random_bits();
  options.prediction = (int32_t)below(5);
  options.strata = (int32_t)below(3);
  options.normalize = (int32_t)below(2);
  if (one_in(2)) {
    options.world_size = usually_integer(1, 4);
    options.rank = usually_integer(0, options.world_size > 4 || options.world_size < 1 ? 4 : options.world_size - 1);
    options.accumulation = usually_integer(1, 4);
  }
  if (one_in(30)) options.prediction = (int32_t)any_integer();
  if (one_in(30)) options.strata = (int32_t)any_integer();
  if (one_in(30)) options.normalize = (int32_t)any_integer();
  return options;
}

const char *options_text(const speediff_sampler_options *options) {
  static _Thread_local char text[256];
  if (options == NULL) return "NULL";
  snprintf(text, sizeof text,
           "{%" PRIu64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId32 ", %" PRId32 ", %" PRId32 "}", options->seed,
           options->rank, options->world_size, options->accumulation, options->prediction, options->strata,
           options->normalize);
  return text;
}

draw_numbers any_calls(const speediff_sampler_options *options) {
  const int64_t per_entry = options->world_size * options->accumulation;
  draw_numbers numbers = {.first = any_step(),
                          .calls = one_in(12) ? any_integer() : below(4),
                          .n = one_in(12) ? any_integer() : below(40)};
  const bool has_calls = numbers.first >= 0 && numbers.calls >= 0 && numbers.calls <= INT64_MAX - numbers.first;
  bool has_n = numbers.n >= 0 && numbers.n <= largest_batch / per_entry;
  if (has_calls && has_n && numbers.n > 0 && (numbers.calls > 4 || numbers.n > 100)) {
    /* More than there is room for. */
    numbers.calls = one_in(2) ? 1 : 0;
    numbers.n = 1 + below(100);
    has_n = numbers.n <= largest_batch / per_entry;
  }
  numbers.is_valid = has_calls && has_n;
  numbers.entries = numbers.is_valid ? numbers.calls * numbers.n : 3;
  return numbers;
}

draw_numbers any_slice(void) {
  draw_numbers numbers = {.first = any_step(), .total = one_in(4) ? any_integer() : below(200)};
  numbers.offset = one_in(12) ? any_integer() : numbers.total > 0 ? below(numbers.total) : below(4);
  numbers.n = one_in(12) ? any_integer() : below(40);
  if (numbers.total > numbers.offset && numbers.offset >= 0 && numbers.n > numbers.total - numbers.offset && !one_in(8))
    numbers.n = numbers.total - numbers.offset;
  if (numbers.n > 4096 && numbers.offset >= 0 && numbers.total <= largest_batch &&
      numbers.n <= numbers.total - numbers.offset)
    numbers.n = 64;
  numbers.is_valid = numbers.first >= 0 && numbers.n >= 0 && numbers.offset >= 0 && numbers.total >= 0 &&
                     numbers.total <= largest_batch && numbers.offset <= numbers.total &&
                     numbers.n <= numbers.total - numbers.offset;
  numbers.entries = numbers.is_valid ? numbers.n : 3;
  return numbers;
}

draw_numbers slice_of_call(const speediff_sampler_options *options, int64_t call, int64_t n) {
  const int64_t batch = options->world_size * n;
  return (draw_numbers){.first = call / options->accumulation,
                        .n = n,
                        .offset = call % options->accumulation * batch + options->rank * n,
                        .total = options->accumulation * batch,
                        .is_valid = true,
                        .entries = n};
}

void *draw_output(const draw_numbers *numbers, size_t size) { return output((size_t)numbers->entries * size); }
