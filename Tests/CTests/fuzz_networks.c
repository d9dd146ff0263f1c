/* Calls that make networks by name and numbers. */
#include <math.h>
#include <string.h>

#include "fuzz.h"

network_shape any_config(void) {
  const double patch = (double)(1 + below(3));
  const double heads = (double)(1 + below(3));
  network_shape config = {.patch_size = patch, .num_heads = heads};
  config.input_size = patch * (double)(1 + below(3));
  config.in_channels = (double)(1 + below(3));
  config.hidden_size = heads * 4 * (double)(1 + below(3));
  config.depth = (double)(1 + below(2));
  config.mlp_ratio = 0.5 + 3 * unit();
  config.num_classes = (double)below(5);
  config.class_dropout_prob = one_in(2) ? 0 : unit();
  config.learn_sigma = (double)below(2);
  config.frequency_shift = (double)below(2);
  config.version = (double)below(3);
  if (config.version != 0) {
    const int64_t pairs = 1 + below(2);
    config.depth = 2 * (double)pairs;
    config.decode_layer = config.version == 1 ? (double)below(2 * pairs + 1) : 2 * (double)below(pairs + 1);
    config.mask_ratio = 0.5 * unit();
    config.min_snr_gamma = one_in(2) ? 0 : 5 * unit();
  }
  if (!one_in(6)) return config;
  double *const fields[] = {&config.patch_size, &config.input_size, &config.in_channels, &config.num_heads,
                            &config.hidden_size, &config.depth, &config.num_classes, &config.decode_layer};
  double *field = fields[below((int64_t)(sizeof fields / sizeof fields[0]))];
  *field = one_in(3) ? any_double() : (double)any_integer();
  /* What is large and possible takes too long. */
  if (*field > 32 && *field < 0x1p24) *field = 0x1p60;
  if (one_in(4)) config.mlp_ratio = any_double();
  if (config.mlp_ratio > 4 && config.mlp_ratio <= 64) config.mlp_ratio = 64.5;
  if (one_in(4)) config.class_dropout_prob = any_double();
  if (one_in(4)) config.learn_sigma = any_double();
  if (one_in(4)) config.frequency_shift = any_double();
  if (config.version != 0 && one_in(8)) config.version = any_double();
  if (one_in(4)) config.mask_ratio = any_double();
  if (one_in(4)) config.min_snr_gamma = any_double();
  return config;
}

static const char *const value_names[] = {
    "input_size", "patch_size",  "in_channels",        "hidden_size", "depth",
    "num_heads",  "mlp_ratio",   "num_classes",        "class_dropout_prob", "learn_sigma",
    "frequency_shift", "version", "decode_layer",      "mask_ratio",  "min_snr_gamma"};
enum { value_count = sizeof value_names / sizeof value_names[0], dit_value_count = 11 };

_Static_assert(sizeof(network_shape) == value_count * sizeof(double), "a double for each name");

speediff_network *make_network(const network_shape *config) {
  double values[value_count];
  memcpy(values, config, sizeof values);
  begin("speediff_network_create");
  const bool is_mdt = config->version != 0;
  speediff_network **out = output(sizeof *out);
  arguments("\"%s\", names, {", is_mdt ? "mdt" : "dit");
  for (int i = 0; i < value_count; i++) arguments(" %.17g", values[i]);
  arguments("}");
  speediff_network *network = NULL;
  const int64_t count = is_mdt ? value_count : dit_value_count;
  if (end(speediff_network_create(is_mdt ? "mdt" : "dit", value_names, values, count, out))) network = *out;
  finish();
  return network;
}

void free_network(speediff_network *network) {
  begin("speediff_network_destroy");
  speediff_network_destroy(network);
  end(SPEEDIFF_OK);
  finish();
}

network_shape values_of(const speediff_network *network) {
  double values[value_count] = {0};
  const char *family = NULL;
  network_shape shape;
  CHECK(speediff_network_family(network, &family) == SPEEDIFF_OK, "no family");
  const int count = strcmp(family, "mdt") == 0 ? value_count : dit_value_count;
  for (int i = 0; i < count; i++)
    CHECK(speediff_network_value(network, value_names[i], &values[i]) == SPEEDIFF_OK, "no %s", value_names[i]);
  memcpy(&shape, values, sizeof shape);
  return shape;
}

