/* SpeeDiff: which noise levels a diffusion model trains on, and how much each one counts.
 *
 * This header is the manual of libspeediff. A first program draws the timesteps of a thousand training steps:
 *
 *     #include <speediff.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *       speediff_schedule *schedule = NULL;
 *       speediff_sampler *sampler = NULL;
 *       speediff_sampler_options options = SPEEDIFF_SAMPLER_OPTIONS_DEFAULT;
 *       int64_t t[256];
 *       float w[256];
 *       speediff_status status = speediff_schedule_create_linear(1000, 1e-4, 0.02, &schedule);
 *       if (status == SPEEDIFF_OK)
 *         status = speediff_sampler_create_speed(schedule, 5, 143.5, 0.6, &options, &sampler);
 *       for (int64_t step = 0; status == SPEEDIFF_OK && step < 1000; step++) {
 *         status = speediff_sampler_draw(sampler, step, 1, 256, t, w);
 *         // Train on the timesteps t, and multiply their losses by w.
 *       }
 *       if (status != SPEEDIFF_OK) fprintf(stderr, "%s\n", speediff_last_error());
 *       speediff_sampler_destroy(sampler);
 *       speediff_schedule_destroy(schedule);
 *       return status == SPEEDIFF_OK ? 0 : 1;
 *     }
 *
 * `make build` makes the library. Then, in the checkout:
 *
 *     cc -std=c11 main.c -o main -Iinclude -L.build/release -lspeediff -Wl,-rpath,"$PWD/.build/release"
 *
 * -L tells the linker where the library is, and -rpath tells the program. C++ works in the same way.
 *
 * What holds for every function:
 *
 * - Errors. A function that can fail returns a speediff_status: SPEEDIFF_OK, which is 0, or what went wrong.
 *   speediff_last_error() then says which argument broke which rule with which value. A wrong argument is an error,
 *   never a crash, as far as a function can tell: a pointer must be NULL or valid, an array as long as you say, and a
 *   handle not yet destroyed.
 * - Failure. A call that fails has written nothing to your arrays and changed no handle. Trainers have exceptions, see
 *   below.
 * - Handles. A function that makes one writes *out on success only. `destroy` takes NULL. It must be the last call on
 *   its handle, while no other one runs. A handle keeps what it was made from: a schedule may be destroyed while its
 *   samplers live.
 * - Arrays. You allocate each array and pass its length. The library uses it during the call only. Arrays are row-major
 *   and contiguous. Tables are double, weights and images float, timesteps and labels int64_t. Where a length of 0 is
 *   allowed, the array may be NULL.
 * - Timesteps are 0-based in every array. The boundaries of areas are 1-based steps t, as in the SpeeD paper: array
 *   index i belongs to t = i + 1.
 * - There is no global random state: what is drawn depends on arguments and handles alone.
 *
 * What depends on the kind of handle:
 *
 * - Schedules, samplings, weightings, processes, sigma samplers, networks and checkpoints never change. Any number of
 *   threads may use one at the same time, and so may a child of fork().
 * - Samplers are changed by speediff_sampler_update and speediff_sampler_restore_history only. Threads may call these
 *   while others draw: each call that is drawn sees the whole change or none of it. A child of fork() may use samplers,
 *   with one exception: if another thread was using a sampler that learns or follows the training step at the moment of
 *   fork(), the child may wait for its lock for ever.
 * - Trainers change with each step. One thread at a time may use one: a call while another runs fails with
 *   SPEEDIFF_ERROR_BUSY. In a child of fork() calls fail in the same way; the child may destroy the trainer, and make
 *   its own. Only speediff_trainer_network, _parameter_count, _parameter and _buffer may be called at any time, anywhere.
 *   Do not fork() while another thread makes a trainer or its first step: the child may inherit a held lock of Swift's
 *   runtime and deadlock. A trainer owns its parameters, gradients and moments; speediff_trainer_buffer lends them.
 * - Failures of trainers. After SPEEDIFF_ERROR_NOT_FINITE the gradients have changed, and the step begins anew with its
 *   first micro-batch. After SPEEDIFF_ERROR_CANCELLED the array holds unfinished images. After
 *   SPEEDIFF_ERROR_OUT_OF_MEMORY the losses of the last backward may be gone.
 *
 * Source of "SpeeD": Wang et al., "A Closer Look at Time Steps is Worthy of Triple Speed-Up for Diffusion Model
 * Training", CVPR 2025 (arXiv 2405.17403).
 */
#ifndef SPEEDIFF_H
#define SPEEDIFF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version --------------------------------------------------------------------------------------------------- */

/* Changes with every incompatible change of this header. Compare it with speediff_abi_version(). */
#define SPEEDIFF_ABI_VERSION 4

/* The SPEEDIFF_ABI_VERSION that the library was built with. */
uint32_t speediff_abi_version(void);

/* The library's version, such as "0.1.0". Static memory. */
const char *speediff_version(void);

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

/* The outcome of a call. Later versions may append values; those here keep their meaning. */
typedef enum speediff_status {
  SPEEDIFF_OK = 0,
  SPEEDIFF_ERROR_NULL_POINTER = 1,     /* a pointer that must not be NULL is */
  SPEEDIFF_ERROR_INVALID_ARGUMENT = 2, /* a value is outside its range, or does not fit another one */
  SPEEDIFF_ERROR_WRONG_COUNT = 3,      /* an array's length is not the one that the function needs */
  SPEEDIFF_ERROR_INTERNAL = 4,         /* a defect of the library */
  SPEEDIFF_ERROR_OUT_OF_MEMORY = 5,    /* this process cannot have the memory */
  SPEEDIFF_ERROR_FILE = 6,             /* a file cannot be read or written, or is not what it should be */
  SPEEDIFF_ERROR_NOT_FINITE = 7,       /* a loss, a gradient, or a number to save is not finite */
  SPEEDIFF_ERROR_BUSY = 8,             /* another thread is using the handle, or another process made it */
  SPEEDIFF_ERROR_CANCELLED = 9,        /* a callback asked to stop */
  SPEEDIFF_ERROR_THREADS = 10          /* the system starts no more threads */
} speediff_status;

/* Why this thread's last failed call failed, as one sentence: "k must be at least 1, got 0.5". Never NULL; empty if
 * none has failed. Valid until this thread's next failure, or its end. */
const char *speediff_last_error(void);

/* ---- Noise schedules ------------------------------------------------------------------------------------------- */

/* A schedule of T steps, 2 <= T <= 2^24, with its tables in double precision. */
typedef struct speediff_schedule speediff_schedule;

/* beta = linspace(beta_start, beta_end) * (1000 / T). Ho et al. 2020; the factor is that of guided-diffusion and DiT.
 * Both end points in (0, 1], and T above 1000 times the larger one. Usual: 1e-4 and 0.02, which need T > 20. */
speediff_status speediff_schedule_create_linear(int64_t steps, double beta_start, double beta_end,
                                                speediff_schedule **out);

