"""The result files of many runs as one file, for a folder that is committed: a line of JSON for each run.

`results` reads a run's own files first, and its line where it has none. So --report and --resume take a
packed folder like any other. Rows of samples are pictures, and are left out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._runs.step_log import StepLog
from .._support.replacement import replace_bytes, replace_text
from ..errors import SpeeDiffValueError
from . import meter, plan

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = "results"
NAME = f"{RESULTS}/runs.jsonl"
RUNNING = "running"
"""The state of a run that has not ended."""

Line = dict[str, Any]


def read(folder: Path) -> dict[str, Line]:
    """The lines of a folder by the keys of their runs; none if it is not packed.

    Raises:
        SpeeDiffValueError: If the file is damaged.
    """
    path = folder / NAME
    try:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        return {line["run"]: line for line in lines}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise SpeeDiffValueError(f"{path} is damaged: {error}") from None


def pack(source: Path, target: Path) -> int:
    """Packs an experiment: its plan, its floor, and all runs that have ended.

    Lines of `target` whose runs are not in `source` stay.

    Args:
        source: The folder of an experiment, which may be at work.
        target: The folder to write; may be `source`, whose own files stay.

    Returns:
        The number of lines.

    Raises:
        SpeeDiffValueError: If a file is damaged.
    """
    lines = {**read(target), **read(source)}
    results = source / RESULTS
    for path in sorted(results.rglob("seed-*.json")):
        key = path.relative_to(results).with_name(path.name.removesuffix(".json")).as_posix()
        line = _line(path, key)
        if line["state"] != RUNNING:
            lines[key] = line
    (target / RESULTS).mkdir(parents=True, exist_ok=True)
    if source != target:
        for name in (plan.NAME, meter.FLOOR):
            if (source / name).exists():
                replace_bytes(target / name, (source / name).read_bytes())
    texts = [json.dumps(lines[key], separators=(",", ":")) + "\n" for key in sorted(lines)]
    replace_text(target / NAME, "".join(texts))
    return len(lines)


def _line(path: Path, key: str) -> Line:
    stem = path.name.removesuffix(".json")
    try:
        plain = json.loads(path.read_bytes())
        columns, rows = _rows(path.with_name(f"{stem}.csv"))
        _, times = _rows(path.with_name(f"{stem}.times.csv"))
        return {"run": key, **plain, "columns": columns, "rows": rows, "times": times}
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise SpeeDiffValueError(f"{path} is damaged: {error}") from None


def _rows(path: Path) -> tuple[list[str], list[list[float | None]]]:
    """The names of a log's numbers, and its rows with the step first."""
    header = path.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    _, *columns = header.split(",")
    log = StepLog(path, tuple(columns))
    log.read(1 << 62)
    return columns, [[step, *values] for step, values in log.rows]
