/* Calls to tiny trainers, and their generations. */
#include <math.h>
#include <string.h>

#include "fuzz.h"

enum { largest_batch = 1 << 20 };

/* ---- Random shapes and options --------------------------------------------------------------------------------- */

static speediff_trainer_options any_training(bool *is_bad) {
  speediff_trainer_options options = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  options.learning_rate = one_in(8) ? any_double() : 0.01 * unit();
  options.beta1 = usually(0, 0.99);
  options.beta2 = usually(0, 0.999);
  options.epsilon = one_in(20) ? any_double() : 1e-8;
  options.weight_decay = usually(0, 0.1);
  options.ema_decay = usually(0, 1);
  options.ema_warmup = one_in(30) ? (int32_t)any_integer() : (int32_t)below(2);
  options.max_grad_norm = one_in(2) ? 0 : usually(0.1, 2);
  options.warmup_steps = usually_integer(0, 5);
  options.seed = random_bits();
  options.threads = one_in(40) ? (int32_t)below(10) - 5 : 1 + (int32_t)below(2);
  options.precision = one_in(40) ? any_integer() : one_in(2) ? SPEEDIFF_PRECISION_AUTO : SPEEDIFF_PRECISION_FLOAT32;
  *is_bad = !(options.learning_rate >= 0 && isfinite(options.learning_rate)) ||
            !(options.beta1 >= 0 && options.beta1 < 1) || !(options.beta2 >= 0 && options.beta2 < 1) ||
            !(options.epsilon > 0 && isfinite(options.epsilon)) ||
            !(options.ema_decay >= 0 && options.ema_decay <= 1) || options.ema_warmup < 0 || options.ema_warmup > 1 ||
            options.threads < 0 || !(options.max_grad_norm >= 0) || options.warmup_steps < 0 || options.precision < 0 ||
            options.precision > SPEEDIFF_PRECISION_AUTO;
  return options;
}

int64_t elements(const object *trainer) {
  return (int64_t)(trainer->config.in_channels * trainer->config.input_size * trainer->config.input_size);
}

static int64_t labels_of(const object *trainer) {
  if (trainer->config.num_classes == 0) return 0;
  return (int64_t)trainer->config.num_classes + (trainer->config.class_dropout_prob > 0);
}

/* A number of images, of which there is room for few. */
int64_t any_batch(bool *is_bad) {
  int64_t n = one_in(12) ? any_integer() : 1 + below(5);
  if (n > 8 && n <= largest_batch) n = 1 + below(8);
  *is_bad = *is_bad || n < 1 || n > largest_batch;
  return n;
}

int64_t room(int64_t n) { return n < 1 || n > 8 ? 1 : n; }

static float *any_floats(int64_t count, bool *is_bad) {
  float *values = input((size_t)count * sizeof *values);
  for (int64_t i = 0; i < count; i++) values[i] = (float)(2 * unit() - 1);
  if (count > 0 && one_in(20)) {
    const int64_t place = below(count);
    values[place] = any_float();
    *is_bad = *is_bad || !isfinite(values[place]);
  }
  return values;
}

/* Labels, or NULL, as the network wants it. */
int64_t *any_labels(const object *trainer, int64_t n, bool *is_bad) {
  const int64_t entries = labels_of(trainer);
  if (trainer->handle != NULL && one_in(30)) {
    *is_bad = true;
    return entries > 0 ? NULL : input(sizeof(int64_t) * 8);
  }
  if (entries == 0) return NULL;
  int64_t *y = input((size_t)n * sizeof *y);
  for (int64_t i = 0; i < n; i++) {
    y[i] = one_in(50) ? any_integer() : below(entries);
    *is_bad = *is_bad || y[i] < 0 || y[i] >= entries;
  }
  return y;
}

/* ---- Trainers -------------------------------------------------------------------------------------------------- */

object trainer_object(const object *sampler, const network_shape *config) {
  object info = {.depth = sampler->depth + 1, .steps = sampler->steps, .history = sampler->history};
  info.options = sampler->options;
  info.config = *config;
  return info;
}

