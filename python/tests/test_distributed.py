"""What the ranks of a group do together: parts, sums, agreement, and errors that become everyone's."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
from thread_ranks import ThreadGroup, on_ranks, outcomes_on_ranks

import speediff
from speediff import SpeeDiffError, SpeeDiffGroupError, SpeeDiffTypeError, SpeeDiffValueError, distributed
from speediff._distributed import agreement, launchers
from speediff._distributed import processors as processor_shares
from speediff._support import extras

LAUNCHER_VARIABLES = (*launchers.TORCHRUN, *launchers.MPI_SIZES, "PMIX_RANK", "SLURM_STEP_NUM_TASKS")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def raised_on_all(count: int, body: Any, kind: type[SpeeDiffError] = SpeeDiffValueError) -> str:
    """The message of the error that the body raises on every rank."""
    outcomes = outcomes_on_ranks(count, body)
    for outcome in outcomes:
        assert type(outcome) is kind, outcomes
        assert outcome.on_all_ranks
        assert str(outcome) == str(outcomes[0])
    return str(outcomes[0])


# ---- Parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 6, 7, 64, 101])
def test_parts_follow_one_another_and_are_of_about_one_size(ranks: int, count: int) -> None:
    groups = on_ranks(ranks, lambda group: group)
    entries = list(range(count))
    parts = [entries[group.part(count)] for group in groups]
    assert [entry for part in parts for entry in part] == entries
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(group.parts(count) == [len(part) for part in parts] for group in groups)


def test_a_part_of_what_cannot_be_counted() -> None:
    for wrong, kind in ((-1, SpeeDiffValueError), (2.0, SpeeDiffTypeError), (True, SpeeDiffTypeError)):
        with pytest.raises(kind, match="count must be"):
            distributed.one().part(wrong)  # type: ignore[arg-type]


# ---- Sums and messages ---------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_arrays_are_added_up_in_place(ranks: int) -> None:
    def add(group: ThreadGroup) -> Any:
        array = np.full((2, 3), group.rank + 1, np.float32)
        group.sum(array)
        return array

    for array in on_ranks(ranks, add):
        assert (array == ranks * (ranks + 1) / 2).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros(3), "rank 1: array must have dtype float32"),
        ([0.0], "rank 1: array must be a NumPy array of dtype float32, got a list"),
        (np.zeros((4, 4), np.float32)[:, 1], "rank 1: array must be contiguous"),
        (np.zeros(4, np.float32), "all ranks must agree, got entries 3 on ranks 0, 2, 4 on rank 1"),
    ],
)
def test_an_array_that_cannot_be_added_is_an_error_on_all_ranks(wrong: Any, message: str) -> None:
    def add(group: ThreadGroup) -> None:
        right = np.ones(3, np.float32)
        try:
            group.sum(wrong if group.rank == 1 else right)
        finally:
            assert (right == 1).all()
            group.sum(right)  # They can go on.
            assert (right == 3).all()

    kind = SpeeDiffTypeError if "array must" in message else SpeeDiffValueError
    assert message in raised_on_all(3, add, kind)


def test_a_read_only_array_is_not_written() -> None:
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    with pytest.raises(SpeeDiffValueError, match="array must be writable"):
        distributed.one().sum(array)


def test_arrays_of_any_shape_are_gathered() -> None:
    given = [
        np.arange(6).reshape(2, 3),
        np.zeros((0, 4), np.float32),
        np.array(True),
        np.array([np.nan, 1e300]),
    ]
    for gathered in on_ranks(4, lambda group: group.gather(given[group.rank])):
        for array, expected in zip(gathered, given, strict=True):
            assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(array, expected)
            array.fill(0)  # It is the caller's own.
    objects = np.array([None])
    message = raised_on_all(2, lambda group: group.gather(objects), SpeeDiffTypeError)
    assert "array must be a NumPy array of numbers" in message


@pytest.mark.parametrize("flags", [(False, False, False), (False, True, False), (True, True, True)])
def test_any_asks_all_ranks(flags: tuple[bool, ...]) -> None:
    assert on_ranks(3, lambda group: group.any(flags[group.rank])) == [any(flags)] * 3


# ---- Agreement -----------------------------------------------------------------------------------


def test_what_differs_is_named_with_its_ranks() -> None:
    facts: list[dict[str, Any]] = [
        {"seed": 0, "network": {"depth": 2, "name": "é"}, "same": [1, 2]} for _ in range(6)
    ]
    on_ranks(6, lambda group: group.agree(facts[group.rank]))
    facts[3]["seed"], facts[4]["network"]["depth"], facts[5]["more"] = 1, 3, None
    message = raised_on_all(6, lambda group: group.agree(facts[group.rank]))
    assert message == (
        "all ranks must agree, got seed 0 on ranks 0-2, 4-5, 1 on rank 3; network.depth 2 on ranks 0-3, 5, "
        "3 on rank 4; more none on ranks 0-4, null on rank 5"
    )


def test_long_values_are_shortened() -> None:
    (line,) = agreement.differences([{"a": "x" * 1000}, {"a": "y"}])
    assert len(line) < 150
    assert line.endswith('… on rank 0, "y" on rank 1')


def test_not_a_number_agrees_with_itself() -> None:
    on_ranks(2, lambda group: group.agree({"loss": float("nan")}))


# ---- Errors --------------------------------------------------------------------------------------


class OwnError(speediff.SpeeDiffFileError):
    """A class that this package does not know."""


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SpeeDiffValueError("k must be 1"), SpeeDiffValueError, "k must be 1"),
        (speediff.SpeeDiffNonFiniteError("inf"), speediff.SpeeDiffNonFiniteError, "inf"),
        (OwnError("torn"), speediff.SpeeDiffFileError, "torn"),
        (
            FileNotFoundError(2, "No such file", "data.npz"),
            speediff.SpeeDiffFileError,
            "data.npz: No such file",
        ),
        (MemoryError(), speediff.SpeeDiffMemoryError, "MemoryError"),
    ],
)
def test_an_error_on_one_rank_is_one_on_all(error: Exception, kind: type[SpeeDiffError], text: str) -> None:
    def work(group: ThreadGroup) -> int:
        def fail() -> int:
            if group.rank == 1:
                raise error
            return group.rank

        return group.together("work", fail)

    assert raised_on_all(3, work, kind) == f"rank 1: {text}"


def test_the_same_error_on_all_ranks_names_none() -> None:
    def work(group: ThreadGroup) -> None:
        def fail() -> None:
            raise SpeeDiffValueError("k must be 1")

        group.together("work", fail)

    assert raised_on_all(3, work) == "k must be 1"


def test_different_errors_are_all_told() -> None:
    def work(group: ThreadGroup) -> None:
        def fail() -> None:
            if group.rank > 0:
                raise SpeeDiffValueError("b" if group.rank == 3 else "a")

        group.together("work", fail)

    assert raised_on_all(4, work) == "ranks 1-2: a; rank 3: b"


def test_work_that_communicates_fails_with_all_ranks_in_step() -> None:
    """One rank fails before its group agrees, where the others wait for it."""

    def work(group: ThreadGroup) -> int:
        def start() -> int:
            if group.rank == 0:
                raise SpeeDiffValueError("no data")
            group.agree({"seed": 0})
            return 1

        try:
            return group.together("start", start)
        except SpeeDiffValueError:
            assert group.any(group.rank == 0)
            raise

    assert raised_on_all(3, work) == "rank 0: no data"


def test_ranks_that_do_different_things_are_told() -> None:
    def work(group: ThreadGroup) -> None:
        if group.rank == 2:
            group.any(True)
        else:
            group.gather(np.zeros(1))

    message = raised_on_all(3, work, SpeeDiffGroupError)
    assert message == "all ranks must do the same at a time, got 'gather' on ranks 0-1; 'any' on rank 2"


def test_a_rank_that_leaves_with_an_error_of_its_own_ends_the_others_wait() -> None:
    def work(group: ThreadGroup) -> None:
        if group.rank == 1:
            raise ZeroDivisionError
        group.any(True)

    waiting, failed = outcomes_on_ranks(2, work)
    assert isinstance(failed, ZeroDivisionError)
    assert type(waiting).__name__ == "BrokenBarrierError"


# ---- Engines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "one"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}, "gloo"),
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}, "one"),
        ({"WORLD_SIZE": "2"}, "one"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "mpi"),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, "mpi"),
        ({"PMI_SIZE": "1"}, "one"),
        ({"PMI_SIZE": "?"}, "one"),
        ({"SLURM_STEP_NUM_TASKS": "8"}, "one"),
        ({"SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "3"}, "mpi"),
    ],
)
def test_the_environment_tells_the_engine(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launchers.engine() == expected


def test_alone_there_is_one_rank_with_all_threads() -> None:
    with distributed.current() as group:
        assert (group.rank, group.world_size, group.engine) == (0, 1, "one")
        assert group.part(5) == slice(0, 5)
        assert group.threads() is None
        assert group.any(True)
        assert not group.any(False)
        group.agree({"seed": 0})
        (array,) = group.gather(np.arange(3))
        assert array.tolist() == [0, 1, 2]


def test_an_unknown_engine() -> None:
    with pytest.raises(SpeeDiffValueError, match="engine must be one of gloo, mpi, one, got 'nccl'"):
        distributed.current("nccl")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    install = re.escape(extras.command("speediff[mpi]"))
    with pytest.raises(SpeeDiffError, match=f"mpirun needs mpi4py.MPI .*: {install}"):
        distributed.mpi()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SpeeDiffError, match=r"gloo needs torch .*: pip install torch"):
        distributed.gloo()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e10])
def test_a_timeout_that_cannot_be(timeout: float) -> None:
    pytest.importorskip("torch")
    with pytest.raises(SpeeDiffValueError, match="timeout must be"):
        distributed.gloo(timeout=timeout)


def test_gloo_without_a_launcher_says_what_is_missing() -> None:
    pytest.importorskip("torch")
    with pytest.raises(SpeeDiffGroupError, match="environment variable RANK expected"):
        distributed.gloo()


# ---- Processors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processors", "shares"),
    [
        ([[0, 1], [0, 1]], [1, 1]),
        ([[0, 1, 2, 3], [0, 1, 2, 3]], [2, 2]),
        ([[0, 1, 2, 3]] * 3, [1, 1, 1]),
        ([[0, 1, 2]] * 3, [1, 1, 1]),
        ([[0, 1], [2, 3]], [2, 2]),  # Each is bound to its own.
        ([[0], [0], [0]], [1, 1, 1]),
        ([[0, 1, 2, 3], [3]], [3, 1]),
    ],
)
def test_processors_are_divided_among_those_that_may_use_them(
    processors: list[list[int]], shares: list[int]
) -> None:
    machine = [description(each) for each in processors]
    other = [description([0, 1, 2, 3, 4], machine="b")]
    assert [processor_shares.share(machine + other, rank) for rank in range(len(machine))] == shares
    assert processor_shares.share(machine + other, len(machine)) == 5


def description(processors: list[int], **others: Any) -> dict[str, Any]:
    """What a process tells of its machine."""
    return {
        "machine": "a", "processors": processors, "quota": 0, "groups": "0::/a", "requested": 0, **others
    }  # fmt: skip


def test_a_quota_is_divided_among_the_processes_in_its_group() -> None:
    eight = list(range(8))
    shared = [description(eight, quota=3)] * 2
    assert [processor_shares.share(shared, rank) for rank in (0, 1)] == [1, 1]
    own = [description(eight, quota=3, groups=f"0::/{rank}") for rank in (0, 1)]
    assert [processor_shares.share(own, rank) for rank in (0, 1)] == [3, 3]
    generous = [description(eight, quota=100)] * 2
    assert [processor_shares.share(generous, rank) for rank in (0, 1)] == [4, 4]
    assert processor_shares.share([description(eight, quota=1)] * 3, 2) == 1
    elsewhere = [description(eight, quota=3), description(eight, quota=3, machine="b")]
    assert [processor_shares.share(elsewhere, rank) for rank in (0, 1)] == [3, 3]


def test_a_rank_has_no_more_threads_than_openmp_is_told() -> None:
    ranks = [description(list(range(8)), requested=requested) for requested in (1, 3, 100, 0)]
    assert [processor_shares.share(ranks[rank : rank + 1], 0) for rank in range(4)] == [1, 3, 8, 8]
    assert [processor_shares.share(ranks, rank) for rank in range(4)] == [1, 2, 2, 2]


def test_the_one_thread_that_torchrun_asks_for_by_itself_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert processor_shares.available()["requested"] == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert processor_shares.available()["requested"] == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert processor_shares.available()["requested"] == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert processor_shares.available()["requested"] == 2


def test_threads_are_a_share_of_this_machine() -> None:
    own = processor_shares.available()
    expected = processor_shares.share([own, own], 0)
    assert expected <= max(1, len(own["processors"]) // 2)
    assert on_ranks(2, lambda group: group.threads()) == [expected] * 2
