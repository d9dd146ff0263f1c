"""The trainer's loss, output and every gradient against PyTorch's autograd on the reference network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from gradient_checks import GradientChecks, check_gradients, check_loss, check_output
from reference_dit import DiT, randomize, twin
from reference_training import Process, assert_arrays_agree, assert_tensors_agree, gradients, losses
from training_batches import Batch, Run, random_batch

import speediff

if TYPE_CHECKING:
    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


class Case(NamedTuple):
    """A network, and what it is trained on."""

    model: str | dict[str, Any]
    batch: int
    options: dict[str, Any] = {}  # noqa: RUF012
    prediction: str = "epsilon"


def small(hidden_size: int, depth: int, num_heads: int, patch_size: int, **options: Any) -> dict[str, Any]:
    return {
        "hidden_size": hidden_size,
        "depth": depth,
        "num_heads": num_heads,
        "patch_size": patch_size,
        **options,
    }


FEW = {"input_size": 16, "in_channels": 3, "num_classes": 10}
CASES = {
    "S/8 of 2 blocks": Case(small(384, 2, 6, 8), 4),
    "S/4 of 2 blocks": Case(small(384, 2, 6, 4), 3),
    "S/2 of 2 blocks": Case(small(384, 2, 6, 2), 2),
    "S/8": Case("DiT-S/8", 2),
    "hidden 48": Case(small(48, 2, 3, 4), 5, FEW, "v"),
    "hidden 72": Case(small(72, 3, 4, 2), 3, FEW, "sample"),
    "49 tokens": Case(small(64, 2, 4, 4), 3, {"input_size": 28, "in_channels": 1, "num_classes": 10}),
    "unconditional": Case(small(48, 2, 3, 4), 3, {**FEW, "num_classes": None}, "flow"),
    "no learned variance": Case(small(48, 2, 3, 4), 3, {**FEW, "learn_sigma": False}),
    "mlp_ratio 2.5": Case(small(48, 2, 4, 4, mlp_ratio=2.5), 5, FEW),
    "1 token": Case(small(48, 2, 3, 16), 3, FEW),
    "batch 1": Case(small(48, 2, 3, 4), 1, FEW),
    "no label dropout": Case(small(48, 2, 3, 4), 3, {**FEW, "class_dropout_prob": 0.0}),
    "frequencies of diffusers": Case(small(48, 2, 3, 4, frequency_shift=1.0), 3, FEW),
    "1 block, 1 head, 5 channels": Case(small(32, 1, 1, 3), 3, {**FEW, "input_size": 15, "in_channels": 5}),
}
SMALL = [name for name, case in CASES.items() if isinstance(case.model, dict) and case.options]


def batch(name: str, seed: int = 0) -> Batch:
    case = CASES[name]
    return random_batch(case.batch, case.prediction, case.options, seed)


def run_torch(model: DiT, process: Process, name: str, data: Batch) -> Run:
    dtype = model.pos_embed.dtype
    x, noise = data.x.to(dtype), data.noise.to(dtype)
    x_t = process.noised(CASES[name].prediction, x, data.t, noise)
    output = model(x_t, data.t, data.y)
    terms = losses(process, CASES[name].prediction, output, x, data.t, noise)
    loss = terms.objective(data.weights)
    model.zero_grad()
    loss.backward()
    return Run(loss.item(), terms.mse.detach().numpy(), output.detach().numpy(), gradients(model))


def network(case: Case) -> str | speediff.DiT:
    return case.model if isinstance(case.model, str) else speediff.DiT(**case.model)


CHECKS = GradientChecks(CASES, network, batch, randomize, twin, run_torch)


class Comparison(NamedTuple):
    trainer: Run
    float64: Run
    float32: Run


@pytest.fixture(scope="module", params=CASES)
def comparison(request: pytest.FixtureRequest, linear: NoiseSchedule) -> Comparison:
    trainer, references = CHECKS.compare(linear, request.param, torch.float64, torch.float32)
    return Comparison(trainer, *references)


def test_the_loss_is_that_of_pytorch(comparison: Comparison) -> None:
    check_loss(comparison.trainer, comparison.float64)


def test_the_output_is_that_of_pytorch(comparison: Comparison) -> None:
    check_output(comparison.trainer, comparison.float64)
    check_output(comparison.trainer, comparison.float32)


def test_every_gradient_is_that_of_pytorch(comparison: Comparison) -> None:
    assert all(np.linalg.norm(gradient) > 0 for gradient in comparison.float64.gradients.values())
    check_gradients(comparison.trainer, comparison.float64)
    check_gradients(comparison.trainer, comparison.float32)


@pytest.mark.parametrize("name", ["S/8 of 2 blocks", "hidden 72", "1 token", "batch 1"])
def test_any_number_of_threads_gives_the_same_gradients(linear: NoiseSchedule, name: str) -> None:
    CHECKS.check_threads(linear, name)


@pytest.mark.parametrize("name", ["S/8 of 2 blocks", *SMALL])
def test_ten_steps_have_the_losses_of_pytorch(linear: NoiseSchedule, name: str) -> None:
    CHECKS.check_ten_steps(linear, name, rtol=1e-4)


def test_fractional_time_steps_are_taken_as_they_are(linear: NoiseSchedule) -> None:
    name = "hidden 48"
    data, t = batch(name), np.array([0.25, 17.5, 998.75, 500, 0], np.float32)
    with CHECKS.create(linear, name) as trainer, torch.no_grad():
        expected = twin(trainer)(data.x.double(), torch.from_numpy(t), data.y)
        output = trainer.forward(data.x.numpy(), t, data.y.numpy())
        averaged = trainer.forward(data.x.numpy(), t, data.y.numpy(), ema=True)
        expected_of_ema = twin(trainer, ema=True)(data.x.double(), torch.from_numpy(t), data.y)
    assert_arrays_agree(output, expected, 1e-4, "output")
    assert_arrays_agree(averaged, expected_of_ema, 1e-4, "output of the EMA")


def test_layer_norms_divide_by_the_official_epsilon(linear: NoiseSchedule) -> None:
    """A variance near 1e-6: the embedder cancels the position of the one token, and gates are small."""
    name = "1 token"
    data, process = batch(name), Process(linear.betas)
    with CHECKS.create(linear, name) as trainer:
        parameters, hidden_size = trainer.parameters, CASES[name].model["hidden_size"]
        parameters["x_embedder.proj.weight"][...] *= 1e-3
        parameters["x_embedder.proj.bias"][:] = -trainer.state_dict()["pos_embed"][0, 0]
        for block in range(2):
            parameters[f"blocks.{block}.adaLN_modulation.1.weight"][...] = 0
            parameters[f"blocks.{block}.adaLN_modulation.1.bias"][:] = np.repeat(
                [0, 0, 1e-3] * 2, hidden_size
            )
        found, wanted = (
            CHECKS.run(trainer, name, data),
            run_torch(twin(trainer), process, name, data),
        )
    assert_arrays_agree(found.output, wanted.output, 1e-4, "output")
    assert_tensors_agree(found.gradients, wanted.gradients, 1e-3)
