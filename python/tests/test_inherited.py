"""Samplers in processes that did not make them: forked children, and workers of a DataLoader."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import speediff
from speediff import NoiseSchedule, SigmaSampler, TimestepSampler
from speediff.sampling import Asymmetric

if TYPE_CHECKING:
    from collections.abc import Callable

LINEAR = NoiseSchedule.linear(1000)
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork()"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def told(work: Callable[[], Any]) -> tuple[Any, list[tuple[str, str, str]]]:
    """What some work gives, and each warning: its class, its text, and the file that it blames."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    return result, [(each.category.__name__, str(each.message), each.filename) for each in caught]


def in_a_fork(work: Callable[[], Any]) -> Any:
    """What `told` gives in a child."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(told(work)))
    child.start()
    assert ours.poll(30), "the child hangs"
    result = ours.recv()
    child.join(30)
    assert child.exitcode == 0
    return result


def batches(sampler: Any, calls: int = 70) -> list[list[float]]:
    return [sampler.sample(8)[0].tolist() for _ in range(calls)]


@pytest.mark.parametrize("calls", [0, 1, 64])
@pytest.mark.parametrize("make", [lambda: TimestepSampler.speed(LINEAR), SigmaSampler.edm])
def test_a_forked_child_draws_what_its_parent_draws_and_is_told_once(
    make: Callable[[], Any], calls: int
) -> None:
    sampler, other = make(), make()
    batches(sampler, calls)

    def work() -> Any:
        with pytest.raises(speediff.SpeeDiffValueError, match="k must"):
            Asymmetric(0.5)
        return batches(sampler), batches(other, 3)

    (drawn, _), messages = in_a_fork(work)
    assert drawn == batches(sampler)
    ((kind, text, file),) = messages
    assert (kind, file) == ("RuntimeWarning", __file__)
    assert "process forked from the one that made it" in text
    assert "rank= and world_size=" in text
    assert told(lambda: batches(sampler, 1))[1] == []
    # A child of the child is another process.
    assert len(in_a_fork(lambda: in_a_fork(work)[1])[0]) == 1


QUIET: dict[str, Callable[[TimestepSampler], Any]] = {
    "one of its own": lambda _: TimestepSampler(LINEAR).sample(8),
    "any step": lambda sampler: sampler.sample(8, step=3),
    "a part": lambda sampler: sampler.sample(8, offset=8, total=16),
    "a copy that was sent": lambda sampler: pickle.loads(pickle.dumps(sampler)).sample(8),
    "tables": lambda sampler: (sampler.probabilities, sampler.state_dict()),
}


@pytest.mark.parametrize("name", QUIET)
def test_a_child_with_draws_of_its_own_is_not_told(name: str) -> None:
    sampler = TimestepSampler(LINEAR)
    sampler.sample(8)
    assert in_a_fork(lambda: str(QUIET[name](sampler)))[1] == []


def test_a_child_with_a_rank_is_not_told() -> None:
    ranks = [TimestepSampler(LINEAR, rank=rank, world_size=2) for rank in range(2)]
    results = [in_a_fork(lambda sampler=sampler: batches(sampler, 3)) for sampler in ranks]
    assert [messages for _, messages in results] == [[], []]
    whole = TimestepSampler(LINEAR)
    together = [first + second for first, second in zip(results[0][0], results[1][0], strict=True)]
    assert together == [whole.sample(16)[0].tolist() for _ in range(3)]


# ---- DataLoader ----------------------------------------------------------------------------------


class Dataset:
    """Draws in its workers: one per item."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        drawn, messages = told(lambda: self.sampler.sample(2)[0].tolist())
        return drawn, [text for _, text, _ in messages]


class OwnSamplers(Dataset):
    """Makes one in each worker, with the worker's number as its rank."""

    def __init__(self) -> None:
        super().__init__(None)

    def __getitem__(self, index: int) -> Any:
        import torch

        if self.sampler is None:
            worker = torch.utils.data.get_worker_info()
            self.sampler = TimestepSampler(LINEAR, rank=worker.id, world_size=worker.num_workers)
        return super().__getitem__(index)


def items(dataset: Any, method: str, workers: int = 2) -> Any:
    data = pytest.importorskip("torch.utils.data")
    options = {"multiprocessing_context": method} if workers else {}
    loader = data.DataLoader(dataset, batch_size=None, num_workers=workers, **options)
    drawn, messages = zip(*loader, strict=True)
    return list(drawn), [text for each in messages for text in each]


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_each_worker_of_a_data_loader_is_told_once(method: str, kind: str) -> None:
    flavour = pytest.importorskip("speediff.torch") if kind == "tensors" else speediff
    drawn, messages = items(Dataset(flavour.TimestepSampler(LINEAR)), method)
    assert drawn[:2] == [drawn[0]] * 2  # The fault that the warning is about.
    assert len(messages) == 2
    where = "DataLoader worker" if method == "spawn" else "process forked"
    assert all(where in text for text in messages)


def test_the_main_process_and_workers_with_ranks_are_not_told() -> None:
    assert items(Dataset(TimestepSampler(LINEAR)), "fork", workers=0)[1] == []
    drawn, messages = items(OwnSamplers(), "fork")
    assert messages == []
    whole = TimestepSampler(LINEAR)
    expected = [whole.sample(4)[0].tolist() for _ in range(2)]
    assert [drawn[0] + drawn[1], drawn[2] + drawn[3]] == expected
