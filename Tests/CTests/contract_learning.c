/* Samplers that learn from a trainer's steps. */
#include "contract.h"

speediff_sampler *learner(int32_t accumulation) {
  speediff_schedule *schedule = NULL;
  speediff_sampling *sampling = NULL;
  speediff_weighting *weighting = NULL;
  speediff_sampler *sampler = NULL;
  speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
  options.accumulation = accumulation;
  CHECK(speediff_schedule_create_linear(50, 1e-4, 0.02, &schedule) == SPEEDIFF_OK);
  CHECK(speediff_sampling_create("adaptive", (const double[]){10}, 1, &sampling) == SPEEDIFF_OK);
  CHECK(speediff_weighting_create("uniform", NULL, 0, &weighting) == SPEEDIFF_OK);
  CHECK(speediff_sampler_create(schedule, sampling, weighting, &options, &sampler) == SPEEDIFF_OK);
  speediff_schedule_destroy(schedule);
  speediff_sampling_destroy(sampling);
  speediff_weighting_destroy(weighting);
  return sampler;
}

/* A trainer has its sampler learn what speediff_sampler_update learns from the losses of all micro-batches. */
void trained_learning(void) {
  enum { parts = 3, n = 4, floats = 32, longest = 1024 };
  speediff_sampler *samplers[] = {learner(parts), learner(parts)};
  speediff_network *network = tiny_network();
  speediff_trainer_options options = SPEEDIFF_TRAINER_OPTIONS_DEFAULT;
  speediff_trainer *trainers[2] = {NULL, NULL};
  double histories[2][longest];
  double untouched[longest];
  static float x[n * floats];
  const speediff_training_batch batch = {
      .size = sizeof batch, .x = x, .y = (const int64_t[n]){0, 1, 2, network_classes}, .n = n};
  int64_t count = 0;
  options.threads = 1;
  for (int i = 0; i < n * floats; i++) x[i] = (float)(i % 13) / 6 - 1;
  CHECK(speediff_sampler_history_count(samplers[0], &count) == SPEEDIFF_OK && count > 0 && count <= longest);
  CHECK(speediff_sampler_history(samplers[0], untouched, count) == SPEEDIFF_OK);
  for (int i = 0; i < 2; i++)
    CHECK(speediff_trainer_create(network, &options, samplers[i], &trainers[i]) == SPEEDIFF_OK);
  CHECK_ERROR(speediff_trainer_learn(trainers[0]), SPEEDIFF_ERROR_INVALID_ARGUMENT, "learn must follow apply");
  for (int steps = 0; steps < 2; steps++) {
    int64_t t[parts * n];
    float losses[parts * n];
    double loss = 0;
    /* What is given up is not learned. */
    CHECK(speediff_trainer_backward(trainers[0], &batch, &loss) == SPEEDIFF_OK);
    CHECK(speediff_trainer_discard(trainers[0]) == SPEEDIFF_OK);
    CHECK_ERROR(speediff_trainer_learn(trainers[0]), SPEEDIFF_ERROR_INVALID_ARGUMENT, "learn");
    for (int i = 0; i < parts; i++) {
      CHECK(speediff_trainer_backward(trainers[0], &batch, &loss) == SPEEDIFF_OK);
      CHECK_ERROR(speediff_trainer_learn(trainers[0]), SPEEDIFF_ERROR_INVALID_ARGUMENT, "learn");
      CHECK(speediff_trainer_backward(trainers[1], &batch, &loss) == SPEEDIFF_OK);
      CHECK(speediff_trainer_last_losses(trainers[1], &t[i * n], &losses[i * n], n) == SPEEDIFF_OK);
    }
    for (int i = 0; i < 2; i++) CHECK(speediff_trainer_apply(trainers[i], NULL) == SPEEDIFF_OK);
    CHECK(speediff_trainer_learn(trainers[0]) == SPEEDIFF_OK);
    CHECK_ERROR(speediff_trainer_learn(trainers[0]), SPEEDIFF_ERROR_INVALID_ARGUMENT, "once for each step");
    CHECK(speediff_sampler_update(samplers[1], t, losses, parts * n) == SPEEDIFF_OK);
    for (int i = 0; i < 2; i++) CHECK(speediff_sampler_history(samplers[i], histories[i], count) == SPEEDIFF_OK);
    CHECK(memcmp(histories[0], histories[1], (size_t)count * sizeof(double)) == 0);
    CHECK(memcmp(histories[0], untouched, (size_t)count * sizeof(double)) != 0);
  }
  for (int i = 0; i < 2; i++) {
    speediff_trainer_destroy(trainers[i]);
    speediff_sampler_destroy(samplers[i]);
  }
  speediff_network_destroy(network);
}