void create_trainer(void) {
  if (one_in(8)) {
    use_networks();
    return;
  }
  if (one_in(8)) {
    use_machine();
    return;
  }
  const network_shape config = any_config();
  speediff_network *network = make_network(&config);
  begin("speediff_trainer_create");
  const object *sampler = pick(SAMPLER);
  bool is_bad = false;
  const speediff_trainer_options options = any_training(&is_bad);
  speediff_trainer **out = output(sizeof *out);
  if (network == NULL) null_argument(true);
  arguments("network, {%g, %g, %g, %g, %g, %g, %d, %g, %" PRId64 ", %" PRIu64 ", %d, %" PRId64 "}, %s", options.learning_rate,
            options.beta1, options.beta2, options.epsilon, options.weight_decay, options.ema_decay, options.ema_warmup,
            options.max_grad_norm, options.warmup_steps, options.seed, options.threads, options.precision,
            made(sampler));
  if (is_bad) expect_failure();
  const speediff_status status = speediff_trainer_create(network, &options, required(sampler), out);
  object info = trainer_object(sampler, &config);
  if (end(status)) {
    const network_shape read = shape_of(*out);
    CHECK(memcmp(&read, &config, offsetof(network_shape, version)) == 0, "another shape");
  }
  created(TRAINER, status, (void **)out, info);
  free_network(network);
}

/* A part of a global batch without samples. */
static void backward_of_nothing(const object *trainer) {
  begin("speediff_trainer_backward");
  float x = 0;
  const int64_t y = -1;
  double *loss = output(sizeof *loss);
  const int64_t total = one_in(8) ? any_integer() : below(8);
  const int64_t offset = one_in(8) ? any_integer() : below(8);
  const speediff_training_batch batch = {
      .x = &x, .y = labels_of(trainer) > 0 ? &y : NULL, .offset = offset, .total = total};
  arguments("%s, nothing, %" PRId64 ", %" PRId64, made(trainer), offset, total);
  if (total < 1 || total > INT64_C(1) << 31 || offset < 0 || offset > total) expect_failure();
  if (end(speediff_trainer_backward(required(trainer), &batch, loss))) CHECK(*loss == 0, "a loss of %g", *loss);
  finish();
}

static void backward(const object *trainer) {
  bool is_bad = false;
  const int64_t n = any_batch(&is_bad);
  if (n == 0) {
    backward_of_nothing(trainer);
    return;
  }
  begin("speediff_trainer_backward");
  const int64_t count = room(n) * elements(trainer);
  float *x = any_floats(count, &is_bad);
  int64_t *y = any_labels(trainer, room(n), &is_bad);
  float *noise = one_in(3) ? any_floats(count, &is_bad) : NULL;
  float *weights = one_in(3) ? any_floats(room(n), &is_bad) : NULL;
  int64_t *t = one_in(3) ? input((size_t)room(n) * sizeof *t) : NULL;
  for (int64_t i = 0; t != NULL && i < room(n); i++) {
    t[i] = one_in(50) ? any_integer() : below(trainer->steps);
    is_bad = is_bad || t[i] < 0 || t[i] >= trainer->steps;
  }
  float *masked_noise = one_in(3) ? any_floats(count, &is_bad) : NULL;
  is_bad = is_bad || (masked_noise != NULL && trainer->config.version == 0);
  const int64_t grid =
      trainer->config.patch_size > 0 ? (int64_t)(trainer->config.input_size / trainer->config.patch_size) : 1;
  const int64_t kept_count = any_count(1 + below(grid * grid), true);
  const bool is_count = kept_count >= 1 && kept_count <= grid * grid;
  const int64_t each = is_count ? kept_count : 1;
  int64_t *kept = one_in(3) ? input((size_t)(room(n) * each) * sizeof *kept) : NULL;
  is_bad = is_bad || (kept != NULL && (trainer->config.version == 0 || !is_count));
  for (int64_t i = 0; kept != NULL && i < room(n) * each; i++) {
    /* The last tokens of the grid, of which one may be too large, or be there twice. */
    kept[i] = grid * grid - 1 - i % each + (one_in(200) ? 1 : 0);
    is_bad = is_bad || kept[i] != grid * grid - 1 - i % each;
  }
  const int64_t total = one_in(3) ? any_count(24, true) : 0;
  const int64_t offset = one_in(3) ? any_count(8, true) : 0;
  const bool has_place = offset != 0 || total != 0;
  is_bad = is_bad || (has_place && (offset < 0 || total < 0 || total > INT64_C(1) << 31 || offset > total - n));
  double *loss = output(sizeof *loss);
  arguments("%s, x, %s, %" PRId64 ", %s, %s, %s, %" PRId64 ", %" PRId64, made(trainer), y ? "y" : "NULL", n,
            t ? "t" : "NULL", noise ? "noise" : "NULL", weights ? "weights" : "NULL", offset, total);
  arguments(", %s, %s, %" PRId64, masked_noise ? "masked_noise" : "NULL", kept ? "kept" : "NULL", kept_count);
  const speediff_training_batch batch = {sizeof batch, x,    y,          n,      t,    noise, weights,
                                         masked_noise, kept, kept_count, offset, total};
  if (is_bad) expect_failure();
  if (end(speediff_trainer_backward(required(trainer), &batch, loss)))
    CHECK(isfinite(*loss), "a loss of %g", *loss);
  finish();
}

