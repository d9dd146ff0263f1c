"""What the trainer minimizes, against guided-diffusion's formulas in float64, and what it draws.

Most networks here have one token, and final weights of 0: their output is the final bias, which a test
chooses freely, and the bias's gradient is the objective's gradient by the output.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference_training as oracle
import torch
from reference_dit import randomize, twin
from reference_training import PREDICTIONS, Process, assert_arrays_agree, assert_tensors_agree

import speediff
from speediff import NoiseSchedule, TimestepSampler

SIDE, CHANNELS = 4, 3
SHAPE = (CHANNELS, SIDE, SIDE)
TIMES = np.array([0, 999, 1, 500, 0, 2, 250, 998])


def create(
    schedule: NoiseSchedule,
    prediction: str | None = "epsilon",
    *,
    sampler: dict[str, Any] | None = None,
    patch_size: int = SIDE,
    **options: Any,
) -> speediff.Trainer:
    """A tiny trainer; of one token unless `patch_size` says otherwise."""
    settings = {"input_size": SIDE, "in_channels": CHANNELS, "num_classes": None, **options}
    model = speediff.DiT(hidden_size=16, depth=1, num_heads=2, patch_size=patch_size)
    drawn = TimestepSampler(schedule, prediction=prediction, **(sampler or {}))
    return speediff.Trainer(model, drawn, **settings)


def as_bias(output: np.ndarray) -> np.ndarray:
    """An output (c, h, w) as the final layer's bias of (row, column, channel)."""
    return output.transpose(1, 2, 0).ravel()


