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
 *   schedule may be destroyed while its samplers live. A handle never changes after it was made, but for samplers
 *   that learn from losses (speediff_sampler_update).
 * - Memory. The caller owns every array and passes its length; arrays are row-major and contiguous, and borrowed for
 *   the call. An array may be NULL where its length is 0. Tables are double, weights float, time steps int64_t.
 * - Threads. Every function is safe to call concurrently, on the same handle too, but for `destroy`, which must be
 *   the last call on its handle. There is no global random state. Handles survive fork(), unless another thread is
 *   inside a sampler that learns or blends.
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
#define SPEEDIFF_ABI_VERSION 3

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
  SPEEDIFF_ERROR_INTERNAL = 4,         /* a defect of the library */
  SPEEDIFF_ERROR_OUT_OF_MEMORY = 5,    /* the machine does not have the memory */
  SPEEDIFF_ERROR_FILE = 6,             /* a file cannot be read or written, or holds something else */
  SPEEDIFF_ERROR_NOT_FINITE = 7,       /* a loss, a gradient, or a number to save is not finite */
  SPEEDIFF_ERROR_BUSY = 8,             /* another thread is using the handle, or another process made it */
  SPEEDIFF_ERROR_CANCELLED = 9         /* a callback asked to stop */
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

/* beta = sigmoid(linspace(-6, 6)) * (beta_end - beta_start) + beta_start, as in diffusers. Both in (0, 1]. */
speediff_status speediff_schedule_create_sigmoid(int64_t steps, double beta_start, double beta_end,
                                                 speediff_schedule **out);

/* beta = linspace(beta_start, beta_end) over the first T * fraction steps, rounded down, then beta_end: `warmup10` and
 * `warmup50` of guided-diffusion and DiT for 0.1 and 0.5. fraction in (0, 1]; both end points in (0, 1], 1 at the last step
 * alone. */
speediff_status speediff_schedule_create_warmup(int64_t steps, double fraction, double beta_start, double beta_end,
                                                speediff_schedule **out);

/* beta_i = 1 / (T - i), Sohl-Dickstein et al. 2015; zero terminal SNR. */
speediff_status speediff_schedule_create_jsd(int64_t steps, speediff_schedule **out);

/* From a table of beta: `count` values in (0, 1], 1 only at the last step. */
speediff_status speediff_schedule_create_from_betas(const double *betas, int64_t count, speediff_schedule **out);

/* From a table of alphas_cumprod: `count` values, strictly decreasing from below 1, 0 only at the last step. */
speediff_status speediff_schedule_create_from_alphas_cumprod(const double *alphas_cumprod, int64_t count,
                                                             speediff_schedule **out);

/* The schedule shifted and scaled so that the last step has no signal left: sqrt(alphas_cumprod) falls from the same
 * first value to 0. Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, Algorithm 1. */
speediff_status speediff_schedule_create_zero_terminal_snr(const speediff_schedule *schedule, speediff_schedule **out);

/* The schedule of some of its steps: `timesteps` has `count` >= 2 of them, strictly increasing, 0-based. */
speediff_status speediff_schedule_create_respaced(const speediff_schedule *schedule, const int64_t *timesteps,
                                                  int64_t count, speediff_schedule **out);

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
  SPEEDIFF_TABLE_SIGMAS = 8,                            /* 1 / sqrt(snr); inf where alphas_cumprod is 0 or denormal */
  /* The process increment, SpeeD's Theorem 1, exact forms. Entry i belongs to t = i + 1. */
  SPEEDIFF_TABLE_INCREMENT_MEAN_FACTOR = 9,             /* phi_t / x_0; T - 1 values */
  SPEEDIFF_TABLE_INCREMENT_VARIANCE = 10,               /* Psi_t, of independent draws; T - 1 values */
  SPEEDIFF_TABLE_INCREMENT_RATE = 11,                   /* discrete gradient of 1 - alphas_cumprod; T values */
  SPEEDIFF_TABLE_INCREMENT_MAGNITUDE = 12,              /* r_t = 1 / alphas_cumprod; inf where that is 0 or denormal; T values */
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

/* ---- Respacing: which steps to sample with --------------------------------------------------------------------- */

/* Steps spread evenly over sections of equal length, as guided-diffusion's space_timesteps does it: section_counts[i]
 * >= 1 of them in section i, at most as many as it has. `timesteps` has room for `count`, which must be their sum. */
speediff_status speediff_respacing_sections(int64_t steps, const int64_t *section_counts, int64_t sections,
                                            int64_t *timesteps, int64_t count);

