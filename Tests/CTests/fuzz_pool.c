/* The handles that the fuzzer holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { places = 16, deepest = 5 };

static object pool[KINDS][places];
static bool is_frozen = false;
static const object nothing = {
    .steps = 10, .last_alphas_cumprod = 0.5, .config = {.input_size = 1, .in_channels = 1}};

const object *pick(kind of) {
  if (one_in(60)) return &nothing;
  for (int trial = 0; trial < 8; trial++) {
    const object *candidate = &pool[of][below(places)];
    if (candidate->handle != NULL) return candidate;
  }
  return &nothing;
}

const char *made(const object *source) { return source->handle == NULL ? "NULL" : source->made; }

void *required(const object *source) {
  if (source->handle == NULL) null_argument(true);
  return source->handle;
}

void *optional(const object *source) { return source->handle; }

static void destroy(kind of, void *handle) {
  switch (of) {
    case SCHEDULE: begin("speediff_schedule_destroy"); speediff_schedule_destroy(handle); break;
    case SAMPLING: begin("speediff_sampling_destroy"); speediff_sampling_destroy(handle); break;
    case WEIGHTING: begin("speediff_weighting_destroy"); speediff_weighting_destroy(handle); break;
    case SAMPLER: begin("speediff_sampler_destroy"); speediff_sampler_destroy(handle); break;
    case PROCESS: begin("speediff_process_destroy"); speediff_process_destroy(handle); break;
    case SIGMA_SAMPLER: begin("speediff_sigma_sampler_destroy"); speediff_sigma_sampler_destroy(handle); break;
    case TRAINER: begin("speediff_trainer_destroy"); speediff_trainer_destroy(handle); break;
    default: begin("speediff_checkpoint_destroy"); speediff_checkpoint_destroy(handle); break;
  }
  end(SPEEDIFF_OK);
  finish();
}

static void empty(kind of, object *place) {
  arguments("%s", made(place));
  destroy(of, place->handle);
  free(place->made);
  memset(place, 0, sizeof *place);
}

void created(kind of, speediff_status status, void **out, object info) {
  if (status != SPEEDIFF_OK) {
    finish();
    return;
  }
  const char *call = last_call();
  info.handle = *out;
  CHECK(info.handle != NULL, "success without a handle");
  info.made = malloc(strlen(call) + 1);
  strcpy(info.made, call);
  finish();
  object *place = &pool[of][below(places)];
  if (is_frozen || info.depth > deepest) {
    empty(of, &info);
    return;
  }
  if (place->handle != NULL) empty(of, place);
  *place = info;
}

void destroy_one(void) {
  const kind of = (kind)below(KINDS);
  object *place = &pool[of][below(places)];
  if (one_in(10) || is_frozen) {
    destroy(of, NULL);
  } else if (place->handle != NULL) {
    empty(of, place);
  }
}

void destroy_all(void) {
  for (int of = 0; of < KINDS; of++) {
    for (int i = 0; i < places; i++) {
      if (pool[of][i].handle != NULL) empty((kind)of, &pool[of][i]);
    }
  }
}

void freeze_pool(bool frozen) { is_frozen = frozen; }

bool pool_is_frozen(void) { return is_frozen; }
