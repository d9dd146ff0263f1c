/* Networks by name and numbers. */
#include "contract.h"

const char *const shape_names[shape_count] = {"input_size", "in_channels", "hidden_size",    "depth",
                                              "num_heads",  "num_classes", "frequency_shift"};
const double shape_values[shape_count] = {4, 2, 8, 1, 2, network_classes, 0.5};

speediff_network *tiny_network(void) {
  speediff_network *network = NULL;
  CHECK(speediff_network_create("dit", shape_names, shape_values, shape_count, &network) == SPEEDIFF_OK);
  return network;
}

double network_value(const speediff_network *network, const char *name) {
  double out = NAN;
  CHECK(speediff_network_value(network, name, &out) == SPEEDIFF_OK);
  return out;
}

void networks(void) {
  speediff_network *network = NULL;
  const char *family = NULL;
  const char *name = NULL;
  int64_t count = 0;
  int32_t kind = 0;
  double standard = 0;
  CHECK(speediff_network_create_official("DiT-S/4", NULL, NULL, 0, &network) == SPEEDIFF_OK);
  CHECK(network_value(network, "hidden_size") == 384 && network_value(network, "depth") == 12);
  CHECK(network_value(network, "num_heads") == 6);
  CHECK(network_value(network, "patch_size") == 4 && network_value(network, "input_size") == 32);
  CHECK(network_value(network, "num_classes") == 1000);
  CHECK(speediff_network_family(network, &family) == SPEEDIFF_OK && strcmp(family, "dit") == 0);
  CHECK_ERROR(speediff_network_value(network, "version", &standard), SPEEDIFF_ERROR_INVALID_ARGUMENT, "hidden_size");
  speediff_network_destroy(network);
  network = NULL;
  CHECK_ERROR(speediff_network_create_official("dit-b/8", NULL, NULL, 0, &network), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "DiT-B/8");
  CHECK_ERROR(speediff_network_create_official(NULL, NULL, NULL, 0, &network), SPEEDIFF_ERROR_NULL_POINTER, "name");
  CHECK(network == NULL);
  CHECK(speediff_network_create_official("MDTv2-B/2", shape_names, shape_values, 2, &network) == SPEEDIFF_OK);
  CHECK(network_value(network, "hidden_size") == 768 && network_value(network, "input_size") == 4);
  CHECK(network_value(network, "version") == 2);
  CHECK(network_value(network, "decode_layer") == 4 && network_value(network, "mask_ratio") == 0.3);
  CHECK(network_value(network, "min_snr_gamma") == 5);
  speediff_network_destroy(network);
  CHECK(speediff_network_create_official("MDT-S/2", NULL, NULL, 0, &network) == SPEEDIFF_OK);
  CHECK(network_value(network, "version") == 1 && network_value(network, "decode_layer") == 2);
  CHECK(network_value(network, "min_snr_gamma") == 0);
  speediff_network_destroy(network);
  network = NULL;
  CHECK_ERROR(speediff_network_create("unet", NULL, NULL, 0, &network), SPEEDIFF_ERROR_INVALID_ARGUMENT, "dit, mdt");
  CHECK_ERROR(speediff_network_create("dit", (const char *const[]){"mask_ratio"}, shape_values, 1, &network),
              SPEEDIFF_ERROR_INVALID_ARGUMENT, "hidden_size = 1152");
  CHECK_ERROR(speediff_network_create("dit", (const char *const[]){NULL}, shape_values, 1, &network),
              SPEEDIFF_ERROR_NULL_POINTER, "names[0]");
  CHECK_ERROR(speediff_network_create("dit", shape_names, shape_values, -1, &network), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "count");
  CHECK(network == NULL && strncmp(speediff_network_family_names(), "dit mdt", 7) == 0);
  CHECK(speediff_network_family_value_count("mdt", &count) == SPEEDIFF_OK && count == 15);
  CHECK(speediff_network_family_value("mdt", 6, &name, &kind, &standard) == SPEEDIFF_OK && standard == 4);
  CHECK(strcmp(name, "mlp_ratio") == 0 && kind == SPEEDIFF_VALUE_REAL);
  CHECK_ERROR(speediff_network_family_value("mdt", 15, &name, &kind, &standard), SPEEDIFF_ERROR_INVALID_ARGUMENT,
              "index must be in [0, 15)");
  speediff_network_destroy(NULL);
}