/* The `count` steps of DDIM: 0, s, 2s, ... with the smallest whole stride s that gives as many. */
speediff_status speediff_respacing_ddim(int64_t steps, int64_t *timesteps, int64_t count);

/* ---- Samplings: which time steps to draw ----------------------------------------------------------------------- */

/* A probability for each step of whatever schedule it is combined with. One is made of at most 256 others, and so is a
 * weighting. */
typedef struct speediff_sampling speediff_sampling;

/* Makes the sampling of a name, with up to as many parameters as it has; the others have their defaults.
 *
 * Densities in u = t / T, which grows with noise, give step i the mass of [i / T, (i + 1) / T). Densities in lambda =
 * ln(SNR) are cut midway between neighbouring steps, from the first lambda to the last finite one, and renormalized.
 *
 *   name                parameters = defaults            P
 *   uniform                                              1 / T
 *   asymmetric          k = 5, r = 143.5                 SpeeD, Eq. 2: proportional to k up to tau, 1 beyond; tau is the
 *                                                        first step t with 1 / alphas_cumprod > r. k >= 1, r > 1
 *   log_normal          p_mean = -1.2, p_std = 1.2       ln(sigma) ~ N(p_mean, p_std^2). p_std > 0
 *   logit_normal        mean = 0, std = 1                u = sigmoid(N(mean, std^2)); mean > 0: more noise. std > 0
 *   mode                scale = 1.29                     u = 1 - x - scale * (cos(pi * x / 2)^2 - 1 + x), x uniform.
 *                                                        scale in [-1, 2 / (pi - 2)]
 *   cosmap                                               u = 1 - 1 / (tan(pi * x / 2) + 1), x uniform
 *   beta                alpha = 0.8, beta = 1            u ~ Beta(alpha, beta). Both in (0, 10^4]
 *   clts                mean, std, end_step = 50000      uniform turning into N(mean, std^2) in steps, by the training step
 *                                                        end_step. NaN: mean = 0.3 T, std = 0.2 T
 *   laplace             mean = 0, scale = 0.5            lambda ~ Laplace(mean, scale). scale > 0
 *   cauchy              mean = 0, scale = 1              lambda ~ Cauchy(mean, scale). scale > 0
 *   loss_second_moment  history = 10, uniform_prob = 0.001
 *                                                        proportional to the root mean square of the last `history`
 *                                                        losses of each step; learns. history * T <= 2^27
 *   adaptive            bins = 100, decay = 0.999        proportional to the running mean of w * loss per bin of t; learns
 */
speediff_status speediff_sampling_create(const char *name, const double *parameters, int64_t count,
                                         speediff_sampling **out);

/* `asymmetric` with tau itself, 0 < tau < T. The paper uses k = 5 and tau = 700 of 1000. */
speediff_status speediff_sampling_create_asymmetric(double k, int64_t tau, speediff_sampling **out);

/* A sampling moved towards more noise: sigma' = shift * sigma / (1 + (shift - 1) * sigma), which is lambda' = lambda - 2 *
 * ln(shift). shift > 0; 3 in Stable Diffusion 3. */
speediff_status speediff_sampling_create_shifted(const speediff_sampling *base, double shift, speediff_sampling **out);

/* A sampling restricted to the steps [start, end), 0 <= start < end <= T; end = INT64_MAX stands for T. */
speediff_status speediff_sampling_create_truncated(const speediff_sampling *base, int64_t start, int64_t end,
                                                   speediff_sampling **out);

/* share * a + (1 - share) * b, share in [0, 1]. */
speediff_status speediff_sampling_create_mixture(const speediff_sampling *a, const speediff_sampling *b, double share,
                                                 speediff_sampling **out);

/* `first` up to training step start_step, turning linearly (in thousandths) into `second` by end_step. 0 <= start_step <
 * end_step <= 2^53. */
speediff_status speediff_sampling_create_blend(const speediff_sampling *first, const speediff_sampling *second,
                                               int64_t start_step, int64_t end_step, speediff_sampling **out);

/* The names that speediff_sampling_create knows, separated by spaces. Static memory. */
const char *speediff_sampling_names(void);

/* Frees a sampling. NULL is allowed. */
void speediff_sampling_destroy(speediff_sampling *sampling);

/* ---- Weightings: how much each time step counts ---------------------------------------------------------------- */

/* A factor for the loss of each step of whatever schedule it is combined with. */
typedef struct speediff_weighting speediff_weighting;

