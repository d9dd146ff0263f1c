/* Trainers, generation, and checkpoints. */
#define _POSIX_C_SOURCE 200809L

#include "contract.h"

#include <stddef.h>
#include <unistd.h>

enum { n = 4, floats = 32, classes = network_classes };

static float x[n * floats];
static const int64_t y[n] = {0, 1, 2, classes};

/* A micro-batch of which everything else is drawn. */
static speediff_training_batch whole(void) {
  return (speediff_training_batch){.size = sizeof(speediff_training_batch), .x = x, .y = y, .n = n};
}

/* One training step; its loss. */
static double step(speediff_trainer *trainer, speediff_sampler *sampler) {
  double loss = 0;
  double norm = 0;
  int64_t t[n];
  float losses[n];
  int64_t count = 0;
  const speediff_training_batch batch = whole();
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK && isfinite(loss));
  CHECK(speediff_trainer_last_count(trainer, &count) == SPEEDIFF_OK && count == n);
  CHECK(speediff_trainer_last_losses(trainer, t, losses, n) == SPEEDIFF_OK);
  CHECK(t[0] >= 0 && t[0] < 50 && losses[0] > 0);
  CHECK(speediff_trainer_apply(trainer, &norm) == SPEEDIFF_OK && norm > 0);
  CHECK(speediff_sampler_update(sampler, t, losses, n) == SPEEDIFF_OK);
  return loss;
}

/* Structures that grow: what a library does not know must be 0. */
static void grown(const speediff_sampler *sampler) {
  struct {
    speediff_trainer_options options;
    int64_t later;
  } longer = {SPEEDIFF_TRAINER_OPTIONS_DEFAULT, 0};
  speediff_network *network = tiny_network();
  speediff_trainer *trainer = NULL;
  longer.options.size = sizeof longer;
  CHECK(speediff_trainer_create(network, &longer.options, sampler, &trainer) == SPEEDIFF_OK);
  speediff_trainer_destroy(trainer);
  trainer = NULL;
  longer.later = 1;
  CHECK_ERROR(speediff_trainer_create(network, &longer.options, sampler, &trainer), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "options.size must be at most");
  /* A program of the first header, whose structure ended before the precision. */
  longer.options.size = offsetof(speediff_trainer_options, precision);
  longer.options.precision = -1;
  CHECK(speediff_trainer_create(network, &longer.options, sampler, &trainer) == SPEEDIFF_OK);
  CHECK(speediff_trainer_get_options(trainer, &longer.options, longer.options.size) == SPEEDIFF_OK);
  CHECK(longer.options.size == offsetof(speediff_trainer_options, precision) && longer.options.precision == -1);
  CHECK_ERROR(speediff_trainer_get_options(trainer, &longer.options, longer.options.size - 1),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "size");
  speediff_trainer_destroy(trainer);
  trainer = NULL;
  longer.options.size = 0;
  CHECK_ERROR(speediff_trainer_create(network, &longer.options, sampler, &trainer), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "options.size must be the size");
  CHECK(trainer == NULL);
  speediff_network_destroy(network);
}

