"""Generation, image by image against the reference's samplers on the reference network in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import reference
import reference_training as oracle
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from reference_dit import randomize, twin
from reference_training import PREDICTIONS, Process, assert_arrays_agree

import speediff
from speediff import NoiseSchedule, TimestepSampler

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")

SHAPE = (4, 8, 8)
CLASSES = 5
LABELS = np.array([0, 4, 2])


def create(
    schedule: NoiseSchedule, prediction: str = "epsilon", *, seed: int = 3, **options: Any
) -> speediff.Trainer:
    """A trainer with random weights, and others in the EMA."""
    model = speediff.DiT(hidden_size=32, depth=2, num_heads=2, patch_size=4)
    sampler = TimestepSampler(schedule, prediction=prediction)
    settings = {"input_size": 8, "in_channels": 4, "num_classes": CLASSES, **options}
    trainer = speediff.Trainer(model, sampler, **settings)
    randomize(trainer, seed)
    return trainer


def reference_images(
    trainer: speediff.Trainer,
    labels: np.ndarray | None,
    seeds: list[int],
    steps: int,
    prediction: str = "epsilon",
    *,
    ema: bool = True,
    **options: Any,
) -> np.ndarray:
    process = Process(trainer.schedule.betas)
    if steps < trainer.schedule.steps:
        process = process.respaced(trainer.schedule.respacing(steps))
    network = twin(trainer, ema=ema)
    images = oracle.generate(
        network, process, prediction, labels, seeds, SHAPE, null_label=CLASSES, **options
    )
    return images.numpy()


METHODS = {
    "ddpm": {"method": "ddpm"},
    "ddim": {"method": "ddim"},
    "ddim of eta 1": {"method": "ddim", "eta": 1.0},
}


@pytest.mark.parametrize("learn_sigma", [True, False])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", METHODS)
def test_images_are_those_of_the_reference(
    linear: NoiseSchedule, name: str, prediction: str, learn_sigma: bool
) -> None:
    with create(linear, prediction, learn_sigma=learn_sigma) as trainer:
        for cfg_scale in (1.0, 2.5):
            options = {**METHODS[name], "cfg_scale": cfg_scale}
            images = trainer.generate(LABELS, steps=10, seed=7, **options)
            assert images.dtype == np.float32
            expected = reference_images(trainer, LABELS, [7, 8, 9], 10, prediction, **options)
            assert_arrays_agree(images, expected, 1e-4, "image")


@pytest.mark.parametrize("name", METHODS)
def test_clipped_images_are_those_of_the_reference(linear: NoiseSchedule, name: str) -> None:
    options = {**METHODS[name], "clip": True, "cfg_scale": 1.5}
    with create(linear) as trainer:
        images = trainer.generate(LABELS, steps=12, seed=0, **options)
        expected = reference_images(trainer, LABELS, [0, 1, 2], 12, **options)
    assert_arrays_agree(images, expected, 1e-3, "image")


@pytest.mark.parametrize(
    "schedule",
    [NoiseSchedule.cosine(100), NoiseSchedule.linear(25), NoiseSchedule.constant(7, beta=0.2)],
    ids=repr,
)
@pytest.mark.parametrize("steps", [2, 7])
def test_any_schedule_and_number_of_steps(schedule: NoiseSchedule, steps: int) -> None:
    for options, prediction in itertools.product(METHODS.values(), ("v", "flow")):
        with create(schedule, prediction) as trainer:
            images = trainer.generate(LABELS, steps=steps, seed=1, **options)
            expected = reference_images(trainer, LABELS, [1, 2, 3], steps, prediction, **options)
            assert_arrays_agree(images, expected, 1e-4, "image")


def test_an_unconditional_network_generates(linear: NoiseSchedule) -> None:
    with create(linear, num_classes=None) as trainer:
        images = trainer.generate(None, n=3, steps=10, seed=5)
        expected = reference_images(trainer, None, [5, 6, 7], 10)
    assert_arrays_agree(images, expected, 1e-4, "image")


def test_the_trained_weights_can_be_used_in_place_of_the_ema(linear: NoiseSchedule) -> None:
    with create(linear) as trainer:
        images = trainer.generate(LABELS, steps=5, seed=5, ema=False)
        expected = reference_images(trainer, LABELS, [5, 6, 7], 5, ema=False)
        averaged = trainer.generate(LABELS, steps=5, seed=5)
    assert_arrays_agree(images, expected, 1e-4, "image")
    assert np.abs(averaged - images).max() > 0.1 * np.abs(images).max()


@pytest.mark.parametrize("method", ["ddpm", "ddim"])
def test_an_image_is_the_same_whatever_the_batch(linear: NoiseSchedule, method: str) -> None:
    options: dict[str, Any] = {"steps": 6, "method": method, "eta": 1.0, "cfg_scale": 2.0}
    options["eta"] = 1.0 if method == "ddim" else 0.0
    labels = np.arange(11) % CLASSES
    with create(linear) as trainer:
        together = trainer.generate(labels, seed=20, **options)
        for i in (0, 3, 10):
            alone = trainer.generate(labels[i : i + 1], seed=20 + i, **options)
            assert_arrays_agree(alone[0], together[i], 1e-5, f"image {i}")
        order = np.array([7, 0, 10, 3])
        chosen = trainer.generate(labels[order], seed=20 + order, **options)
        assert_arrays_agree(chosen, together[order], 1e-5, "images in another order")
        again = trainer.generate(labels, seed=20, **options)
        assert again.tobytes() == together.tobytes()


def test_seeds_of_64_bits_and_of_any_order_are_taken(linear: NoiseSchedule) -> None:
    seeds = [2**40 + 1, 0, 2**40 + 1]
    with create(linear) as trainer:
        images = trainer.generate(np.array([1, 1, 1]), steps=3, seed=np.array(seeds))
        expected = reference_images(trainer, np.array([1, 1, 1]), seeds, 3)
    assert_arrays_agree(images, expected, 1e-4, "image")
    assert_arrays_agree(images[0], images[2], 1e-5, "image of the same seed")


def test_generating_leaves_the_training_as_it_is(linear: NoiseSchedule) -> None:
    x, y = np.ones((3, *SHAPE), np.float32), LABELS
    with create(linear) as one, create(linear) as two:
        for trainer in (one, two):
            trainer.step(x, y)
        one.generate(np.arange(5), steps=3, cfg_scale=3.0)
        assert one.step(x, y) == two.step(x, y)
        assert one.flat_parameters.tobytes() == two.flat_parameters.tobytes()


# ---- The reference -------------------------------------------------------------------------------

NAMES = {"epsilon": "epsilon", "sample": "sample", "v": "v_prediction"}


@pytest.mark.parametrize("variance", ["learned_range", "fixed_large"])
@pytest.mark.parametrize("prediction", NAMES)
def test_the_reference_takes_the_ddpm_steps_of_diffusers(prediction: str, variance: str) -> None:
    process, random = Process(reference.linear_betas(1000)), torch.Generator().manual_seed(0)
    theirs = DDPMScheduler(1000, prediction_type=NAMES[prediction], variance_type=variance, clip_sample=False)
    x = torch.randn(2, *SHAPE, dtype=torch.float64, generator=random)
    output = torch.randn(2, 8, 8, 8, dtype=torch.float64, generator=random)
    output = output if variance == "learned_range" else output[:, :4]
    for t in (0, 1, 2, 500, 999):
        state = random.get_state()
        expected = theirs.step(output, t, x, generator=random).prev_sample
        random.set_state(state)
        noise = torch.randn(2, *SHAPE, dtype=torch.float64, generator=random)
        times = torch.tensor([t, t])
        x0 = process.predicted_sample(prediction, output[:, :4], x, times)
        step = oracle.ddpm_step(process, x0, x, times, output[:, 4:])
        # Their tables are float32, in which 1-ᾱ has few digits at the first steps.
        assert_arrays_agree(step.mean + step.scale * noise * (t > 0), expected, 1e-3, f"step {t}")


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("prediction", NAMES)
def test_the_reference_takes_the_ddim_steps_of_diffusers(prediction: str, eta: float) -> None:
    kept = np.arange(0, 1000, 111)
    process, random = Process(reference.linear_betas(1000)).respaced(kept), torch.Generator().manual_seed(0)
    theirs = DDIMScheduler(1000, prediction_type=NAMES[prediction], clip_sample=False)
    theirs.num_inference_steps = 9
    x, output = (torch.randn(2, *SHAPE, dtype=torch.float64, generator=random) for _ in range(2))
    for i in (1, 5, 9):
        state = random.get_state()
        expected = theirs.step(output, int(kept[i]), x, eta=eta, generator=random).prev_sample
        random.set_state(state)
        noise = torch.randn(2, *SHAPE, dtype=torch.float64, generator=random)
        times = torch.tensor([i, i])
        x0 = process.predicted_sample(prediction, output, x, times)
        step = oracle.ddim_step(process, x0, x, times, eta)
        assert_arrays_agree(step.mean + step.scale * noise, expected, 1e-4, f"step {i}")