/* Makes the weighting of a name, with up to as many parameters as it has; the others have their defaults.
 *
 * Where a form is given for the loss of x_0, S being the SNR, that of epsilon is divided by S, that of v by S + 1, and that
 * of flow by (1 + sqrt(S))^2: the sampler needs to know its prediction. A form that has no value at S = 0 is an error.
 *
 *   name           parameters = defaults       w
 *   uniform                                    1, for any target
 *   change_aware   lam = 0.6                   SpeeD, Section 2.4: the rate of the process rescaled to [1 - lam, lam], for
 *                                              any target. lam in [0.5, 1]; T >= 3
 *   p2             k = 1, gamma = 1            S / (k + S)^gamma on x_0. k, gamma > 0
 *   min_snr        gamma = 5                   min(S, gamma) on x_0. gamma > 0
 *   soft_min_snr   gamma = 5                   gamma * S / (S + gamma) on x_0. gamma > 0
 *   debiased                                   sqrt(S) on x_0
 *   snr                                        S on x_0
 *   inverse_snr                                1 / S on x_0
 *   max_snr        gamma = 5                   max(S, gamma) on x_0. gamma > 0
 *   truncated_snr                              max(S, 1) on x_0
 *   sigmoid        bias = 2                    sigmoid(bias - lambda) * |d lambda / du| on epsilon. S > 0 everywhere
 *   edm            sigma_data = 0.5            S + 1 / sigma_data^2 on x_0. sigma_data > 0
 *   sigma_sqrt                                 sigma^-2 on flow, sigma = 1 / (1 + sqrt(S))
 *   cosmap                                     2 / (pi * (1 - 2 sigma + 2 sigma^2)) on flow
 *   importance                                 1 / (T * P), for any target
 *   uncertainty    bins = 100, decay = 0.999   1 / running mean of w * loss per bin of t, w the other factors of a
 *                                              product, for any target; learns
 */
speediff_status speediff_weighting_create(const char *name, const double *parameters, int64_t count,
                                          speediff_weighting **out);

/* The product of two weightings, each in the form of the sampler's target. */
speediff_status speediff_weighting_create_product(const speediff_weighting *a, const speediff_weighting *b,
                                                  speediff_weighting **out);

/* 1 / w of another weighting, in the form of the sampler's target: takes back a weight that the loss of a pipeline has
 * already. Not of one that follows P or losses (importance, uncertainty, an emphasis). Where w = 0, a sampler cannot be
 * made. */
speediff_status speediff_weighting_create_reciprocal(const speediff_weighting *of, speediff_weighting **out);

/* Weights with which any sampling trains the objective that is given as an emphasis (speediff_sampler_emphasis): a density
 * over falling log_snr. `count` >= 2, or 0 for the emphasis of uniform draws with uniform weights on epsilon. */
speediff_status speediff_weighting_create_to_emphasis(const double *log_snr, const double *emphasis, int64_t count,
                                                      speediff_weighting **out);

/* The names that speediff_weighting_create knows, separated by spaces. Static memory. */
const char *speediff_weighting_names(void);

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

/* SpeeD as in the paper: the sampling `asymmetric` (k, r) with the weighting `change_aware` (lam), and their ranges. */
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

/* P at a training step >= 0, of which entries are drawn. The step matters to blends alone, here and below; what was
 * learned from losses counts as it is now. `count` must be T. */
speediff_status speediff_sampler_probabilities(const speediff_sampler *sampler, int64_t step, double *out,
                                               int64_t count);

/* The exact distribution of an entry taken at random from a global batch of `total` entries, 1 ... 2^31. It differs from P
 * for official SpeeD alone. `count` must be T. */
speediff_status speediff_sampler_marginal(const speediff_sampler *sampler, int64_t step, int64_t total, double *out,
                                          int64_t count);

/* w, in double precision. With `normalize` the mean under P is 1. `count` must be T. */
speediff_status speediff_sampler_weights(const speediff_sampler *sampler, int64_t step, double *out, int64_t count);

/* The mean weight over a global batch of `total` entries, before normalization. 0 stands for entries of P. */
speediff_status speediff_sampler_expected_weight(const speediff_sampler *sampler, int64_t step, int64_t total,
                                                 double *out);

/* What the sampler asks the network to learn: P * w for the loss of epsilon, divided by |d lambda / di| and normalized,
 * over lambda = ln(SNR). A step with SNR = 0 is left out: `count` must be T, or T - 1 for zero terminal SNR. Without a
 * prediction the sampler counts as one of epsilon. P is the nominal one for official SpeeD. */