static void refused(const speediff_sampler *sampler) {
  const speediff_trainer_options good = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  const char *const texts[] = {"learning_rate", "beta1",      "beta2",         "epsilon",      "weight_decay",
                               "ema_decay",     "ema_warmup", "max_grad_norm", "warmup_steps", "threads",
                               "precision"};
  enum { count = sizeof texts / sizeof texts[0] };
  speediff_trainer_options bad[count];
  speediff_network *network = tiny_network();
  speediff_network *other = NULL;
  double values[shape_count];
  speediff_trainer *trainer = NULL;
  memcpy(values, shape_values, sizeof values);
  for (int i = 0; i < count; i++) bad[i] = good;
  bad[0].learning_rate = -1;
  bad[1].beta1 = 1;
  bad[2].beta2 = NAN;
  bad[3].epsilon = 0;
  bad[4].weight_decay = INFINITY;
  bad[5].ema_decay = 1.5;
  bad[6].ema_warmup = 2;
  bad[7].max_grad_norm = -1;
  bad[8].warmup_steps = INT64_MIN;
  bad[9].threads = -1;
  bad[10].precision = SPEEDIFF_PRECISION_AUTO + 1;
  for (int i = 0; i < count; i++) {
    CHECK_ERROR(speediff_trainer_create(network, &bad[i], sampler, &trainer), SPEEDIFF_ERROR_INVALID_ARGUMENT,
                texts[i]);
  }
  values[0] = 5;
  CHECK_ERROR(speediff_network_create("dit", shape_names, values, shape_count, &other), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "input_size must be a multiple of patch_size = 2, got 5");
  values[0] = 0x1p62;
  CHECK_ERROR(speediff_network_create("dit", shape_names, values, shape_count, &other), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "input_size");
  values[0] = shape_values[0];
  values[2] = 1 << 16;
  values[3] = 1 << 12;
  CHECK(speediff_network_create("dit", shape_names, values, shape_count, &other) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_create(other, &good, sampler, &trainer), SPEEDIFF_ERROR_OUT_OF_MEMORY, "memory");
  CHECK_ERROR(speediff_trainer_create(NULL, &good, sampler, &trainer), SPEEDIFF_ERROR_NULL_POINTER, "network");
  CHECK_ERROR(speediff_trainer_create(network, NULL, sampler, &trainer), SPEEDIFF_ERROR_NULL_POINTER, "options");
  CHECK_ERROR(speediff_trainer_create(network, &good, NULL, &trainer), SPEEDIFF_ERROR_NULL_POINTER, "sampler");
  speediff_network_destroy(other);
  speediff_network_destroy(network);
  CHECK(trainer == NULL);
}

static void parameters(const speediff_trainer *trainer) {
  int64_t count = 0;
  int64_t total = 0;
  float *data = NULL;
  int64_t shape[SPEEDIFF_MAXIMUM_RANK];
  int64_t rank = 0;
  int64_t offset = -1;
  const char *name = NULL;
  CHECK(speediff_trainer_buffer(trainer, SPEEDIFF_BUFFER_PARAMETERS, &data, &total) == SPEEDIFF_OK);
  CHECK(data != NULL && (uintptr_t)data % 64 == 0);
  CHECK(speediff_trainer_parameter_count(trainer, &count) == SPEEDIFF_OK && count == 21);
  for (int64_t i = 0; i < count; i++) {
    int64_t size = 1;
    CHECK(speediff_trainer_parameter(trainer, i, &name, shape, &rank, &offset) == SPEEDIFF_OK);
    for (int64_t j = 0; j < rank; j++) size *= shape[j];
    CHECK(strlen(name) > 0 && rank >= 1 && rank <= SPEEDIFF_MAXIMUM_RANK && offset % 16 == 0 && offset + size <= total);
  }
  CHECK(speediff_trainer_parameter(trainer, 0, &name, shape, &rank, &offset) == SPEEDIFF_OK);
  CHECK(strcmp(name, "x_embedder.proj.weight") == 0 && rank == 4 && shape[0] == 8 && shape[1] == 2 && shape[3] == 2);
  CHECK_ERROR(speediff_trainer_parameter(trainer, count, &name, shape, &rank, &offset), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "index must be in [0, 21)");
  CHECK_ERROR(speediff_trainer_buffer(trainer, (speediff_buffer)7, &data, &total), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "buffer");
  CHECK(speediff_trainer_buffer(trainer, SPEEDIFF_BUFFER_POS_EMBED, &data, &total) == SPEEDIFF_OK && total == 4 * 8);
}

static int32_t count_to_two(void *context, int64_t done, int64_t total) {
  *(int64_t *)context = done;
  return done < 2 || total != 5;
}