/* beta = linspace(sqrt(beta_start), sqrt(beta_end))^2, not rescaled by T. Both end points in (0, 1]. SpeeD's code uses
 * 1e-4 and 0.02 (`quad`), Stable Diffusion 0.00085 and 0.012 (`scaled_linear`). */
speediff_status speediff_schedule_create_quadratic(int64_t steps, double beta_start, double beta_end,
                                                   speediff_schedule **out);

/* alphas_cumprod(u) = cos((u + 0.008) / 1.008 * pi / 2)^2, with beta at most 0.999. Nichol and Dhariwal 2021. */
speediff_status speediff_schedule_create_cosine(int64_t steps, speediff_schedule **out);

/* The same beta, in (0, 1), at every step. */
speediff_status speediff_schedule_create_constant(int64_t steps, double beta, speediff_schedule **out);

/* beta = sigmoid(linspace(-6, 6)) * (beta_end - beta_start) + beta_start, as in diffusers. Both in (0, 1]. */
speediff_status speediff_schedule_create_sigmoid(int64_t steps, double beta_start, double beta_end,
                                                 speediff_schedule **out);

/* beta = linspace(beta_start, beta_end) over the first T * fraction steps, rounded down, then beta_end. Fractions of
 * 0.1 and 0.5 give `warmup10` and `warmup50` of guided-diffusion and DiT. fraction in (0, 1]; both end points in
 * (0, 1]. Only the last step may have a beta of 1. */
speediff_status speediff_schedule_create_warmup(int64_t steps, double fraction, double beta_start, double beta_end,
                                                speediff_schedule **out);

/* beta_i = 1 / (T - i), Sohl-Dickstein et al. 2015; zero terminal SNR. */
speediff_status speediff_schedule_create_jsd(int64_t steps, speediff_schedule **out);

/* From a table of beta: `count` values in (0, 1], and 1 only at the last step. */
speediff_status speediff_schedule_create_from_betas(const double *betas, int64_t count, speediff_schedule **out);

/* From a table of alphas_cumprod: `count` values below 1, strictly decreasing, and 0 only at the last step. */
speediff_status speediff_schedule_create_from_alphas_cumprod(const double *alphas_cumprod, int64_t count,
                                                             speediff_schedule **out);

/* The schedule shifted and scaled so that the last step has no signal left: sqrt(alphas_cumprod) starts from the
 * same value and falls to 0. Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024,
 * Algorithm 1. */
speediff_status speediff_schedule_create_zero_terminal_snr(const speediff_schedule *schedule, speediff_schedule **out);

/* The schedule of some of its steps: `count` >= 2 of them, 0-based and strictly increasing. */
speediff_status speediff_schedule_create_respaced(const speediff_schedule *schedule, const int64_t *timesteps,
                                                  int64_t count, speediff_schedule **out);

/* Frees a schedule. NULL is allowed. */
void speediff_schedule_destroy(speediff_schedule *schedule);

/* T, the number of steps. */
speediff_status speediff_schedule_steps(const speediff_schedule *schedule, int64_t *steps);

/* The tables of a schedule. Later versions may append values; those here keep their meaning. */
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
  /* The process increment of SpeeD's Theorem 1, in its exact forms. Entry i belongs to t = i + 1. */
  SPEEDIFF_TABLE_INCREMENT_MEAN_FACTOR = 9,             /* phi_t / x_0; T - 1 values */
  SPEEDIFF_TABLE_INCREMENT_VARIANCE = 10,               /* Psi_t, of independent draws; T - 1 values */
  SPEEDIFF_TABLE_INCREMENT_RATE = 11,                   /* discrete gradient of 1 - alphas_cumprod; T values */
  SPEEDIFF_TABLE_INCREMENT_MAGNITUDE = 12,              /* r_t = 1 / alphas_cumprod; inf where that is 0 or denormal; T values */
  /* Its closed forms, for schedules whose beta increases in equal steps; T values. */
  SPEEDIFF_TABLE_CLOSED_FORM_MEAN_BOUND = 13,           /* beta_max / r_t, bounds |phi_t|^2 / |E x_0|^2 */
  SPEEDIFF_TABLE_CLOSED_FORM_VARIANCE = 14,             /* 2 - 2 / r_t */
  SPEEDIFF_TABLE_CLOSED_FORM_RATE = 15,                 /* its derivative */
  SPEEDIFF_TABLE_CLOSED_FORM_MAGNITUDE = 16             /* r_t = exp((beta_0 + D t / 2T) t) */
} speediff_table;

/* Writes a table. `count` must be the table's length, T or T - 1. */
speediff_status speediff_schedule_table(const speediff_schedule *schedule, speediff_table table, double *out,
                                        int64_t count);

/* t_ad, the 1-based step with the largest rate, where the acceleration area ends. */
speediff_status speediff_schedule_acceleration_end(const speediff_schedule *schedule, int64_t *t);

/* t_dc(r), the first 1-based step t with 1 / alphas_cumprod > r, where the convergence area begins. r is finite, above
 * 1, and below 1 / alphas_cumprod of the last step. */
speediff_status speediff_schedule_convergence_start(const speediff_schedule *schedule, double r, int64_t *t);

/* t_ad = sqrt(T/D) - T beta_0/D of the closed forms, as a real number. It is negative if beta is nearly constant. */
speediff_status speediff_schedule_closed_form_acceleration_end(const speediff_schedule *schedule, double *t);

/* tau(r) of the closed forms, as a real number, which may lie beyond T. r is finite and above 1. */
speediff_status speediff_schedule_closed_form_convergence_start(const speediff_schedule *schedule, double r,
                                                                double *t);

/* ---- Respacing: which steps to sample with --------------------------------------------------------------------- */

/* Cuts the schedule into sections of equal length and spreads section_counts[i] >= 1 steps evenly over section i, as
 * guided-diffusion's space_timesteps does. A section cannot give more steps than it has. `count` must be the sum of
 * section_counts. */
speediff_status speediff_respacing_sections(int64_t steps, const int64_t *section_counts, int64_t sections,
                                            int64_t *timesteps, int64_t count);

/* The `count` steps of DDIM: 0, s, 2s, ... with the smallest whole stride s that gives exactly `count`. */
speediff_status speediff_respacing_ddim(int64_t steps, int64_t *timesteps, int64_t count);

/* ---- Samplings: which timesteps to draw ------------------------------------------------------------------------ */

/* Gives each step of a schedule its probability. The schedule comes later, when a sampler is made. A sampling may be
 * made of others, at most 256 in all; so may a weighting. */
typedef struct speediff_sampling speediff_sampling;

