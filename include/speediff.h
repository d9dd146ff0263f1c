/* SpeeDiff: which noise levels a diffusion model trains on, and how much each one counts.
 *
 * This header is the contract of libspeediff. In short:
 *
 *     speediff_schedule *schedule = NULL;
 *     speediff_sampler *sampler = NULL;
 *     speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
 *     int64_t t[256];
 *     float w[256];
 *     if (speediff_schedule_create_linear(1000, 1e-4, 0.02, &schedule) != SPEEDIFF_OK ||
 *         speediff_sampler_create_speed(schedule, 5, 143.5, 0.6, &options, &sampler) != SPEEDIFF_OK)
 *       fprintf(stderr, "%s\n", speediff_last_error());
 *     for (int64_t call = 0; call < steps; call++)
 *       speediff_sampler_draw(sampler, call, 1, 256, t, w);
 *     speediff_sampler_destroy(sampler);
 *     speediff_schedule_destroy(schedule);
 *
 * Rules that hold throughout:
 *
 * - Errors. Every function that can fail returns a speediff_status, 0 for success. After a failure
 *   speediff_last_error() tells which argument broke which rule with which value, and nothing has been written.
 *   No argument can crash the process, except a pointer that is neither NULL nor valid.
 * - Handles. `create` writes *out on success only. `destroy` takes NULL. A handle keeps what it was made from: a
 *   schedule may be destroyed while its samplers live. A handle never changes after it was made.
 * - Memory. The caller owns every array and passes its length; arrays are row-major and contiguous, and borrowed for
 *   the call. An array may be NULL where its length is 0. Tables are double, weights float, time steps int64_t.
 * - Threads. Every function is safe to call concurrently, on the same handle too, but for `destroy`, which must be
 *   the last call on its handle. There is no global random state. Handles survive fork().
 * - Time steps are 0-based in every array. The boundaries of areas are 1-based steps t, as in the SpeeD paper:
 *   array index i belongs to t = i + 1.
 *
 * Sources: "SpeeD" is Wang et al., "A Closer Look at Time Steps is Worthy of Triple Speed-Up for Diffusion Model
 * Training", CVPR 2025 (arXiv 2405.17403).
 */
#ifndef SPEEDIFF_H
#define SPEEDIFF_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version --------------------------------------------------------------------------------------------------- */

/* Changes with every incompatible change of this header. Compare it with speediff_abi_version(). */
#define SPEEDIFF_ABI_VERSION 1

/* The SPEEDIFF_ABI_VERSION that the library was built with. */
uint32_t speediff_abi_version(void);

/* The library's version, such as "0.1.0". Static memory. */
const char *speediff_version(void);

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

/* What became of a call. Values are appended, never changed. */
typedef enum speediff_status {
  SPEEDIFF_OK = 0,
  SPEEDIFF_ERROR_NULL_POINTER = 1,     /* a pointer that must not be NULL is */
  SPEEDIFF_ERROR_INVALID_ARGUMENT = 2, /* a value is outside its range, or does not fit another one */
  SPEEDIFF_ERROR_WRONG_COUNT = 3,      /* an array's length is not the one that the function needs */
  SPEEDIFF_ERROR_INTERNAL = 4          /* a defect of the library */
} speediff_status;

/* What the last failed call on this thread did wrong, as one sentence: "k must be at least 1, got 0.5". Never NULL;
 * empty if none has failed. Valid until the next failure on this thread, or the thread's end. */
const char *speediff_last_error(void);

/* ---- Noise schedules ------------------------------------------------------------------------------------------- */

/* A schedule of T steps, 2 <= T <= 2^24, with its tables in double precision. */
typedef struct speediff_schedule speediff_schedule;

/* beta = linspace(beta_start, beta_end) * (1000 / T). Ho et al. 2020; the factor as in guided-diffusion and DiT. Both end
 * points in (0, 1], and T above 1000 times the larger one. Usual: 1e-4, 0.02; then T > 20. */
speediff_status speediff_schedule_create_linear(int64_t steps, double beta_start, double beta_end,
                                                speediff_schedule **out);

