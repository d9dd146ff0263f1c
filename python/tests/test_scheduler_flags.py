"""Flags of diffusers' schedulers: each is read, concerns the generation alone, or is refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.configuration_utils import register_to_config  # noqa: E402

from speediff.torch import TimestepSampler, schedule_from  # noqa: E402
from speediff.torch._scheduler_flags import HARMLESS, READ, REFUSED  # noqa: E402

SOURCES = Path(diffusers.__file__).parent / "schedulers"
WAN: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
SVD: dict[str, Any] = {
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "sigma_min": 0.002,
    "sigma_max": 700.0, "prediction_type": "v_prediction", "timestep_type": "continuous",
    "use_karras_sigmas": True,
}  # fmt: skip


def scheduler_classes() -> Iterator[tuple[str, set[str], str]]:
    """Name, parameters and source of every scheduler of the installed diffusers, importable or not."""
    for file in sorted(SOURCES.glob("**/scheduling_*.py")):
        text = file.read_text()
        for node in ast.parse(text).body:
            if not (isinstance(node, ast.ClassDef) and node.name.endswith("Scheduler")):
                continue
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    names = {argument.arg for argument in [*method.args.args, *method.args.kwonlyargs]}
                    yield node.name, names - {"self"}, ast.get_source_segment(text, method) or ""


CLASSES = {name: (names, source) for name, names, source in scheduler_classes()}


def made(name: str) -> Any:
    """The scheduler with its defaults; None where it needs arguments, or a library that is missing."""
    try:
        return getattr(diffusers, name)()
    except (AttributeError, TypeError, ImportError):
        return None


def can_be_read(name: str) -> bool:
    """Whether a class has tables at all: ᾱ, or the σ of flow matching."""
    scheduler = made(name)
    if scheduler is None:
        return "self.alphas_cumprod =" in CLASSES[name][1]
    try:
        schedule_from(scheduler)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


READABLE = [name for name in CLASSES if can_be_read(name)]


def test_the_classes_that_people_use_are_among_those_looked_at() -> None:
    assert len(CLASSES) > 30
    assert {
        "DDPMScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler", "DPMSolverSDEScheduler",
        "CogVideoXDDIMScheduler", "FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler",
    } <= set(READABLE)  # fmt: skip
    assert not {"EDMEulerScheduler", "CMStochasticIterativeScheduler", "KarrasVeScheduler"} & set(READABLE)


@pytest.mark.parametrize("name", READABLE)
def test_every_flag_is_classified(name: str) -> None:
    missing = CLASSES[name][0] - READ - HARMLESS - set(REFUSED) - {"kwargs"}
    assert not missing, f"{name}: read, harmless or refused? {sorted(missing)}"


def test_no_flag_is_in_two_classes() -> None:
    assert not READ & HARMLESS
    assert not (READ | HARMLESS) & set(REFUSED)


@pytest.mark.parametrize(
    "name",
    ["UniPCMultistep", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "SASolver",
     "DPMSolverMultistepInverse"],
)  # fmt: skip
def test_a_solver_set_to_flow_matching_is_refused(name: str) -> None:
    scheduler = getattr(diffusers, f"{name}Scheduler")(**WAN)
    with pytest.raises(
        ValueError, match=r"use_flow_sigmas must be False, got True: .*Scheduler\(shift=3.0\)"
    ):
        schedule_from(scheduler)
    scheduler.set_timesteps(1000)
    with pytest.raises(ValueError, match="use_flow_sigmas"):
        TimestepSampler.for_scheduler(scheduler)
    with pytest.raises(ValueError, match="use_flow_sigmas"):
        TimestepSampler.for_scheduler(diffusers.DDPMScheduler()).check_scheduler(scheduler)


def test_the_scheduler_that_the_error_names_has_the_noise_levels_of_the_solver() -> None:
    solver = diffusers.UniPCMultistepScheduler(**WAN)
    solver.set_timesteps(50)
    table = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).sigmas
    spacing = (table[:-1] - table[1:]).max()
    assert all((table - sigma).abs().min() < spacing for sigma in solver.sigmas[:-1])
    alphas = schedule_from(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)).alphas_cumprod
    np.testing.assert_allclose(alphas[499], 0.25**2 / (0.25**2 + 0.75**2), rtol=1e-6)


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_continuous_time_steps_are_refused(prediction: str) -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**{**SVD, "prediction_type": prediction})
    with pytest.raises(
        ValueError, match=r"timestep_type must be 'discrete', got 'continuous': .*SigmaSampler"
    ):
        TimestepSampler.for_scheduler(scheduler)


@pytest.mark.parametrize("kind", ["FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"])
def test_inverted_noise_levels_are_refused_and_the_copy_of_the_error_is_not(kind: str) -> None:
    kind = getattr(diffusers, kind)
    scheduler = kind(invert_sigmas=True)
    with pytest.raises(ValueError, match="invert_sigmas must be False, got True"):
        schedule_from(scheduler)
    copy = diffusers.FlowMatchEulerDiscreteScheduler.from_config(scheduler.config, invert_sigmas=False)
    assert (schedule_from(copy).alphas_cumprod == schedule_from(kind()).alphas_cumprod).all()


def test_a_process_in_stages_is_refused() -> None:
    if not hasattr(diffusers, "HeliosScheduler"):
        pytest.skip("needs a diffusers with HeliosScheduler")
    with pytest.raises(ValueError, match="stages must be 1, got 3"):
        schedule_from(diffusers.HeliosScheduler())


def test_a_config_carries_flags_of_another_class_that_do_nothing() -> None:
    """diffusers keeps them in `config` and ignores them, as for a DDPM made from SVD's folder."""
    svd = diffusers.EulerDiscreteScheduler(**SVD)
    scheduler = diffusers.DDPMScheduler.from_config(svd.config)
    assert scheduler.config.timestep_type == "continuous"
    np.testing.assert_allclose(schedule_from(scheduler).alphas_cumprod, svd.alphas_cumprod, rtol=2e-5)
    wan = diffusers.UniPCMultistepScheduler(**WAN)
    flow = diffusers.FlowMatchEulerDiscreteScheduler.from_config(wan.config, shift=3.0)
    assert schedule_from(flow).alphas_cumprod[499] == pytest.approx(0.1, rel=1e-6)