static void generation(speediff_trainer *trainer) {
  static float images[2 * floats];
  static float again[2 * floats];
  const uint64_t seeds[2] = {7, UINT64_MAX};
  int64_t done = 0;
  speediff_generation_options options = SPEEDIFF_GENERATION_OPTIONS_DEFAULT;
  options.steps = 4;
  options.cfg_scale = 1.5;
  CHECK(speediff_trainer_generate(trainer, y, seeds, 2, &options, count_to_two, &done, images) == SPEEDIFF_OK);
  CHECK(done == 4);
  CHECK(speediff_trainer_generate(trainer, y, seeds, 2, &options, NULL, NULL, again) == SPEEDIFF_OK);
  CHECK(memcmp(images, again, sizeof images) == 0 && isfinite(images[0]));
  options.steps = 5;
  CHECK_ERROR(speediff_trainer_generate(trainer, y, seeds, 2, &options, count_to_two, &done, images),
              SPEEDIFF_ERROR_CANCELLED, "progress");
  CHECK(done == 2);
  CHECK(speediff_trainer_generate(trainer, NULL, NULL, 0, &options, NULL, NULL, NULL) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_generate(trainer, NULL, seeds, 2, &options, NULL, NULL, images),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "y must be given");
  CHECK_ERROR(speediff_trainer_generate(trainer, y, seeds, -1, &options, NULL, NULL, images),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "n must be in");
  options.method = 3;
  CHECK_ERROR(speediff_trainer_generate(trainer, y, seeds, 2, &options, NULL, NULL, images),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "method");
}

static void checkpoints(speediff_trainer *trainer, speediff_sampler *sampler) {
  char path[64];
  const char *note = NULL;
  int64_t steps = 0;
  speediff_checkpoint *checkpoint = NULL;
  float *squares = NULL;
  int64_t count = 0;
  speediff_schedule *schedule = NULL;
  speediff_trainer *twin = NULL;
  speediff_sampler *same = learner(1);
  snprintf(path, sizeof path, "/tmp/speediff-contract-%ld.safetensors", (long)getpid());
  CHECK(speediff_trainer_save(trainer, path, "a \"note\"") == SPEEDIFF_OK);
  CHECK(speediff_checkpoint_open(path, &checkpoint) == SPEEDIFF_OK);
  CHECK(speediff_checkpoint_note(checkpoint, &note) == SPEEDIFF_OK && strcmp(note, "a \"note\"") == 0);
  CHECK(speediff_checkpoint_schedule(checkpoint, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_schedule_steps(schedule, &steps) == SPEEDIFF_OK && steps == 50);
  CHECK_ERROR(speediff_checkpoint_trainer(checkpoint, NULL, 2, &twin), SPEEDIFF_ERROR_NULL_POINTER, "sampler");
  CHECK_ERROR(speediff_checkpoint_trainer(checkpoint, same, -1, &twin), SPEEDIFF_ERROR_INVALID_ARGUMENT, "threads");
  CHECK(speediff_checkpoint_trainer(checkpoint, same, 2, &twin) == SPEEDIFF_OK);
  speediff_checkpoint_destroy(checkpoint);
  for (int i = 0; i < 3; i++) CHECK(step(trainer, sampler) == step(twin, same));
  speediff_trainer_destroy(twin);
  twin = NULL;

  CHECK(truncate(path, 1000) == 0);
  checkpoint = NULL;
  CHECK_ERROR(speediff_checkpoint_open(path, &checkpoint), SPEEDIFF_ERROR_FILE, path);
  CHECK(remove(path) == 0);
  CHECK_ERROR(speediff_checkpoint_open(path, &checkpoint), SPEEDIFF_ERROR_FILE, "No such file");
  CHECK_ERROR(speediff_checkpoint_open("\xff", &checkpoint), SPEEDIFF_ERROR_INVALID_ARGUMENT, "UTF-8");
  CHECK_ERROR(speediff_checkpoint_open(NULL, &checkpoint), SPEEDIFF_ERROR_NULL_POINTER, "path");
  CHECK_ERROR(speediff_trainer_save(trainer, "/nowhere/at/all", ""), SPEEDIFF_ERROR_FILE, "/nowhere/at/all");
  CHECK_ERROR(speediff_trainer_save(trainer, path, NULL), SPEEDIFF_ERROR_NULL_POINTER, "note");
  CHECK(speediff_trainer_buffer(trainer, SPEEDIFF_BUFFER_EXP_AVG_SQ, &squares, &count) == SPEEDIFF_OK && count > 0);
  const float square = squares[0];
  squares[0] = INFINITY;
  CHECK_ERROR(speediff_trainer_save(trainer, path, ""), SPEEDIFF_ERROR_NOT_FINITE, "exp_avg_sq.");
  CHECK(access(path, F_OK) != 0);
  squares[0] = square;
  CHECK(checkpoint == NULL && twin == NULL);
  speediff_checkpoint_destroy(NULL);
  speediff_schedule_destroy(schedule);
  speediff_sampler_destroy(same);
}

/* A part without samples has a gradient of 0; and a step that is given up. */
static void empty_part(speediff_trainer *trainer) {
  double loss = -1;
  double norm = -1;
  int64_t count = -1;
  float none = 0;
  speediff_training_batch batch = whole();
  CHECK_ERROR(speediff_trainer_set_global_step(trainer, 3), SPEEDIFF_ERROR_INVALID_ARGUMENT, "between steps");
  CHECK(speediff_trainer_discard(trainer) == SPEEDIFF_OK && speediff_trainer_discard(trainer) == SPEEDIFF_OK);
  batch.n = 0;
  batch.offset = batch.total = 5;
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK && loss == 0);
  CHECK(speediff_trainer_last_count(trainer, &count) == SPEEDIFF_OK && count == 0);
  CHECK(speediff_trainer_last_losses(trainer, &count, &none, 0) == SPEEDIFF_OK);
  CHECK(speediff_trainer_apply(trainer, &norm) == SPEEDIFF_OK && norm == 0);
  batch = whole();
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK);
}

