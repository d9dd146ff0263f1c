"""Runs the examples in this process, which imports PyTorch and diffusers once for all of them.

As a program: two processes share the global batches of some examples, or runs are killed.

python running_examples.py share|kill FOLDER SCRIPT...
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("train_*.py"))
TINY = ("--tiny", "--threads", "1", "--device", "cpu")
"""One thread, so that sums are in the same order in every run."""
FEW_RESULTS = ("--sample-steps", "2", "--columns", "1", "--validation-images", "10")
"""Where only the training is of interest."""
LONG = ("--steps", "60", "--checkpoint-every", "3")
"""Of a run that is killed, so that it is in the middle."""


def run(script: str, *flags: str) -> None:
    """What `python script.py flags` does."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    before, sys.argv = sys.argv, [f"{script}.py", *flags]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        module = importlib.import_module(script)
        module.main(module.parse_arguments())
    finally:
        sys.argv = before
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _two_processes(script: str, out: Path, flags: list[str]) -> None:
    """What torchrun does, in forks of this process: it has not used autograd, and so may have them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            os.environ.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                MASTER_ADDR="localhost", MASTER_PORT=str(port),
            )  # fmt: skip
            try:
                run(script, *flags, "--out", str(out))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise SystemExit(f"{script} failed")


def _killed(script: str, out: Path, flags: list[str]) -> None:
    """Starts a run, and kills it as soon as it has saved a checkpoint."""
    child = os.fork()
    if child == 0:
        try:
            run(script, *flags, "--out", str(out))
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    status = 0
    while not (out / "checkpoint.pt").exists() and status == 0:
        status = os.waitpid(child, os.WNOHANG)[0]
        time.sleep(0.001)
    if status != 0:
        raise SystemExit(f"{script} ended before it was killed")
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        raise SystemExit(f"{script} was not killed in mid-run")


def main() -> None:
    """Runs the scripts that the command line names, one after the other."""
    what, folder, *scripts = sys.argv[1:]
    import diffusers.training_utils  # noqa: F401
    import transformers  # noqa: F401

    for script in scripts:
        out = Path(folder) / script
        if what == "share":
            _two_processes(script, out, [*TINY, *FEW_RESULTS])
        else:
            _killed(script, out, [*TINY, *FEW_RESULTS, *LONG])


if __name__ == "__main__":
    sys.path.insert(0, str(EXAMPLES))
    main()
