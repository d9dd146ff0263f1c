"""What a newcomer gets wrong at the seams of trainers: each mistake is an error or a warning, at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import test_trainers_flow as flow
import torch

import speediff
import speediff.torch
from speediff.sampling import Laplace
from speediff.torch import SigmaSampler
from speediff.torch.trainers import (
    AIToolkitSampler,
    AnimaTimesteps,
    LTXTimesteps,
    MusubiSampler,
    SamplerInCheckpoint,
    SamplerInTrainerState,
    WeightedLoss,
)

if TYPE_CHECKING:
    from pathlib import Path

MIXINS = {
    MusubiSampler: "compute_loss",
    AIToolkitSampler: "calculate_loss",
    SamplerInCheckpoint: "state_dict",
    SamplerInTrainerState: "on_step_end",
}


@pytest.mark.parametrize("mixin", MIXINS)
def test_a_mixin_behind_the_trainers_class_is_refused(mixin: Any) -> None:
    """There its methods would not be called, and nothing would say so."""
    theirs = type("Theirs", (), {MIXINS[mixin]: lambda self: None})
    with pytest.raises(speediff.SpeeDiffTypeError, match=rf"class Own\({mixin.__name__}, Theirs\)"):
        type("Own", (theirs, mixin), {})
    own = type("Own", (mixin, theirs), {MIXINS[mixin]: lambda self: None})
    other = type("Other", (), {"another": 1})
    assert issubclass(type("Further", (other, own), {}), mixin)


@pytest.mark.parametrize("mixin", [MusubiSampler, AIToolkitSampler])
def test_a_trainer_without_make_sampler_says_what_is_missing(mixin: Any) -> None:
    arguments = () if mixin is AIToolkitSampler else (None,)
    with pytest.raises(NotImplementedError, match=r"make_sampler must be defined in your class"):
        mixin().make_sampler(*arguments)


@pytest.mark.parametrize("wrap", [WeightedLoss, AnimaTimesteps, SamplerInTrainerState])
def test_a_sampler_of_the_other_module_is_named(wrap: Any) -> None:
    """Its representation is that of the right one."""
    message = r"got the SigmaSampler of speediff; import it from speediff\.torch"
    with pytest.raises(speediff.SpeeDiffTypeError, match=message):
        wrap(speediff.SigmaSampler.flow())


def test_musubi_processes_with_seeds_of_their_own_are_refused() -> None:
    """Without --seed the trainer draws one in each process."""

    class Base:
        def on_transformer_loaded(self, *_: Any) -> None:
            pass

    class Trainer(MusubiSampler, Base):
        def make_sampler(self, args: Any) -> SigmaSampler:
            return SigmaSampler.flow(args.seed)

    def loaded(seed: int, other: int) -> list[Any]:
        registered: list[Any] = []
        accelerator = SimpleNamespace(
            device="cpu", register_for_checkpointing=registered.append,
            gather=lambda own: torch.cat([own, torch.tensor([other - (1 << 63)])]),
        )  # fmt: skip
        Trainer().on_transformer_loaded(
            SimpleNamespace(seed=seed, weighting_scheme="none"), accelerator, None
        )
        return registered

    for seed in (0, 5, (1 << 64) - 1):
        assert [sampler.seed for sampler in loaded(seed, seed)] == [seed]
    with pytest.raises(speediff.SpeeDiffValueError, match="every process, got 5, 9; give --seed"):
        loaded(9, 5)


# Resuming without a sampler


def test_anima_warns_where_the_state_has_no_sampler() -> None:
    resumed = AnimaTimesteps(SigmaSampler.flow())
    with pytest.warns(RuntimeWarning, match=r"the training state has no sampler.*sampler\.step"):
        resumed.maybe_refresh(41)
    restored = AnimaTimesteps(SigmaSampler.flow())
    restored.load_state_dict(resumed.state_dict())
    restored.maybe_refresh(41)
    fresh = AnimaTimesteps(SigmaSampler.flow())
    for step in (1, 2):
        fresh.maybe_refresh(step)


def test_ai_toolkit_warns_where_the_folder_has_no_sampler(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match=r"the folder .* has no sampler"):
        flow.ai_toolkit_run(tmp_path, flow.WEIGHTED, flow.ai_toolkit_batches(1, 3, 4, 4), step_num=3)


def lightning_callback(attribute: Any, global_step: int = 0) -> SamplerInCheckpoint:
    callback = SamplerInCheckpoint("loss")
    module = SimpleNamespace(loss=attribute) if attribute is not None else SimpleNamespace()
    callback.setup(None, module, "fit")
    callback.on_train_start(SimpleNamespace(global_step=global_step), module)
    return callback


def test_lightning_warns_where_the_checkpoint_has_no_sampler() -> None:
    with pytest.warns(RuntimeWarning, match="the checkpoint has no sampler"):
        lightning_callback(WeightedLoss(SigmaSampler.flow()), 7)
    advanced = SigmaSampler.flow()
    advanced.sample(4)
    lightning_callback(WeightedLoss(advanced), 1)


def test_lightning_names_the_attribute_before_the_first_step() -> None:
    with pytest.raises(speediff.SpeeDiffTypeError, match=r"SimpleNamespace.*got 'loss', which it does not"):
        lightning_callback(None)
    with pytest.raises(speediff.SpeeDiffTypeError, match="sampler must be a TimestepSampler"):
        lightning_callback(torch.nn.Linear(1, 1))


# The configuration of LTX-2


@pytest.mark.parametrize(
    ("text", "sampling"),
    [
        ("laplace(scale=1)", Laplace(scale=1.0)),
        ("cosmap", "cosmap"),
        ("stages(0:uniform, 2:laplace)", speediff.sampling.Stages([(0, "uniform"), (2, "laplace")])),
    ],
)
def test_ltx_reads_a_sampling_with_its_parameters(text: str, sampling: Any) -> None:
    sampler = LTXTimesteps(text, shift=1)
    assert sampler.sampler.recipe.sampling == SigmaSampler.flow(sampling=sampling).recipe.sampling
    for _ in range(3):
        drawn = sampler.sample(8)
    assert torch.equal(drawn, SigmaSampler.flow(sampling=sampling).sample(8, step=2)[0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"std": 1.0, "uniform_prob": 0.1}, r"timestep_sampling_params must be among sampling, seed, shift"),
        ({"sedd": 3}, "got sedd; did you mean 'seed'"),
        ({"shift": "3"}, "shift must be a number or 'ltx2', got '3'"),
        ({"sampling": "laplase"}, "did you mean 'laplace'"),
        ({"sampling": "speed"}, "sampling must be a sampling alone, since LTX-2.*'speed'"),
        ({"sampling": "min_snr"}, "sampling must be a sampling alone"),
    ],
)
def test_ltx_explains_a_wrong_configuration(params: dict[str, Any], message: str) -> None:
    with pytest.raises(speediff.SpeeDiffError, match=message):
        LTXTimesteps(**params)


# Another method


@pytest.mark.parametrize("kind", [speediff.SigmaSampler, SigmaSampler])
def test_names_that_are_no_sampling_are_explained(kind: Any) -> None:
    with pytest.raises(speediff.SpeeDiffValueError, match="sampling='asymmetric' with weighting='change"):
        kind.flow(sampling="speed")
    with pytest.raises(speediff.SpeeDiffValueError, match=r"name without parameters.*parse_method"):
        kind.flow(sampling="laplace(scale=1)")
    with pytest.raises(speediff.SpeeDiffTypeError, match="got wieghting; did you mean 'weighting'"):
        kind.flow(wieghting="uniform")
    with pytest.raises(speediff.SpeeDiffTypeError, match=r"got method$"):
        kind.flow(method="speed")
