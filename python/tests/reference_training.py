"""The oracle of training: guided-diffusion's objective and samplers, and docs/draw.md's random numbers.

After Ho et al. 2020, Nichol and Dhariwal 2021 and Song et al. 2021, as openai/guided-diffusion and
facebookresearch/DiT compute them. Functions of tensors keep their dtype; random numbers are float64 NumPy.
Nothing here calls the library.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import reference
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]
    Network = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]

PREDICTIONS = ("epsilon", "sample", "v", "flow")

# ---- Random numbers ------------------------------------------------------------------------------

NOISE, LABEL_DROPOUT, GENERATION = 5, 6, 10


def normals(words: reference.Words) -> Array:
    """Box–Muller: each pair of words makes two normal numbers."""
    radius_word, angle_word = (words[i::2].astype(np.float64) for i in (0, 1))
    radius = np.sqrt(-2 * np.log((radius_word + 1) / 2**32))
    angle = 2 * np.pi * angle_word / 2**32
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()


def noise(
    seed: int, step: int, first: int, count: int, shape: tuple[int, ...], purpose: int = NOISE
) -> Array:
    """The noise of entries first … first + count - 1 of a global batch, shape (count, *shape)."""
    size = math.prod(shape)
    padded = -(-size // 4) * 4
    rows = normals(reference.words(seed, step, purpose, first * padded, count * padded))
    return rows.reshape(count, padded)[:, :size].reshape(count, *shape)


def drop_labels(
    labels: NDArray[np.int64],
    seed: int,
    step: int,
    first: int,
    probability: float,
    null_label: int,
    purpose: int = LABEL_DROPOUT,
) -> NDArray[np.int64]:
    """Labels with each entry's dropout done; the first one is entry `first` of the global batch."""
    u = reference.words(seed, step, purpose, first, len(labels)).astype(np.float64) / 2**32
    return np.where(u < probability, null_label, labels)


def generation_noise(seeds: Sequence[int], step: int, shape: tuple[int, ...]) -> Tensor:
    """x_T (step 0), or the noise of the step-th denoising step, one row for each image's seed."""
    return torch.from_numpy(np.concatenate([noise(seed, step, 0, 1, shape, GENERATION) for seed in seeds]))


# ---- The process ---------------------------------------------------------------------------------