static void discard(const object *trainer) {
  begin("speediff_trainer_discard");
  arguments("%s", made(trainer));
  end(speediff_trainer_discard(required(trainer)));
  finish();
}

static void apply(const object *trainer) {
  begin("speediff_trainer_apply");
  double norm = 0;
  arguments("%s, norm", made(trainer));
  if (end(speediff_trainer_apply(required(trainer), one_in(4) ? NULL : &norm)))
    CHECK(norm >= 0 && isfinite(norm), "a norm of %g", norm);
  finish();
}

static void learn(const object *trainer) {
  begin("speediff_trainer_learn");
  arguments("%s", made(trainer));
  end(speediff_trainer_learn(required(trainer)));
  finish();
}

static void forward(const object *trainer) {
  begin("speediff_trainer_forward");
  bool is_bad = false;
  const int64_t n = any_batch(&is_bad);
  const int64_t count = room(n) * elements(trainer);
  bool ignored = false;
  float *x = any_floats(count, &ignored);
  float *t = any_floats(room(n), &is_bad);
  int64_t *y = any_labels(trainer, room(n), &is_bad);
  const int32_t ema = one_in(30) ? (int32_t)any_integer() : (int32_t)below(2);
  float *out = output((size_t)(count * (trainer->config.learn_sigma == 1 ? 2 : 1)) * sizeof *out);
  arguments("%s, x, t, %s, %" PRId64 ", %d, out", made(trainer), y ? "y" : "NULL", n, ema);
  if (is_bad || ema < 0 || ema > 1) expect_failure();
  end(speediff_trainer_forward(required(trainer), x, t, y, n, ema, out));
  finish();
}

static void last_losses(const object *trainer) {
  /* Another thread may change the count. */
  int64_t right = 0;
  const bool has_losses =
      trainer->handle != NULL && speediff_trainer_last_count(trainer->handle, &right) == SPEEDIFF_OK;
  begin("speediff_trainer_last_losses");
  const int64_t count = any_count(right, true);
  const int64_t entries = right == 0 ? 0 : room(right);
  int64_t *t = output((size_t)entries * sizeof *t);
  float *losses = output((size_t)entries * sizeof *losses);
  arguments("%s, t, losses, %" PRId64, made(trainer), count);
  if (count != right || !has_losses) expect_failure();
  if (pool_is_frozen()) {
    finish();
    return;
  }
  if (end(speediff_trainer_last_losses(required(trainer), t, losses, count))) {
    for (int64_t i = 0; i < count; i++) CHECK(t[i] >= 0 && t[i] < trainer->steps, "t of %" PRId64, t[i]);
  }
  finish();
}

static void read_trainer(const object *trainer) {
  switch (below(4)) {
    case 0: {
      begin("speediff_trainer_network");
      speediff_network **network = output(sizeof *network);
      arguments("%s, network", made(trainer));
      if (end(speediff_trainer_network(required(trainer), network))) {
        const network_shape shape = values_of(*network);
        CHECK(shape.depth == trainer->config.depth, "another depth");
        speediff_network_destroy(*network);
      }
      break;
    }
    case 1: {
      begin("speediff_trainer_get_options");
      speediff_trainer_options *options = output(sizeof *options);
      arguments("%s, options", made(trainer));
      if (end(speediff_trainer_get_options(required(trainer), options, sizeof *options)))
        CHECK(options->threads > 0, "no threads");
      break;
    }
    case 2: {
      begin("speediff_trainer_global_step");
      int64_t *step = output(sizeof *step);
      arguments("%s, step", made(trainer));
      if (end(speediff_trainer_global_step(required(trainer), step))) CHECK(*step >= 0, "a step of %" PRId64, *step);
      break;
    }
    default: {
      begin("speediff_trainer_last_count");
      int64_t *count = output(sizeof *count);
      arguments("%s, count", made(trainer));
      if (end(speediff_trainer_last_count(required(trainer), count))) CHECK(*count >= 0 && *count <= 8, "a count");
      break;
    }
  }
  finish();
}