/* beta = linspace(sqrt(beta_start), sqrt(beta_end))^2, not rescaled by T. End points of official SpeeD's `quad`: 1e-4,
 * 0.02; of Stable Diffusion's `scaled_linear`: 0.00085, 0.012. Both in (0, 1]. */
speediff_status speediff_schedule_create_quadratic(int64_t steps, double beta_start, double beta_end,
                                                   speediff_schedule **out);

/* alphas_cumprod(u) = cos((u + 0.008) / 1.008 * pi / 2)^2, beta capped at 0.999. Nichol and Dhariwal 2021. */
speediff_status speediff_schedule_create_cosine(int64_t steps, speediff_schedule **out);

/* The same beta, in (0, 1), at every step. */
speediff_status speediff_schedule_create_constant(int64_t steps, double beta, speediff_schedule **out);

/* From a table of beta: `count` values in (0, 1], 1 only at the last step. */
speediff_status speediff_schedule_create_from_betas(const double *betas, int64_t count, speediff_schedule **out);

/* From a table of alphas_cumprod: `count` values, strictly decreasing from below 1, 0 only at the last step. */
speediff_status speediff_schedule_create_from_alphas_cumprod(const double *alphas_cumprod, int64_t count,
                                                             speediff_schedule **out);

/* Frees a schedule. NULL is allowed. */
void speediff_schedule_destroy(speediff_schedule *schedule);

/* T, the number of steps. */
speediff_status speediff_schedule_steps(const speediff_schedule *schedule, int64_t *steps);

/* The tables of a schedule. Values are appended, never changed. */
typedef enum speediff_table {
  /* The schedule itself; T values. */
  SPEEDIFF_TABLE_BETAS = 1,
  SPEEDIFF_TABLE_ALPHAS = 2,                            /* 1 - beta */
  SPEEDIFF_TABLE_ALPHAS_CUMPROD = 3,                    /* the product of alpha up to the step */
  SPEEDIFF_TABLE_SQRT_ALPHAS_CUMPROD = 4,               /* the factor of the data in x_t */
  SPEEDIFF_TABLE_SQRT_ONE_MINUS_ALPHAS_CUMPROD = 5,     /* the factor of the noise in x_t */
  SPEEDIFF_TABLE_SNR = 6,                               /* alphas_cumprod / (1 - alphas_cumprod) */
  SPEEDIFF_TABLE_LOG_SNR = 7,                           /* its natural logarithm; -inf where alphas_cumprod is 0 */
  SPEEDIFF_TABLE_SIGMAS = 8,                            /* 1 / sqrt(snr); inf where alphas_cumprod is 0 */
  /* The process increment, SpeeD's Theorem 1, exact forms. Entry i belongs to t = i + 1. */
  SPEEDIFF_TABLE_INCREMENT_MEAN_FACTOR = 9,             /* phi_t / x_0; T - 1 values */
  SPEEDIFF_TABLE_INCREMENT_VARIANCE = 10,               /* Psi_t, of independent draws; T - 1 values */
  SPEEDIFF_TABLE_INCREMENT_RATE = 11,                   /* discrete gradient of 1 - alphas_cumprod; T values */
  SPEEDIFF_TABLE_INCREMENT_MAGNITUDE = 12,              /* r_t = 1 / alphas_cumprod; inf where that is 0; T values */
  /* Its closed forms, for schedules whose beta increase in equal steps; T values. */
  SPEEDIFF_TABLE_CLOSED_FORM_MEAN_BOUND = 13,           /* beta_max / r_t, bounds |phi_t|^2 / |E x_0|^2 */
  SPEEDIFF_TABLE_CLOSED_FORM_VARIANCE = 14,             /* 2 - 2 / r_t */
  SPEEDIFF_TABLE_CLOSED_FORM_RATE = 15,                 /* its derivative */
  SPEEDIFF_TABLE_CLOSED_FORM_MAGNITUDE = 16             /* r_t = exp((beta_0 + D t / 2T) t) */
} speediff_table;

/* Writes a table. `count` must be the table's length, T or T - 1. */
speediff_status speediff_schedule_table(const speediff_schedule *schedule, speediff_table table, double *out,
                                        int64_t count);

