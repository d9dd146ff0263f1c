"""The seams of accelerate and of Hugging Face's `Trainer`, with the real packages.

What is expected comes from a sampler of the test's own with the same seed, and from the loss written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from page_examples import own_lines, run

import speediff
from speediff.torch import SigmaSampler, TimestepSampler
from speediff.torch.trainers import WeightedLoss

if TYPE_CHECKING:
    from pathlib import Path

transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

IMAGES = [{"images": torch.full((2,), 0.1 * i)} for i in range(12)]


ADAPTIVE = speediff.sampling.Adaptive(bins=3, decay=0.5)


def flow(**options: Any) -> SigmaSampler:
    return SigmaSampler.flow(3, sampling="logit_normal", weighting="sigma_sqrt", shift=2.0, **options)


def adaptive() -> SigmaSampler:
    return SigmaSampler.flow(3, sampling=ADAPTIVE, weighting="uniform")


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.scale * images + t[:, None]


def train(
    folder: Path,
    sampler: Any,
    steps: int,
    resume: str | None = None,
    model: Any = None,
    more: dict[str, Any] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Follows docs/migrate/transformers.md; returns what each call of `compute_loss` saw.

    `more` is what each batch has beside its images.
    """
    seen: list[dict[str, Any]] = []

    def losses_of(model: Any, images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        losses: torch.Tensor = model(images, t).square().mean(1)
        seen.append({"t": t, "losses": losses.detach(), "train": model.training})
        return losses

    names: dict[str, Any] = {
        "losses_of": losses_of, "model": Network() if model is None else model, "own": sampler,
        "arguments": transformers.TrainingArguments(
            str(folder), per_device_train_batch_size=4, per_device_eval_batch_size=4, max_steps=steps,
            save_steps=2, report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=1,
            **{"remove_unused_columns": False, "label_names": ["images"], **options},
        ),
        "data": {
            "train_dataset": IMAGES, "eval_dataset": IMAGES,
            "data_collator": lambda rows: {
                "images": torch.stack([row["images"] for row in rows]), **(more or {}),
            },
        },
    }  # fmt: skip
    run("transformers", names)
    # A function makes the sampler where the page does, after TrainingArguments.
    run("transformers", names, 1, sampler="own() if callable(own) else own")
    trainer = names["trainer"]
    trainer.train(resume_from_checkpoint=resume)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if "eval_strategy" not in options:
        for entry, loss in zip(seen, logged[-len(seen) :], strict=False):
            entry["logged"] = loss
    return seen


@pytest.mark.parametrize("accumulation", [1, 3])
def test_trainer_draws_weighs_and_resumes(tmp_path: Path, accumulation: int) -> None:
    options = {"gradient_accumulation_steps": accumulation}
    seen = train(tmp_path, flow(accumulation=accumulation), 4, **options)
    more = train(
        tmp_path, flow(accumulation=accumulation), 6, resume=str(tmp_path / "checkpoint-4"), **options
    )
    assert (len(seen), len(more)) == (4 * accumulation, 2 * accumulation)
    sampler = flow()
    calls = seen + more
    for step in range(6):
        parts = calls[accumulation * step : accumulation * (step + 1)]
        t, w = sampler.sample(4 * accumulation)
        assert torch.equal(torch.cat([call["t"] for call in parts]), t)
        for call, weights in zip(parts, w.chunk(accumulation), strict=True):
            call["expected"] = (weights * call["losses"]).mean().item()
        if step < 4:
            logged = seen[step]["logged"]
            assert logged == pytest.approx(
                sum(call["expected"] for call in parts) / accumulation, rel=1e-3, abs=1e-4
            )


def test_trainer_averages_accumulated_batches_whatever_the_model_takes(tmp_path: Path) -> None:
    """With "labels" and a model that takes anything, the Trainer divides only where it is told to."""

    class TakesAnything(Network):
        def forward(self, images: torch.Tensor, t: torch.Tensor, **_: Any) -> torch.Tensor:
            return super().forward(images, t)

    scales = []
    for place, model in enumerate((Network(), TakesAnything())):
        train(
            tmp_path / str(place), lambda: flow(accumulation=3), 4, model=model, optim="sgd",
            more={"labels": torch.ones(4, dtype=torch.long)}, gradient_accumulation_steps=3,
            max_grad_norm=0.0, learning_rate=0.05,
        )  # fmt: skip
        scales.append(model.scale.item())
    assert scales[0] == scales[1] != 1


@pytest.mark.parametrize("restore", [False, True])
def test_trainer_restores_from_the_checkpoint_that_it_is_given(tmp_path: Path, restore: bool) -> None:
    """Also with the option by which it restores callbacks itself."""
    seen = train(tmp_path, flow(), 6)
    again = train(
        tmp_path, flow(), 6, resume=str(tmp_path / "checkpoint-2"),
        restore_callback_states_from_checkpoint=restore,
    )  # fmt: skip
    assert len(again) == 4
    for first, second in zip(seen[2:], again, strict=True):
        assert torch.equal(first["t"], second["t"])


def test_evaluation_neither_advances_the_sampler_nor_teaches_it(tmp_path: Path) -> None:
    seen = train(tmp_path, adaptive(), 4, eval_strategy="steps", eval_steps=1)
    sampler = adaptive()
    fixed = []
    for call in seen:
        if call["train"]:
            t, _ = sampler.sample(4)
            assert torch.equal(call["t"], t)
            sampler.update(t, call["losses"])
        else:
            fixed.append(call["t"])
            assert torch.equal(call["t"], sampler.sample(4, step=0)[0])
    assert len(fixed) == 12
    assert sampler.step == 4


def test_what_was_learned_is_restored(tmp_path: Path) -> None:
    seen = train(tmp_path, adaptive(), 6)
    again = train(tmp_path, adaptive(), 6, resume=str(tmp_path / "checkpoint-4"))
    for first, second in zip(seen[4:], again, strict=True):
        assert torch.equal(first["t"], second["t"])
    fresh = adaptive()
    assert not torch.equal(fresh.sample(4, step=4)[0], again[0]["t"])


def test_a_checkpoint_without_a_sampler_warns(tmp_path: Path) -> None:
    train(tmp_path, flow(), 2)
    file = tmp_path / "checkpoint-2" / "trainer_state.json"
    text = file.read_text()
    file.write_text(text.replace("speediff.sampler", "another"))
    with pytest.warns(RuntimeWarning, match=r"no sampler.*sampler\.step to 2 times"):
        train(tmp_path, flow(), 4, resume=str(tmp_path / "checkpoint-2"))


def test_another_method_is_refused_on_resuming(tmp_path: Path) -> None:
    train(tmp_path, flow(), 2)
    with pytest.raises(speediff.SpeeDiffValueError, match="state"):
        train(tmp_path, SigmaSampler.flow(3), 4, resume=str(tmp_path / "checkpoint-2"))


def test_accelerate_saves_a_learning_loss_between_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Follows docs/migrate/accelerate.md."""
    drawn: list[torch.Tensor] = []

    def losses_of(model: Any, images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        drawn.append(t)
        if len(drawn) == 3:
            names["accelerator"].save_state(str(tmp_path / "state"))
        return model(images, t).square().mean(1)  # type: ignore[no-any-return]

    def follow(batches: int) -> dict[str, Any]:
        own = SigmaSampler.flow(3, sampling=ADAPTIVE, weighting="uniform")
        names.update(own=own, loader=[torch.zeros(8, 2)] * batches)
        return run("accelerate", names, sampler="own")

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    names: dict[str, Any] = {"losses_of": losses_of, "model": Network()}
    follow(5)
    accelerator, loss = names["accelerator"], names["loss"]
    accelerator.load_state(str(tmp_path / "state"))
    # The state was saved within the third batch, after its draw.
    expected = SigmaSampler.flow(3, sampling=ADAPTIVE, weighting="uniform")
    for t in drawn[:2]:
        assert torch.equal(expected.sample(8)[0], t)
        expected.update(t, t**2)
    expected.sample(8)
    assert torch.equal(loss.draw(8), expected.sample(8)[0])


@pytest.mark.parametrize("page", ["accelerate", "transformers"])
def test_a_page_asks_for_fewer_than_ten_lines(page: str) -> None:
    assert own_lines(page) < 10


# WeightedLoss


def test_a_step_of_micro_batches_is_drawn_from_one_density() -> None:
    options = {"sampling": ADAPTIVE, "weighting": "uniform"}
    loss = WeightedLoss(SigmaSampler.flow(3, accumulation=2, **options))
    whole = SigmaSampler.flow(3, **options)
    for _ in range(3):
        parts = []
        for _ in range(2):
            parts.append(loss.draw(4))
            loss.mean(parts[-1] ** 2)
        t, _ = whole.sample(8)
        assert torch.equal(torch.cat(parts), t)
        whole.update(t, t**2)


def test_half_precision_losses_teach_without_rounding_to_zero() -> None:
    sampler = adaptive()
    loss = WeightedLoss(sampler)
    t = loss.draw(4)
    mean = loss.mean((1e-2 * t + 1e-3).bfloat16())
    expected = adaptive()
    expected.update(expected.sample(4)[0], (1e-2 * t + 1e-3).bfloat16().float())
    assert sampler.state_dict() == expected.state_dict()
    assert mean.dtype == torch.float32


def test_gradients_flow_through_the_mean() -> None:
    loss = WeightedLoss(flow())
    scale = torch.ones((), requires_grad=True)
    t = loss.draw(4)
    loss.mean(scale * t).backward()
    _, w = flow().sample(4)
    assert scale.grad is not None
    torch.testing.assert_close(scale.grad, (w * t).mean())


def test_calls_out_of_order_and_wrong_losses_are_refused() -> None:
    loss = WeightedLoss(TimestepSampler.speed(speediff.NoiseSchedule.linear(1000)))
    with pytest.raises(speediff.SpeeDiffValueError, match="mean must follow draw"):
        loss.mean(torch.ones(4))
    loss.draw(4)
    for wrong in (torch.ones(4, 2), torch.ones(()), 1.0):
        with pytest.raises(speediff.SpeeDiffTypeError, match="one entry per sample"):
            loss.mean(wrong)  # type: ignore[arg-type]
    loss.mean(torch.ones(4))
    with pytest.raises(speediff.SpeeDiffValueError, match="mean must follow draw"):
        loss.mean(torch.ones(4))


def test_only_samplers_on_tensors_are_wrapped() -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match="sampler must be"):
        WeightedLoss(speediff.SigmaSampler.flow())  # type: ignore[arg-type]
