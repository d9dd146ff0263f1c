"""Two processes under torchrun, with every method: the same history and tables, killed and resumed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import ranks_worker
import torch

import speediff
import speediff.torch

if TYPE_CHECKING:
    from pathlib import Path

METHODS = [(method.kind, method.name) for method in speediff.methods() if method.cls]


def launch(folder: Path, mode: str) -> subprocess.CompletedProcess[str]:
    """Runs the worker on two ranks."""
    arguments = ["--standalone", "--nproc-per-node", "2", ranks_worker.__file__, str(folder), mode]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, one that is killed half-way, and one that goes on from there."""
    folder = tmp_path_factory.mktemp("ranks")
    for mode in ("whole", "killed", "resumed"):
        finished = launch(folder, mode)
        assert (finished.returncode == 0) == (mode != "killed"), finished.stderr
    return folder


def load(folder: Path, mode: str, method: tuple[str, str], rank: int = 0) -> dict[str, Any]:
    """What a rank wrote down."""
    with np.load(folder / f"{mode}.{method[0]}.{method[1]}.{rank}.npz") as data:
        return dict(data)


@pytest.mark.parametrize("method", METHODS, ids=".".join)
def test_two_ranks_hold_the_same_history_and_tables(runs: Path, method: tuple[str, str]) -> None:
    first, second = (load(runs, "whole", method, rank) for rank in (0, 1))
    for key in ("probabilities", "weights", "history"):
        assert first[key].tobytes() == second[key].tobytes()
    # Uniform draws may fall together, and do not here: no two ranks share an entry.
    assert not (first["t"] == second["t"]).all()


@pytest.mark.parametrize("method", METHODS, ids=".".join)
def test_a_killed_run_goes_on_bit_by_bit(runs: Path, method: tuple[str, str]) -> None:
    for rank in (0, 1):
        whole, resumed = (load(runs, mode, method, rank) for mode in ("whole", "resumed"))
        for key in ("t", "w"):
            assert whole[key][ranks_worker.SAVED :].tobytes() == resumed[key].tobytes()
        for key in ("probabilities", "weights", "history"):
            assert whole[key].tobytes() == resumed[key].tobytes()


@pytest.mark.parametrize("method", METHODS, ids=".".join)
def test_one_process_draws_what_two_share(runs: Path, tmp_path: Path, method: tuple[str, str]) -> None:
    ranks_worker.run(tmp_path, "whole", *method, local=2 * ranks_worker.LOCAL)
    alone = load(tmp_path, "whole", method)
    shared = [load(runs, "whole", method, rank) for rank in (0, 1)]
    for key in ("t", "w"):
        assert alone[key].tobytes() == np.concatenate([rank[key] for rank in shared], axis=1).tobytes()
    assert alone["history"].tobytes() == shared[0]["history"].tobytes()


def test_methods_that_learn_have_learned(runs: Path) -> None:
    uniform = np.full(128, 1 / 128)
    for name in ("loss_second_moment", "adaptive"):
        run = load(runs, "whole", ("sampling", name))
        assert np.abs(run["probabilities"] / uniform - 1).max() > 1
        np.testing.assert_allclose(run["weights"], uniform / run["probabilities"], rtol=1e-12)
    weights = load(runs, "whole", ("weighting", "uncertainty"))["weights"]
    assert weights.max() / weights.min() > 10


UNEVEN = """
import sys
import torch
import torch.distributed as dist
import speediff
import speediff.torch

dist.init_process_group("gloo")
rank = dist.get_rank()
schedule = speediff.NoiseSchedule.linear(128)
sampler = speediff.torch.TimestepSampler(schedule, "adaptive", seed=1)
before = sampler.state_dict()
everything = torch.arange(128), torch.linspace(1, 2, 128)
parts = [[x[:100] for x in everything], [x[100:] for x in everything]]

def refused(t, losses):
    try:
        sampler.update(t, losses)
    except speediff.SpeeDiffError as error:
        assert sampler.state_dict() == before
        return str(error)
    raise AssertionError("accepted")

wrong = [parts[rank][0], torch.tensor([1.0])] if rank == 1 else parts[rank]
assert ("rank 1" in refused(*wrong)) == (rank == 0)
negative = [parts[rank][0], -parts[rank][1]] if rank == 1 else parts[rank]
assert "losses[100]" in refused(*negative)
sampler.update(*parts[rank])
alone = speediff.torch.TimestepSampler(schedule, "adaptive", seed=1, rank=0, world_size=1)
alone.update(*everything)
assert alone.state_dict() == sampler.state_dict()

# Noise levels, whose ranks have batches of different sizes, too.
flow = speediff.torch.SigmaSampler.flow
levels = torch.linspace(0.001, 0.999, 128)
for method in "adaptive", speediff.sampling.InfoNoise(bins=5):
    sampler, alone = flow(1, sampling=method), flow(1, sampling=method, rank=0, world_size=1)
    for _ in range(12):
        sampler.update(*([x[:100], x[100:]][rank] for x in (levels, everything[1])))
        alone.update(levels, everything[1])
    assert alone.state_dict() == sampler.state_dict()
    drawn = [torch.empty(8) for _ in range(2)]
    dist.all_gather(drawn, sampler.sample(8, step=5)[0])
    assert torch.equal(torch.cat(drawn), alone.sample(16, step=5)[0])
    own = flow(1, rank=0, world_size=1).sample(4096)[0].sort()[0]
    assert (alone.sample(4096)[0].sort()[0] - own).abs().max() > 0.05
    before = sampler.state_dict()
    assert "rank 1" in refused(levels, everything[1] if rank == 0 else levels[:5]) or rank == 1
dist.destroy_process_group()
"""


def test_ranks_may_have_uneven_batches_and_an_error_on_one_is_one_on_all(tmp_path: Path) -> None:
    script = tmp_path / "uneven.py"
    script.write_text(UNEVEN)
    arguments = ["--standalone", "--nproc-per-node", "2", str(script)]
    finished = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


def test_update_takes_tensors_of_any_floating_dtype_and_no_others(linear: speediff.NoiseSchedule) -> None:
    sampler = speediff.torch.TimestepSampler(linear, "adaptive")
    t = torch.arange(1000)
    for losses in (torch.ones(1000, dtype=torch.bfloat16), torch.ones(1000, dtype=torch.float64)):
        sampler.update(t, losses.requires_grad_())
    before = sampler.state_dict()
    for wrong in (
        (t, torch.ones(1000, dtype=torch.int64)),
        (t.int(), torch.ones(1000)),
        (t, torch.ones(999)),
        (t[None], torch.ones(1000)),
        (t.numpy(), torch.ones(1000)),
    ):
        with pytest.raises(speediff.SpeeDiffError):
            sampler.update(*wrong)  # type: ignore[arg-type]
    assert sampler.state_dict() == before