/* t_ad, the 1-based step at which the rate is largest: the acceleration area ends there. */
speediff_status speediff_schedule_acceleration_end(const speediff_schedule *schedule, int64_t *t);

/* t_dc(r), the first 1-based step t with 1 / alphas_cumprod > r: the convergence area begins there. r is finite, above
 * 1, and below 1 / alphas_cumprod at the last step. */
speediff_status speediff_schedule_convergence_start(const speediff_schedule *schedule, double r, int64_t *t);

/* t_ad = sqrt(T/D) - T beta_0/D from the closed forms, as a real number; negative for nearly constant beta. */
speediff_status speediff_schedule_closed_form_acceleration_end(const speediff_schedule *schedule, double *t);

/* tau(r) from the closed forms, as a real number that may lie beyond T. r is finite and above 1. */
speediff_status speediff_schedule_closed_form_convergence_start(const speediff_schedule *schedule, double r,
                                                                double *t);

/* ---- Samplings: which time steps to draw ----------------------------------------------------------------------- */

/* A probability for each step of whatever schedule it is combined with. */
typedef struct speediff_sampling speediff_sampling;

/* P = 1 / T. */
speediff_status speediff_sampling_create_uniform(speediff_sampling **out);

/* SpeeD's Eq. 2: the first tau steps come k times as often as the others. k >= 1 and finite; 0 < tau < T. The paper uses
 * k = 5 and tau = 700 of 1000. */
speediff_status speediff_sampling_create_asymmetric(double k, int64_t tau, speediff_sampling **out);

/* The same with tau = t_dc(r); r = 143.5 gives the paper's 700 for the linear schedule of 1000 steps. */
speediff_status speediff_sampling_create_asymmetric_from_magnitude(double k, double r, speediff_sampling **out);

/* Frees a sampling. NULL is allowed. */
void speediff_sampling_destroy(speediff_sampling *sampling);

/* ---- Weightings: how much each time step counts ---------------------------------------------------------------- */

/* A factor for the loss of each step of whatever schedule it is combined with. */
typedef struct speediff_weighting speediff_weighting;

/* w = 1. */
speediff_status speediff_weighting_create_uniform(speediff_weighting **out);

/* SpeeD's Section 2.4: the rate of the process, rescaled to [1 - lam, lam]; lam in [0.5, 1], 0.6 in the paper. T >= 3. */
speediff_status speediff_weighting_create_change_aware(double lam, speediff_weighting **out);

/* Frees a weighting. NULL is allowed. */
void speediff_weighting_destroy(speediff_weighting *weighting);

/* ---- Samplers -------------------------------------------------------------------------------------------------- */

/* What the network predicts. Needed where a weighting's form depends on it. */
typedef enum speediff_prediction {
  SPEEDIFF_PREDICTION_UNSPECIFIED = 0,
  SPEEDIFF_PREDICTION_EPSILON = 1, /* the noise */
  SPEEDIFF_PREDICTION_SAMPLE = 2,  /* the data */
  SPEEDIFF_PREDICTION_V = 3,       /* sqrt(alphas_cumprod) * noise - sqrt(1 - alphas_cumprod) * data */
  SPEEDIFF_PREDICTION_FLOW = 4     /* noise - data */
} speediff_prediction;

/* How the uniform numbers u_i behind the N entries of a global batch are spread. pi is a permutation that is drawn
 * anew for each step, so that the noise level is tied neither to a rank nor to a place. */
typedef enum speediff_strata {
  SPEEDIFF_STRATA_NONE = 0,           /* independent */
  SPEEDIFF_STRATA_STRATIFIED = 1,     /* u_i = (pi(i) + U_i) / N */
  SPEEDIFF_STRATA_LOW_DISCREPANCY = 2 /* u_i = (U + pi(i) / N) mod 1 */
} speediff_strata;

