/* What the parts of the fuzzer share. A part makes one call of the library as follows:
 *
 *     begin("speediff_schedule_steps");
 *     const object *schedule = pick(SCHEDULE);
 *     int64_t *steps = output(sizeof *steps);
 *     arguments("%s, steps", made(schedule));
 *     if (end(speediff_schedule_steps(required(schedule), steps))) CHECK(*steps >= 2, "got %" PRId64, *steps);
 *     finish();
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "speediff.h"

/* ---- Random values: fuzz_values.c ------------------------------------------------------------------------------ */

void seed_random(uint64_t seed);
uint64_t random_bits(void);
/* In [0, bound). */
int64_t below(int64_t bound);
bool one_in(int64_t n);
double unit(void);
/* Any double: special values, any bits, small and large numbers. */
double any_double(void);
float any_float(void);
/* Any integer, with a taste for limits. */
int64_t any_integer(void);
/* Nearly always in the range, else anything. */
double usually(double low, double high);
int64_t usually_integer(int64_t low, int64_t high);
/* A training step or a call's number. */
int64_t any_step(void);
/* Nearly always `right`, else another number: negative, 0, off by one, small, or huge where a huge one is an error. */
int64_t any_count(int64_t right, bool huge);

/* ---- One call: fuzz_call.c ------------------------------------------------------------------------------------- */

void begin(const char *function);
/* Describes the arguments, for the report of a defect. */
void arguments(const char *format, ...);
/* Appends an array to the description. */
void argument_doubles(const double *values, int64_t count);
void argument_integers(const int64_t *values, int64_t count);
/* An array of exactly this many bytes, filled with a pattern that a failure must leave; rarely NULL. */
void *output(size_t bytes);
/* The same for `count` elements; where count is negative or huge, for `right` ones. */
void *output_array(int64_t count, int64_t right, size_t size);
/* An array for the library to read, of exactly this many bytes; never NULL. */
void *input(size_t bytes);
/* The description. */
const char *last_call(void);
/* Says that an argument is NULL, so that the call may, or must, fail for that. */
void null_argument(bool must_fail);
/* The call must succeed unless it got a NULL; or must fail. */
void expect_success(void);
void expect_failure(void);
/* Checks what holds for every call. Whether it succeeded. */
bool end(speediff_status status);
/* Frees the arrays. */
void finish(void);

void defect(const char *format, ...);
#define CHECK(condition, ...)             \
  do {                                    \
    if (!(condition)) defect(__VA_ARGS__); \
  } while (0)

/* Checks of tables. */
void check_probabilities(const double *values, int64_t count);
/* Finite and >= 0. */
void check_nonnegative(const char *what, const double *values, int64_t count);
void check_nonnegative_floats(const char *what, const float *values, int64_t count);
/* An emphasis: finite, over falling log_snr. */
void check_emphasis(const double *log_snr, const double *emphasis, int64_t count);

void watch_signals(void);
void set_time_limit(unsigned seconds);
long defect_count(void);
/* Prints calls by function and outcome. Returns the number of functions that never succeeded or never failed, though they
 * can. */
int print_summary(void);

/* ---- Handles: fuzz_pool.c -------------------------------------------------------------------------------------- */

typedef enum kind { SCHEDULE, SAMPLING, WEIGHTING, SAMPLER, PROCESS, SIGMA_SAMPLER, TRAINER, CHECKPOINT, KINDS } kind;

/* The values of a DiT, or with a version those of an MDT. */
typedef struct network_shape {
  double input_size, patch_size, in_channels, hidden_size, depth, num_heads, mlp_ratio, num_classes, class_dropout_prob;
  double learn_sigma, frequency_shift, version, decode_layer, mask_ratio, min_snr_gamma;
} network_shape;

typedef struct object {
  void *handle;
  /* The call that made it, with those that made its arguments. */
  char *made;
  /* How many handles stand behind it in a row. */
  int depth;
  /* T, and alphas_cumprod at the last step, of schedules and samplers. */
  int64_t steps;
  double last_alphas_cumprod;
  /* Of samplers. */
  int64_t history;
  bool official;
  speediff_sampler_options options;
  /* Of processes. */
  bool flow;
  /* Of trainers. */
  network_shape config;
} object;

/* An object of the pool; rarely one without a handle. */
const object *pick(kind of);
const char *made(const object *source);
/* The handle; a call that gets NULL here must fail. */
void *required(const object *source);
/* The handle, where NULL is allowed. */
void *optional(const object *source);
/* Checks what `create` left in *out, and puts a new handle into the pool, whose place it takes from another one. `info`
 * holds what is known of it but for `handle` and `made`. */
void created(kind of, speediff_status status, void **out, object info);
void destroy_one(void);
void destroy_all(void);
/* With a frozen pool nothing is destroyed but what is made, at once. */
void freeze_pool(bool frozen);
bool pool_is_frozen(void);

/* ---- Options, and the numbers of draws: fuzz_options.c ---------------------------------------------------------- */

typedef struct draw_numbers {
  /* The first call, or the training step of a slice. */
  int64_t first;
  int64_t calls;
  int64_t n;
  int64_t offset;
  int64_t total;
  bool is_valid;
  /* How many entries there is to be room for. */
  int64_t entries;
} draw_numbers;

speediff_sampler_options any_options(void);
const char *options_text(const speediff_sampler_options *options);
draw_numbers any_calls(const speediff_sampler_options *options);
draw_numbers any_slice(void);
/* What one call of a sampler draws, as a slice. */
draw_numbers slice_of_call(const speediff_sampler_options *options, int64_t call, int64_t n);
void *draw_output(const draw_numbers *numbers, size_t size);

/* ---- Calls, one at random of each part ------------------------------------------------------------------------- */

void create_schedule(void);
void use_schedule(void);
void use_respacing(void);
void create_sampling(void);
void create_weighting(void);
void use_nothing(void);
void create_sampler(void);
void use_sampler(void);
void draw_sampler(void);
void learn_from_losses(void);
void create_process(void);
void use_process(void);
void create_sigma_sampler(void);
void use_sigma_sampler(void);
void create_trainer(void);
/* fuzz_machine.c */
void use_machine(void);
void use_trainer(void);
void use_files(void);
/* What use_files leaves behind. */
void remove_files(void);

/* What is known of a trainer of this sampler and shape. */
object trainer_object(const object *sampler, const network_shape *config);

/* ---- Networks: fuzz_networks.c --------------------------------------------------------------------------------- */

/* A shape, often a possible one. */
network_shape any_config(void);
/* Calls the library, and gives the network or NULL. */
speediff_network *make_network(const network_shape *config);
void free_network(speediff_network *network);
/* The values that the library gives. */
network_shape values_of(const speediff_network *network);
network_shape shape_of(speediff_trainer *trainer);
/* Official networks and wrong names, and what families say of themselves. */
void use_networks(void);

/* ---- Batches of trainers: fuzz_training.c, fuzz_generation.c ---------------------------------------------------- */

/* A number of samples, sometimes an impossible one; then is_bad. */
int64_t any_batch(bool *is_bad);
/* What arrays of n samples have room for: n, or 1 where there are impossibly many. */
int64_t room(int64_t n);
/* The floats of an image. */
int64_t elements(const object *trainer);
/* Labels, or NULL where there are none; sometimes wrong ones. */
int64_t *any_labels(const object *trainer, int64_t n, bool *is_bad);
void generate(const object *trainer);

/* Several threads on the same handles. */
void run_threads(uint64_t seed, long calls);

#endif
