/* Calls that save trainers, damage the files, and load them. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"

enum { files = 4 };

static const char *file_path(int64_t number) {
  static _Thread_local char path[96];
  const char *folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(path, sizeof path, "%s/speediff-fuzz-%ld-%d.safetensors", folder, (long)getpid(), (int)number);
  return path;
}

void remove_files(void) {
  for (int i = 0; i < files; i++) remove(file_path(i));
}

/* Changes a byte of a file, or cuts it. */
static void damage(const char *path) {
  FILE *file = fopen(path, "r+b");
  if (file == NULL) return;
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  const long place = size > 0 ? (long)below(one_in(2) && size > 4000 ? 4000 : size) : 0;
  const bool is_cut = one_in(3);
  if (!is_cut && size > 0) {
    fseek(file, place, SEEK_SET);
    const int byte = fgetc(file);
    fseek(file, place, SEEK_SET);
    fputc(byte ^ (1 << below(8)), file);
  }
  fclose(file);
  if (is_cut && truncate(path, place) != 0) defect("cannot cut a file");
}

static void save(const object *trainer) {
  static const char *const odd[] = {"", "/", "/nowhere/at/all", "\xff", "/dev/null"};
  begin("speediff_trainer_save");
  const char *path = one_in(8) ? odd[below((int64_t)(sizeof odd / sizeof odd[0]))] : file_path(below(files));
  const char *note = one_in(30) ? "\xff" : one_in(2) ? "" : "a \"note\"\n\x01 \xc3\xa9";
  arguments("%s, \"%s\", note", made(trainer), path);
  end(speediff_trainer_save(required(trainer), path, note));
  finish();
}

static void open_checkpoint(void) {
  const char *path = file_path(below(files));
  const bool is_damaged = one_in(3);
  if (is_damaged) damage(path);
  begin("speediff_checkpoint_open");
  speediff_checkpoint **out = output(sizeof *out);
  arguments("\"%s\"", path);
  if (is_damaged) expect_failure();
  const speediff_status status = speediff_checkpoint_open(path, out);
  end(status);
  if (is_damaged) remove(path);
  created(CHECKPOINT, status, (void **)out, (object){.depth = 1});
}

static void read_checkpoint(void) {
  const object *checkpoint = pick(CHECKPOINT);
  if (one_in(2)) {
    begin("speediff_checkpoint_note");
    const char **note = output(sizeof *note);
    arguments("%s, note", made(checkpoint));
    if (end(speediff_checkpoint_note(required(checkpoint), note))) CHECK(*note != NULL, "no note");
    finish();
    return;
  }
  begin("speediff_checkpoint_schedule");
  speediff_schedule **out = output(sizeof *out);
  object info = {.depth = 1};
  arguments("%s", made(checkpoint));
  const speediff_status status = speediff_checkpoint_schedule(required(checkpoint), out);
  if (end(status)) {
    CHECK(speediff_schedule_steps(*out, &info.steps) == SPEEDIFF_OK, "no steps");
    double *bars = malloc((size_t)info.steps * sizeof *bars);
    CHECK(speediff_schedule_table(*out, SPEEDIFF_TABLE_ALPHAS_CUMPROD, bars, info.steps) == SPEEDIFF_OK, "no table");
    info.last_alphas_cumprod = bars[info.steps - 1];
    free(bars);
  }
  created(SCHEDULE, status, (void **)out, info);
}

static void load_trainer(void) {
  const object *checkpoint = pick(CHECKPOINT);
  const object *picked = pick(SAMPLER);
  object sampler = *picked;
  speediff_sampler *own = NULL;
  if (checkpoint->handle != NULL && !one_in(4)) {
    /* One that fits wherever nothing was learned and the target is right. */
    speediff_schedule *schedule = NULL;
    speediff_sampling *sampling = NULL;
    speediff_weighting *weighting = NULL;
    speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
    options.prediction = (int32_t)below(5);
    sampler = (object){.depth = 1, .options = options, .made = "its own sampler"};
    CHECK(speediff_checkpoint_schedule(checkpoint->handle, &schedule) == SPEEDIFF_OK, "no schedule");
    CHECK(speediff_sampling_create("uniform", NULL, 0, &sampling) == SPEEDIFF_OK, "no sampling");
    CHECK(speediff_weighting_create("uniform", NULL, 0, &weighting) == SPEEDIFF_OK, "no weighting");
    CHECK(speediff_sampler_create(schedule, sampling, weighting, &options, &own) == SPEEDIFF_OK, "no sampler");
    CHECK(speediff_schedule_steps(schedule, &sampler.steps) == SPEEDIFF_OK, "no steps");
    speediff_schedule_destroy(schedule);
    speediff_sampling_destroy(sampling);
    speediff_weighting_destroy(weighting);
    sampler.handle = own;
  }
  begin("speediff_checkpoint_trainer");
  speediff_trainer **out = output(sizeof *out);
  const int32_t threads = one_in(20) ? (int32_t)any_integer() : 1 + (int32_t)below(2);
  arguments("%s, %s, %d", made(checkpoint), made(&sampler), threads > 8 ? -1 : threads);
  if (threads < 0) expect_failure();
  const speediff_status status =
      speediff_checkpoint_trainer(required(checkpoint), required(&sampler), threads > 8 ? -1 : threads, out);
  network_shape config = {0};
  if (end(status)) config = shape_of(*out);
  speediff_sampler_destroy(own);
  created(TRAINER, status, (void **)out, trainer_object(&sampler, &config));
}

void use_files(void) {
  switch (below(8)) {
    case 0:
    case 1:
    case 2: save(pick(TRAINER)); break;
    case 3:
    case 4: open_checkpoint(); break;
    case 5: read_checkpoint(); break;
    default: load_trainer(); break;
  }
}