/* Makes a sampling by name. `parameters` are its first `count` ones; the others have their defaults.
 *
 * A density in u = t / T, which grows with noise, gives step i the mass of [i / T, (i + 1) / T). A density in lambda =
 * ln(SNR) is cut midway between neighbouring steps, from the first lambda to the last finite one, and renormalized.
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
 *   beta                alpha = 0.8, beta = 1, low = 0, high = 1
 *                                                        u ~ low + (high - low) * Beta(alpha, beta). alpha, beta in
 *                                                        (0, 10^4]; 0 <= low < high <= 1
 *   clts                mean, std, end_step = 50000      uniform turning into N(mean, std^2) in steps, by the training step
 *                                                        end_step. NaN: mean = 0.3 T, std = 0.2 T
 *   noise_to_detail     mean = 1, scale = 1, end_step = 50000
 *                                                        lambda ~ Laplace(-mean, scale) turning into Laplace(mean, scale)
 *                                                        by the training step end_step. scale > 0
 *   laplace             mean = 0, scale = 0.5            lambda ~ Laplace(mean, scale). scale > 0
 *   cauchy              mean = 0, scale = 1              lambda ~ Cauchy(mean, scale). scale > 0
 *   loss_second_moment  history = 10, uniform_prob = 0.001
 *                                                        proportional to the root mean square of the last `history`
 *                                                        losses of each step; learns. history * T <= 2^27
 *   adaptive            bins = 100, decay = 0.999        proportional to the running mean of w * loss per bin of t; learns
 *   info_noise          bins = 100, decay = 0.999, c, n = 3, p = 0.002, warm_up = 10
 *                                                        P * w proportional to the running mean of the loss of epsilon per
 *                                                        bin of t, times sigma^n / (sigma^n + c^n), per ln(sigma), w being
 *                                                        the weight on x_0. c = NaN: the largest sigma at which that mean
 *                                                        over sigma is at least p times its largest value; c = 0: no gate.
 *                                                        Uniform until each bin has had warm_up losses; learns. Needs a
 *                                                        prediction and w > 0. n > 0, p in (0, 1)
 */
speediff_status speediff_sampling_create(const char *name, const double *parameters, int64_t count,
                                         speediff_sampling **out);

/* `asymmetric` with tau itself, 0 < tau < T. The paper uses k = 5 and tau = 700 of 1000. */
speediff_status speediff_sampling_create_asymmetric(double k, int64_t tau, speediff_sampling **out);

/* A sampling moved towards more noise: sigma' = shift * sigma / (1 + (shift - 1) * sigma), which is lambda' = lambda -
 * 2 * ln(shift). shift > 0; below 1 it moves towards less. Stable Diffusion 3 uses 3. */
speediff_status speediff_sampling_create_shifted(const speediff_sampling *base, double shift, speediff_sampling **out);

/* A sampling restricted to the steps [start, end), with 0 <= start < end <= T. end = INT64_MAX stands for T. */
speediff_status speediff_sampling_create_truncated(const speediff_sampling *base, int64_t start, int64_t end,
                                                   speediff_sampling **out);

/* The same for a continuous process: a sampling restricted to the levels [low, high), which are t for flow, and sigma for
 * the others. 0 <= low < high; high = INFINITY: no bound. The shape within the range stays. */
speediff_status speediff_sampling_create_truncated_levels(const speediff_sampling *base, double low, double high,
                                                          speediff_sampling **out);

/* share * a + (1 - share) * b, with share in [0, 1]. */
speediff_status speediff_sampling_create_mixture(const speediff_sampling *a, const speediff_sampling *b, double share,
                                                 speediff_sampling **out);

/* `first` up to training step start_step, then linearly, in thousandths, to `second` at end_step. 0 <= start_step <
 * end_step <= 2^53. */
speediff_status speediff_sampling_create_blend(const speediff_sampling *first, const speediff_sampling *second,
                                               int64_t start_step, int64_t end_step, speediff_sampling **out);

/* One sampling after another: samplings[i] holds from training step start_steps[i] on. `count` >= 1; start_steps[0] = 0,
 * and they increase, up to 2^53. */
speediff_status speediff_sampling_create_stages(const int64_t *start_steps, const speediff_sampling *const *samplings,
                                                int64_t count, speediff_sampling **out);

/* What a user's table is given over. */
typedef enum speediff_table_axis {
  SPEEDIFF_TABLE_AXIS_STEPS = 0,  /* one value for each step of a schedule; knots are not read */
  SPEEDIFF_TABLE_AXIS_U = 1,      /* values at knots in u, within [0, 1] */
  SPEEDIFF_TABLE_AXIS_LOG_SNR = 2 /* values at knots in lambda, within [-10^4, 10^4] */
} speediff_table_axis;

/* A density from a table: proportional to values[i] for step i, or to a curve through the knots, and 0 outside them. The
 * curve consists of cubic pieces that keep the rises and falls of the values (PCHIP, Fritsch and Butland 1984). `count`
 * must be T for steps, and at least 2 for knots, which increase. Values are finite and >= 0, and one is above 0. */
speediff_status speediff_sampling_create_table(speediff_table_axis axis, const double *knots, const double *values,
                                               int64_t count, speediff_sampling **out);

/* The names for speediff_sampling_create, separated by spaces. Static memory. */
const char *speediff_sampling_names(void);

/* Frees a sampling. NULL is allowed. */
void speediff_sampling_destroy(speediff_sampling *sampling);

/* ---- Weightings: how much each timestep counts ----------------------------------------------------------------- */

/* Gives each step of a schedule the factor of its loss. The schedule comes later, when a sampler is made. */
typedef struct speediff_weighting speediff_weighting;

/* Makes a weighting by name. `parameters` are its first `count` ones; the others have their defaults.
 *
 * S is the SNR. Most weights depend on what the network predicts, so the sampler needs a prediction. A weight w on x_0
 * is w / S on epsilon, w / (S + 1) on v, and w / (1 + sqrt(S))^2 on flow. One that has no value at S = 0 is an error.
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
 *   bsmntw                                     exp(-2 * (sigma - 1/2)^2) on flow, less its least value, with mean 1 over
 *                                              sigma = i / 1000, 0 <= i < 1000. It is 0 at sigma = 1
 *   linear_sigma   shift = 3                   1 + shift * sigma on flow. shift >= 0
 *   importance                                 1 / (T * P), for any target
 *   uncertainty    bins = 100, decay = 0.999   1 / running mean of w * loss per bin of t, w the other factors of a
 *                                              product, for any target; learns
 */
speediff_status speediff_weighting_create(const char *name, const double *parameters, int64_t count,
                                          speediff_weighting **out);

/* The product of two weightings, each in the form of the sampler's target. */
speediff_status speediff_weighting_create_product(const speediff_weighting *a, const speediff_weighting *b,
                                                  speediff_weighting **out);

/* 1 / w of another weighting, in the form of the sampler's target. It divides out a weight that a pipeline's loss
 * already has. Weightings that follow P or losses (importance, uncertainty, to_emphasis) have none. Where w = 0, no
 * sampler can be made. */
speediff_status speediff_weighting_create_reciprocal(const speediff_weighting *of, speediff_weighting **out);

/* The weights with which any sampling trains the same objective. It is given as an emphasis
 * (speediff_sampler_emphasis): a density over falling log_snr. `count` >= 2, or 0 for the emphasis of uniform draws
 * and weights on epsilon. */
speediff_status speediff_weighting_create_to_emphasis(const double *log_snr, const double *emphasis, int64_t count,
                                                      speediff_weighting **out);

