"""Ctrl-C, SIGTERM and SIGHUP: from terminals, shells, schedulers and launchers, once or more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from launched_ranks import ended, pids
from launched_ranks import start as start_ranks
from training_runs import TINY, losses, train

import speediff
from speediff._experiments.jobs import Job
from speediff._experiments.meter import Meter
from speediff._experiments.plan import MEASURING
from speediff._experiments.worker import Training
from speediff._runs import run_settings, validation
from speediff._runs.interrupt import SIGNALS, Stopped, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable

for module in ("tqdm", "PIL"):
    pytest.importorskip(module)

NETWORK = {"hidden": 16, "depth": 1, "heads": 2, "batch_size": 8, "warmup": 0}
ENDLESS = ("--steps", "1000000", "--samples", "0", "--checkpoint-every", "3")


def start(data: str, out: Path, *flags: str, ignored: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    """A run that has its first checkpoint, of a process that ignores some signals from its start."""

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    words = ["-m", "speediff", "train", data, "--out", str(out), *TINY, *ENDLESS, *flags]
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, preexec_fn=ignore if ignored else None
    )
    wait_for(out / "run.safetensors", process)
    return process


def wait_for(path: Path, process: subprocess.Popen[Any], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit
        time.sleep(0.01)


def steps(out: Path) -> int:
    """Those of the checkpoint, which the log has as well."""
    with speediff.Trainer.load(out / "run.safetensors", threads=1) as trainer:
        assert trainer.global_step == len(losses(out))
        return trainer.global_step


# ---- One request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "heard"),
    [(signal.SIGHUP, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)],
    ids=["nohup", "in the background of a script", "trap '' TERM"],
)
def test_a_signal_that_is_ignored_from_the_start_stays_ignored(
    images: str, tmp_path: Path, ignored: signal.Signals, heard: signal.Signals
) -> None:
    process = start(images, tmp_path, ignored=(ignored,))
    process.send_signal(ignored)
    (tmp_path / "run.safetensors").unlink()
    wait_for(tmp_path / "run.safetensors", process)
    process.send_signal(heard)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"\nspeediff: {heard.name}: stopping after this step; Ctrl-C to stop at once\n" in err
    assert f"stopped at step {steps(tmp_path)}; --resume continues" in err


REQUEST = """
import sys, time
from speediff._runs.interrupt import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def request() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", REQUEST], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.parametrize("first", SIGNALS)
def test_the_second_ctrl_c_ends_the_process_at_once(first: signal.Signals) -> None:
    process = request()
    assert process.stderr is not None
    process.send_signal(first)
    assert process.stderr.readline() == b"\n"
    assert b"stopping after this step" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_launchers_and_shells_may_send_a_signal_twice(first: signal.Signals, second: signal.Signals) -> None:
    """A shell passes on the SIGHUP that the terminal has sent to its jobs as well."""
    process = request()
    assert process.stderr is not None
    process.send_signal(first)
    process.stderr.readline()
    process.stderr.readline()
    for _ in range(3):
        process.send_signal(second)
        time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    assert process.communicate()[1] == b""


def test_handlers_are_those_of_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopRequest(quiet=True) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.made
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_thread_may_train() -> None:
    """It cannot set handlers, and goes on without."""
    done: list[bool] = []

    def work() -> None:
        with StopRequest() as stop:
            done.append(stop.made)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [False]


# ---- Work that can be given up -------------------------------------------------------------------


def test_work_that_can_be_given_up_ends_where_it_is() -> None:
    with StopRequest(quiet=True) as stop:
        assert stop.unless_made(lambda: 7) == 7
        began = time.monotonic()
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()
        assert stop.unless_made(lambda: time.sleep(60)) is None
        assert time.monotonic() - began < 30
        assert stop.unless_made(lambda: 7) is None, "it does not begin after a request"


def test_sampling_on_the_way_does_not_keep_a_run_from_stopping(images: str, tmp_path: Path) -> None:
    slow = ("--samples", "64", "--sample-steps", "1000", "--sample-every", "4", "--checkpoint-every", "1")
    process = start(images, tmp_path, *slow)
    time.sleep(1)  # Minutes of sampling have begun.
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    assert process.returncode == 130
    done = steps(tmp_path)
    assert not list(tmp_path.glob("*.png"))
    if done == 4:  # Else it came before: then there is nothing to make up for.
        train(images, tmp_path, "--resume", "--steps", "5", "--samples", "1", "--sample-steps", "2",
              "--sample-every", "4")  # fmt: skip
        assert sorted(path.name for path in tmp_path.glob("*.png")) == ["samples-0000004.png", "samples.png"]


def test_a_validation_that_is_given_up_is_made_up_for(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure: Callable[..., Any] = validation.ValidationSet.measure
    requests = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]

    calls: list[None] = []

    def disturbed(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) in (1, 2, 5):  # Of step 2, when it is made up for, and of the last step.
            os.kill(os.getpid(), requests.pop())
        return measure(*arguments)

    def compare(out: str) -> bool:
        """Trains a run of an experiment, as its process does; whether it came to its end."""
        settings = run_settings.resolve({**NETWORK, "steps": 6, "method": "uniform", "seed": 0}, None)
        meter = Meter(tmp_path / out, images, settings, MEASURING)
        job = Job("uniform", "", settings)
        try:
            Training(tmp_path / out, images, meter, job, draws=False, tell=lambda _: None).run(
                checkpoint_every=500, every=2, threads=1
            )
        except Stopped:
            return False
        return True

    def rows(out: str) -> str:
        return (tmp_path / out / "results" / "uniform" / "seed-0.csv").read_text()

    assert compare("whole")
    monkeypatch.setattr(validation.ValidationSet, "measure", disturbed)
    assert [compare("parts") for _ in range(4)] == [False, False, False, True]
    assert rows("parts") == rows("whole")


# ---- Several processes ---------------------------------------------------------------------------

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@needs_proc
@pytest.mark.parametrize(("number", "ranks"), [(signal.SIGTERM, (0, 1)), (signal.SIGHUP, (1,))])
def test_ranks_stop_after_the_same_step(
    images: str, tmp_path: Path, number: signal.Signals, ranks: tuple[int, ...]
) -> None:
    command = ["-m", "speediff", "train", images, "--out", str(tmp_path), *TINY, *ENDLESS]
    processes = start_ranks("gloo", [command] * 2)
    wait_for(tmp_path / "run.safetensors", processes[0])
    found = pids(str(tmp_path))
    for rank in ranks:
        os.kill(found[rank], number)
    codes, written, errors = ended(processes)
    assert codes == [130, 130], errors
    assert (written + errors).count(f"stopped at step {steps(tmp_path)}; --resume continues") == 1


@needs_proc
def test_torchrun_that_is_ended_saves(images: str, tmp_path: Path) -> None:
    """As by Slurm or Kubernetes: torchrun sends SIGTERM to its ranks, and waits for them."""
    pytest.importorskip("torch")
    out = tmp_path / "out"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "speediff", "train", images, "--out", str(out), *TINY, *ENDLESS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *command], env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(out / "run.safetensors", process, seconds=120)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count(f"stopped at step {steps(out)}; --resume continues") == 1, err
    assert not pids(str(out))
    assert not (out / "run.lock").exists()