/* The options of a sampler. Start from SPEEDIFF_SAMPLER_OPTIONS_DEFAULT. */
typedef struct speediff_sampler_options {
  uint64_t seed;       /* any; the same on every rank */
  int64_t rank;        /* this process, 0 <= rank < world_size */
  int64_t world_size;  /* the number of processes that share each global batch, 1 ... 2^31 */
  int64_t accumulation; /* the number of calls (micro-batches) per training step, 1 ... 2^31 */
  int32_t prediction;  /* a speediff_prediction */
  int32_t strata;      /* a speediff_strata */
  int32_t normalize;   /* 1: divide the weights by their mean under what is really drawn; 0: leave them */
} speediff_sampler_options;

#define SPEEDIFF_SAMPLER_OPTIONS_DEFAULT {0, 0, 1, 1, 0, 0, 0}

/* A schedule, a sampling and a weighting, ready to draw.
 *
 * A draw is a pure function of (seed, training step, index in the global batch, size of the global batch), by
 * Philox4x32-10. With n entries per call, a training step's global batch has accumulation * world_size * n entries;
 * call c of rank r is micro-batch a = c % accumulation of step c / accumulation, and draws the n entries from
 * (a * world_size + r) * n on. So the global batch does not depend on how it is divided, and to resume a run its step
 * number is enough. A global batch has at most 2^31 entries. */
typedef struct speediff_sampler speediff_sampler;

/* Combines a schedule, a sampling and a weighting. */
speediff_status speediff_sampler_create(const speediff_schedule *schedule, const speediff_sampling *sampling,
                                        const speediff_weighting *weighting, const speediff_sampler_options *options,
                                        speediff_sampler **out);

/* SpeeD as in the paper: speediff_sampling_create_asymmetric_from_magnitude(k, r) with
 * speediff_weighting_create_change_aware(lam), and their ranges. */
speediff_status speediff_sampler_create_speed(const speediff_schedule *schedule, double k, double r, double lam,
                                              const speediff_sampler_options *options, speediff_sampler **out);

/* SpeeD as its code was released (NUS-HPC-AI-Lab/SpeeD at f5650f9): N / 2 + 1 entries of a global batch of N come from
 * `sampling`, which must be asymmetric, and the others are their duals |m - t|; weights are change-aware up to tau and
 * 1 beyond. The batch's distribution is speediff_sampler_marginal(), not Eq. 2. Strata must be none. A schedule whose
 * m is T is refused: the dual of step 0 would lie outside it. */
speediff_status speediff_sampler_create_official_speed(const speediff_schedule *schedule,
                                                       const speediff_sampling *sampling, double lam,
                                                       const speediff_sampler_options *options,
                                                       speediff_sampler **out);

/* Frees a sampler. NULL is allowed. */
void speediff_sampler_destroy(speediff_sampler *sampler);

/* P, of which entries are drawn. `count` must be T. */
speediff_status speediff_sampler_probabilities(const speediff_sampler *sampler, double *out, int64_t count);

/* The exact distribution of an entry taken at random from a global batch of `total` entries, 1 ... 2^31. It differs from P
 * for official SpeeD alone. `count` must be T. */
speediff_status speediff_sampler_marginal(const speediff_sampler *sampler, int64_t total, double *out, int64_t count);

/* w, in double precision. With `normalize` the mean under P is 1. `count` must be T. */
speediff_status speediff_sampler_weights(const speediff_sampler *sampler, double *out, int64_t count);

/* The mean weight over a global batch of `total` entries, before normalization. 0 stands for entries of P. */
speediff_status speediff_sampler_expected_weight(const speediff_sampler *sampler, int64_t total, double *out);

/* Draws the calls first_call ... first_call + calls - 1 of this rank, n entries each: `timesteps` and `weights` have
 * calls * n entries. first_call >= 0, and first_call + calls < 2^63. */
speediff_status speediff_sampler_draw(const speediff_sampler *sampler, int64_t first_call, int64_t calls, int64_t n,
                                      int64_t *timesteps, float *weights);

/* Draws the n entries from `offset` on of a training step's global batch of `total`, whatever the sampler's rank: for
 * batches that are uneven. */
speediff_status speediff_sampler_draw_slice(const speediff_sampler *sampler, int64_t step, int64_t offset, int64_t n,
                                            int64_t total, int64_t *timesteps, float *weights);

#ifdef __cplusplus
}
#endif

#endif