/* A weight from a table, as speediff_sampling_create_table reads it, for any target. A step has the curve's value at u = (i
 * + 1/2) / T, or at its lambda. Knots in u begin at 0 and end at 1; beyond knots in lambda the curve is constant. */
speediff_status speediff_weighting_create_table(speediff_table_axis axis, const double *knots, const double *values,
                                                int64_t count, speediff_weighting **out);

/* The names for speediff_weighting_create, separated by spaces. Static memory. */
const char *speediff_weighting_names(void);

/* Frees a weighting. NULL is allowed. */
void speediff_weighting_destroy(speediff_weighting *weighting);

/* ---- Samplers -------------------------------------------------------------------------------------------------- */

/* What the network predicts: the target of its loss. Many weightings depend on it. */
typedef enum speediff_prediction {
  SPEEDIFF_PREDICTION_UNSPECIFIED = 0,
  SPEEDIFF_PREDICTION_EPSILON = 1, /* the noise */
  SPEEDIFF_PREDICTION_SAMPLE = 2,  /* the data */
  SPEEDIFF_PREDICTION_V = 3,       /* sqrt(alphas_cumprod) * noise - sqrt(1 - alphas_cumprod) * data */
  SPEEDIFF_PREDICTION_FLOW = 4     /* noise - data */
} speediff_prediction;

/* How the uniform numbers u_i behind the N entries of a global batch are spread. pi is a permutation, drawn anew for
 * each step, so that no rank and no place in the batch keeps to one noise level. */
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
  int32_t normalize;   /* 1: divide the weights by their mean over what is drawn; 0: leave them */
} speediff_sampler_options;

#define SPEEDIFF_SAMPLER_OPTIONS_DEFAULT {0, 0, 1, 1, 0, 0, 0}

/* A schedule, a sampling and a weighting, ready to draw.
 *
 * A draw is a pure function of (seed, training step, index in the global batch, size of the global batch), and of the
 * losses so far where the sampler learns. It uses Philox4x32-10. With n entries per call, a training step has a global
 * batch of accumulation * world_size * n entries, at most 2^31. Call c of rank r is micro-batch a = c % accumulation of
 * step c / accumulation. It draws the n entries from index (a * world_size + r) * n on. So the global batch does not
 * depend on how it is divided, except for official SpeeD, and a run resumes from its
 * step number, and from its history where the sampler learns. */
typedef struct speediff_sampler speediff_sampler;

/* Combines a schedule, a sampling and a weighting. */
speediff_status speediff_sampler_create(const speediff_schedule *schedule, const speediff_sampling *sampling,
                                        const speediff_weighting *weighting, const speediff_sampler_options *options,
                                        speediff_sampler **out);

/* SpeeD as in the paper: the sampling `asymmetric` (k, r) with the weighting `change_aware` (lam). */
speediff_status speediff_sampler_create_speed(const speediff_schedule *schedule, double k, double r, double lam,
                                              const speediff_sampler_options *options, speediff_sampler **out);

/* SpeeD as its code was released (NUS-HPC-AI-Lab/SpeeD at f5650f9). Of the n entries of each call, n / 2 + 1 come from
 * `sampling`, which must be asymmetric. The others are their duals |m - t|. Weights are change-aware up to tau, and 1
 * beyond. Each rank and each micro-batch makes its own pairs, at its own indices, so these draws depend on how the
 * global batch is divided. The distribution of a call's batch is speediff_sampler_marginal(), not Eq. 2. Strata must be
 * none. A schedule whose m is T is refused: the dual of step 0 would lie outside it. */
speediff_status speediff_sampler_create_official_speed(const speediff_schedule *schedule,
                                                       const speediff_sampling *sampling, double lam,
                                                       const speediff_sampler_options *options,
                                                       speediff_sampler **out);

/* Frees a sampler. NULL is allowed. */
void speediff_sampler_destroy(speediff_sampler *sampler);

/* P at a training step >= 0: the distribution of a drawn entry, nominal for official SpeeD. Here and below, the step
 * matters only to samplings that follow the training step (blend, stages, clts, noise_to_detail). What was learned from
 * losses counts as it is now. `count` must be T. */
speediff_status speediff_sampler_probabilities(const speediff_sampler *sampler, int64_t step, double *out,
                                               int64_t count);

/* The exact distribution of an entry taken at random from a call's batch of n entries, 1 ... 2^31. It differs from P
 * for official SpeeD alone. `count` must be T. */
speediff_status speediff_sampler_marginal(const speediff_sampler *sampler, int64_t step, int64_t n, double *out,
                                          int64_t count);

/* w, in double precision. With `normalize` its mean under P is 1. `count` must be T. */
speediff_status speediff_sampler_weights(const speediff_sampler *sampler, int64_t step, double *out, int64_t count);

/* The mean weight over a call's batch of n entries, before normalization. n = 0: the mean under P. */
speediff_status speediff_sampler_expected_weight(const speediff_sampler *sampler, int64_t step, int64_t n, double *out);

/* What the sampler asks the network to learn: P * w for the loss of epsilon, as a normalized density over lambda =
 * ln(SNR), so divided by |d lambda / di|. A step with SNR = 0 is left out: `count` must be T, or T - 1 for zero
 * terminal SNR. A sampler without a prediction counts as one of epsilon. For official SpeeD, P is the nominal one. */
speediff_status speediff_sampler_emphasis(const speediff_sampler *sampler, int64_t step, double *log_snr,
                                          double *emphasis, int64_t count);

/* Learns from the losses of a global batch: n timesteps in [0, T), and their losses before any weight, finite and >=
 * 0. The next draw follows. All ranks must give the same. It is an error if neither sampling nor weighting learns. */
speediff_status speediff_sampler_update(speediff_sampler *sampler, const int64_t *t, const float *losses, int64_t n);

/* The length of what was learned, which depends on the methods and T alone; 0 if the sampler learns nothing. */
speediff_status speediff_sampler_history_count(const speediff_sampler *sampler, int64_t *count);

/* What was learned, as plain numbers. `count` must be its length. */
speediff_status speediff_sampler_history(const speediff_sampler *sampler, double *out, int64_t count);

/* Takes over what speediff_sampler_history gave for the same methods and T. */
speediff_status speediff_sampler_restore_history(speediff_sampler *sampler, const double *history, int64_t count);

/* Draws the calls first_call ... first_call + calls - 1 of this rank, with n entries each. `timesteps` and `weights`
 * have calls * n entries. first_call >= 0, and first_call + calls < 2^63. */
speediff_status speediff_sampler_draw(const speediff_sampler *sampler, int64_t first_call, int64_t calls, int64_t n,
                                      int64_t *timesteps, float *weights);

/* Draws the n entries from `offset` on of a training step's global batch of `total` entries, whatever the sampler's
 * rank. This is for uneven batches. Official SpeeD makes its pairs within the n entries. */
speediff_status speediff_sampler_draw_slice(const speediff_sampler *sampler, int64_t step, int64_t offset, int64_t n,
                                            int64_t total, int64_t *timesteps, float *weights);