def test_flags_that_only_a_generation_reads_change_nothing() -> None:
    plain = schedule_from(diffusers.DPMSolverMultistepScheduler())
    busy = diffusers.DPMSolverMultistepScheduler(
        use_karras_sigmas=True, solver_order=3, thresholding=True, timestep_spacing="trailing",
        steps_offset=1, algorithm_type="sde-dpmsolver++", euler_at_final=True, flow_shift=7.0,
    )  # fmt: skip
    busy.set_timesteps(20)
    assert (schedule_from(busy).alphas_cumprod == plain.alphas_cumprod).all()


@pytest.mark.parametrize(
    "flag", ["rescale_betas_zero_snr", "snr_shift_scale", "beta_schedule", "trained_betas"]
)
def test_flags_that_are_read_change_the_schedule(flag: str) -> None:
    kind = diffusers.CogVideoXDDIMScheduler
    values: dict[str, Any] = {
        "rescale_betas_zero_snr": False, "snr_shift_scale": 1.0, "beta_schedule": "linear",
        "trained_betas": np.linspace(1e-4, 1e-2, 1000).tolist(),
    }  # fmt: skip
    scheduler = kind(**{"rescale_betas_zero_snr": True, flag: values[flag]})
    schedule = schedule_from(scheduler)
    np.testing.assert_allclose(schedule.alphas_cumprod, scheduler.alphas_cumprod, rtol=1e-4, atol=1e-7)
    assert not np.allclose(
        schedule.alphas_cumprod, schedule_from(kind(rescale_betas_zero_snr=True)).alphas_cumprod
    )


class NewerScheduler(diffusers.DDPMScheduler):
    """What a diffusers of tomorrow might have."""

    @register_to_config
    def __init__(self, num_train_timesteps: int = 1000, warp: float = 1.0, grid: Any = (0, 1)) -> None:
        super().__init__(num_train_timesteps)


def test_an_unknown_flag_is_named_unless_it_is_at_its_default() -> None:
    plain = schedule_from(diffusers.DDPMScheduler()).alphas_cumprod
    assert (schedule_from(NewerScheduler()).alphas_cumprod == plain).all()
    assert (schedule_from(NewerScheduler(grid=[0, 1])).alphas_cumprod == plain).all(), "as JSON has a tuple"
    scheduler = NewerScheduler(warp=2.0)
    with pytest.raises(ValueError, match=r"NewerScheduler's warp must have its default 1.0, got 2.0"):
        schedule_from(scheduler)
    assert (
        schedule_from(NewerScheduler.from_config(scheduler.config, warp=1.0)).alphas_cumprod == plain
    ).all()
    with pytest.raises(ValueError, match="grid must have its default"):
        schedule_from(NewerScheduler(grid=np.ones(3)))


class Demanding(diffusers.DDPMScheduler):
    @register_to_config
    def __init__(self, warp: float) -> None:
        super().__init__()


def test_an_unknown_flag_without_a_default_is_named() -> None:
    with pytest.raises(ValueError, match="Demanding's warp must be known to SpeeDiff, got 2"):
        schedule_from(Demanding(2))


class Passing(diffusers.UniPCMultistepScheduler):
    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)


def test_flags_of_the_class_that_a_scheduler_derives_from_count() -> None:
    with pytest.raises(ValueError, match="Passing's use_flow_sigmas must be False"):
        schedule_from(Passing(**WAN))


def test_noise_levels_that_happen_to_lie_below_1_are_no_flow_matching() -> None:
    for scheduler in (
        diffusers.EDMEulerScheduler(sigma_max=1.0),
        diffusers.ScoreSdeVeScheduler(sigma_max=1.0),
        diffusers.CMStochasticIterativeScheduler(sigma_max=1.0),
    ):
        with pytest.raises(TypeError, match="use a SigmaSampler"):
            schedule_from(scheduler)


def test_a_flow_target_needs_a_process_of_flow_matching() -> None:
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction")
    with pytest.raises(ValueError, match="prediction_type must not be 'flow_prediction'"):
        schedule_from(scheduler)


def test_an_unknown_target_is_named_where_none_is_given() -> None:
    scheduler = diffusers.DDPMScheduler(prediction_type="score")
    with pytest.raises(ValueError, match=r"target must be one of epsilon, .*, got 'score'"):
        TimestepSampler.for_scheduler(scheduler)
    given = TimestepSampler.for_scheduler(scheduler, weighting="min_snr", prediction="v")
    assert given.recipe.drawing.prediction == "v"
    assert schedule_from(scheduler).steps == 1000