speediff_status speediff_sampler_emphasis(const speediff_sampler *sampler, int64_t step, double *log_snr,
                                          double *emphasis, int64_t count);

/* Learns from the losses of a global batch: n steps in [0, T) with their losses before any weight, finite and >= 0. The next
 * draw follows. All ranks must give the same. An error if neither sampling nor weighting learns; then, and on any other
 * error, nothing has changed. */
speediff_status speediff_sampler_update(speediff_sampler *sampler, const int64_t *t, const float *losses, int64_t n);

/* The length of what was learned; 0 if the sampler learns nothing. It depends on the methods and T alone. */
speediff_status speediff_sampler_history_count(const speediff_sampler *sampler, int64_t *count);

/* What was learned, as plain numbers. `count` must be its length. */
speediff_status speediff_sampler_history(const speediff_sampler *sampler, double *out, int64_t count);

/* Takes over what speediff_sampler_history gave for the same methods and T. On an error nothing has changed. */
speediff_status speediff_sampler_restore_history(speediff_sampler *sampler, const double *history, int64_t count);

/* Draws the calls first_call ... first_call + calls - 1 of this rank, n entries each: `timesteps` and `weights` have
 * calls * n entries. first_call >= 0, and first_call + calls < 2^63. */
speediff_status speediff_sampler_draw(const speediff_sampler *sampler, int64_t first_call, int64_t calls, int64_t n,
                                      int64_t *timesteps, float *weights);

/* Draws the n entries from `offset` on of a training step's global batch of `total`, whatever the sampler's rank: for
 * batches that are uneven. */
speediff_status speediff_sampler_draw_slice(const speediff_sampler *sampler, int64_t step, int64_t offset, int64_t n,
                                            int64_t total, int64_t *timesteps, float *weights);

/* ---- Continuous processes: x = s(t) * x_0 + s(t) * sigma(t) * noise --------------------------------------------- */

/* A process with the draw and the weight that its authors train with. sigma is the noise-to-signal ratio: SNR = 1 / sigma^2,
 * lambda = ln(SNR) = -2 ln(sigma). sigma_data > 0 is the standard deviation of the data. Karras et al. 2022, Table 1. */
typedef struct speediff_process speediff_process;

/* VP: sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1; t uniform in [epsilon_t, 1], weight 1 / sigma^2. beta_d, beta_min > 0;
 * epsilon_t in (0, 1). Usual: 19.9, 0.1, 1e-5. */
speediff_status speediff_process_create_vp(double beta_d, double beta_min, double epsilon_t, double sigma_data,
                                           speediff_process **out);

/* VE: sigma^2 = t; ln(sigma) uniform, weight 1 / sigma^2. 0 < sigma_min < sigma_max. Usual: 0.02, 100. */
speediff_status speediff_process_create_ve(double sigma_min, double sigma_max, double sigma_data,
                                           speediff_process **out);

/* EDM: sigma = t; ln(sigma) ~ N(p_mean, p_std^2), weight (sigma^2 + sigma_data^2) / (sigma * sigma_data)^2. p_std > 0. Usual:
 * -1.2, 1.2, 0.5. */
speediff_status speediff_process_create_edm(double p_mean, double p_std, double sigma_data, speediff_process **out);

/* Rectified flow: s = 1 - t, sigma = t / (1 - t), t = 1 being noise; t uniform in [0, 1], weight 1. */
speediff_status speediff_process_create_flow(double sigma_data, speediff_process **out);

/* Frees a process. NULL is allowed. */
void speediff_process_destroy(speediff_process *process);

/* What a process is at its own times t, 0 < t (< 1 for flow). Values are appended, never changed. */
typedef enum speediff_process_quantity {
  SPEEDIFF_PROCESS_SCALE = 1,           /* s(t) */
  SPEEDIFF_PROCESS_SIGMA = 2,           /* sigma(t) */
  SPEEDIFF_PROCESS_SIGMA_DERIVATIVE = 3 /* d sigma / dt */
} speediff_process_quantity;

/* Writes a quantity at each of `count` times, at most 2^24. */
speediff_status speediff_process_evaluate(const speediff_process *process, speediff_process_quantity quantity,
                                          const double *t, double *out, int64_t count);

/* A process, a sampling and a weighting, ready to draw noise levels; the draws are those of speediff_sampler in all but
 * what they are mapped to. Immutable. */
typedef struct speediff_sigma_sampler speediff_sigma_sampler;