def as_output(bias: np.ndarray, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return bias.reshape(shape[1], shape[2], -1).transpose(2, 0, 1)


class Problem:
    """A chosen output for a batch, and what the reference says of it."""

    def __init__(
        self, schedule: NoiseSchedule, prediction: str, t: Any, learn_sigma: bool, seed: int = 0
    ) -> None:
        random = np.random.default_rng(seed)
        self.schedule, self.prediction, self.t = schedule, prediction, np.array(t, np.int64)
        self.learn_sigma = learn_sigma
        n = len(self.t)
        output = random.normal(0, 0.5, ((2 if learn_sigma else 1) * CHANNELS, SIDE, SIDE))
        self.output = output.astype(np.float32)
        self.x = random.normal(size=(n, *SHAPE)).astype(np.float32)
        self.weights = random.uniform(0, 3, n).astype(np.float32)
        # Data at both ends of the range, which have the tails; and beyond. At t = 0 the output must be near:
        # 5 standard deviations away the decoder's likelihood has no digits left in float32.
        self.x[:, 0, 0] = [1, -1, 1.5, -1.5]
        self.output[0, 1] = [1, -1, 1.5, -1.5]
        distance = np.clip(random.normal(size=self.x.shape), -2, 2)
        if prediction == "sample":
            self.noise = random.normal(size=self.x.shape).astype(np.float32)
            near = self.output[:CHANNELS] + np.sqrt(schedule.betas[0]) * distance
            self.x = near.astype(np.float32)
        else:
            noise = self.output[:CHANNELS] + distance + (self.x if prediction == "flow" else 0)
            self.noise = noise.astype(np.float32)

    def expected(self, weights: np.ndarray) -> tuple[float, oracle.Losses, np.ndarray]:
        """The loss, its terms, and the gradient by the output."""
        output = torch.from_numpy(self.output).double().requires_grad_()
        x, noise, t = (torch.from_numpy(array) for array in (self.x, self.noise, self.t))
        batch = output.expand(len(t), *output.shape)
        process = Process(self.schedule.betas)
        terms = oracle.losses(process, self.prediction, batch, x.double(), t, noise.double())
        loss = terms.objective(torch.from_numpy(weights))
        loss.backward()
        return loss.item(), terms, output.grad.numpy()

    def actual(self, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The trainer's loss, squared errors, and gradient."""
        with create(self.schedule, self.prediction, learn_sigma=self.learn_sigma) as trainer:
            assert not trainer.parameters["final_layer.linear.weight"].any()
            trainer.parameters["final_layer.linear.bias"][:] = as_bias(self.output)
            loss = trainer.backward(self.x, None, t=self.t, noise=self.noise, weights=weights)
            slopes = as_output(trainer.gradients["final_layer.linear.bias"])
            return loss, trainer.losses.copy(), slopes.copy()

    def check(self, weights: np.ndarray | None = None, tolerance: float = 1e-5) -> None:
        weights = self.weights if weights is None else weights
        loss, terms, slopes = self.expected(weights)
        actual_loss, actual_mse, actual_slopes = self.actual(weights)
        assert actual_loss == pytest.approx(loss, rel=tolerance, abs=1e-6)
        assert_arrays_agree(actual_mse, terms.mse.detach(), 1e-5, "losses")
        assert_arrays_agree(actual_slopes[:CHANNELS], slopes[:CHANNELS], 1e-5, "gradient by the prediction")
        if self.learn_sigma:
            # Late steps hardly move the variance: what is 1e-5 of the MSE's gradient has no digits left.
            floor = 1e-5 * np.ones((1, SIDE, SIDE))
            found, wanted = (np.concatenate([a[CHANNELS:], floor]) for a in (actual_slopes, slopes))
            assert_arrays_agree(found, wanted, 5e-4, "gradient by the variance")


@pytest.mark.parametrize("learn_sigma", [False, True])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_objective_is_the_weighted_mse_and_the_variational_term(
    linear: NoiseSchedule, prediction: str, learn_sigma: bool
) -> None:
    Problem(linear, prediction, TIMES, learn_sigma).check()


@pytest.mark.parametrize("t", [[0] * 3, [1] * 3, [2, 3, 5, 9], [40, 90, 250], [500, 700], [998, 999]])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_variational_term_is_that_of_guided_diffusion(
    linear: NoiseSchedule, prediction: str, t: list[int]
) -> None:
    problem = Problem(linear, prediction, t, learn_sigma=True, seed=t[0] + 1)
    problem.check(np.zeros(len(t), np.float32))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_variational_term_does_not_reach_the_prediction(linear: NoiseSchedule, prediction: str) -> None:
    problem = Problem(linear, prediction, TIMES, learn_sigma=True)
    _, _, slopes = problem.actual(np.zeros(len(TIMES), np.float32))
    assert not slopes[:CHANNELS].any()
    assert (slopes[CHANNELS:] != 0).all()


@pytest.mark.parametrize(
    ("schedule", "predictions"),
    [
        (NoiseSchedule.cosine(1000), PREDICTIONS),
        (NoiseSchedule.linear(50), PREDICTIONS),
        (NoiseSchedule.constant(2, beta=0.1), PREDICTIONS),
        (NoiseSchedule.linear(1000).zero_terminal_snr(), ("sample", "v", "flow")),
        (NoiseSchedule.jsd(20), ("sample", "v", "flow")),
    ],
    ids=repr,
)
def test_the_objective_follows_the_schedule(schedule: NoiseSchedule, predictions: tuple[str, ...]) -> None:
    t = [0, schedule.steps - 1, schedule.steps // 2, 1]
    for prediction in predictions:
        Problem(schedule, prediction, t, learn_sigma=True).check()


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_an_epsilon_network_without_prediction_named_is_the_same(linear: NoiseSchedule, scale: float) -> None:
    noise = np.full((2, *SHAPE), scale, np.float32)
    weights, t = np.array([1, 3], np.float32), np.array([3, 700])
    with create(linear, None, learn_sigma=False) as trainer:
        loss = trainer.backward(np.zeros_like(noise), None, t=t, noise=noise, weights=weights)
    assert loss == pytest.approx(2 * scale**2, rel=1e-6)


# ---- What is drawn -------------------------------------------------------------------------------


def drawn_noise(trainer: speediff.Trainer, shape: tuple[int, int, int]) -> np.ndarray:
    """The noise of a batch of one, from the gradient by an output of 0: -2·noise/E."""
    trainer.parameters["final_layer.linear.bias"][:] = 0
    trainer.backward(np.zeros((1, *shape), np.float32), None)
    return as_output(trainer.gradients["final_layer.linear.bias"], shape) * math.prod(shape) / -2


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**64 - 1])
@pytest.mark.parametrize(("channels", "side"), [(1, 3), (1, 1), (3, 4), (2, 5)])
def test_the_noise_is_the_documented_one(linear: NoiseSchedule, seed: int, channels: int, side: int) -> None:
    shape = (channels, side, side)
    options = {"input_size": side, "in_channels": channels, "learn_sigma": False}
    for rank in range(3):
        sampler = {"seed": 123, "rank": rank, "world_size": 3}
        more = {**options, "patch_size": side, "seed": seed, "sampler": sampler}
        with create(linear, learning_rate=1e-9, **more) as trainer:
            for step in range(3):
                expected = oracle.noise(seed, step, rank, 1, shape)[0]
                assert np.abs(drawn_noise(trainer, shape) - expected).max() < 1e-5
                trainer.apply()


def test_the_noise_of_a_batch_is_that_of_its_entries(linear: NoiseSchedule) -> None:
    n, sampler = 6, {"rank": 1, "world_size": 2, "accumulation": 3}
    with create(linear, seed=5, sampler=sampler, learn_sigma=False) as trainer:
        total = np.zeros(SHAPE)
        for micro_batch in range(3):
            trainer.backward(np.zeros((n, *SHAPE), np.float32), None)
            expected = oracle.noise(5, 0, (2 * micro_batch + 1) * n, n, SHAPE)
            assert_arrays_agree(trainer.losses, (expected**2).mean(axis=(1, 2, 3)), 1e-5, "losses")
            total += expected.sum(axis=0)
        slopes = as_output(trainer.gradients["final_layer.linear.bias"])
        assert_arrays_agree(slopes, -2 * total / (3 * n * math.prod(SHAPE)), 1e-5, "gradient")


SAMPLERS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "min_snr": {"weighting": "min_snr", "strata": "stratified"},
    "logit_normal": {"sampling": "logit_normal", "weighting": "change_aware", "normalize": True},
    "rank 2 of 4": {"weighting": "min_snr", "rank": 2, "world_size": 4},
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_drawn_batch_is_that_of_the_sampler_and_the_documented_noise(
    linear: NoiseSchedule, prediction: str, name: str
) -> None:
    options, n = SAMPLERS[name], 5
    random, first = np.random.default_rng(1), options.get("rank", 0) * n
    other = TimestepSampler(linear, prediction=prediction, seed=77, **options)
    settings = {"sampler": {**options, "seed": 77}, "patch_size": 2, "num_classes": 10, "seed": 8}
    with create(linear, prediction, **settings) as drawing, create(linear, prediction, **settings) as given:
        for step in range(3):
            for trainer in (drawing, given):
                randomize(trainer, step)
            x, y = random.normal(size=(n, *SHAPE)).astype(np.float32), random.integers(0, 10, n)
            loss = drawing.backward(x, y)
            t, weights = other.sample(n)
            assert drawing.timesteps.tolist() == t.tolist()
            noise = oracle.noise(8, step, first, n, SHAPE).astype(np.float32)
            labels = oracle.drop_labels(y, 8, step, first, 0.1, 10)
            expected = given.backward(x, labels, t=t, noise=noise, weights=weights)
            assert given.timesteps.tolist() == t.tolist()
            assert loss == pytest.approx(expected, rel=1e-5)
            assert_arrays_agree(drawing.losses, given.losses, 1e-5, "losses")
            assert_tensors_agree(drawing.gradients, given.gradients, 1e-4)
            for trainer in (drawing, given):
                trainer.apply()


def test_what_is_not_given_is_drawn(linear: NoiseSchedule) -> None:
    """The weights of time steps that are given are those of the sampler's table."""
    n, t = 3, np.array([5, 700, 999])
    noise, weights = np.ones((n, *SHAPE), np.float32), np.array([0, 2, 5], np.float32)
    sampler = TimestepSampler(linear, weighting="min_snr", prediction="epsilon")
    drawn_t, drawn_weights = sampler.sample(n)
    drawn = (oracle.noise(0, 0, 0, n, SHAPE) ** 2).mean(axis=(1, 2, 3))
    for given, times, squares, factors in (
        ({"t": t}, t, drawn, sampler.weights[t]),
        ({"noise": noise}, drawn_t, np.ones(n), drawn_weights),
        ({"weights": weights}, drawn_t, drawn, weights),
        ({"t": t, "noise": noise}, t, np.ones(n), sampler.weights[t]),
        ({"t": t, "weights": weights}, t, drawn, weights),
    ):
        with create(linear, sampler={"weighting": "min_snr"}, learn_sigma=False) as trainer:
            loss = trainer.backward(np.zeros_like(noise), None, **given)
            assert trainer.timesteps.tolist() == times.tolist()
            assert_arrays_agree(trainer.losses, squares, 1e-5, "losses")
            assert loss == pytest.approx(float((factors * squares).mean()), rel=1e-5)


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_drawn_weights_multiply_the_mse(linear: NoiseSchedule, preset: str) -> None:
    n = 16
    sampler, other = (TimestepSampler.speed(linear, seed=3, preset=preset) for _ in range(2))
    model = speediff.DiT(hidden_size=16, depth=1, num_heads=2, patch_size=2)
    options = {"input_size": SIDE, "in_channels": CHANNELS, "num_classes": None, "learn_sigma": False}
    with speediff.Trainer(model, sampler, **options) as trainer:
        for _ in range(3):
            loss = trainer.step(np.ones((n, *SHAPE), np.float32), None)
            t, weights = other.sample(n)
            assert trainer.timesteps.tolist() == t.tolist()
            assert loss == pytest.approx(float((weights * trainer.losses).mean()), rel=1e-5)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_labels_are_dropped_as_documented(linear: NoiseSchedule, probability: float) -> None:
    """Every label is another one: the embedding's rows that have a gradient are those that were used."""
    n, seed = 40, 2**40 + 9
    sampler = {"seed": 1, "rank": 1, "world_size": 2}
    options = {"num_classes": n, "class_dropout_prob": probability, "seed": seed, "sampler": sampler}
    x, labels = np.ones((n, *SHAPE), np.float32), np.random.default_rng(0).permutation(n)
    with create(linear, **options) as trainer:
        for step in range(3):
            randomize(trainer, class_dropout_prob=probability)
            trainer.backward(x, labels)
            used = trainer.gradients["y_embedder.embedding_table.weight"].any(axis=1).nonzero()[0]
            expected = oracle.drop_labels(labels, seed, step, n, probability, n)
            assert used.tolist() == np.unique(expected).tolist()
            trainer.apply()


def test_no_label_is_dropped_where_the_time_steps_are_given(linear: NoiseSchedule) -> None:
    n = 10
    with create(linear, num_classes=n, class_dropout_prob=1.0) as trainer:
        randomize(trainer, class_dropout_prob=1.0)
        x = np.ones((n, *SHAPE), np.float32)
        t, weights = np.arange(n), np.ones(n, np.float32)
        trainer.backward(x, np.arange(n), t=t, noise=x, weights=weights)
        used = trainer.gradients["y_embedder.embedding_table.weight"].any(axis=1)
        assert used.tolist() == [True] * n + [False]


# ---- Accumulation --------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("accumulation", [2, 3])
def test_accumulated_micro_batches_are_one_large_batch(
    linear: NoiseSchedule, accumulation: int, given: bool
) -> None:
    n, random = 4, np.random.default_rng(2)
    # A large ε keeps Adam from making a sign of what is 0 but for rounding.
    settings = {"patch_size": 2, "num_classes": 10, "learning_rate": 0.1, "eps": 1.0}
    parted = create(linear, sampler={"accumulation": accumulation}, **settings)
    whole = create(linear, **settings)
    with parted, whole:
        randomize(parted)
        randomize(whole)
        for _ in range(2):
            size = accumulation * n
            x, y = random.normal(size=(size, *SHAPE)).astype(np.float32), random.integers(0, 10, size)
            noise, t = random.normal(size=x.shape).astype(np.float32), random.integers(0, 1000, size)
            chosen = {"t": t, "noise": noise, "weights": random.uniform(size=size).astype(np.float32)}
            losses, mses = [], []
            for start in range(0, size, n):
                rows = slice(start, start + n)
                more = {name: array[rows] for name, array in chosen.items()} if given else {}
                losses.append(parted.backward(x[rows], y[rows], **more))
                mses.append(parted.losses.copy())
            loss = whole.backward(x, y, **(chosen if given else {}))
            assert np.mean(losses) == pytest.approx(loss, rel=1e-5)
            assert_arrays_agree(np.concatenate(mses), whole.losses, 1e-5, "losses")
            assert_tensors_agree(parted.gradients, whole.gradients, 1e-5)
            assert parted.apply() == pytest.approx(whole.apply(), rel=1e-5)
            assert_tensors_agree(parted.parameters, whole.parameters, 1e-5)
        assert parted.global_step == whole.global_step == 2


def test_a_step_takes_all_micro_batches_at_once(linear: NoiseSchedule) -> None:
    random, settings = np.random.default_rng(2), {"patch_size": 2, "learning_rate": 0.1, "eps": 1.0}
    parted, whole = create(linear, sampler={"accumulation": 2}, **settings), create(linear, **settings)
    with parted, whole:
        for update in range(1, 4):
            x = random.normal(size=(6, *SHAPE)).astype(np.float32)
            assert parted.step(x, None) == pytest.approx(whole.step(x, None), rel=1e-5)
            assert_tensors_agree(parted.parameters, whole.parameters, 1e-5)
            assert parted.global_step == whole.global_step == update


def test_the_network_is_told_the_index_of_the_time_step(linear: NoiseSchedule) -> None:
    random, t = np.random.default_rng(0), np.array([0, 1, 17, 998, 999])
    x, noise = (random.normal(size=(5, *SHAPE)).astype(np.float32) for _ in range(2))
    with create(linear, patch_size=2, learn_sigma=False) as trainer:
        randomize(trainer)
        trainer.backward(x, None, t=t, noise=noise, weights=np.ones(5, np.float32))
        process, model = Process(linear.betas), twin(trainer)
        given = [torch.from_numpy(array) for array in (x, t, noise)]
        x_t = process.noised("epsilon", given[0].double(), given[1], given[2].double())
        with torch.no_grad():
            terms = oracle.losses(
                process, "epsilon", model(x_t, given[1]), given[0].double(), given[1], given[2].double()
            )
        assert_arrays_agree(trainer.losses, terms.mse, 1e-5, "losses")