/* ---- Continuous processes: x = s(t) * x_0 + s(t) * sigma(t) * noise --------------------------------------------- */

/* A process, with the draw and the weight that its authors train with. sigma is the noise-to-signal ratio: SNR = 1 /
 * sigma^2, and lambda = ln(SNR) = -2 ln(sigma). sigma_data > 0 is the standard deviation of the data. Karras et al.
 * 2022, Table 1. */
typedef struct speediff_process speediff_process;

/* VP: sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1; t uniform in [epsilon_t, 1], weight 1 / sigma^2. beta_d,
 * beta_min > 0; epsilon_t in (0, 1). Usual: 19.9, 0.1, 1e-5. */
speediff_status speediff_process_create_vp(double beta_d, double beta_min, double epsilon_t, double sigma_data,
                                           speediff_process **out);

/* VE: sigma^2 = t; ln(sigma) uniform, weight 1 / sigma^2. 0 < sigma_min < sigma_max. Usual: 0.02, 100. */
speediff_status speediff_process_create_ve(double sigma_min, double sigma_max, double sigma_data,
                                           speediff_process **out);

/* EDM: sigma = t; ln(sigma) ~ N(p_mean, p_std^2), weight (sigma^2 + sigma_data^2) / (sigma * sigma_data)^2. p_std > 0.
 * Usual: -1.2, 1.2, 0.5. */
speediff_status speediff_process_create_edm(double p_mean, double p_std, double sigma_data, speediff_process **out);

/* Rectified flow: s = 1 - t, sigma = t / (1 - t), t = 1 being noise; t uniform in [0, 1], weight 1. */
speediff_status speediff_process_create_flow(double sigma_data, speediff_process **out);

/* Frees a process. NULL is allowed. */
void speediff_process_destroy(speediff_process *process);

/* What a process has at its own times t > 0 (below 1 for flow). Later versions may append values; those here keep their
 * meaning. */
typedef enum speediff_process_quantity {
  SPEEDIFF_PROCESS_SCALE = 1,           /* s(t) */
  SPEEDIFF_PROCESS_SIGMA = 2,           /* sigma(t) */
  SPEEDIFF_PROCESS_SIGMA_DERIVATIVE = 3 /* d sigma / dt */
} speediff_process_quantity;

/* Writes a quantity at each of `count` times, at most 2^24. */
speediff_status speediff_process_evaluate(const speediff_process *process, speediff_process_quantity quantity,
                                          const double *t, double *out, int64_t count);

/* A process, a sampling and a weighting, ready to draw noise levels. The uniform numbers are those of
 * speediff_sampler; only what they are mapped to differs. */
typedef struct speediff_sigma_sampler speediff_sigma_sampler;

/* Combines a process, a sampling and a weighting.
 *
 * sampling may be
 * - NULL: the process's own draw;
 * - a density in lambda (log_normal, laplace, cauchy, a table of knots in lambda), which is cut to the process's range;
 * - a density in u (uniform, logit_normal, mode, cosmap, beta, a table of knots in u) where the process has a variable in
 *   [0, 1]: t of VP and flow, ln(sigma) of VE;
 * - a mixture, a blend or stages of these; truncated to levels; shifted, for EDM and flow;
 * - adaptive, in bins of equal share in the process's own draw, whose objective it keeps;
 * - info_noise, in bins of equal width in ln(sigma): over the range of VP and VE, [0.002, 80] for EDM, and t from 0.001 to
 *   0.999 for flow; before it is warm, the process's own draw, constant within each bin;
 * - asymmetric with r, SpeeDiff's own extension of SpeeD: the process's own draw, with sigma > sigma_data * sqrt(r - 1)
 *   suppressed by k.
 *
 * weighting may be
 * - NULL: the process's own weight;
 * - any function of the SNR, uniform, sigmoid (not for EDM), a table of knots (in lambda for EDM), to_emphasis of a given
 *   emphasis, uncertainty, or a product of these;
 * - change_aware, SpeeDiff's own extension: |d alpha_bar / dv| rescaled to [1 - lam, lam], where alpha_bar = 1 / (1 +
 *   sigma^2 / sigma_data^2), and v is t for VP and flow, ln(sigma) for EDM and VE.
 * It has the form for options.prediction. Unspecified stands for x_0 with VP, VE and EDM, and for flow with flow.
 *
 * What learns excludes options.normalize; a sampling that learns also excludes to_emphasis.
 *
 * warm_up is FDM's: before that training step, weights are at most 5 * 100^(step / warm_up). 0: none. It excludes
 * options.normalize and what learns. */
speediff_status speediff_sigma_sampler_create(const speediff_process *process, const speediff_sampling *sampling,
                                              const speediff_weighting *weighting,
                                              const speediff_sampler_options *options, int64_t warm_up,
                                              speediff_sigma_sampler **out);

/* Frees a sampler. NULL is allowed. */
void speediff_sigma_sampler_destroy(speediff_sigma_sampler *sampler);

/* The length of the emphasis of every sigma sampler. */
#define SPEEDIFF_SIGMA_EMPHASIS_COUNT 1024

/* What the sampler asks the network to learn, as speediff_sampler_emphasis has it. The values of lambda hold all but
 * 2e-9 of the draws, within -60 ... 60. `count` must be SPEEDIFF_SIGMA_EMPHASIS_COUNT. */
speediff_status speediff_sigma_sampler_emphasis(const speediff_sigma_sampler *sampler, int64_t step, double *log_snr,
                                                double *emphasis, int64_t count);

/* Learns from the losses of a global batch of training step `step`: n levels as they were drawn (above 0; below 1 for
 * flow), and their losses before any weight, finite and >= 0. The next draw follows. All ranks must give the same. It is
 * an error if neither sampling nor weighting learns. */
speediff_status speediff_sigma_sampler_update(speediff_sigma_sampler *sampler, int64_t step, const float *levels,
                                              const float *losses, int64_t n);

/* The length of what was learned, which depends on the methods alone; 0 if the sampler learns nothing. */
speediff_status speediff_sigma_sampler_history_count(const speediff_sigma_sampler *sampler, int64_t *count);

/* What was learned, as plain numbers. `count` must be its length. */
speediff_status speediff_sigma_sampler_history(const speediff_sigma_sampler *sampler, double *out, int64_t count);

/* Takes over what speediff_sigma_sampler_history gave for the same process and methods. */
speediff_status speediff_sigma_sampler_restore_history(speediff_sigma_sampler *sampler, const double *history,
                                                       int64_t count);

/* Draws the calls first_call ... first_call + calls - 1 of this rank, with n entries each. `levels` (sigma, or t for
 * flow) and `weights` have calls * n entries. first_call >= 0, and first_call + calls < 2^63. */
speediff_status speediff_sigma_sampler_draw(const speediff_sigma_sampler *sampler, int64_t first_call, int64_t calls,
                                            int64_t n, float *levels, float *weights);

/* Draws the n entries from `offset` on of a training step's global batch of `total` entries, whatever the sampler's
 * rank. */