/* Combines a process, a sampling and a weighting.
 *
 * sampling: NULL for the process's own draw; a density in lambda (log_normal, laplace, cauchy), which is cut to the
 * process's range; a density in u (uniform, logit_normal, mode, cosmap, beta), where the process has a variable in [0, 1]:
 * t of VP and flow, ln(sigma) of VE; mixture, blend; shifted for EDM and flow. asymmetric with r is SpeeDiff's own
 * extension of SpeeD: the process's own draw with sigma > sigma_data * sqrt(r - 1) suppressed by k.
 *
 * weighting: NULL for the process's own weight; any function of the SNR, sigmoid (not for EDM), uniform, to_emphasis of
 * a given emphasis, products. Its form
 * is that of options.prediction; unspecified: x_0 for VP, VE and EDM, flow for rectified flow. change_aware is
 * SpeeDiff's own extension: |d alpha_bar / dv| rescaled to [1 - lam, lam], alpha_bar = 1 / (1 + sigma^2 /
 * sigma_data^2), v being t for VP and flow, ln(sigma) for EDM and VE.
 *
 * warm_up: 0, or FDM's: weights are at most 5 * 100^(step / warm_up) before that training step. Not together with
 * options.normalize. */
speediff_status speediff_sigma_sampler_create(const speediff_process *process, const speediff_sampling *sampling,
                                              const speediff_weighting *weighting,
                                              const speediff_sampler_options *options, int64_t warm_up,
                                              speediff_sigma_sampler **out);

/* Frees a sampler. NULL is allowed. */
void speediff_sigma_sampler_destroy(speediff_sigma_sampler *sampler);

/* The length of the emphasis of every sigma sampler. */
#define SPEEDIFF_SIGMA_EMPHASIS_COUNT 1024

/* What the sampler asks the network to learn, as speediff_sampler_emphasis, at values of lambda that hold all but 2e-9 of the
 * draws, within -60 ... 60; `count` must be SPEEDIFF_SIGMA_EMPHASIS_COUNT. */
speediff_status speediff_sigma_sampler_emphasis(const speediff_sigma_sampler *sampler, int64_t step, double *log_snr,
                                                double *emphasis, int64_t count);

/* Draws the calls first_call ... first_call + calls - 1 of this rank, n entries each: `levels` (sigma, or t for flow) and
 * `weights` have calls * n entries. first_call >= 0, and first_call + calls < 2^63. */
speediff_status speediff_sigma_sampler_draw(const speediff_sigma_sampler *sampler, int64_t first_call, int64_t calls,
                                            int64_t n, float *levels, float *weights);

/* Draws the n entries from `offset` on of a training step's global batch of `total`, whatever the sampler's rank. */
speediff_status speediff_sigma_sampler_draw_slice(const speediff_sigma_sampler *sampler, int64_t step, int64_t offset,
                                                  int64_t n, int64_t total, float *levels, float *weights);

/* The momentum of the Fast Diffusion Model: c_in = exp(-m b) * (1 + m b) at each of `count` noise levels, with b = 0.1 t +
 * 9.95 t^2 and t = (sigma - sigma_min) / (sigma_max - sigma_min), 0 below sigma_min. 0 <= sigma_min < sigma_max; m =
 * multiplier > 0; sigma >= 0; count at most 2^24. */
speediff_status speediff_fdm_input_scale(double sigma_min, double sigma_max, double multiplier, const double *sigma,
                                         double *out, int64_t count);

/* ---- Networks -------------------------------------------------------------------------------------------------- */

/* The shape of a DiT (Peebles and Xie 2023) or an MDT (Gao et al. 2023). Parameters have the names and shapes of the
 * authors' PyTorch code. */
typedef struct speediff_network_config {
  int64_t input_size;        /* pixels, or latents, along an image's side: a multiple of patch_size, at most 2^14 */
  int64_t patch_size;        /* pixels along a patch's side */
  int64_t in_channels;       /* planes of an image, at most 2^12 */
  int64_t hidden_size;       /* floats of a token: a multiple of 4 and of num_heads, at most 2^16 */
  int64_t depth;             /* blocks, at most 2^12 */
  int64_t num_heads;         /* attention heads of a block */
  double mlp_ratio;          /* hidden floats of a block's MLP over hidden_size, in (0, 64] */
  int64_t num_classes;       /* 0: a network without labels */
  double class_dropout_prob; /* in [0, 1]; above 0 there is a null label, number num_classes */
  int32_t learn_sigma;       /* 0 or 1: predict a variance too, in as many planes again */
  double frequency_shift;    /* s in the frequencies 10000^(-i/(128-s)) of the time step's embedding, in [0, 1]: 0 in the
                              * authors' code, 1 in that of diffusers */
  int32_t mdt_version;       /* 0: a DiT; 1 or 2: that version of MDT, for which are the rest */
  int64_t decode_layer;      /* how many of the blocks decode; version 2 wants an even number of others */
  double mask_ratio;         /* in [0, 1): the share of tokens that the encoder does not get in the second pass; version
                              * 2: the least, with 0.2 more at most */
  double min_snr_gamma;      /* of the Min-SNR factor on both passes' squared errors; 0: none */
} speediff_network_config;

