"""Parses the text of a method: `speed`, `laplace`, `laplace(scale=1)+min_snr*p2(k=2)`.

The text has the syntax of a Python expression: names, calls with keyword parameters, `+` between a sampling
and a weighting, and `*` between weightings. A table and stages list pairs: `table(0:0.2, 1:1)`,
`stages(0:laplace, 500:uniform)`. The text is parsed, never evaluated.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import SpeeDiffError, SpeeDiffTypeError, SpeeDiffValueError, unknown_name
from ..sampling import Asymmetric, Sampling
from ..weighting import ChangeAware, Weighting
from . import pair_text
from .method import Method
from .method_list import methods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..schedules import NoiseSchedule

Kind = TypeVar("Kind", bound=Method)
Result = TypeVar("Result")

PRESETS = {"speed": "paper", "official": "official"}
"""The names for SpeeD's sampling with its weighting, and their presets of `TimestepSampler.speed`."""
SHARED = "prediction", "normalize"
"""Options that nested samplers share with the outer one, as in `to_emphasis(of=laplace)`."""
PRESET_PARAMETERS = ("k", "lam", "tau", "r")

_TABLE = "tables.Values"
_PAIRS = (_TABLE, "Sequence[tuple[int, str | Sampling]]")
"""The types of parameters that a text gives as pairs."""


def parse_method(text: str) -> tuple[Sampling | None, Weighting | None]:
    """Parses a text into a sampling and a weighting. `speediff methods` lists the names.

    `TimestepSampler.from_text` creates a sampler from such a text. Use this function if you create samplers
    yourself, or for continuous noise levels.

    Args:
        text: A sampling, "laplace(scale=1)"; a weighting, "min_snr*p2(k=2)"; both, "laplace+min_snr"; or
            "speed", with its parameters k, lam, tau and r.

    Returns:
        Both; None for the one that the text does not name.

    Raises:
        SpeeDiffError: If the text is invalid; the error quotes it and lists the known names. Also if the
            method needs a schedule: "official", whose draws come in pairs, and `to_emphasis(of=…)`.
        SpeeDiffTypeError: If the text is not a string.
    """
    return MethodReader(None, None).pair(text)