class Process:
    """The tables of q(x_t | x_0) and q(x_{t-1} | x_t, x_0), float64, and what follows from them."""

    def __init__(self, betas: Array, timesteps: Sequence[int] | None = None) -> None:
        """Takes β, and the time steps that the network is told in place of 0 … T-1."""
        betas = np.asarray(betas, np.float64)
        alphas_cumprod = np.cumprod(1 - betas)
        previous = np.append(1.0, alphas_cumprod[:-1])
        variance = betas * (1 - previous) / (1 - alphas_cumprod)
        self.timesteps = np.arange(len(betas)) if timesteps is None else np.asarray(timesteps)
        self.alphas_cumprod, self.previous = torch.from_numpy(alphas_cumprod), torch.from_numpy(previous)
        self.signal, self.noise = self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()
        self.log_betas = torch.from_numpy(np.log(betas))
        # The first posterior variance is 0; the second stands in for it.
        self.posterior_log_variance = torch.from_numpy(np.log(np.append(variance[1], variance[1:])))
        self.large_log_variance = torch.from_numpy(np.log(np.append(variance[1], betas[1:])))
        self.mean_of_sample = torch.from_numpy(betas * np.sqrt(previous) / (1 - alphas_cumprod))
        self.mean_of_noised = torch.from_numpy((1 - previous) * np.sqrt(1 - betas) / (1 - alphas_cumprod))

    def respaced(self, timesteps: Sequence[int]) -> Process:
        """The process that visits these time steps alone."""
        kept = self.alphas_cumprod.numpy()[np.asarray(timesteps)]
        return Process(1 - kept / np.append(1.0, kept[:-1]), timesteps)

    def straight_scale(self, t: Tensor, like: Tensor) -> Tensor:
        """The factor from the straight path's x_t to the variance-preserving one of the same SNR."""
        return at(self.signal, t, like) + at(self.noise, t, like)

    def noised(self, prediction: str, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t, as the network is given it."""
        if prediction == "flow":
            sigma = 1 / (1 + (at(self.signal, t, x0) / at(self.noise, t, x0)))
            return (1 - sigma) * x0 + sigma * eps
        return at(self.signal, t, x0) * x0 + at(self.noise, t, x0) * eps

    def target(self, prediction: str, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        if prediction == "v":
            return at(self.signal, t, x0) * eps - at(self.noise, t, x0) * x0
        return {"epsilon": eps, "sample": x0, "flow": eps - x0}[prediction]

    def predicted_sample(self, prediction: str, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x_0 from what the network said about x_t (on its own path)."""
        signal, noise = at(self.signal, t, x_t), at(self.noise, t, x_t)
        if prediction == "epsilon":
            return x_t / signal - noise / signal * output
        if prediction == "v":
            return signal * x_t - noise * output
        if prediction == "flow":
            return x_t - output / (1 + signal / noise)
        return output

    def predicted_noise(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return (x_t - at(self.signal, t, x_t) * x0) / at(self.noise, t, x_t)

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The mean of q(x_{t-1} | x_t, x_0)."""
        return at(self.mean_of_sample, t, x_t) * x0 + at(self.mean_of_noised, t, x_t) * x_t

    def log_variance(self, values: Tensor, t: Tensor) -> Tensor:
        """LEARNED_RANGE: -1 is the posterior's log variance, 1 is log β."""
        fraction = (values + 1) / 2
        largest, smallest = at(self.log_betas, t, values), at(self.posterior_log_variance, t, values)
        return fraction * largest + (1 - fraction) * smallest


def at(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """A table's entries, to be multiplied with images."""
    return table[t].to(like.dtype).reshape(-1, 1, 1, 1)


# ---- The objective -------------------------------------------------------------------------------


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL(N1 ‖ N2), elementwise, in nats."""
    ratio = torch.exp(log_variance1 - log_variance2)
    distance = (mean1 - mean2) ** 2 * torch.exp(-log_variance2)
    return 0.5 * (log_variance2 - log_variance1 + ratio + distance - 1)


def approx_standard_normal_cdf(x: Tensor) -> Tensor:
    """Φ by the tanh that GELU uses."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def discretized_gaussian_log_likelihood(x: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """ln of the mass around x of 256 levels over [-1, 1]; the outermost have the tails."""
    inverse_scale = torch.exp(-log_scales)
    upper = approx_standard_normal_cdf(inverse_scale * (x - means + 1 / 255))
    lower = approx_standard_normal_cdf(inverse_scale * (x - means - 1 / 255))
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return torch.log(mass.clamp(min=1e-12))


def variational_term(
    process: Process, prediction: str, output: Tensor, x0: Tensor, x_t: Tensor, t: Tensor
) -> Tensor:
    """L_t in bits per dimension, shape (n,); gradients reach the variance alone.

    At t = 0 the decoder's NLL. On the straight path the same, of the variance-preserving x_t.
    """
    mean_part, values = output.detach().chunk(2, 1)[0], output.chunk(2, 1)[1]
    predicted = process.predicted_sample(prediction, mean_part, x_t, t)
    if prediction == "flow":
        x_t = x_t * process.straight_scale(t, x_t)
    mean, log_variance = process.posterior_mean(predicted, x_t, t), process.log_variance(values, t)
    true_mean = process.posterior_mean(x0, x_t, t)
    kl = normal_kl(true_mean, at(process.posterior_log_variance, t, x_t), mean, log_variance)
    nll = -discretized_gaussian_log_likelihood(x0, mean, 0.5 * log_variance)
    first = (t == 0).reshape(-1, 1, 1, 1)
    return torch.where(first, nll, kl).mean(dim=(1, 2, 3)) / math.log(2)


class Losses(NamedTuple):
    """Each entry's squared error and variational term (0 without a learned variance), shape (n,)."""

    mse: Tensor
    vb: Tensor

    def objective(self, weights: Tensor) -> Tensor:
        """The mean over the batch of w·mse + vb."""
        return (weights.to(self.mse.dtype) * self.mse + self.vb).mean()


def losses(process: Process, prediction: str, output: Tensor, x0: Tensor, t: Tensor, eps: Tensor) -> Losses:
    """The losses of a network's output for x_t of x_0 and noise; 2c channels are a learned variance."""
    learned = output.shape[1] == 2 * x0.shape[1]
    target = process.target(prediction, x0, t, eps)
    mse = ((target - output[:, : x0.shape[1]]) ** 2).mean(dim=(1, 2, 3))
    if not learned:
        return Losses(mse, torch.zeros_like(mse))
    x_t = process.noised(prediction, x0, t, eps)
    return Losses(mse, variational_term(process, prediction, output, x0, x_t, t))


# ---- The optimizer -------------------------------------------------------------------------------


def ema_decay(decay: float, update: int, warmup: bool) -> float:
    """The decay of update 1, 2, …."""
    return min(decay, (1 + update) / (10 + update)) if warmup else decay


def ema_update(ema: Mapping[str, Array], parameters: Mapping[str, Array], decay: float) -> dict[str, Array]:
    return {name: decay * ema[name] + (1 - decay) * parameters[name] for name in ema}


# ---- Generation ----------------------------------------------------------------------------------


def guided(
    network: Network, x: Tensor, t: Tensor, labels: Tensor | None, null_label: int, scale: float
) -> Tensor:
    """Classifier-free guidance of every channel of the prediction; the variance is that of the label.

    The official code guides the first three channels only, "for exact reproducibility" of its figures.
    """
    conditional = network(x, t, labels)
    if scale == 1 or labels is None:
        return conditional
    unconditional = network(x, t, torch.full_like(labels, null_label))
    channels = x.shape[1]
    prediction = unconditional + scale * (conditional - unconditional)
    return torch.cat([prediction[:, :channels], conditional[:, channels:]], dim=1)


def generate(
    network: Network,
    process: Process,
    prediction: str,
    labels: NDArray[np.int64] | None,
    seeds: Sequence[int],
    shape: tuple[int, int, int],
    *,
    method: str = "ddpm",
    eta: float = 0.0,
    cfg_scale: float = 1.0,
    null_label: int = 1000,
    clip: bool = False,
) -> Tensor:
    """Images of shape (n, c, h, w), float64, by all steps of a process (`respaced` to those wanted).

    The state is variance-preserving; a "flow" network is given it on the straight path. Without a learned
    variance the DDPM's is β, guided-diffusion's FIXED_LARGE.
    """
    y = None if labels is None else torch.from_numpy(labels)
    x = generation_noise(seeds, 0, shape)
    for k, i in enumerate(reversed(range(len(process.timesteps))), start=1):
        t = torch.full((len(seeds),), i)
        given = x / process.straight_scale(t, x) if prediction == "flow" else x
        told = torch.full((len(seeds),), float(process.timesteps[i]), dtype=x.dtype)
        with torch.no_grad():
            output = guided(network, given, told, y, null_label, cfg_scale)
        x0 = process.predicted_sample(prediction, output[:, : shape[0]], given, t)
        if clip:
            x0 = x0.clamp(-1, 1)
        if method == "ddpm":
            step = ddpm_step(process, x0, x, t, output[:, shape[0] :])
        else:
            step = ddim_step(process, x0, x, t, eta)
        x = step.mean if i == 0 else step.mean + step.scale * generation_noise(seeds, k, shape)
    return x


class Step(NamedTuple):
    """The mean and the standard deviation of x_{t-1}."""

    mean: Tensor
    scale: Tensor


def ddpm_step(process: Process, x0: Tensor, x: Tensor, t: Tensor, values: Tensor) -> Step:
    """Ancestral sampling; `values` is what the network says of the variance, or has no channels."""
    log_variance = (
        process.log_variance(values, t) if values.shape[1] else at(process.large_log_variance, t, x)
    )
    return Step(process.posterior_mean(x0, x, t), torch.exp(0.5 * log_variance))


def ddim_step(process: Process, x0: Tensor, x: Tensor, t: Tensor, eta: float) -> Step:
    """Song et al. 2021, Eq. 12 and 16."""
    now, before = at(process.alphas_cumprod, t, x), at(process.previous, t, x)
    scale = eta * torch.sqrt((1 - before) / (1 - now)) * torch.sqrt(1 - now / before)
    eps = process.predicted_noise(x0, x, t)
    return Step(before.sqrt() * x0 + torch.sqrt(1 - before - scale**2) * eps, scale)


# ---- Comparisons ---------------------------------------------------------------------------------


def assert_arrays_agree(actual: object, expected: object, tolerance: float, name: str = "array") -> None:
    """Element by element, relative to the largest; the message says where the error is largest."""
    found, wanted = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert found.shape == wanted.shape, f"{name}: shape {found.shape}, expected {wanted.shape}"
    scale = max(float(np.abs(wanted).max()), np.finfo(np.float32).tiny)
    error = np.nan_to_num(np.abs(found - wanted) / scale, nan=np.inf)
    worst = np.unravel_index(int(error.argmax()), error.shape)
    place = [int(i) for i in worst]
    assert error[worst] <= tolerance, (
        f"{name}{place} is {found[worst]}, expected {wanted[worst]}: {error[worst]:.2e} of the largest"
    )


def assert_tensors_agree(
    actual: Mapping[str, object], expected: Mapping[str, object], tolerance: float
) -> None:
    """Each tensor relative in norm, and q, k, v and adaLN's parts each for itself; the worst five are named.

    Parts that are 0 but for rounding (the keys' bias cannot matter) count as part of their tensor only. A
    tensor that is 0 may have float32's rounding of the largest one.
    """
    assert set(actual) == set(expected), set(actual) ^ set(expected)
    errors = {}
    rounding = 2.0**-23 * max(float(np.linalg.norm(np.asarray(value))) for value in expected.values())
    for name, value in expected.items():
        found, wanted = np.asarray(actual[name], np.float64), np.asarray(value, np.float64)
        assert found.shape == wanted.shape, f"{name}: shape {found.shape}, expected {wanted.shape}"
        whole = float(np.linalg.norm(wanted))
        for part, f, w in zip(*parts(name, found), parts(name, wanted)[1], strict=True):
            norm = float(np.linalg.norm(w))
            if part == name or norm > 1e-6 * whole:
                distance = float(np.linalg.norm(f - w))
                error = distance / norm if norm else tolerance * distance / rounding
                errors[part] = error if math.isfinite(error) else math.inf
    worst = sorted(errors, key=errors.__getitem__, reverse=True)[:5]
    assert errors[worst[0]] <= tolerance, ", ".join(f"{name}: {errors[name]:.2e}" for name in worst)


def parts(name: str, value: Array) -> tuple[list[str], list[Array]]:
    """A tensor, and what is stacked in it."""
    count = 3 if "attn.qkv" in name else 2 if "final_layer.adaLN" in name else 6 if "adaLN" in name else 0
    stacked = np.split(value, count) if count else []
    return [name, *(f"{name}[{i} of {count}]" for i in range(count))], [value, *stacked]


def gradients(model: torch.nn.Module) -> dict[str, Array]:
    """The gradients of all that is trained."""
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.requires_grad}