/* DiT-XL/2 on latents of 32 x 32 x 4. */
#define SPEEDIFF_NETWORK_CONFIG_DEFAULT {32, 2, 4, 1152, 28, 16, 4.0, 1000, 0.1, 1, 0.0, 0, 0, 0.0, 0.0}

/* Sets patch_size, hidden_size, depth, num_heads and the last four of an official network: "DiT-S/2" ... "DiT-XL/8",
 * "MDT-S/2" ... (the paper's) and "MDTv2-S/2" ... (the authors' code, which has Min-SNR-5 in its loss). */
speediff_status speediff_network_config_set_name(speediff_network_config *config, const char *name);

/* ---- Trainers -------------------------------------------------------------------------------------------------- */

/* How a network is trained. The update is computed in float: learning_rate, epsilon and weight_decay must be finite there, and
 * epsilon above 0. */
typedef struct speediff_trainer_options {
  double learning_rate; /* after the warm-up; at least 0 */
  double beta1;         /* AdamW's, in [0, 1) */
  double beta2;
  double epsilon;       /* AdamW's, positive */
  double weight_decay;  /* decoupled, at least 0 */
  double ema_decay;     /* of the moving average of the parameters, in [0, 1] */
  int32_t ema_warmup;   /* 1: the decay of update n = 1, 2, ... is at most (1 + n) / (10 + n) */
  double max_grad_norm; /* the largest global norm of a gradient, positive; 0: no clipping */
  int64_t warmup_steps; /* updates over which the learning rate rises linearly; 0: none */
  uint64_t seed;        /* of initial parameters, noise and label dropout */
  int32_t threads;      /* at most 1024; 0: as many as this process may use */
} speediff_trainer_options;

#define SPEEDIFF_TRAINER_OPTIONS_DEFAULT {1e-4, 0.9, 0.999, 1e-8, 0.0, 0.9999, 0, 0.0, 0, 0, 0}

/* Trains a DiT or an MDT on the CPU: draw, noise, forward, backward, AdamW and the moving average of the parameters.
 *
 * One thread at a time may use a trainer: a call while another one runs fails with SPEEDIFF_ERROR_BUSY, as does one in a
 * process that fork() made. The same seed gives the same run, bit by bit on one machine with one number of threads.
 *
 * Images are float, shape (n, in_channels, input_size, input_size), usually in [-1, 1]. 1 <= n <= 2^20. The first call
 * with a larger n than before lays out memory anew; others allocate none. */
typedef struct speediff_trainer speediff_trainer;

/* Builds and initializes a network. The sampler draws its time steps; the sampler's prediction is the network's target,
 * epsilon if unspecified. With flow, images are noised along the straight path of the same signal-to-noise ratio. */
speediff_status speediff_trainer_create(const speediff_network_config *config, const speediff_trainer_options *options,
                                        const speediff_sampler *sampler, speediff_trainer **out);

/* Frees a trainer, and with it the memory of speediff_trainer_buffer. NULL is allowed. */
void speediff_trainer_destroy(speediff_trainer *trainer);

/* Writes the network's shape, and the options as they are now, with the number of threads. */
speediff_status speediff_trainer_config(const speediff_trainer *trainer, speediff_network_config *out);
speediff_status speediff_trainer_get_options(const speediff_trainer *trainer, speediff_trainer_options *out);

/* Sets the learning rate of the updates to come. */
speediff_status speediff_trainer_set_learning_rate(speediff_trainer *trainer, double learning_rate);

/* Writes the number of updates so far. */
speediff_status speediff_trainer_global_step(const speediff_trainer *trainer, int64_t *out);

/* Sets the number of updates so far, in [0, 2^32], between steps: it is the step of the draws to come, and that of AdamW's
 * bias correction. At 2^32 no further step can be taken. */
speediff_status speediff_trainer_set_global_step(speediff_trainer *trainer, int64_t step);

