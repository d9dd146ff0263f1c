"""Standard streams that are closed, full, or have lost their reader: runs live on, lost results are told."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from training_runs import QUICK, TINY, losses

from speediff._support import messages
from speediff._support.streams import Stream, unfailing

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest.importorskip("tqdm")
pytest.importorskip("rich")

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
BROKEN = {
    "closed": "{0}>&-",
    "full": "{0}>/dev/full",
    "no reader": "{0}> >(exec true)",
}


def run(words: Sequence[str], redirections: str) -> subprocess.CompletedProcess[str]:
    """A command with its streams led elsewhere by a shell, as by a user."""
    # Where a reader is to have gone it does so before the command writes.
    script = f'exec {redirections}; sleep 0.2; exec "$@"'
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "speediff", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@needs_full
@pytest.mark.parametrize("stream", ["1", "2", "both"])
@pytest.mark.parametrize("how", BROKEN)
def test_a_run_lives_on_without_its_streams(images: str, tmp_path: Path, stream: str, how: str) -> None:
    numbers = "12" if stream == "both" else stream
    redirections = " ".join(BROKEN[how].format(number) for number in numbers)
    done = run(["train", images, "--out", str(tmp_path), *TINY, *QUICK], redirections)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(losses(tmp_path)) == 6
    assert (tmp_path / "run.safetensors").exists()


def test_a_run_without_any_stream(images: str, tmp_path: Path) -> None:
    """Files that it opens do not become its streams."""
    done = run(["train", images, "--out", str(tmp_path), *TINY, *QUICK], "0<&- 1>&- 2>&-")
    assert done.returncode == 0
    assert len(losses(tmp_path)) == 6


@needs_full
@pytest.mark.parametrize(("how", "code"), [("closed", 2), ("full", 2), ("no reader", 1)])
@pytest.mark.parametrize(
    "words",
    [("methods",), ("methods", "--json"), ("plan",), ("plan", "--json"), ("--version",), ("train", "--help")],
)
def test_a_result_that_cannot_be_printed_is_an_error(words: tuple[str, ...], how: str, code: int) -> None:
    """As Unix tools do: `head` ends it in silence, a full disk does not."""
    done = run(words, BROKEN[how].format(1))
    assert done.returncode == code
    reason = {
        "closed": "speediff: standard output: Bad file descriptor\n",
        "full": "speediff: standard output: No space left on device\n",
        "no reader": "",
    }[how]
    assert done.stderr == reason


@needs_full
def test_an_error_has_its_exit_code_where_nobody_reads_it() -> None:
    for how in BROKEN.values():
        assert run(["plan", "--k", "0.5"], how.format(2)).returncode == 2


class Dead(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_the_first_error_of_a_stream_is_kept() -> None:
    stream = Stream(Dead())
    assert stream.write("text") == 4
    assert isinstance(stream.error, BrokenPipeError)
    assert stream.encoding is None  # Anything else is the stream's own.
    closed = io.StringIO()
    closed.close()
    stream = Stream(closed)
    stream.write("text")
    stream.flush()
    assert stream.error is not None
    assert Stream(None).error is not None


def test_a_text_that_cannot_be_encoded_is_still_an_error() -> None:
    stream = Stream(io.TextIOWrapper(io.BytesIO(), "ascii"))
    with pytest.raises(UnicodeEncodeError):
        stream.write("ᾱ")


def test_streams_are_those_of_before_afterwards() -> None:
    before = sys.stdout, sys.stderr
    with unfailing(), unfailing():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("stream", [None, Dead()])
def test_messages_of_a_program_of_ones_own_do_not_end_it(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    messages.tell("text")


def test_a_warning_is_one_line_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        messages.warn(f"this\nis {os.getpid()}")
    assert capsys.readouterr().err == f"speediff: warning: this is {os.getpid()}\n"


OFTEN = """
import sys
from speediff._support import log_lines
from speediff.cli import main
log_lines.SECONDS = 0.05
sys.exit(main(sys.argv[1:]))
"""


def test_a_reader_that_is_behind_is_waited_for_once() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writer, b"x")
    os.set_blocking(writer, True)
    with os.fdopen(writer, "w") as file:
        stream, began = Stream(file, patience=0.2), time.monotonic()
        for _ in range(100):
            stream.write("lost\n")
        assert 0.2 <= time.monotonic() - began < 2
        assert stream.error is None
        assert os.read(reader, filled) == b"x" * filled
        stream.write("found\n")
        stream.flush()
        assert os.read(reader, 100) == b"found\n"
    os.close(reader)


def test_a_reader_that_does_not_read_stops_nothing(images: str, tmp_path: Path) -> None:
    """A pager that nobody scrolls: the pipe is full, and each line and the handler's message would wait."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 1000)
    os.set_blocking(writer, True)
    words = ["train", images, "--out", str(tmp_path), *TINY, "--steps", "1000000", "--samples", "0"]
    command = [sys.executable, "-c", OFTEN, *words, "--checkpoint-every", "1"]
    process = subprocess.Popen(command, stderr=writer)
    for _ in range(2):  # It saves again and again.
        limit = time.monotonic() + 60
        while not (tmp_path / "run.safetensors").exists() and time.monotonic() < limit:
            time.sleep(0.01)
        (tmp_path / "run.safetensors").unlink()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert (tmp_path / "run.safetensors").exists()
    os.close(writer)
    os.close(reader)


def test_ctrl_c_that_ends_the_logs_reader_first_saves(images: str, tmp_path: Path) -> None:
    """`speediff train … 2>&1 | tee log`: a terminal sends Ctrl-C to both, and tee is gone at once."""
    reader, writer = os.pipe()
    words = ["train", images, "--out", str(tmp_path), *TINY, "--steps", "1000000", "--samples", "0"]
    process = subprocess.Popen([sys.executable, "-m", "speediff", *words], stdout=writer, stderr=writer)
    os.close(writer)
    text = b""
    while b"training: 0/1000000" not in text and (piece := os.read(reader, 1000)):
        text += piece
    os.close(reader)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "run.safetensors").exists()
    assert len(losses(tmp_path)) > 0
