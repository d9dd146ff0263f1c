"""AdamW, clipping, warm-up and the EMA against PyTorch's, on the same gradients; and the same run twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import reference_training as oracle
import torch
from reference_training import assert_arrays_agree, assert_tensors_agree

import speediff
from speediff import NoiseSchedule, TimestepSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SHAPE = (2, 8, 8)
CLASSES = 6


def create(sampler: TimestepSampler | None = None, **options: Any) -> speediff.Trainer:
    model = speediff.DiT(hidden_size=16, depth=2, num_heads=2, patch_size=4)
    sampler = TimestepSampler(NoiseSchedule.linear(1000)) if sampler is None else sampler
    return speediff.Trainer(model, sampler, input_size=8, in_channels=2, num_classes=CLASSES, **options)


def data(seed: int, n: int = 4) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    return random.normal(size=(n, *SHAPE)).astype(np.float32), random.integers(0, CLASSES, n)


class TorchOptimizer:
    """AdamW, clipping, warm-up and EMA as PyTorch and the official code do them, in float64."""

    def __init__(self, trainer: speediff.Trainer, **options: Any) -> None:
        self.parameters = {
            name: torch.nn.Parameter(torch.from_numpy(array.astype(np.float64)))
            for name, array in trainer.parameters.items()
        }
        self.ema = {name: array.astype(np.float64) for name, array in trainer.ema_parameters.items()}
        self.decay, self.ema_warmup = options.get("ema_decay", 0.9999), options.get("ema_warmup", False)
        self.max_grad_norm, self.warmup_steps = options.get("max_grad_norm"), options.get("warmup_steps", 0)
        self.learning_rate, self.updates = options.get("learning_rate", 1e-4), 0
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            betas=options.get("betas", (0.9, 0.999)),
            eps=options.get("eps", 1e-8),
            weight_decay=options.get("weight_decay", 0.0),
        )

    def update(self, gradients: dict[str, NDArray[np.float32]]) -> float:
        """One update; the gradient's norm."""
        for name, parameter in self.parameters.items():
            parameter.grad = torch.from_numpy(gradients[name].astype(np.float64))
        limit = np.inf if self.max_grad_norm is None else self.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit)
        warmed = min(1, (self.updates + 1) / self.warmup_steps) if self.warmup_steps else 1
        self.optimizer.param_groups[0]["lr"] = self.learning_rate * warmed
        self.optimizer.step()
        self.updates += 1
        decay = oracle.ema_decay(self.decay, self.updates, self.ema_warmup)
        self.ema = oracle.ema_update(self.ema, self.arrays(), decay)
        return norm.item()

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        return {name: parameter.detach().numpy() for name, parameter in self.parameters.items()}

    def moments(self, which: str) -> dict[str, NDArray[np.float64]]:
        return {name: self.optimizer.state[p][which].numpy() for name, p in self.parameters.items()}


