"""The list of all methods, for tables and for tests."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from ..sampling import Sampling
from ..weighting import Weighting
from . import evidence

if TYPE_CHECKING:
    from .method import Method


@dataclass(frozen=True)
class MethodInfo:
    """A sampling, a weighting or another draw of the literature."""

    kind: str
    """"sampling", "weighting", or "draw" for what is neither."""
    name: str
    """The string that selects it with its defaults."""
    cls: type[Method] | None
    """The class; None for a draw, and if it is not implemented."""
    formula: str
    """P or w, in one line."""
    source: str
    """Paper and year."""
    defaults: dict[str, Any]
    """The parameters with their default values."""
    note: str = ""
    """Why it is not implemented."""
    call: str = ""
    """The function that draws, or makes what draws."""
    evidence: tuple[str, ...] = ()
    """What the study found of it, in sentences; docs/study.md has more. None if it was not studied."""

    @property
    def implemented(self) -> bool:
        """Whether the method is implemented."""
        return self.cls is not None or bool(self.call)

    @property
    def signature(self) -> str:
        """The parameters with their defaults, as in a call; omits those that are None."""
        return ", ".join(
            f"{name}={shown(value)}" for name, value in self.defaults.items() if value is not None
        )


def shown(value: object) -> str:
    """A default value as a method's text has it."""
    if isinstance(value, tuple):
        return ", ".join(":".join(map(shown, pair)) for pair in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


_MISSING = (
    MethodInfo(
        "sampling",
        "bs",
        None,
        "not published",
        "reference [78] of SpeeD",
        {},
        "not implemented: no published formula found",
    ),
    MethodInfo(
        "sampling",
        "learned",
        None,
        "a network chooses the steps",
        "Kim et al., CVPR 2025",
        {},
        "not implemented: needs a second network, trained jointly",
    ),
)


_DRAWS = (
    MethodInfo(
        "draw",
        "flow_pairs",
        None,
        "t = max(a, b); r = min(a, b) in a share q, else t",
        "MeanFlow, Geng et al. 2025",
        {"sampling": "logit_normal", "second": None, "q": 0.25, "fixed_count": True, "weighting": None},
        call="SigmaSampler.flow_pairs",
    ),
    MethodInfo(
        "draw",
        "shift_per_entry",
        None,
        "λ' = λ - 2·ln shift - 2·offset, with one shift and one offset for each entry",
        "Esser et al. 2024, Eq. 23; per image in SimpleTuner, musubi-tuner, LTX-2",
        {"shift": None, "offset": None},
        call="SigmaSampler.sample",
    ),
)


KINDS = {"sampling": "P", "weighting": "w", "draw": "levels"}
"""What a method of each kind gives."""


def methods() -> tuple[MethodInfo, ...]:
    """All methods with formula, source and defaults, or why they are not implemented."""
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("sampling", Sampling.by_name),
        ("weighting", Weighting.by_name),
    )
    known = [
        _describe(kind, cls)
        for kind, by_name in kinds
        for cls in sorted(by_name.values(), key=lambda cls: bool(cls.combines))
    ]
    return (*known, *_DRAWS, *_MISSING)


def _describe(kind: str, cls: type[Method]) -> MethodInfo:
    defaults = {
        field.name: None if field.default is MISSING else field.default
        for field in fields(cls)  # type: ignore[arg-type]
    }
    found = evidence.of(kind, cls.name)
    return MethodInfo(kind, cls.name, cls, cls.formula, cls.source, defaults, evidence=found)


_SHARED_PAGES = {
    "inverse_snr": "snr",
    "max_snr": "snr",
    "truncated_snr": "snr",
    "importance": "to_emphasis",
    "shift_per_entry": "../shifts",
}
"""Methods documented on another page, relative to docs/methods."""


def markdown() -> str:
    """The methods as the Markdown tables of docs/methods/README.md, with links to the pages beside it."""
    tables = []
    for kind, value in KINDS.items():
        rows = [f"| {kind} | {value} | source |", "|---|---|---|"]
        for method in methods():
            if method.kind == kind:
                cells = [_title(method), method.note or method.formula, method.source]
                rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        tables.append("\n".join(rows))
    return "\n\n".join([*tables, *_evidence()])


def _evidence() -> list[str]:
    """What the study found, as a table; none without any."""
    rows = [
        f"| [`{each.name}`]({page(each)}.md) | " + "<br>".join(each.evidence).replace("|", "\\|") + " |"
        for each in methods()
        if each.evidence
    ]
    return ["\n".join(["| method | [the study](../study.md) |", "|---|---|", *rows])] if rows else []


def page(method: MethodInfo) -> str:
    """The method's page, relative to docs/methods, without its ending."""
    return _SHARED_PAGES.get(method.name, method.name)


def _title(method: MethodInfo) -> str:
    if not method.implemented:
        return f"`{method.name}`"
    link = f"[`{method.name}`]({page(method)}.md)"
    return f"{link} ({method.signature})" if method.signature else link