static void read_parameters(const object *trainer) {
  if (one_in(3)) {
    begin("speediff_trainer_parameter_count");
    int64_t *count = output(sizeof *count);
    arguments("%s, count", made(trainer));
    if (end(speediff_trainer_parameter_count(required(trainer), count))) CHECK(*count > 10, "few parameters");
  } else if (one_in(2)) {
    begin("speediff_trainer_parameter");
    const int64_t index = usually_integer(0, 30);
    const char **name = output(sizeof *name);
    int64_t *shape = output(SPEEDIFF_MAXIMUM_RANK * sizeof *shape);
    int64_t *rank = output(sizeof *rank);
    int64_t *offset = output(sizeof *offset);
    arguments("%s, %" PRId64 ", name, shape, rank, offset", made(trainer), index);
    if (index < 0) expect_failure();
    if (end(speediff_trainer_parameter(required(trainer), index, name, shape, rank, offset)))
      CHECK(strlen(*name) > 0 && *rank >= 1 && *rank <= SPEEDIFF_MAXIMUM_RANK && *offset % 16 == 0, "parameter");
  } else {
    begin("speediff_trainer_buffer");
    const int64_t kind = one_in(10) ? any_integer() : 1 + below(6);
    float **data = output(sizeof *data);
    int64_t *count = output(sizeof *count);
    arguments("%s, %" PRId64 ", data, count", made(trainer), kind);
    if (end(speediff_trainer_buffer(required(trainer), (speediff_buffer)kind, data, count))) {
      CHECK(*count > 0 || (kind == SPEEDIFF_BUFFER_POS_EMBED && *count == 0), "an empty buffer");
      /* All of it can be read, and written; what is not finite may be found there by steps and files. */
      if (!pool_is_frozen() && kind != SPEEDIFF_BUFFER_POS_EMBED && one_in(8)) (*data)[below(*count)] = any_float();
    }
  }
  finish();
}

static void set_global_step(const object *trainer) {
  begin("speediff_trainer_set_global_step");
  const int64_t value = one_in(6) ? any_integer() : below(1000);
  arguments("%s, %" PRId64, made(trainer), value);
  if (value < 0 || value > INT64_C(1) << 32) expect_failure();
  end(speediff_trainer_set_global_step(required(trainer), value));
  finish();
}

static void set_learning_rate(const object *trainer) {
  begin("speediff_trainer_set_learning_rate");
  const double value = one_in(6) ? any_double() : 0.01 * unit();
  arguments("%s, %.17g", made(trainer), value);
  if (!(value >= 0 && isfinite(value))) expect_failure();
  end(speediff_trainer_set_learning_rate(required(trainer), value));
  finish();
}

static void set_ema_decay(const object *trainer) {
  begin("speediff_trainer_set_ema_decay");
  const double value = one_in(6) ? any_double() : unit();
  arguments("%s, %.17g", made(trainer), value);
  if (!(value >= 0 && value <= 1)) expect_failure();
  end(speediff_trainer_set_ema_decay(required(trainer), value));
  finish();
}

static void set_precision(const object *trainer) {
  begin("speediff_trainer_set_precision");
  const int64_t value = one_in(6) ? any_integer() : below(3);
  arguments("%s, %" PRId64, made(trainer), value);
  if (value < SPEEDIFF_PRECISION_FLOAT32 || value > SPEEDIFF_PRECISION_AUTO) expect_failure();
  end(speediff_trainer_set_precision(required(trainer), value));
  finish();
}

/* ---- One call -------------------------------------------------------------------------------------------------- */

void use_trainer(void) {
  const object *trainer = pick(TRAINER);
  switch (below(12)) {
    case 0: read_trainer(trainer); break;
    case 1: read_parameters(trainer); break;
    case 2: forward(trainer); break;
    case 3: generate(trainer); break;
    case 4: last_losses(trainer); break;
    case 5: one_in(2) ? set_learning_rate(trainer) : set_global_step(trainer); break;
    case 6: one_in(3) ? discard(trainer) : one_in(4) ? set_precision(trainer) : apply(trainer); break;
    case 7: one_in(3) ? backward_of_nothing(trainer) : set_ema_decay(trainer); break;
    case 8: one_in(3) ? learn(trainer) : apply(trainer); break;
    default: backward(trainer); break;
  }
}