network_shape shape_of(speediff_trainer *trainer) {
  speediff_network *network = NULL;
  network_shape shape = {0};
  CHECK(speediff_trainer_network(trainer, &network) == SPEEDIFF_OK, "no network");
  if (network != NULL) shape = values_of(network);
  speediff_network_destroy(network);
  return shape;
}

/* Official networks and wrong names, and what families say of themselves. */
void use_networks(void) {
  static const char *const names[] = {"DiT-S/2", "DiT-XL/8", "MDT-B/4",  "MDTv2-S/2", "dit-l/2",
                                      "",        "DiT-S/3",  "\xff\xfe", "DiT"};
  static const char *const families[] = {"dit", "mdt", "DiT", "", "\xff"};
  static const char *const values[] = {"depth", "version", "num_classes", "", "Depth", "\xff"};
  const char *family = families[below(5)];
  const int64_t index = usually_integer(0, 14);
  switch (below(6)) {
    case 0: {
      begin("speediff_network_create_official");
      const char *name = names[below(9)];
      const char **given = input(2 * sizeof *given);
      double *numbers = input(2 * sizeof *numbers);
      for (int i = 0; i < 2; i++) {
        given[i] = one_in(20) ? NULL : values[below(6)];
        numbers[i] = one_in(4) ? any_double() : (double)(2 + 2 * below(3));
      }
      const int64_t count = one_in(20) ? any_integer() : below(3);
      const bool is_count = count >= 0 && count <= 2;
      for (int64_t i = 0; is_count && i < count; i++)
        if (given[i] == NULL) null_argument(true);
      speediff_network **out = output(sizeof *out);
      arguments("\"%s\", names, values, %" PRId64, name, is_count ? count : -1);
      const speediff_status status =
          speediff_network_create_official(name, given, numbers, is_count ? count : -1, out);
      double hidden = 0;
      if (end(status)) {
        CHECK(speediff_network_value(*out, "hidden_size", &hidden) == SPEEDIFF_OK && hidden >= 384, "no network");
        speediff_network_destroy(*out);
      }
      break;
    }
    case 1: {
      begin("speediff_network_family_value_count");
      int64_t *count = output(sizeof *count);
      arguments("\"%s\", count", family);
      if (end(speediff_network_family_value_count(family, count))) CHECK(*count >= dit_value_count, "few values");
      break;
    }
    case 2: {
      begin("speediff_network_family_value");
      const char **name = output(sizeof *name);
      int32_t *kind = output(sizeof *kind);
      double *standard = output(sizeof *standard);
      arguments("\"%s\", %" PRId64 ", name, kind, standard", family, index);
      if (index < 0) expect_failure();
      if (end(speediff_network_family_value(family, index, name, kind, standard)))
        CHECK(strcmp(*name, value_names[index]) == 0 && *kind >= 1 && *kind <= 3 && isfinite(*standard), "a value");
      break;
    }
    case 3:
      begin("speediff_network_family_names");
      CHECK(strncmp(speediff_network_family_names(), "dit mdt", 7) == 0, "other families");
      end(SPEEDIFF_OK);
      break;
    default: {
      const network_shape shape = any_config();
      speediff_network *network = one_in(12) ? NULL : make_network(&shape);
      const bool is_family = one_in(2);
      begin(is_family ? "speediff_network_family" : "speediff_network_value");
      if (network == NULL) null_argument(true);
      if (is_family) {
        const char **out = output(sizeof *out);
        if (end(speediff_network_family(network, out))) CHECK(strlen(*out) == 3, "no family");
      } else {
        const char *name = values[below(6)];
        double *out = output(sizeof *out);
        arguments("network, \"%s\", value", name);
        if (end(speediff_network_value(network, name, out))) CHECK(isfinite(*out), "no value");
      }
      finish();
      free_network(network);
      return;
    }
  }
  finish();
}