speediff_status speediff_sigma_sampler_draw_slice(const speediff_sigma_sampler *sampler, int64_t step, int64_t offset,
                                                  int64_t n, int64_t total, float *levels, float *weights);

/* The same, with each entry moved towards more noise: lambda' = lambda - 2 * ln(shift) - 2 * offset, that is, t' = shift
 * * t / (1 + (shift - 1) * t) for flow, and sigma' = shift * exp(offset) * sigma. The uniform numbers do not depend on it, and
 * strata hold before it. VP and VE have a range of sigma: there the density is moved, cut to the range and
 * renormalized. Weights are those of the moved levels, so options.normalize, to_emphasis and what learns exclude
 * it.
 *
 * shifts and offsets have n entries each; NULL: none. 0 < shift; -87 <= ln(shift), offset <= 87; for VP and VE, some of
 * the density must stay in the range. On an error nothing is written. */
speediff_status speediff_sigma_sampler_draw_shifted(const speediff_sigma_sampler *sampler, int64_t step, int64_t offset,
                                                    int64_t n, int64_t total, const double *shifts,
                                                    const double *offsets, float *levels, float *weights);

/* The momentum of the Fast Diffusion Model: c_in = exp(-m b) * (1 + m b) at each of `count` noise levels, with b = 0.1
 * t + 9.95 t^2 and t = (sigma - sigma_min) / (sigma_max - sigma_min), 0 below sigma_min. 0 <= sigma_min < sigma_max; m
 * = multiplier > 0; sigma >= 0; count at most 2^24. */
speediff_status speediff_fdm_input_scale(double sigma_min, double sigma_max, double multiplier, const double *sigma,
                                         double *out, int64_t count);

/* ---- Networks -------------------------------------------------------------------------------------------------- */

/* A network: a family's name and values. Immutable; its parameters belong to its trainers. They have the names and shapes
 * of the authors' PyTorch code.
 *
 *   family  value               default  range
 *   dit     input_size          32       pixels, or latents, along an image's side: a multiple of patch_size, at most
 *                                        2^14
 *           patch_size          2        the same along a patch's side
 *           in_channels         4        channels of an image, at most 2^12
 *           hidden_size         1152     floats in a token: a multiple of 4 and of num_heads, at most 2^16
 *           depth               28       blocks, at most 2^12
 *           num_heads           16       attention heads in a block
 *           mlp_ratio           4        hidden width of a block's MLP over hidden_size, in (0, 64]
 *           num_classes         1000     0: a network without labels
 *           class_dropout_prob  0.1      in [0, 1]; above 0 there is a null label, number num_classes
 *           learn_sigma         1        1: predict a variance too, in as many channels again; 0: do not
 *           frequency_shift     0        s in the frequencies 10000^(-i/(128-s)) of the timestep's embedding, in
 *                                        [0, 1]: 0 in the authors' code, 1 in that of diffusers
 *   mdt     as dit, and
 *           version             2        1: Gao et al. 2023; 2: MDTv2
 *           decode_layer        4        how many of the blocks decode; version 2 needs an even number of others
 *           mask_ratio          0.3      in [0, 1): the share of tokens that the second pass hides from the encoder; in
 *                                        version 2 the smallest share, with at most 0.2 more
 *           min_snr_gamma       5        of the Min-SNR factor on the squared errors of both passes; 0: none
 *
 * dit is that of Peebles and Xie 2023. These are names and values instead of a struct, so that a family can be added, or
 * get a value, without a change of this header. */
typedef struct speediff_network speediff_network;

/* Makes a network. names and values: `count` of each; what is not given has its default. A name that the family does
 * not have, or a missing one without default, is an error that lists the family's values. */
speediff_status speediff_network_create(const char *family, const char *const *names, const double *values,
                                        int64_t count, speediff_network **out);

/* Makes an official network: "DiT-S/2" ... "DiT-XL/8", "MDT-S/2" ... (as in the paper) or "MDTv2-S/2" ... (as in the
 * authors' code, with Min-SNR-5 in its loss). The values that are given precede the official ones. */
speediff_status speediff_network_create_official(const char *name, const char *const *names, const double *values,
                                                 int64_t count, speediff_network **out);

/* Frees a network. NULL is allowed. */
void speediff_network_destroy(speediff_network *network);

/* Gives the name of a network's family. Static memory. */
speediff_status speediff_network_family(const speediff_network *network, const char **family);

/* Writes one of its values. */
speediff_status speediff_network_value(const speediff_network *network, const char *name, double *value);

/* The families, separated by spaces. Static memory. */
const char *speediff_network_family_names(void);

/* The number of a family's values. */
speediff_status speediff_network_family_value_count(const char *family, int64_t *out);

/* What a value can be. */
typedef enum speediff_value_kind {
  SPEEDIFF_VALUE_INTEGER = 1,
  SPEEDIFF_VALUE_REAL = 2,
  SPEEDIFF_VALUE_FLAG = 3 /* 0 or 1 */
} speediff_value_kind;

/* Describes a value of a family: its name, in static memory; a speediff_value_kind; and its default, NaN where it must
 * be given. */
speediff_status speediff_network_family_value(const char *family, int64_t index, const char **name, int32_t *kind,
                                              double *standard);

/* ---- Trainers -------------------------------------------------------------------------------------------------- */

/* What limits the threads of this process. processors: those in the affinity mask. quota: the CPU quota of the
 * process's control groups, in whole processors, at least 1; 0: none. requested: OMP_NUM_THREADS; 0: not set. It is an
 * error if that is not a positive number. */
speediff_status speediff_thread_limits(int64_t *processors, int64_t *quota, int64_t *requested);

/* The memory that this process may use, in bytes: the machine's, or less where its control groups limit it. */
speediff_status speediff_memory_limit(int64_t *bytes);

/* The precision of the factors of matrix products. Their sums are float, and so is all that is kept from step to step:
 * parameters, their average, gradients and moments. The products of one row per sample (of timesteps and labels) have
 * float factors in either case.
 *
 * bfloat16 needs a processor with AVX-512-BF16 and a build for AVX-512; otherwise it is an error, since it would only be
 * slower. SPEEDIFF_BFLOAT16=emulated in the environment computes it all the same, with the same results to the last bit. */
typedef enum speediff_precision {
  SPEEDIFF_PRECISION_FLOAT32 = 0,
  SPEEDIFF_PRECISION_BFLOAT16 = 1, /* rounded to the nearest; subnormal numbers become 0 */
  SPEEDIFF_PRECISION_AUTO = 2      /* bfloat16 on AMD's processors that have it, float32 elsewhere */
} speediff_precision;

/* Writes the precision that SPEEDIFF_PRECISION_AUTO takes in this process. */
speediff_status speediff_fastest_precision(int64_t *precision);

/* How a network is trained. The update is computed in float: learning_rate, epsilon and weight_decay must be finite
 * there, and epsilon above 0.
 *
 * This struct and speediff_training_batch begin with their size, so that later headers can add fields at the end. Start
 * from the _DEFAULT, which sets it. A newer library gives a caller's missing fields their defaults. An older library
 * refuses fields that it does not know, unless they are 0. */
