"""What several test modules share."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from training_runs import write_images, write_latents

import speediff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines import Pipeline

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
LEFT_BEHIND = Path(tempfile.mkdtemp(prefix="speediff-tests-"))
"""Where libraries and the processes that tests start leave what they forget; `tmp_path` is elsewhere."""
for _variable in ("TMPDIR", "HF_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
    # Before anybody imports a library that reads it.
    os.environ[_variable] = str(LEFT_BEHIND / _variable.lower())
    os.mkdir(os.environ[_variable])
tempfile.tempdir = None
CPUINFO = Path("/proc/cpuinfo")
WITHOUT_BFLOAT16 = ("x86-64-v2", "x86-64-v3")
"""The builds of a wheel that have no instructions for it."""
HAS_BFLOAT16 = (
    CPUINFO.is_file()
    and "avx512_bf16" in CPUINFO.read_text()
    and os.environ.get("SPEEDIFF_ISA") not in WITHOUT_BFLOAT16
)
if not HAS_BFLOAT16:
    # Read when the library is first used, here and in the processes that tests start.
    os.environ["SPEEDIFF_BFLOAT16"] = "emulated"

CHECKOUT_PACKAGE = Path(__file__).resolve().parents[1] / "speediff"


def pytest_unconfigure() -> None:
    """Removes what was left behind."""
    shutil.rmtree(LEFT_BEHIND, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what is about the package's sources where there are none, as when a wheel is tested."""
    if not CHECKOUT_PACKAGE.is_dir():
        for item in items:
            if item.get_closest_marker("checkout"):
                item.add_marker(pytest.mark.skip(reason="is about the package's sources"))


@pytest.fixture(scope="session", autouse=True)
def stop_signals_are_heard() -> Iterator[None]:
    """What runs in the background of a shell ignores Ctrl-C, and what nohup starts a hangup.

    So would the processes that tests start.
    """
    before = (
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, before[1])


@pytest.fixture(scope="session")
def linear() -> speediff.NoiseSchedule:
    """The paper's schedule."""
    return speediff.NoiseSchedule.linear(1000)


@pytest.fixture(scope="module")
def one_thread_of_pytorch() -> Iterator[None]:
    """Its waiting threads would take the processors from the trainer's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pipeline(linear: speediff.NoiseSchedule) -> Pipeline:
    """A training of PyTorch's after one step, to be adopted."""
    import pipelines

    pipeline = pipelines.Pipeline(pipelines.network(), linear)
    pipeline.step(pipelines.batches(0, 1)[0])
    return pipeline


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of images with labels."""
    return write_images(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of latents."""
    return write_latents(tmp_path_factory.mktemp("data"))


@pytest.fixture
def bfloat16() -> None:
    """Skips what would take minutes where bfloat16 is emulated."""
    if not HAS_BFLOAT16:
        pytest.skip("needs a processor with AVX-512-BF16, and a build that uses it")