class MethodReader:
    """Creates samplers from texts over one schedule."""

    def __init__(
        self,
        kind: type[Any] | None,
        schedule: NoiseSchedule | None,
        *,
        name: str = "method",
        preset_parameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Stores the options that all methods share.

        Args:
            kind: The class of the samplers; None if only `pair` is used.
            schedule: The noise schedule; None if only `pair` is used.
            name: The name of the text in errors.
            preset_parameters: Parameters of SpeeD's presets that the text does not give.
            **options: Options of each sampler, including the seed.
        """
        self.used: set[str] = set()
        """The `preset_parameters` that at least one method used."""
        self._kind, self._schedule, self._name, self._options = kind, schedule, name, options
        self._preset_parameters = dict(preset_parameters or {})

    def sampler(self, text: str) -> Any:
        """Creates a sampler from a text.

        Raises:
            SpeeDiffError: If the text is invalid or does not fit the schedule. The error quotes it.
        """
        return self._read(text, lambda node: self._sampler(node, self._options))

    def pair(self, text: str) -> tuple[Sampling | None, Weighting | None]:
        """Parses a sampling and a weighting; see `parse_method`."""
        return self._read(text, self._pair)

    def _read(self, text: str, make: Callable[[ast.expr], Result]) -> Result:
        if not isinstance(text, str):
            raise SpeeDiffTypeError(f"{self._name} must be a text such as 'laplace+min_snr', got {text!r}")
        try:
            return make(_parse(text))
        except SpeeDiffError as error:
            raise type(error)(f"{self._name} {text}: {error}") from None
        except RecursionError:
            raise SpeeDiffValueError(f"{self._name} must be nested less deeply") from None

    def _sampler(self, node: ast.expr, options: Mapping[str, Any]) -> Any:
        if self._kind is None or self._schedule is None:
            raise SpeeDiffValueError("needs a noise schedule: use TimestepSampler.from_text(schedule, ...)")
        preset = self._preset(node)
        if preset is not None:
            return self._kind.speed(self._schedule, **preset, **options)
        sampling, weighting = self._pair(node)
        return self._kind(self._schedule, sampling or "uniform", weighting or "uniform", **options)

    def _pair(self, node: ast.expr) -> tuple[Sampling | None, Weighting | None]:
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Add):
                return self._sampling(node.left), self._weighting(node.right)
            return None, self._weighting(node)
        preset = self._preset(node)
        if preset is not None:
            return self._preset_pair(**preset)
        name, _ = _split(node)
        is_sampling, is_weighting = name in Sampling.by_name, name in Weighting.by_name
        if is_sampling and is_weighting and name not in ("uniform", "table"):
            raise SpeeDiffValueError(
                f"{name} is a sampling and a weighting: write {name}+uniform to draw by it, or "
                f"uniform+{name} to weight by it"
            )
        if is_sampling:
            return self._sampling(node), None
        if is_weighting:
            return None, self._weighting(node)
        raise _unknown("a method", name, {*PRESETS, *Sampling.by_name, *Weighting.by_name})

    def _preset(self, node: ast.expr) -> dict[str, Any] | None:
        """The parameters of `TimestepSampler.speed` if this is a SpeeD preset, else None."""
        if isinstance(node, ast.BinOp):
            return None
        name, nodes = _split(node)
        if name not in PRESETS:
            return None
        _check_parameters(name, nodes, PRESET_PARAMETERS)
        given = {key: self._value(key, "float", node) for key, node in nodes.items()}
        shared = {key: value for key, value in self._preset_parameters.items() if key not in given}
        if "tau" in given or "r" in given:
            shared = {key: value for key, value in shared.items() if key not in ("tau", "r")}
        self.used |= shared.keys()
        return {"preset": PRESETS[name], **shared, **given}

    @staticmethod
    def _preset_pair(preset: str, lam: float = 0.6, **of_sampling: Any) -> tuple[Sampling, Weighting]:
        if preset == "official":
            raise SpeeDiffValueError(
                "its draws come in pairs, which no sampling describes: use "
                "TimestepSampler.from_text(schedule, ...)"
            )
        return Asymmetric(**of_sampling), ChangeAware(lam)

    def _sampling(self, node: ast.expr) -> Sampling:
        return self._method("a sampling", node, Sampling.by_name, Weighting.by_name)

    def _weighting(self, node: ast.expr) -> Weighting:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return self._weighting(node.left) * self._weighting(node.right)
        return self._method("a weighting", node, Weighting.by_name, Sampling.by_name)

    def _method(
        self, what: str, node: ast.expr, by_name: Mapping[str, type[Kind]], others: Mapping[str, Any]
    ) -> Kind:
        name, nodes, pairs = _split_pairs(node)
        if name in PRESETS:
            raise SpeeDiffValueError(f"{name} is a sampling with its own weighting and cannot be combined")
        if name in others and name not in by_name:
            raise SpeeDiffValueError(
                f"{name} is not {what}; write sampling+weighting, such as laplace+min_snr"
            )
        if name not in by_name:
            raise _unknown(what, name, by_name)
        cls = by_name[name]
        types = {field.name: str(field.type) for field in fields(cls)}  # type: ignore[arg-type]
        if "file" in nodes and hasattr(cls, "from_file"):
            read: Kind = self._from_file(cls, nodes)
            return read
        _check_parameters(name, nodes, types)
        values = {key: self._value(key, types[key], value) for key, value in nodes.items()}
        if not pairs:
            return cls(**values)
        listed = next((key for key, kind in types.items() if kind in _PAIRS), None)
        if listed is None or listed in nodes:
            raise SpeeDiffValueError(f"{name} takes no pairs, got {_unparse(node)}")
        return cls(**{listed: self._pairs(listed, types[listed], pairs)}, **values)

    def _pairs(self, parameter: str, kind: str, pairs: list[tuple[ast.expr, ast.expr]]) -> Any:
        side = "Sampling" if "Sampling" in kind else "float"
        return [(self._value(parameter, "float", a), self._value(parameter, side, b)) for a, b in pairs]

    def _from_file(self, cls: Any, nodes: Mapping[str, ast.expr]) -> Any:
        _check_parameters(cls.name, nodes, {"file": "str", "over": "str"})
        path = nodes["file"]
        if not (isinstance(path, ast.Constant) and isinstance(path.value, str)):
            raise SpeeDiffValueError(f"file must be a path in quotes, got {_unparse(path)}")
        others = {key: self._value(key, "str", value) for key, value in nodes.items() if key != "file"}
        return cls.from_file(path.value, **others)

    def _value(self, parameter: str, kind: str, node: ast.expr) -> Any:
        """The parameter's value: a number or None, or a nested sampling or sampler."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            number = node.operand.value
            if isinstance(node.op, ast.USub) and isinstance(number, (int, float)):
                return -number
        elif kind == "str" and isinstance(node, ast.Name):
            return node.id
        elif kind in _PAIRS and isinstance(node, (ast.Tuple, ast.List)):
            return [self._value(parameter, "float", item) for item in node.elts]
        elif kind in _PAIRS or kind == "str":
            pass
        elif "Sampling" in kind:
            return self._sampling(node)
        elif not kind.startswith(("float", "int")):
            return self._sampler(node, {key: self._options[key] for key in SHARED if key in self._options})
        wanted = {"str": "a name", _TABLE: "pairs such as 0:1, or numbers in parentheses"}.get(
            kind, "a number"
        )
        raise SpeeDiffValueError(f"{parameter} must be {wanted}, got {_unparse(node)}")


def _parse(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(pair_text.bracketed(text), mode="eval").body
    except (SyntaxError, ValueError, MemoryError):
        raise SpeeDiffValueError("must be like laplace, 'laplace(scale=1)' or laplace+min_snr") from None


def _split(node: ast.expr) -> tuple[str, dict[str, ast.expr]]:
    """The name and parameters of `name` or `name(parameter=value, …)`."""
    name, parameters, _ = _split_pairs(node)
    return name, parameters


def _split_pairs(node: ast.expr) -> tuple[str, dict[str, ast.expr], list[tuple[ast.expr, ast.expr]]]:
    """The name, parameters and pairs of `name(a:b, …, parameter=value, …)`."""
    if isinstance(node, ast.Name):
        return node.id, {}, []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        parameters = {word.arg: word.value for word in node.keywords if word.arg is not None}
        pairs = [both for both in map(pair_text.pair, node.args) if both is not None]
        if len(parameters) == len(node.keywords) and len(pairs) == len(node.args):
            return node.func.id, parameters, pairs
    raise SpeeDiffValueError(f"must be name or name(parameter=value, ...), got {_unparse(node)}")


def _unparse(node: ast.expr) -> str:
    return pair_text.unbracketed(ast.unparse(node))


def _check_parameters(
    name: str, given: Mapping[str, ast.expr], known: Mapping[str, str] | tuple[str, ...]
) -> None:
    for parameter in given:
        if not known:
            raise SpeeDiffValueError(f"{name} has no parameters, got {parameter}")
        if parameter not in known:
            raise unknown_name(f"a parameter of {name}", parameter, known)


def _unknown(what: str, name: str, known: Mapping[str, Any] | set[str]) -> SpeeDiffValueError:
    for method in methods():
        if method.name == name and not method.implemented:
            return SpeeDiffValueError(f"{name} is {method.note}")
        if method.name == name and method.call:
            return SpeeDiffValueError(f"{name} is neither a sampling nor a weighting; call {method.call}")
    return unknown_name(what, name, known)
