"""The list of all methods, for tables and for tests."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from .sampling import Sampling
from .weighting import Weighting

if TYPE_CHECKING:
    from ._methods import Method


@dataclass(frozen=True)
class MethodInfo:
    """A sampling or a weighting of the literature."""

    kind: str
    """"sampling" or "weighting"."""
    name: str
    """The string that stands for it with its defaults."""
    cls: type[Method] | None
    """The class, to be made with parameters; None if it is not implemented."""
    formula: str
    """P or w, in one line."""
    source: str
    """Paper and year."""
    defaults: dict[str, Any]
    """The parameters with their default values."""
    note: str = ""
    """Why it is not implemented."""

    @property
    def implemented(self) -> bool:
        """Whether there is a class."""
        return self.cls is not None


_MISSING = (
    MethodInfo(
        "sampling",
        "bs",
        None,
        "not published",
        "reference [78] of SpeeD",
        {},
        "not implemented: no published formula that we could find",
    ),
    MethodInfo(
        "sampling",
        "learned",
        None,
        "a network chooses the steps",
        "Kim et al., CVPR 2025",
        {},
        "not implemented: needs a network of its own, trained along",
    ),
)


def methods() -> tuple[MethodInfo, ...]:
    """All samplings and weightings with formula, source and defaults; those left out, with the reason."""
    kinds: tuple[tuple[str, dict[str, Any]], ...] = (
        ("sampling", Sampling.by_name),
        ("weighting", Weighting.by_name),
    )
    known = [_describe(kind, cls) for kind, by_name in kinds for cls in by_name.values()]
    return (*known, *_MISSING)


def _describe(kind: str, cls: type[Method]) -> MethodInfo:
    defaults = {
        field.name: None if field.default is MISSING else field.default
        for field in fields(cls)  # type: ignore[arg-type]
    }
    return MethodInfo(kind, cls.name, cls, cls.formula, cls.source, defaults)


def markdown(kind: str) -> str:
    """The methods of a kind as a Markdown table: README's."""
    value = {"sampling": "P", "weighting": "w"}[kind]
    lines = [f"| {kind} | {value} | source |", "|---|---|---|"]
    for method in methods():
        if method.kind == kind:
            names = ", ".join(f"{name}={default!r}" for name, default in method.defaults.items())
            title = f"`{method.name}`" + (f" ({names})" if names else "")
            formula = method.note or method.formula
            lines.append(
                f"| {title} | {formula} | {method.source} |".replace("|λ", "\\|λ").replace("|d", "\\|d")
            )
    return "\n".join(lines)