/* A micro-batch. What is NULL is drawn, or does not exist. */
typedef struct speediff_training_batch {
  const float *x;       /* images, n of them; never NULL, as y of a network with labels */
  const int64_t *y;     /* classes in [0, num_classes), or the null label; NULL for a network without labels */
  int64_t n;            /* the samples, at least 1; also 0 with `total` */
  const int64_t *t;     /* time steps in [0, T); labels are dropped unless they are given */
  const float *noise;   /* of the images' shape */
  const float *weights; /* instead of the sampler's */
  const float *masked_noise; /* of an MDT's second pass */
  const int64_t *kept;  /* shape (n, kept_count): which tokens the encoder gets in it, different ones for a sample */
  int64_t kept_count;   /* in [1, tokens] */
  int64_t offset;       /* total > 0: the samples are the entries from `offset` on of the step's global batch of */
  int64_t total;        /* `total`, whatever the sampler's rank: for parts that are not of one size; at most 2^32 over
                         * a quarter of an image's floats */
} speediff_training_batch;

#define SPEEDIFF_TRAINING_BATCH_DEFAULT {NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0}

/* Forward and backward of a micro-batch, whose gradient is added to that of the step's others. *loss becomes the mean
 * over its samples of weight * mse, plus the variational term of guided-diffusion in bits per dimension where the
 * variance is learned; an MDT's is the sum of both passes. With `total`, gradient and loss are sums over the samples
 * divided by it, so that sums over all parts of the global batch are its means.
 *
 * After SPEEDIFF_ERROR_NOT_FINITE the step begins anew with its first micro-batch. */
speediff_status speediff_trainer_backward(speediff_trainer *trainer, const speediff_training_batch *batch,
                                          double *loss);

/* Gives up a step that was begun: the next backward is its first micro-batch. */
speediff_status speediff_trainer_discard(speediff_trainer *trainer);

/* Clips the gradient, updates the parameters and their average, and ends the step. *norm, which may be NULL, becomes the
 * gradient's global norm before clipping. A gradient that is not finite, or whose norm after clipping is above 1e19, which
 * AdamW cannot square in a float, fails with SPEEDIFF_ERROR_NOT_FINITE: nothing is applied, and the step starts again. */
speediff_status speediff_trainer_apply(speediff_trainer *trainer, double *norm);

/* The samples of the last backward; 0 if there was none. */
speediff_status speediff_trainer_last_count(const speediff_trainer *trainer, int64_t *out);

/* Writes the time steps and the unweighted mean squared errors of the last backward, an MDT's summed over both passes, for
 * speediff_sampler_update. */
speediff_status speediff_trainer_last_losses(const speediff_trainer *trainer, int64_t *t, float *losses,
                                             int64_t count);

/* The network alone: `out` becomes its prediction for n images, shape (n, in_channels or twice that, input_size,
 * input_size). t: one per image, finite, fractions allowed. ema: 1 for the average of the parameters, 0 for themselves. */
speediff_status speediff_trainer_forward(speediff_trainer *trainer, const float *x_t, const float *t, const int64_t *y,
                                         int64_t n, int32_t ema, float *out);

/* The number of parameters: tensors with a name. */
speediff_status speediff_trainer_parameter_count(const speediff_trainer *trainer, int64_t *out);

/* The most dimensions of a parameter. */
#define SPEEDIFF_MAXIMUM_RANK 4

/* Writes the name, the shape and the place of a parameter: its first float in each of the first five buffers. The name's
 * memory is the trainer's. */
speediff_status speediff_trainer_parameter(const speediff_trainer *trainer, int64_t index, const char **name,
                                           int64_t shape[SPEEDIFF_MAXIMUM_RANK], int64_t *rank, int64_t *offset);

/* The memory of a trainer. */
typedef enum speediff_buffer {
  SPEEDIFF_BUFFER_PARAMETERS = 1,
  SPEEDIFF_BUFFER_GRADIENTS = 2,      /* of the step so far; scaled by 1 / accumulation, as if of the whole step */
  SPEEDIFF_BUFFER_EXP_AVG = 3,        /* AdamW's mean gradient */
  SPEEDIFF_BUFFER_EXP_AVG_SQ = 4,     /* AdamW's mean squared gradient */
  SPEEDIFF_BUFFER_EMA_PARAMETERS = 5, /* the moving average of the parameters */
  SPEEDIFF_BUFFER_POS_EMBED = 6       /* a DiT's fixed positions, shape (1, tokens, hidden_size); of an MDT nothing */
} speediff_buffer;