OPTIONS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "weight decay": {"weight_decay": 0.1},
    "betas": {"betas": (0.5, 0.9)},
    "no momentum": {"betas": (0.0, 0.99)},
    "eps": {"eps": 0.02},
    "clipped": {"max_grad_norm": 0.5, "eps": 0.01},
    "not clipped": {"max_grad_norm": 1e6},
    "warm-up of 5": {"warmup_steps": 5},
    "warm-up of 100": {"warmup_steps": 100},
    "EMA of 0": {"ema_decay": 0.0},
    "EMA of 0.9": {"ema_decay": 0.9},
    "EMA warmed up": {"ema_warmup": True},
    "EMA warmed up to 0.5": {"ema_warmup": True, "ema_decay": 0.5},
    "all": {
        "weight_decay": 0.05,
        "betas": (0.8, 0.95),
        "eps": 1e-3,
        "max_grad_norm": 2.0,
        "warmup_steps": 7,
        "ema_decay": 0.8,
        "ema_warmup": True,
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_updates_are_those_of_pytorch(name: str) -> None:
    """Of gradients that are given, some of them 0 or tiny."""
    options, random = {"learning_rate": 0.01, **OPTIONS[name]}, np.random.default_rng(0)
    with create(seed=4, **options) as trainer:
        other = TorchOptimizer(trainer, **options)
        for update in range(1, 21):
            trainer.backward(*data(0))
            for gradient in trainer.gradients.values():
                gradient[...] = random.normal(size=gradient.shape) * 10 ** random.uniform(-4, 0)
                gradient[random.random(gradient.shape) < 0.1] = 0
            copies = {key: gradient.copy() for key, gradient in trainer.gradients.items()}
            assert trainer.apply() == pytest.approx(other.update(copies), rel=1e-5)
            if update in (1, 20):
                assert trainer.global_step == update
                for found, wanted, what in (
                    (trainer.parameters, other.arrays(), "parameters"),
                    (trainer.ema_parameters, other.ema, "EMA"),
                    (trainer.exp_avg, other.moments("exp_avg"), "exp_avg"),
                    (trainer.exp_avg_sq, other.moments("exp_avg_sq"), "exp_avg_sq"),
                ):
                    assert set(found) == set(wanted)
                    for key in found:
                        assert_arrays_agree(found[key], wanted[key], 1e-5, f"{what} {key}")


def test_the_ema_starts_as_the_parameters() -> None:
    with create() as trainer:
        assert_tensors_agree(trainer.ema_parameters, trainer.parameters, 0)


def test_the_learning_rate_can_be_set() -> None:
    random = np.random.default_rng(0)
    with create(learning_rate=0.5) as trainer:
        other = TorchOptimizer(trainer)
        for rate in (0.01, 0.02, 0.003):
            trainer.learning_rate = other.learning_rate = rate
            assert trainer.learning_rate == pytest.approx(rate)
            trainer.backward(*data(0))
            for gradient in trainer.gradients.values():
                gradient[...] = random.normal(size=gradient.shape)
            other.update(trainer.gradients)
            trainer.apply()
        assert_tensors_agree(trainer.parameters, other.arrays(), 1e-5)


def test_the_decay_of_the_average_can_be_set() -> None:
    with create(learning_rate=0.5, ema_decay=0.5) as trainer:
        assert trainer.ema_decay == 0.5
        for decay in (0.75, 0.0, 1.0, 0.25):
            trainer.ema_decay = decay
            before = trainer.state_dict(ema=True)
            trainer.backward(*data(0))
            trainer.apply()
            assert trainer.ema_decay == decay
            for name, parameter in trainer.parameters.items():
                expected = decay * before[name] + (1 - decay) * parameter
                np.testing.assert_allclose(trainer.ema_parameters[name], expected, rtol=1e-6, atol=1e-7)
        with pytest.raises(speediff.SpeeDiffValueError, match=r"ema_decay must be in \[0, 1\], got 1\.5"):
            trainer.ema_decay = 1.5
        with pytest.raises(speediff.SpeeDiffTypeError, match="ema_decay must be a real"):
            trainer.ema_decay = "0.9"
        assert trainer.ema_decay == 0.25


def test_the_norm_is_that_before_clipping() -> None:
    with create(max_grad_norm=0.1) as trainer:
        trainer.backward(*data(0))
        trainer.flat_gradients[:] = 0
        trainer.gradients["blocks.1.mlp.fc1.weight"][3, 4] = -3
        trainer.gradients["final_layer.linear.bias"][0] = 4
        assert trainer.apply() == pytest.approx(5)


def test_flat_arrays_are_the_same_memory() -> None:
    with create() as trainer:
        for flat, named in (
            (trainer.flat_parameters, trainer.parameters),
            (trainer.flat_gradients, trainer.gradients),
        ):
            assert flat.dtype == np.float32
            assert flat.ndim == 1
            assert all(np.shares_memory(flat, array) for array in named.values())
            flat[:] = 7
            assert all((array == 7).all() for array in named.values())


# ---- The same run --------------------------------------------------------------------------------


def course(steps: int = 5, **options: Any) -> Iterator[bytes]:
    """All that a run leaves."""
    sampler = TimestepSampler.speed(NoiseSchedule.linear(1000), seed=options.pop("sampler_seed", 1))
    settings = {"learning_rate": 1e-3, "max_grad_norm": 1.0, "ema_decay": 0.9, **options}
    with create(sampler, **settings) as trainer:
        yield trainer.flat_parameters.tobytes()
        for step in range(steps):
            yield np.float64(trainer.step(*data(step))).tobytes()
            yield trainer.losses.tobytes()
            yield trainer.timesteps.tobytes()
            yield trainer.flat_gradients.tobytes()
        yield trainer.flat_parameters.tobytes()
        for arrays in (trainer.ema_parameters, trainer.exp_avg, trainer.exp_avg_sq):
            yield from (arrays[name].tobytes() for name in sorted(arrays))


@pytest.mark.parametrize("threads", [1, 2, None])
def test_the_same_seed_gives_the_same_run_to_the_bit(threads: int | None) -> None:
    first = list(course(seed=9, threads=threads))
    assert first == list(course(seed=9, threads=threads))


def test_another_seed_gives_another_run() -> None:
    first = list(course(seed=9))
    assert all(a != b for a, b in zip(first[:3], list(course(seed=10))[:3], strict=True))
    assert first[0] == next(iter(course(seed=9, sampler_seed=2)))
    assert first[1:3] != list(course(seed=9, sampler_seed=2))[1:3]


def test_step_is_backward_and_apply() -> None:
    with create(learning_rate=1e-3) as one, create(learning_rate=1e-3) as two:
        for step in range(3):
            loss = one.step(*data(step))
            assert loss == two.backward(*data(step))
            two.apply()
        assert one.flat_parameters.tobytes() == two.flat_parameters.tobytes()
        assert one.global_step == two.global_step == 3


# ---- Samplers that learn -------------------------------------------------------------------------

LEARNING: dict[str, dict[str, Any]] = {
    "loss_second_moment": {"sampling": "loss_second_moment"},
    "adaptive": {"sampling": speediff.sampling.Adaptive(bins=2)},
    "uncertainty": {"weighting": speediff.weighting.Uncertainty(bins=4)},
}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("name", LEARNING)
def test_a_sampler_that_learns_is_told_the_losses(name: str, accumulation: int) -> None:
    """A trainer whose sampler is told them by hand draws the same, after so many losses that it matters."""
    schedule, n = NoiseSchedule.constant(4, beta=0.3), 16 // accumulation
    samplers = [
        TimestepSampler(schedule, **LEARNING[name], prediction="epsilon", seed=2, accumulation=accumulation)
        for _ in range(2)
    ]
    before = samplers[1].probabilities.copy(), samplers[1].weights.copy()
    one, other = (create(sampler, learning_rate=1e-3, learn_sigma=False) for sampler in samplers)
    with one, other:
        for step in range(8):
            x, y = data(step, 16)
            loss = one.step(x, y)
            losses, told = [], []
            for start in range(0, 16, n):
                losses.append(other.backward(x[start : start + n], y[start : start + n]))
                told.append((other.timesteps.copy(), other.losses.copy()))
            other.apply()
            samplers[1].update(*(np.concatenate(arrays) for arrays in zip(*told, strict=True)))
            assert one.timesteps.tolist() == other.timesteps.tolist()
            assert loss == pytest.approx(np.mean(losses).item(), rel=1e-6)
        assert_tensors_agree(one.parameters, other.parameters, 1e-6)
    for sampler in samplers:
        after = sampler.probabilities, sampler.weights
        assert any(not np.allclose(old, new) for old, new in zip(before, after, strict=True))
    assert_arrays_agree(samplers[0].probabilities, samplers[1].probabilities, 1e-6)


def test_the_weights_of_a_sampler_that_learns_multiply_the_mse() -> None:
    schedule = NoiseSchedule.constant(4, beta=0.3)
    sampler, other = (TimestepSampler(schedule, "loss_second_moment", seed=2) for _ in range(2))
    with create(sampler, learning_rate=1e-3, learn_sigma=False) as trainer:
        for step in range(8):
            t, weights = other.sample(16)
            loss = trainer.step(*data(step, 16))
            assert trainer.timesteps.tolist() == t.tolist()
            assert loss == pytest.approx(float((weights * trainer.losses).mean()), rel=1e-5)
            other.update(trainer.timesteps, trainer.losses)
    assert weights.min() < weights.max()
