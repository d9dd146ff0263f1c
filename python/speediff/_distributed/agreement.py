"""Messages about differences between ranks and about errors on ranks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST = 80
"""The number of characters shown of a value that differs."""


def differences(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The differences, name by name: "seed 0 on rank 0, 1 on ranks 1-3".

    Args:
        facts: The facts of each rank, in rank order, as decoded from JSON.
    """
    flat = [_flattened(each) for each in facts]
    if all(each == flat[0] for each in flat[1:]):
        return []
    names = list(dict.fromkeys(name for each in flat for name in each))
    result = []
    for name in names:
        values = by_rank(
            [json.dumps(each[name], ensure_ascii=False) if name in each else "none" for each in flat]
        )
        if len(values) > 1:
            found = ", ".join(f"{_shortened(value)} on {ranks}" for value, ranks in values)
            result.append(f"{name} {found}")
    return result


def by_rank(values: Sequence[str]) -> list[tuple[str, str]]:
    """The distinct values, each with the names of its ranks."""
    ranks: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(value, []).append(rank)
    return [(value, _ranks(owners)) for value, owners in ranks.items()]


def told(texts: Sequence[str | None]) -> str:
    """The errors by rank; without ranks if all are the same."""
    groups = by_rank([text or "" for text in texts])
    if len(groups) == 1:
        return groups[0][0]
    return "; ".join(f"{ranks}: {text}" for text, ranks in groups if text)


def text_of(error: BaseException) -> str:
    """An error on one line."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _ranks(ranks: list[int]) -> str:
    """Increasing numbers as "rank 3", "ranks 0, 2-5"."""
    runs: list[list[int]] = []
    for rank in ranks:
        if runs and runs[-1][-1] == rank - 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(words)}"


def _flattened(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            result.update(_flattened(value, f"{prefix}{name}."))
        else:
            result[prefix + name] = value
    return result


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