/* Batches that are refused, and parts of a batch that together are the whole one. */
static void batches(speediff_trainer *trainer) {
  double loss = -1;
  double parts[2] = {-1, -1};
  speediff_training_batch batch = whole();
  batch.n = 0;
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT, "n ");
  batch.n = INT64_MAX;
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "n must be in [1, 1048576]");
  batch = whole();
  batch.y = NULL;
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT, "y ");
  batch = whole();
  batch.x = NULL;
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_NULL_POINTER, "x ");
  batch = whole();
  batch.t = (const int64_t[n]){0, 1, 50, 3};
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "t[2] must be in [0, 50), got 50");
  batch = whole();
  batch.offset = 1;
  batch.total = n;
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT, "offset ");
  CHECK_ERROR(speediff_trainer_backward(trainer, NULL, &loss), SPEEDIFF_ERROR_NULL_POINTER, "batch");
  CHECK(loss == -1);

  for (int i = 0; i < 2; i++) {
    batch = whole();
    batch.offset = i == 0 ? 0 : 1;
    batch.n = i == 0 ? 1 : n - 1;
    batch.x += batch.offset * floats;
    batch.y += batch.offset;
    batch.total = n;
    CHECK(speediff_trainer_set_global_step(trainer, 3) == SPEEDIFF_OK);
    CHECK(speediff_trainer_backward(trainer, &batch, &parts[i]) == SPEEDIFF_OK);
    CHECK(speediff_trainer_set_learning_rate(trainer, 0) == SPEEDIFF_OK);
    CHECK(speediff_trainer_apply(trainer, NULL) == SPEEDIFF_OK);
  }
  CHECK(speediff_trainer_set_global_step(trainer, 3) == SPEEDIFF_OK);
  batch = whole();
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK);
  CHECK(fabs(parts[0] + parts[1] - loss) <= 1e-5 * loss);
  empty_part(trainer);
  CHECK(speediff_trainer_apply(trainer, NULL) == SPEEDIFF_OK);
  CHECK(speediff_trainer_set_learning_rate(trainer, 0.01) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_set_global_step(trainer, -1), SPEEDIFF_ERROR_INVALID_ARGUMENT, "global_step");
  CHECK_ERROR(speediff_trainer_set_global_step(trainer, (INT64_C(1) << 32) + 1), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "global_step");
  CHECK(speediff_trainer_set_global_step(trainer, INT64_C(1) << 32) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT, "global_step");
  CHECK(speediff_trainer_set_global_step(trainer, 4) == SPEEDIFF_OK);
}

