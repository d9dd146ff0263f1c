"""Copies of samplers, schedules and methods: they draw what the original would, and go on alone."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import types
from typing import TYPE_CHECKING, Any

import pytest

import speediff
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler, processes, sampling, weighting
from speediff.sampling import Adaptive, Asymmetric, Blend, Mixture, Shifted, Truncated
from speediff.weighting import ChangeAware, Debiased, MinSNR, ToEmphasis, Uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable

LINEAR = NoiseSchedule.linear(100)
SUPPRESSED = SigmaSampler.vp(sampling=Asymmetric(3, r=10))
NESTED = Blend(Mixture(Shifted("laplace", 2), Truncated("uniform", 5, 50)), "uniform", 2, 9)

HOW: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda one, protocol=protocol: pickle.loads(pickle.dumps(one, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
SAMPLERS: dict[str, Callable[[], Any]] = {
    "speed": lambda: TimestepSampler.speed(LINEAR, seed=5),
    "official": lambda: TimestepSampler.speed(LINEAR, tau=60, preset="official"),
    "adaptive": lambda: TimestepSampler(LINEAR, Adaptive(bins=10), seed=2),
    "second moment": lambda: TimestepSampler(LINEAR, sampling.LossSecondMoment(history=2), MinSNR(), "v"),
    "uncertainty": lambda: TimestepSampler(LINEAR, Adaptive(bins=10), ChangeAware() * Uncertainty(bins=20)),
    "nested": lambda: TimestepSampler(LINEAR, NESTED, Debiased() / MinSNR(), "epsilon"),
    "in a step": lambda: TimestepSampler(
        LINEAR, "cosmap", accumulation=2, strata="stratified", normalize=True
    ),
    "of a rank": lambda: TimestepSampler(LINEAR, rank=1, world_size=3, strata="low_discrepancy", prefetch=3),
    "to emphasis": lambda: TimestepSampler(
        LINEAR, sampling.Laplace(scale=3), ToEmphasis(TimestepSampler.speed(LINEAR)), "v"
    ),
    "to uniform emphasis": lambda: TimestepSampler(LINEAR, sampling.Laplace(scale=3), ToEmphasis(), "v"),
    "edm": lambda: SigmaSampler.edm(seed=3, strata="stratified"),
    "vp": lambda: SigmaSampler.vp(weighting=ToEmphasis(SUPPRESSED), accumulation=2),
    "flow": lambda: SigmaSampler.flow(sampling="logit_normal", shift=3),
    "fdm": lambda: SigmaSampler.fdm(process="ve", warm_up=20),
}


def train(sampler: Any, calls: int) -> list[list[list[float]]]:
    """What some calls draw; a sampler that learns learns from each."""
    batches = []
    for _ in range(calls):
        levels, weights = sampler.sample(8)
        batches.append([levels.tolist(), weights.tolist()])
        if getattr(sampler, "learns", False):
            losses = weights + 0
            losses[:] = 1 + levels / 50
            sampler.update(levels, losses)
    return batches


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_copy_of_a_sampler_draws_what_the_original_would_have_drawn(name: str, how: str) -> None:
    sampler, expected = SAMPLERS[name](), SAMPLERS[name]()
    train(sampler, 5)
    rest = train(expected, 80)[5:]
    twin = HOW[how](sampler)
    assert type(twin) is type(sampler)
    assert twin.state_dict() == sampler.state_dict()
    assert train(twin, 75) == rest
    # Neither knows of the other.
    twin.close()
    assert train(sampler, 75) == rest


def test_every_method_can_be_copied() -> None:
    methods: list[Any] = [kind() for kind in sampling.Sampling.by_name.values()]
    methods += [kind() for name, kind in weighting.Weighting.by_name.items() if name != "to_emphasis"]
    methods += [NESTED, Asymmetric(3, tau=10), ChangeAware(0.7) / MinSNR()]
    methods += [processes.VP(), processes.VE(), processes.EDM(0.1), processes.Flow()]
    for method in methods:
        for how in HOW.values():
            twin = how(method)
            assert twin == method
            assert hash(twin) == hash(method)
            assert twin.describe() == method.describe()


def test_a_copy_keeps_what_a_user_hangs_on_a_sampler() -> None:
    class Named(TimestepSampler):
        pass

    sampler: Any = Named(LINEAR)
    sampler.names = ["a"]
    shallow, deep = copy.copy(sampler), copy.deepcopy(sampler)
    assert type(shallow) is type(deep) is Named
    sampler.names.append("b")
    assert (shallow.names, deep.names) == (["a", "b"], ["a"])


def test_micro_batches_of_several_sizes_are_refused_by_a_copy_too() -> None:
    sampler = TimestepSampler(LINEAR, accumulation=2)
    sampler.sample(8)
    with pytest.raises(speediff.SpeeDiffValueError, match="got 9 after 8 in call 1 of step 0"):
        copy.copy(sampler).sample(9)


@pytest.mark.parametrize("how", HOW)
def test_copies_of_closed_objects_are_closed(how: str) -> None:
    schedule = NoiseSchedule.linear(100)
    sampler = TimestepSampler.speed(schedule)
    sampler.sample(8)
    schedule.close()
    twin = HOW[how](sampler)
    assert twin.sample(8)[0].tolist() == sampler.sample(8)[0].tolist()
    assert len(HOW[how](schedule)) == 100
    sampler.close()
    for closed in (HOW[how](sampler), HOW[how](schedule)):
        with pytest.raises(speediff.SpeeDiffClosedError):
            closed.__enter__()
    assert HOW[how](sampler).step == 2
    # What it needs of the other sampler it has.
    method = HOW[how](ToEmphasis(SUPPRESSED))
    assert method.describe() == ToEmphasis(SUPPRESSED).describe()


SCHEDULES: dict[str, NoiseSchedule] = {
    "linear": LINEAR,
    "scaled linear": NoiseSchedule.scaled_linear(1000),
    "cosine": NoiseSchedule.cosine(1000),
    "jsd": NoiseSchedule.jsd(50),
    "no signal at the end": NoiseSchedule.linear(1000).zero_terminal_snr(),
    "respaced": NoiseSchedule.cosine(1000).respaced("10,20"),
    "alphas_cumprod": NoiseSchedule.from_alphas_cumprod([0.9, 0.7, 0.1 + 0.2]),
    "nearly one": NoiseSchedule.from_alphas_cumprod([1 - 2**-53, 0.5, 0.3, 0]),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_copy_of_a_schedule_has_the_same_tables_bit_by_bit(name: str, how: str) -> None:
    schedule = SCHEDULES[name]
    _ = schedule.snr
    twin = HOW[how](schedule)
    assert repr(twin) == repr(schedule)
    for table in ("betas", "alphas_cumprod", "snr", "log_snr"):
        values = getattr(twin, table)
        assert values.tobytes() == getattr(schedule, table).tobytes()
        assert not values.flags.writeable
    increments = HOW[how](schedule.process_increments())
    assert increments.variance.tobytes() == schedule.process_increments().variance.tobytes()
    twin.close()
    assert schedule.process_increments().acceleration_end == increments.acceleration_end


def test_a_trainer_says_what_to_do_instead() -> None:
    import tiny_trainers

    with tiny_trainers.create() as trainer:
        for how in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(
                speediff.SpeeDiffTypeError,
                match=r"must not be copied or pickled; save it with save\(path\).*Trainer\.load\(path\)",
            ):
                how(trainer)


# ---- On tensors ----------------------------------------------------------------------------------


def tensor_samplers() -> dict[str, Callable[[], Any]]:
    torch = pytest.importorskip("torch")
    import speediff.torch as st

    sigmas = torch.linspace(1, 1 / 100, 100)
    scheduler = types.SimpleNamespace(sigmas=sigmas, timesteps=1000 * sigmas)
    return {
        "adaptive": lambda: st.TimestepSampler(LINEAR, Adaptive(bins=10), seed=2, accumulation=2),
        "scheduler": lambda: st.TimestepSampler.for_scheduler(scheduler, "logit_normal"),
        "edm": lambda: st.SigmaSampler.edm(seed=3),
        "loss": lambda: st.DenoisingLoss("vp", seed=3, warm_up=5, accumulation=2).sampler,
    }


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["adaptive", "scheduler", "edm", "loss"])
def test_so_does_a_copy_of_one_on_tensors(name: str, how: str) -> None:
    make = tensor_samplers()[name]
    sampler, expected = make(), make()
    train(sampler, 5)
    rest = train(expected, 80)[5:]
    twin = HOW[how](sampler)
    assert twin._token.number != sampler._token.number
    assert train(twin, 75) == rest
    assert train(sampler, 75) == rest


def test_ranks_that_pytorch_gave_are_those_of_the_process_that_loads_a_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    import speediff.torch as st

    own = st.TimestepSampler(LINEAR, rank=1, world_size=3)
    pickles = [pickle.dumps(sampler) for sampler in (st.TimestepSampler(LINEAR), own)]
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    loaded = [pickle.loads(each) for each in pickles]
    layouts = [(each.recipe.drawing.rank, each.recipe.drawing.world_size) for each in loaded]
    assert layouts == [(2, 4), (1, 3)]
    expected = st.TimestepSampler(LINEAR, rank=2, world_size=4)
    assert train(loaded[0], 3) == train(expected, 3)


def diffusion_model() -> Any:
    """A module that holds a schedule, samplers, a loss and a preconditioned network."""
    torch = pytest.importorskip("torch")
    import speediff.torch as st

    module = torch.nn.Module()
    module.net = st.Preconditioned(torch.nn.Linear(2, 2))
    module.schedule = LINEAR
    module.sampler = st.TimestepSampler(LINEAR, Adaptive(bins=10), seed=1)
    module.levels = st.SigmaSampler.edm(seed=1)
    module.loss = st.DenoisingLoss("edm", seed=4, rank=1, world_size=3)
    module.sampler.sample(8)
    return module


def drawn(module: Any) -> list[Any]:
    return [*train(module.sampler, 70), *train(module.levels, 3)]


def test_a_module_that_holds_samplers_is_averaged_and_copied() -> None:
    torch = pytest.importorskip("torch")
    module, expected = diffusion_model(), drawn(diffusion_model())
    loss = train(diffusion_model().loss.sampler, 3)
    for twin in (torch.optim.swa_utils.AveragedModel(module).module, copy.deepcopy(module)):
        assert drawn(twin) == expected
        assert train(twin.loss.sampler, 3) == loss
        assert twin.schedule.betas.tobytes() == LINEAR.betas.tobytes()
    assert train(copy.copy(module.loss).sampler, 3) == loss
    assert drawn(module) == expected
    assert train(module.loss.sampler, 3) == loss


def draw_in_spawned(_: int, module: Any, results: Any) -> None:
    results.put(drawn(module))


@pytest.mark.filterwarnings("error")
def test_a_module_that_holds_samplers_goes_to_a_spawned_process_and_to_joblib() -> None:
    torch_multiprocessing = pytest.importorskip("torch.multiprocessing")
    joblib = pytest.importorskip("joblib")
    module, expected = diffusion_model(), drawn(diffusion_model())
    results = multiprocessing.get_context("spawn").SimpleQueue()
    torch_multiprocessing.spawn(draw_in_spawned, (module, results))
    assert results.get() == expected
    assert joblib.Parallel(n_jobs=2)([joblib.delayed(drawn)(module)] * 2) == [expected] * 2
    assert drawn(module) == expected
