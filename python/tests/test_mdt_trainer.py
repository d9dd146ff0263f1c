"""The trainer of MDT against PyTorch's autograd on the reference network, with both passes' data given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from gradient_checks import GradientChecks, check_gradients, check_loss, check_output
from reference_mdt import randomize, twin
from reference_mdt_training import Pass, mdt_objective
from reference_training import PREDICTIONS, Process, assert_arrays_agree, assert_tensors_agree, gradients
from training_batches import Batch, Run, random_batch

import speediff

if TYPE_CHECKING:
    from reference_mdt import MDT

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


class Case(NamedTuple):
    """A network, what it is trained on, and how many tokens its masked pass keeps."""

    model: dict[str, Any]
    kept: int
    batch: int = 3
    options: dict[str, Any] = {}  # noqa: RUF012
    prediction: str = "epsilon"


def small(version: int, **options: Any) -> dict[str, Any]:
    """Of version 1 two blocks and one that decodes, of version 2 four and two."""
    depth, decode_layer = {1: (3, 1), 2: (6, 2)}[version]
    shape = {"hidden_size": 48, "depth": depth, "num_heads": 3, "patch_size": 4}
    return {**shape, "version": version, "decode_layer": decode_layer, **options}


def large(version: int, depth: int, decode_layer: int, patch_size: int) -> dict[str, Any]:
    """A few blocks of the official MDT-S."""
    shape = {"hidden_size": 384, "num_heads": 6, "depth": depth, "patch_size": patch_size}
    return {**shape, "version": version, "decode_layer": decode_layer}


FEW = {"input_size": 16, "in_channels": 3, "num_classes": 10}
CASES = {
    **{
        f"version {version}, {prediction}{'' if learn_sigma else ', no learned variance'}": Case(
            small(version), 9 + version, 3, {**FEW, "learn_sigma": learn_sigma}, prediction
        )
        for version in (1, 2)
        for prediction in PREDICTIONS
        for learn_sigma in (True, False)
    },
    "S/8": Case(large(2, 6, 4, 8), 9),
    "S/4, version 1": Case(large(1, 2, 1, 4), 44, 2),
    "S/2": Case(large(2, 3, 1, 2), 150, 1),
    "49 tokens": Case(
        small(1, hidden_size=64, num_heads=4), 34, 3, {"input_size": 28, "in_channels": 1, "num_classes": 10}
    ),
    "25 tokens, 1 head, 5 channels": Case(
        small(2, hidden_size=32, depth=3, num_heads=1, patch_size=3, decode_layer=1),
        17,
        3,
        {**FEW, "input_size": 15, "in_channels": 5},
    ),
    "hidden 72": Case(small(2, hidden_size=72, num_heads=4, patch_size=2), 40, 2, FEW, "v"),
    "mlp_ratio 2.5": Case(small(2, mlp_ratio=2.5), 8, 5, FEW),
    "one token kept, version 1": Case(small(1), 1, 3, FEW),
    "one token kept": Case(small(2), 1, 3, FEW),
    "all but one kept": Case(small(2), 15, 3, FEW),
    "all tokens kept, version 1": Case(small(1), 16, 3, FEW),
    "all tokens kept": Case(small(2), 16, 3, FEW),
    "1 token": Case(small(1, patch_size=16, mask_ratio=0.0), 1, 3, FEW),
    "unconditional, version 1": Case(small(1), 11, 3, {**FEW, "num_classes": None}, "flow"),
    "unconditional": Case(small(2), 9, 3, {**FEW, "num_classes": None}, "sample"),
    "no label dropout": Case(small(2), 9, 3, {**FEW, "class_dropout_prob": 0.0}),
    "no Min-SNR": Case(small(2, min_snr_gamma=None), 9, 3, FEW, "sample"),
    "Min-SNR of 0.5": Case(small(1, min_snr_gamma=0.5), 11, 3, FEW, "v"),
    "batch 1": Case(small(2), 9, 1, FEW),
    "four blocks that decode": Case(small(2, depth=8, decode_layer=4), 9, 3, FEW),
    "two blocks that decode, version 1": Case(small(1, depth=4, decode_layer=2), 11, 3, FEW),
}
SMALL = [name for name, case in CASES.items() if case.options]


def tokens(name: str) -> int:
    case = CASES[name]
    return (case.options.get("input_size", 32) // case.model["patch_size"]) ** 2


def batch(name: str, seed: int = 0) -> Batch:
    """Random data and masks; with another seed another number of tokens is kept."""
    case, random = CASES[name], np.random.default_rng([seed, 1])
    data = random_batch(case.batch, case.prediction, case.options, seed)
    masked_noise = torch.from_numpy(random.normal(size=data.x.shape).astype(np.float32))
    if case.batch > 1:
        masked_noise[0] *= 0.5
    count = (case.kept - 1 + 5 * seed) % tokens(name) + 1
    order = random.permuted(np.tile(np.arange(tokens(name)), (case.batch, 1)), axis=1)
    kept = torch.from_numpy(np.ascontiguousarray(order[:, :count]))
    return data._replace(masked_noise=masked_noise, kept=kept)


def run_torch(model: MDT, process: Process, name: str, data: Batch) -> Run:
    case, dtype = CASES[name], model.pos_embed.dtype
    x, noise, masked_noise = (array.to(dtype) for array in (data.x, data.noise, data.masked_noise))
    passes = Pass(noise, data.y), Pass(masked_noise, data.y, data.kept)
    gamma = case.model.get("min_snr_gamma", 5.0)
    found = mdt_objective(model, process, case.prediction, x, data.t, passes, data.weights, gamma)
    model.zero_grad()
    found.loss.backward()
    with torch.no_grad():
        output = model(process.noised(case.prediction, x, data.t, noise), data.t, data.y)
    return Run(found.loss.item(), found.mse.detach().numpy(), output.numpy(), gradients(model))


def network(case: Case) -> speediff.MDT:
    return speediff.MDT(**{"mask_ratio": 0.3, "min_snr_gamma": 5.0, **case.model})


CHECKS = GradientChecks(CASES, network, batch, randomize, twin, run_torch)


class Comparison(NamedTuple):
    name: str
    trainer: Run
    torch: Run


@pytest.fixture(scope="module", params=CASES)
def comparison(request: pytest.FixtureRequest, linear: NoiseSchedule) -> Comparison:
    trainer, (reference,) = CHECKS.compare(linear, request.param, torch.float64)
    return Comparison(request.param, trainer, reference)


def test_the_loss_is_that_of_pytorch(comparison: Comparison) -> None:
    check_loss(comparison.trainer, comparison.torch)


def test_the_output_is_that_of_pytorch(comparison: Comparison) -> None:
    check_output(comparison.trainer, comparison.torch)


def test_every_gradient_is_that_of_pytorch(comparison: Comparison) -> None:
    name, expected = comparison.name, comparison.torch.gradients
    without = {key for key, gradient in expected.items() if not gradient.any()}
    # Where nothing is masked the side block does not matter, nor do differences of places of one token.
    all_kept = CASES[name].kept == tokens(name)
    idle = {key for key in expected if all_kept and key.startswith(("mask_token", "sideblocks"))}
    assert without == idle | {key for key in expected if tokens(name) == 1 and key.endswith("bias_table")}
    check_gradients(comparison.trainer, comparison.torch)


@pytest.mark.parametrize("name", ["S/8", "hidden 72", "one token kept", "1 token", "batch 1"])
def test_any_number_of_threads_gives_the_same_gradients(linear: NoiseSchedule, name: str) -> None:
    CHECKS.check_threads(linear, name)


@pytest.mark.parametrize("name", SMALL)
def test_ten_steps_have_the_losses_of_pytorch(linear: NoiseSchedule, name: str) -> None:
    """Of masks of several sizes."""
    CHECKS.check_ten_steps(linear, name, rtol=1e-5)


@pytest.mark.parametrize("version", [1, 2])
def test_a_mask_of_another_size_leaves_nothing_behind(linear: NoiseSchedule, version: int) -> None:
    name = f"version {version}, epsilon"
    batches = [batch(name, seed) for seed in (0, 1, 2, 0)]
    assert len({data.kept.shape for data in batches}) == 3
    runs = []
    with CHECKS.create(linear, name, learning_rate=0.0) as trainer:
        for data in batches:
            runs.append(CHECKS.run(trainer, name, data))
            trainer.apply()
    first, last = runs[0], runs[-1]
    assert first.loss == last.loss
    assert all((first.gradients[key] == value).all() for key, value in last.gradients.items())


@pytest.mark.parametrize("version", [1, 2])
def test_the_order_of_the_tokens_kept_does_not_matter(linear: NoiseSchedule, version: int) -> None:
    name = f"version {version}, epsilon"
    data = batch(name)
    for kept in (data.kept.flip(1), data.kept.sort(dim=1).values):
        runs = []
        for given in (data, data._replace(kept=kept.contiguous())):
            with CHECKS.create(linear, name) as trainer:
                runs.append(CHECKS.run(trainer, name, given))
        assert runs[1].loss == pytest.approx(runs[0].loss, rel=1e-6)
        assert_tensors_agree(runs[1].gradients, runs[0].gradients, 1e-5)


@pytest.mark.parametrize("version", [1, 2])
def test_the_average_of_the_parameters_has_the_full_pass_too(linear: NoiseSchedule, version: int) -> None:
    name = f"version {version}, epsilon"
    data, t = batch(name), np.array([0.25, 17.5, 998.75], np.float32)
    with CHECKS.create(linear, name) as trainer, torch.no_grad():
        output = trainer.forward(data.x.numpy(), t, data.y.numpy(), ema=True)
        expected = twin(trainer, ema=True)(data.x.double(), torch.from_numpy(t), data.y)
    assert_arrays_agree(output, expected, 1e-4, "output of the EMA")
