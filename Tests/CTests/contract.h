/* What the files of the C11 program share. */
#ifndef SPEEDIFF_CONTRACT_H
#define SPEEDIFF_CONTRACT_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "speediff.h"

extern int passed;
extern int failed;

#define CHECK(condition)                                              \
  do {                                                                \
    if (condition) {                                                  \
      passed++;                                                       \
    } else {                                                          \
      failed++;                                                       \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                 \
  } while (0)

/* The call fails with this status, and its message holds this text. */
#define CHECK_ERROR(call, status, text)                   \
  do {                                                    \
    CHECK((call) == (status));                            \
    CHECK(strstr(speediff_last_error(), (text)) != NULL); \
  } while (0)

/* contract_methods.c */
void methods(void);
void learning(void);
void emphasis(void);

/* contract_continuous.c */
void respacing(void);
void processes(void);

/* contract_machine.c */
void memory(void);
void precision(void);

/* contract_training.c */
void training(void);

/* contract_learning.c */
/* A sampler that learns, of 50 steps. */
speediff_sampler *learner(int32_t accumulation);
void trained_learning(void);

/* Networks: contract_networks.c. */
enum { network_classes = 3, shape_count = 7 };
extern const char *const shape_names[shape_count];
extern const double shape_values[shape_count];
/* A DiT of these values. */
speediff_network *tiny_network(void);
double network_value(const speediff_network *network, const char *name);
void networks(void);

#endif
