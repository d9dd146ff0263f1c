"""The forms in which a pipeline keeps its average: the trainer moves it as its own class would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from pipelines import EMA_DECAY, Pipeline, adopted, assert_same, batches, by_hand, network
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn, get_swa_avg_fn

import speediff
from speediff.torch import adopt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from speediff import NoiseSchedule

pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


def follows(
    linear: NoiseSchedule,
    make: Callable[[torch.nn.Module], Any],
    update: Callable[[Any, torch.nn.Module], None],
    tensors: Callable[[Any], Mapping[str, torch.Tensor]],
) -> Any:
    """A run that changes hands again and again leaves the average of PyTorch alone.

    Returns:
        Both averages, that of PyTorch alone second.
    """
    runs = []
    for handed in (False, True):
        pipeline = Pipeline(network(), linear)
        average = make(pipeline.model)
        steps = iter(batches(0, 9))

        def in_pytorch(
            count: int, steps: Any = steps, pipeline: Pipeline = pipeline, ema: Any = average
        ) -> None:
            for _ in range(count):
                pipeline.step(next(steps))
                update(ema, pipeline.model)

        if handed:
            with adopt(pipeline.model, average, pipeline.optimizer) as adoption:
                for _ in range(2):
                    by_hand(adoption, next(steps))
                    in_pytorch(1)
                    by_hand(adoption, next(steps))
            in_pytorch(3)
        else:
            in_pytorch(9)
        runs.append((average, {**tensors(average), **pipeline.model.state_dict()}))
    assert_same(runs[1][1], runs[0][1], 1e-4)
    return runs[1][0], runs[0][0]


# ---- AveragedModel -------------------------------------------------------------------------------


def warmed_up(average: torch.Tensor, parameter: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    """Of a decay that follows the count."""
    n = int(updates) + 1
    return torch.lerp(average, parameter, 1 - min(EMA_DECAY, (1 + n) / (10 + n)))


@pytest.mark.parametrize(
    "options",
    [
        {"multi_avg_fn": get_ema_multi_avg_fn(EMA_DECAY)},
        {"avg_fn": get_ema_avg_fn(0.5)},
        {},
        {"avg_fn": get_swa_avg_fn()},
        {"avg_fn": warmed_up},
    ],
    ids=["EMA of lists", "EMA", "mean", "mean by a function", "warm-up"],
)
def test_an_averaged_model_follows_its_own_function(linear: NoiseSchedule, options: dict[str, Any]) -> None:
    found, _ = follows(
        linear,
        lambda model: AveragedModel(model, **options),
        lambda average, model: average.update_parameters(model),
        lambda average: {f"average.{name}": value for name, value in average.state_dict().items()},
    )
    assert int(found.n_averaged) == 9


def test_the_first_update_of_an_averaged_model_copies(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    average = AveragedModel(pipeline.model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    for batch in batches(50, 2):
        pipeline.step(batch)
    with adopt(pipeline.model, average, pipeline.optimizer) as adoption:
        by_hand(adoption, batches(0, 1)[0])
        assert_same(average.module.state_dict(), pipeline.model.state_dict(), 1e-7)


# ---- diffusers' EMAModel -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decay": 0.2},
        {"use_ema_warmup": True},
        {"use_ema_warmup": True, "inv_gamma": 2.0, "power": 0.75, "min_decay": 0.3, "foreach": True},
        {"update_after_step": 4},
    ],
    ids=["defaults", "a small decay", "warm-up", "all of the warm-up", "later"],
)
def test_an_ema_model_follows_its_own_decay(linear: NoiseSchedule, options: dict[str, Any]) -> None:
    found, expected = follows(
        linear,
        lambda model: EMAModel(model.parameters(), **options),
        lambda ema, model: ema.step(model.parameters()),
        lambda ema: {f"shadow.{number}": value for number, value in enumerate(ema.shadow_params)},
    )
    assert (found.optimization_step, found.cur_decay_value) == (9, expected.cur_decay_value)


def test_an_ema_model_shares_memory_and_can_be_tried_in_the_module(linear: NoiseSchedule) -> None:
    pipeline = Pipeline(network(), linear)
    ema = EMAModel(pipeline.model.parameters())
    with adopt(pipeline.model, ema, pipeline.optimizer) as adoption:
        for batch in batches(0, 3):
            by_hand(adoption, batch)
        named = zip(pipeline.model.named_parameters(), ema.shadow_params, strict=True)
        shadow = {name: value for (name, parameter), value in named if parameter.requires_grad}
        for name, view in adoption.trainer.ema_parameters.items():
            assert shadow[name].data_ptr() == view.ctypes.data, name
        before = pipeline.tensors()
        ema.store(pipeline.model.parameters())
        ema.copy_to(pipeline.model.parameters())
        assert_same({name: pipeline.model.state_dict()[name] for name in shadow}, shadow, 0)
        ema.restore(pipeline.model.parameters())
        assert_same(pipeline.tensors(), before, 0)
        assert ema.optimization_step == 3
        assert ema.cur_decay_value == adoption.trainer.ema_decay == ema.get_decay(3)


# ---- Lists ---------------------------------------------------------------------------------------


def test_a_list_of_tensors_is_an_average(linear: NoiseSchedule) -> None:
    steps, first, second = batches(0, 3), *(Pipeline(network(), linear) for _ in range(2))
    shadow = [parameter.detach().clone() for parameter in second.model.parameters()]
    with (
        adopted(first) as adoption,
        adopt(second.model, shadow, second.optimizer, ema_decay=EMA_DECAY) as other,
    ):
        for batch in steps:
            by_hand(adoption, batch)
            by_hand(other, batch)
    for found, expected in zip(shadow, first.ema.parameters(), strict=True):
        assert torch.equal(found, expected)


# ---- What is refused -----------------------------------------------------------------------------


def averaged(model: torch.nn.Module, **options: Any) -> AveragedModel:
    return AveragedModel(model, **options)


@pytest.mark.parametrize("make", [averaged, lambda model: EMAModel(model.parameters())])
@pytest.mark.parametrize("given", [{"ema_decay": 0.9999}, {"ema_warmup": True}])
def test_an_average_with_its_own_decay_is_given_no_other(make: Any, given: dict[str, Any]) -> None:
    model = network()
    with pytest.raises(
        speediff.SpeeDiffValueError, match="must be omitted for an average with its own decay"
    ):
        adopt(model, make(model), **given)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda average, parameter, _: average + parameter, "got another function"),
        (lambda average, parameter, _: torch.maximum(average, parameter), "got another function"),
        (lambda average, parameter, _: average[:1], "got another function"),
        (lambda average, parameter, _: 2 * average - parameter, r"decays in \[0, 1\], got 2"),
    ],
)
def test_a_function_that_is_no_moving_average(function: Any, words: str) -> None:
    model = network()
    with pytest.raises(speediff.SpeeDiffError, match=words):
        adopt(model, AveragedModel(model, avg_fn=function))


@pytest.mark.parametrize(
    ("make", "update"),
    [
        (averaged, lambda average, model: average.update_parameters(model)),
        (lambda model: EMAModel(model.parameters()), lambda ema, model: ema.step(model.parameters())),
    ],
)
def test_an_average_is_not_updated_twice(linear: NoiseSchedule, make: Any, update: Any) -> None:
    pipeline = Pipeline(network(), linear)
    average = make(pipeline.model)
    with adopt(pipeline.model, average, pipeline.optimizer) as adoption:
        by_hand(adoption, batches(0, 1)[0])
        update(average, pipeline.model)
        with pytest.raises(
            speediff.SpeeDiffValueError, match=r"ema must not be updated after .*, got 1 more"
        ):
            by_hand(adoption, batches(1, 1)[0])


def test_an_average_that_loads_other_tensors(linear: NoiseSchedule) -> None:
    """They would not be those that the trainer moves."""
    changes: list[tuple[Any, Callable[[Any], object]]] = [
        (lambda model: EMAModel(model.parameters()), lambda ema: ema.load_state_dict(ema.state_dict())),
        (averaged, lambda ema: ema.load_state_dict(ema.state_dict(), assign=True)),
        (
            lambda model: [value.detach().clone() for value in model.parameters()],
            lambda ema: ema.__setitem__(3, ema[3].clone()),
        ),
    ]
    for make, change in changes:
        pipeline = Pipeline(network(), linear)
        average = make(pipeline.model)
        with adopt(pipeline.model, average, pipeline.optimizer) as adoption:
            by_hand(adoption, batches(0, 1)[0])
            before = np.array(adoption.trainer.flat_parameters)
            change(average)
            with pytest.raises(
                speediff.SpeeDiffValueError, match="ema must keep the tensors that were adopted"
            ):
                by_hand(adoption, batches(1, 1)[0])
            np.testing.assert_array_equal(adoption.trainer.flat_parameters, before)