/* Gives the memory itself, to be read or written between calls until the trainer is destroyed. Parameters begin at
 * multiples of 64 bytes; leave the 0 between them alone. */
speediff_status speediff_trainer_buffer(const speediff_trainer *trainer, speediff_buffer buffer, float **data,
                                        int64_t *count);

/* ---- Generation ------------------------------------------------------------------------------------------------ */

typedef enum speediff_generation_method {
  SPEEDIFF_GENERATION_DDPM = 1, /* ancestral sampling; Ho et al. 2020 */
  SPEEDIFF_GENERATION_DDIM = 2  /* Song et al. 2021, Eq. 12 */
} speediff_generation_method;

/* How images are generated. */
typedef struct speediff_generation_options {
  int32_t method;   /* a speediff_generation_method */
  int64_t steps;    /* of the schedule's T, in [2, T], spread evenly with the first and the last */
  double eta;       /* DDIM's, at least 0; 0 is deterministic */
  double cfg_scale; /* s in prediction(null) + s * (prediction(label) - prediction(null)); 1: no guidance */
  int32_t clip;     /* 1: cut predictions of x_0 to [-1, 1] */
  int32_t ema;      /* 1: the average of the parameters; 0: themselves */
} speediff_generation_options;

#define SPEEDIFF_GENERATION_OPTIONS_DEFAULT {SPEEDIFF_GENERATION_DDPM, 250, 0.0, 1.0, 0, 1}

/* Is told after each step how many are done of how many; returns 0 to stop. It must not call the trainer. */
typedef int32_t (*speediff_progress)(void *context, int64_t done, int64_t total);

/* Generates n images, 0 <= n <= 2^20, into `out`, shape (n, in_channels, input_size, input_size). An image is a function of
 * its seed, its label and the options, up to rounding. y: n labels, or NULL for a network without labels. progress may be
 * NULL; where it stops the work, `out` holds unfinished images. */
speediff_status speediff_trainer_generate(speediff_trainer *trainer, const int64_t *y, const uint64_t *seeds, int64_t n,
                                          const speediff_generation_options *options, speediff_progress progress,
                                          void *context, float *out);

/* ---- Checkpoints ----------------------------------------------------------------------------------------------- */

/* Writes the safetensors file `path`, in UTF-8. It has the parameters and pos_embed under the names of the official state
 * dict; their average and AdamW's moments under the same names after "ema.", "exp_avg." and "exp_avg_sq."; the sampler's
 * schedule and history; and options, step and `note`, any UTF-8 text, as metadata.
 *
 * A file that exists is replaced as a whole: a temporary file beside it is written, flushed to the device, and renamed. So a
 * kill, a full disk or a power cut leaves the old file or the new one. Symbolic links are followed, and the mode is kept.
 * A killed call may leave a file named ".NAME.speediff-PID-N.tmp", which the next call for the same path removes.
 *
 * What speediff_checkpoint_trainer would refuse is refused here, before anything is written: a parameter, average or moment
 * that is not finite fails with SPEEDIFF_ERROR_NOT_FINITE. Between the micro-batches of a step the call is an error. After
 * an error the trainer can be used as before. */
speediff_status speediff_trainer_save(speediff_trainer *trainer, const char *path, const char *note);

/* An open file that speediff_trainer_save wrote. Immutable. Whatever is taken from it is checked against the file's checksums
 * as it is read, so a file that is written over meanwhile is an error, and never a mixture. */
typedef struct speediff_checkpoint speediff_checkpoint;

/* Opens a file. One that is torn, damaged, or of something else fails with SPEEDIFF_ERROR_FILE. */
speediff_status speediff_checkpoint_open(const char *path, speediff_checkpoint **out);

/* Closes a file. NULL is allowed. */
void speediff_checkpoint_destroy(speediff_checkpoint *checkpoint);

/* Gives the note, in the checkpoint's memory. */
speediff_status speediff_checkpoint_note(const speediff_checkpoint *checkpoint, const char **note);

/* Makes the schedule of the sampler that was used. */
speediff_status speediff_checkpoint_schedule(const speediff_checkpoint *checkpoint, speediff_schedule **out);

/* Makes the trainer that was saved: its steps go on bit by bit. The sampler must have the same method, seed, schedule and
 * prediction; the saved history is restored into it once all else has succeeded. threads: as in
 * speediff_trainer_options. */
speediff_status speediff_checkpoint_trainer(const speediff_checkpoint *checkpoint, const speediff_sampler *sampler,
                                            int32_t threads, speediff_trainer **out);

#ifdef __cplusplus
}
#endif

#endif