typedef struct speediff_trainer_options {
  size_t size;          /* sizeof(speediff_trainer_options) */
  double learning_rate; /* after the warm-up; at least 0 */
  double beta1;         /* AdamW's, in [0, 1) */
  double beta2;         /* AdamW's, in [0, 1) */
  double epsilon;       /* AdamW's, positive */
  double weight_decay;  /* decoupled, at least 0 */
  double ema_decay;     /* of the parameters' moving average, in [0, 1] */
  int32_t ema_warmup;   /* 1: the decay of update n = 1, 2, ... is at most (1 + n) / (10 + n) */
  double max_grad_norm; /* the largest global norm of a gradient, positive; 0: no clipping */
  int64_t warmup_steps; /* updates over which the learning rate rises linearly; 0: none */
  uint64_t seed;        /* of initial parameters, noise and label dropout */
  int32_t threads;      /* at most 1024; 0: the smallest number of speediff_thread_limits that is not 0 */
  int64_t precision;    /* a speediff_precision */
} speediff_trainer_options;

#define SPEEDIFF_TRAINER_OPTIONS_DEFAULT {sizeof(speediff_trainer_options), 1e-4, 0.9, 0.999, 1e-8, 0.0, 0.9999, 0, 0.0, 0, 0, 0, 0}

/* Trains a network on the CPU: draw, noise, forward, backward, AdamW and the parameters' average (EMA).
 *
 * The same seed gives the same run, bit for bit on one machine with one number of threads. Threads and fork(): see
 * the top of this file.
 *
 * Images are float, of shape (n, in_channels, input_size, input_size), usually in [-1, 1]. 1 <= n <= 2^20. The
 * first call with a larger n lays out memory anew; the others allocate none. SPEEDIFF_MATRIX_PRODUCT=openblas or
 * native in the environment chooses the matrix product. With OpenBLAS's, OpenBLAS has one thread per caller in the
 * whole process while a trainer works. */
typedef struct speediff_trainer speediff_trainer;

/* Makes a trainer of a network, and initializes the network's parameters. The sampler draws the timesteps, and its
 * prediction is the network's target; unspecified stands for epsilon. With flow, images are noised along the straight
 * path, at the step's signal-to-noise ratio. */
speediff_status speediff_trainer_create(const speediff_network *network, const speediff_trainer_options *options,
                                        const speediff_sampler *sampler, speediff_trainer **out);

/* Frees a trainer, and the memory that speediff_trainer_buffer lent. NULL is allowed. */
void speediff_trainer_destroy(speediff_trainer *trainer);

/* Gives the network: a handle to be destroyed. */
speediff_status speediff_trainer_network(const speediff_trainer *trainer, speediff_network **out);

/* Writes the options as they are now, with the actual number of threads and the precision that AUTO took. size: sizeof *out. */
speediff_status speediff_trainer_get_options(const speediff_trainer *trainer, speediff_trainer_options *out,
                                             size_t size);

/* Sets the learning rate of the updates to come. */
speediff_status speediff_trainer_set_learning_rate(speediff_trainer *trainer, double learning_rate);

/* Sets the decay of the moving average, in [0, 1], for the updates to come. ema_warmup still bounds it. */
speediff_status speediff_trainer_set_ema_decay(speediff_trainer *trainer, double ema_decay);

/* Sets the precision of the steps to come, a speediff_precision, between steps. The parameters go on as they are. */
speediff_status speediff_trainer_set_precision(speediff_trainer *trainer, int64_t precision);

/* Writes the number of updates so far. */
speediff_status speediff_trainer_global_step(const speediff_trainer *trainer, int64_t *out);

/* Sets the number of updates so far, in [0, 2^32], between steps. It is the training step of the draws to come and of
 * AdamW's bias correction. At 2^32 no further step can be taken. */
speediff_status speediff_trainer_set_global_step(speediff_trainer *trainer, int64_t step);

/* A micro-batch. What is NULL is drawn, or does not exist in this network. */
typedef struct speediff_training_batch {
  size_t size;          /* sizeof(speediff_training_batch) */
  const float *x;       /* n images; never NULL */
  const int64_t *y;     /* classes in [0, num_classes), or the null label; NULL only for a network without labels */
  int64_t n;            /* the samples, at least 1; with `total` also 0 */
  const int64_t *t;     /* timesteps in [0, T); if they are given, no label is dropped */
  const float *noise;   /* of the images' shape */
  const float *weights; /* instead of the sampler's */
  const float *masked_noise; /* of a second pass, as an MDT has it */
  const int64_t *kept;  /* shape (n, kept_count): the tokens that this pass keeps, no token twice for a sample */
  int64_t kept_count;   /* in [1, tokens] */
  int64_t offset;       /* with total > 0: the first sample's index in the step's global batch, whatever the rank */
  int64_t total;        /* the size of that batch, for parts of several sizes: at most 2^32 over a quarter of an image's
                         * floats; 0: the sampler's layout says which entries these are */
} speediff_training_batch;

#define SPEEDIFF_TRAINING_BATCH_DEFAULT {sizeof(speediff_training_batch), NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0}

/* Runs a micro-batch forward and backward, and adds its gradient to that of the step's others. *loss becomes the
 * mean over its samples of weight * mse. With a learned variance, guided-diffusion's variational term in bits per
 * dimension is added. For an MDT it is the sum of both passes. With `total`, gradient and loss are sums over the
 * samples divided by `total`: added up over all parts of the global batch, they are its means.
 *
 * After SPEEDIFF_ERROR_NOT_FINITE the step begins anew with its first micro-batch. */
speediff_status speediff_trainer_backward(speediff_trainer *trainer, const speediff_training_batch *batch,
                                          double *loss);

/* Gives up a step that was begun. The next backward is its first micro-batch again. */
speediff_status speediff_trainer_discard(speediff_trainer *trainer);

/* Clips the gradient, updates the parameters and their average, and ends the step. *norm, which may be NULL, becomes the
 * gradient's global norm before clipping. A gradient that is not finite, or whose norm after clipping is above 1e19, which
 * AdamW cannot square in a float, fails with SPEEDIFF_ERROR_NOT_FINITE: nothing is applied, and the step starts again. */
speediff_status speediff_trainer_apply(speediff_trainer *trainer, double *norm);

/* Has the trainer's sampler learn from the step that speediff_trainer_apply has just ended, once. It does nothing if the
 * sampler does not learn. The sampler sees this trainer's micro-batches alone: where several processes share each step,
 * gather speediff_trainer_last_losses from all of them, and call speediff_sampler_update. The first steps allocate
 * memory for a sampler that learns. */
speediff_status speediff_trainer_learn(speediff_trainer *trainer);

/* The number of samples of the last backward. Fails with SPEEDIFF_ERROR_INVALID_ARGUMENT if there was none, or if a call
 * that laid out memory has dropped its losses. */
speediff_status speediff_trainer_last_count(const speediff_trainer *trainer, int64_t *out);

/* Writes the timesteps and the unweighted mean squared errors of the last backward, for speediff_sampler_update. For
 * an MDT they are summed over both passes. `count` must be speediff_trainer_last_count. Fails where
 * that does. */