/* An MDT's step: two passes, with masks drawn or given. */
static void masked(const speediff_sampler *sampler) {
  const speediff_trainer_options options = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  enum { more = 5, all = shape_count + more };
  const char *all_names[all] = {"version", "decode_layer", "mask_ratio", "min_snr_gamma", "patch_size"};
  double values[all] = {3, 2, 0.3, 5, 2};
  speediff_network *network = NULL;
  speediff_trainer *trainer = NULL;
  speediff_training_batch batch = whole();
  double loss = 0;
  float *positions = NULL;
  int64_t count = -1;
  for (int i = 0; i < shape_count; i++) {
    all_names[more + i] = shape_names[i];
    values[more + i] = i == 3 ? 4 : shape_values[i];
  }
  CHECK_ERROR(speediff_network_create("mdt", all_names, values, all, &network), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "version must be 1 or 2, got 3");
  values[0] = 2;
  CHECK(speediff_network_create("mdt", all_names, values, all, &network) == SPEEDIFF_OK);
  CHECK(speediff_trainer_create(network, &options, sampler, &trainer) == SPEEDIFF_OK);
  speediff_network_destroy(network);
  network = NULL;
  CHECK(speediff_trainer_network(trainer, &network) == SPEEDIFF_OK);
  CHECK(network_value(network, "version") == 2 && network_value(network, "decode_layer") == 2);
  CHECK(network_value(network, "mask_ratio") == 0.3);
  CHECK(network_value(network, "min_snr_gamma") == 5 && network_value(network, "depth") == 4);
  speediff_network_destroy(network);
  CHECK(speediff_trainer_buffer(trainer, SPEEDIFF_BUFFER_POS_EMBED, &positions, &count) == SPEEDIFF_OK && count == 0);
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK && isfinite(loss));
  CHECK(speediff_trainer_apply(trainer, NULL) == SPEEDIFF_OK);
  batch.masked_noise = x;
  batch.kept_count = 2;
  batch.kept = (const int64_t[2 * n]){0, 1, 3, 2, 1, 3, 0, 3};
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK && isfinite(loss));
  CHECK(speediff_trainer_apply(trainer, NULL) == SPEEDIFF_OK);
  batch.kept = (const int64_t[2 * n]){0, 1, 3, 2, 1, 1, 0, 3};
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT, "kept[5]");
  batch.kept_count = -1;
  CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_INVALID_ARGUMENT, "kept_count");
  speediff_trainer_destroy(trainer);
}

