"""Runs the examples in this process, which imports PyTorch and diffusers once for all of them.

As a program: two processes share the global batches of some examples.

python running_examples.py FOLDER SCRIPT...
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import traceback
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("train_*.py"))
TINY = ("--tiny", "--threads", "1", "--device", "cpu")
"""One thread, so that sums are in the same order in every run."""
FEW_RESULTS = ("--sample-steps", "2", "--columns", "1", "--validation-images", "10")
"""Where only the training is of interest."""


def run(script: str, *flags: str) -> None:
    """What `python script.py flags` does."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    before, sys.argv = sys.argv, [f"{script}.py", *flags]
    try:
        importlib.import_module(script).main()
    finally:
        sys.argv = before


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


def main() -> None:
    """Runs the scripts that the command line names, one after the other."""
    folder, *scripts = sys.argv[1:]
    import diffusers  # noqa: F401
    import loop  # noqa: F401

    for script in scripts:
        _two_processes(script, Path(folder) / script, [*TINY, *FEW_RESULTS])


if __name__ == "__main__":
    sys.path.insert(0, str(EXAMPLES))
    main()