speediff_status speediff_trainer_last_losses(const speediff_trainer *trainer, int64_t *t, float *losses,
                                             int64_t count);

/* Runs the network alone. `out` becomes its prediction for n images, of shape (n, in_channels, input_size,
 * input_size), with twice the channels where it learns the variance. t: one timestep per image, finite; fractions are
 * allowed. ema: 1 for the parameters' average, 0 for the parameters. */
speediff_status speediff_trainer_forward(speediff_trainer *trainer, const float *x_t, const float *t, const int64_t *y,
                                         int64_t n, int32_t ema, float *out);

/* The number of parameter tensors. */
speediff_status speediff_trainer_parameter_count(const speediff_trainer *trainer, int64_t *out);

/* The most dimensions that a parameter has. */
#define SPEEDIFF_MAXIMUM_RANK 4

/* Writes a parameter's name, its shape, and its offset: where its first float is in each of the first five buffers. The
 * name is the trainer's memory. */
speediff_status speediff_trainer_parameter(const speediff_trainer *trainer, int64_t index, const char **name,
                                           int64_t shape[SPEEDIFF_MAXIMUM_RANK], int64_t *rank, int64_t *offset);

/* The memory of a trainer. */
typedef enum speediff_buffer {
  SPEEDIFF_BUFFER_PARAMETERS = 1,
  SPEEDIFF_BUFFER_GRADIENTS = 2,      /* the sum over the step's samples so far, over the number of all its samples */
  SPEEDIFF_BUFFER_EXP_AVG = 3,        /* AdamW's mean gradient */
  SPEEDIFF_BUFFER_EXP_AVG_SQ = 4,     /* AdamW's mean squared gradient */
  SPEEDIFF_BUFFER_EMA_PARAMETERS = 5, /* the parameters' moving average */
  SPEEDIFF_BUFFER_POS_EMBED = 6       /* a DiT's fixed positions, of shape (1, tokens, hidden_size); empty for an MDT */
} speediff_buffer;

/* Lends the memory itself, until the trainer is destroyed. Read and write it between calls. Parameters begin at
 * multiples of 64 bytes; do not write to the zeros between them. */
speediff_status speediff_trainer_buffer(const speediff_trainer *trainer, speediff_buffer buffer, float **data,
                                        int64_t *count);

/* ---- Generation ------------------------------------------------------------------------------------------------ */

/* How an image is made from noise. */
typedef enum speediff_generation_method {
  SPEEDIFF_GENERATION_DDPM = 1, /* ancestral sampling; Ho et al. 2020 */
  SPEEDIFF_GENERATION_DDIM = 2  /* Song et al. 2021, Eq. 12 */
} speediff_generation_method;

/* How images are generated. */
typedef struct speediff_generation_options {
  int32_t method;   /* a speediff_generation_method */
  int64_t steps;    /* how many of the T steps, in [2, T]: spread evenly, the first and the last included */
  double eta;       /* DDIM's, at least 0; 0 is deterministic */
  double cfg_scale; /* s in prediction(null) + s * (prediction(label) - prediction(null)); 1: no guidance */
  int32_t clip;     /* 1: cut predictions of x_0 to [-1, 1] */
  int32_t ema;      /* 1: with the parameters' average; 0: with the parameters */
} speediff_generation_options;

#define SPEEDIFF_GENERATION_OPTIONS_DEFAULT {SPEEDIFF_GENERATION_DDPM, 250, 0.0, 1.0, 0, 1}

/* Called after each step, with the number of steps done and of all steps. Returns 0 to stop. It must not call the
 * trainer. */
typedef int32_t (*speediff_progress)(void *context, int64_t done, int64_t total);

/* Generates n images, 0 <= n <= 2^20, into `out`, of shape (n, in_channels, input_size, input_size). Up to rounding,
 * an image is a function of its seed, its label and the options, whatever else is in the batch. y: n labels, or NULL
 * for a network without labels. progress may be NULL. If it stops the work, the call fails with
 * SPEEDIFF_ERROR_CANCELLED, and `out` holds unfinished images. */
speediff_status speediff_trainer_generate(speediff_trainer *trainer, const int64_t *y, const uint64_t *seeds, int64_t n,
                                          const speediff_generation_options *options, speediff_progress progress,
                                          void *context, float *out);

/* ---- Checkpoints ----------------------------------------------------------------------------------------------- */

/* Writes a checkpoint: a safetensors file with all that a bit-exact continuation needs. `path` is UTF-8. It holds
 * - the parameters and pos_embed, under the names of the official state dict;
 * - the average and AdamW's moments, with "ema.", "exp_avg." and "exp_avg_sq." before the name;
 * - the sampler's schedule, and what the sampler learned;
 * - options, step and `note`, any UTF-8 text, as metadata.
 *
 * An old file is replaced as a whole: a temporary file beside it is written, flushed to the device, and renamed. So a
 * kill, a full disk or a power cut leaves the old file or the new one. Symbolic links are followed, and the mode is kept.
 * A killed call may leave a file named ".NAME.speediff-PID-N.tmp", which the next call for the same path removes.
 *
 * What speediff_checkpoint_trainer would refuse is refused here, before anything is written: a parameter, average or moment
 * that is not finite fails with SPEEDIFF_ERROR_NOT_FINITE. Between the micro-batches of a step, saving is an error. After
 * an error the trainer can be used as before. */
speediff_status speediff_trainer_save(speediff_trainer *trainer, const char *path, const char *note);

/* A file that speediff_trainer_save wrote. Immutable. Whatever is taken from it is checked against the file's checksums
 * as it is read, so a file that is overwritten meanwhile is an error, and never a mixture. */
typedef struct speediff_checkpoint speediff_checkpoint;

/* Opens a checkpoint. A file that is incomplete, damaged or something else fails with SPEEDIFF_ERROR_FILE. */
speediff_status speediff_checkpoint_open(const char *path, speediff_checkpoint **out);

/* Closes a checkpoint. NULL is allowed. */
void speediff_checkpoint_destroy(speediff_checkpoint *checkpoint);

/* Gives the note. It is the checkpoint's memory. */
speediff_status speediff_checkpoint_note(const speediff_checkpoint *checkpoint, const char **note);

/* Makes the schedule that the saved trainer's sampler had. */
speediff_status speediff_checkpoint_schedule(const speediff_checkpoint *checkpoint, speediff_schedule **out);

/* Makes the trainer that was saved. With the same number of threads its steps go on bit for bit. Give it a sampler
 * with the same methods and seed, which the file does not hold. Another schedule or prediction is an error. What the
 * saved sampler had learned is restored into it once all else has succeeded. threads: as in speediff_trainer_options.
 * The precision is the file's: if this processor does not have it, set another one before the first step. */
speediff_status speediff_checkpoint_trainer(const speediff_checkpoint *checkpoint, const speediff_sampler *sampler,
                                            int32_t threads, speediff_trainer **out);

#ifdef __cplusplus
}
#endif

#endif