void training(void) {
  speediff_network *network = tiny_network();
  speediff_trainer_options options = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  speediff_trainer_options read = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  speediff_network *shape = NULL;
  speediff_sampler *sampler = learner(1);
  speediff_trainer *trainer = NULL;
  float *parameter = NULL;
  int64_t count = -1;
  double loss = -1;
  const speediff_training_batch batch = whole();
  static float out[2 * n * floats];
  const float times[n] = {0, 1.5f, 20, 49};
  for (int i = 0; i < n * floats; i++) x[i] = (float)(i % 13) / 6 - 1;

  networks();
  refused(sampler);
  masked(sampler);
  grown(sampler);
  options.threads = 2;
  options.seed = UINT64_MAX;
  CHECK(speediff_trainer_create(network, &options, sampler, &trainer) == SPEEDIFF_OK);
  speediff_network_destroy(network);
  CHECK(speediff_trainer_network(trainer, &shape) == SPEEDIFF_OK && network_value(shape, "hidden_size") == 8);
  CHECK(network_value(shape, "learn_sigma") == 1 && network_value(shape, "frequency_shift") == 0.5);
  speediff_network_destroy(shape);
  CHECK(speediff_trainer_set_learning_rate(trainer, 0.01) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_set_learning_rate(trainer, NAN), SPEEDIFF_ERROR_INVALID_ARGUMENT, "learning_rate");
  CHECK(speediff_trainer_set_ema_decay(trainer, 0.75) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_set_ema_decay(trainer, 1.5), SPEEDIFF_ERROR_INVALID_ARGUMENT, "ema_decay");
  CHECK(speediff_trainer_set_precision(trainer, SPEEDIFF_PRECISION_AUTO) == SPEEDIFF_OK);
  CHECK(speediff_trainer_get_options(trainer, &read, sizeof read) == SPEEDIFF_OK);
  CHECK(read.precision == SPEEDIFF_PRECISION_FLOAT32 || read.precision == SPEEDIFF_PRECISION_BFLOAT16);
  CHECK(speediff_trainer_set_precision(trainer, SPEEDIFF_PRECISION_FLOAT32) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_set_precision(trainer, -1), SPEEDIFF_ERROR_INVALID_ARGUMENT, "precision");
  CHECK(speediff_trainer_get_options(trainer, &read, sizeof read) == SPEEDIFF_OK && read.learning_rate == 0.01);
  CHECK(read.precision == SPEEDIFF_PRECISION_FLOAT32);
  CHECK(read.ema_decay == 0.75);
  CHECK(read.threads == 2 && read.seed == UINT64_MAX && read.max_grad_norm == 0);
  CHECK_ERROR(speediff_trainer_last_count(trainer, &count), SPEEDIFF_ERROR_INVALID_ARGUMENT, "after backward");
  CHECK_ERROR(speediff_trainer_last_losses(trainer, NULL, NULL, 0), SPEEDIFF_ERROR_INVALID_ARGUMENT, "after backward");
  CHECK_ERROR(speediff_trainer_apply(trainer, NULL), SPEEDIFF_ERROR_INVALID_ARGUMENT, "apply");
  for (int i = 0; i < 3; i++) step(trainer, sampler);
  CHECK(speediff_trainer_global_step(trainer, &count) == SPEEDIFF_OK && count == 3);
  CHECK(speediff_trainer_forward(trainer, x, times, y, n, 1, out) == SPEEDIFF_OK && isfinite(out[2 * n * floats - 1]));
  CHECK_ERROR(speediff_trainer_forward(trainer, x, times, y, n, 2, out), SPEEDIFF_ERROR_INVALID_ARGUMENT, "ema");

  batches(trainer);
  CHECK(speediff_trainer_buffer(trainer, SPEEDIFF_BUFFER_PARAMETERS, &parameter, &count) == SPEEDIFF_OK);
  {
    const float good = parameter[0];
    parameter[0] = NAN;
    CHECK_ERROR(speediff_trainer_backward(trainer, &batch, &loss), SPEEDIFF_ERROR_NOT_FINITE, "x_embedder.proj");
    parameter[0] = good;
  }
  CHECK(loss == -1);
  parameters(trainer);
  generation(trainer);
  checkpoints(trainer, sampler);
  CHECK(speediff_trainer_backward(trainer, &batch, &loss) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_set_global_step(trainer, 7), SPEEDIFF_ERROR_INVALID_ARGUMENT, "between steps");
  CHECK_ERROR(speediff_trainer_save(trainer, "/tmp/never", ""), SPEEDIFF_ERROR_INVALID_ARGUMENT, "save");
  speediff_sampler_destroy(sampler);
  CHECK(speediff_trainer_apply(trainer, NULL) == SPEEDIFF_OK);
  speediff_trainer_destroy(trainer);
  speediff_trainer_destroy(NULL);
}
