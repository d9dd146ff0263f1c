"""The shift of the noise level that fits an image's size, for `sample(n, shift=…)`.

A shift a moves a rectified flow's t to a·t/(1+(a-1)·t), and any process's λ = ln S by -2·ln a. Above 1 it
means more noise. Every function takes a number, an array or a tensor, and returns the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ._support import arguments
from .errors import SpeeDiffTypeError, SpeeDiffValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MODELS", "latent_dimension", "resolution", "tokens"]

Size = TypeVar("Size", float, "NDArray[Any]")
"""A number, an array or a tensor."""


class TokenRule(NamedTuple):
    """μ = ln a, linear in the number of tokens through two points."""

    base_tokens: int
    base_shift: float
    """μ at base_tokens."""
    max_tokens: int
    max_shift: float
    """μ at max_tokens."""
    capped: bool = False
    """Whether μ stays the same above max_tokens."""


MODELS = {
    "flux": TokenRule(256, 0.5, 4096, 1.15),
    "krea2": TokenRule(256, 0.5, 6400, 1.15),
    "ltx2": TokenRule(1024, 0.95, 4096, 2.05, capped=True),
    "qwen_image": TokenRule(256, 0.5, 8192, 0.9),
}
"""The rules of `tokens`, by model."""


def resolution(pixels: Size, base: float) -> Size:
    """√(pixels/base): the shift for images with more pixels than those that the density was made for.

    Source: Esser et al., "Scaling Rectified Flow Transformers", 2024, Eq. 23.

    Args:
        pixels: The number of pixels of each image (height times width, of latents or of images), above 0.
        base: The number of pixels without a shift, above 0.
    """
    return _root(pixels, "pixels", base, "base")


def latent_dimension(d: Size, base: float = 4096.0) -> Size:
    """√(d/base): the shift for latents with many channels (RAE, Zheng et al. 2025).

    Args:
        d: The number of values of a latent, channels times height times width: 768·16·16 gives 6.93.
        base: The number of values without a shift.
    """
    return _root(d, "d", base, "base")


def tokens(
    n: Size, model: str = "flux", *, base_shift: float | None = None, max_shift: float | None = None
) -> Size:
    """e^μ, with μ linear in the number of tokens, as a model's scheduler or trainer has it.

    | model | μ | |
    |---|---|---|
    | flux | 0.5 at 256 to 1.15 at 4096 | diffusers' `calculate_shift`; older versions end at 1.16 |
    | krea2 | 0.5 at 256 to 1.15 at 6400 | |
    | ltx2 | 0.95 at 1024 to 2.05 at 4096 | constant above 4096 |
    | qwen_image | 0.5 at 256 to 0.9 at 8192 | |

    Args:
        n: The number of tokens of each sample, above 0. Except for ltx2, the line goes on beyond both ends.
        model: One of the names above.
        base_shift: Replaces μ at the first number of tokens.
        max_shift: Replaces μ at the second one.

    Raises:
        SpeeDiffValueError: If the model is unknown, or a value is out of range.
    """
    rule = MODELS[arguments.choice("model", model, MODELS)]
    low = rule.base_shift if base_shift is None else _finite("base_shift", base_shift)
    high = rule.max_shift if max_shift is None else _finite("max_shift", max_shift)
    count = _positive("n", n)
    if rule.capped:
        count = _at_most(count, rule.max_tokens)
    slope = (high - low) / (rule.max_tokens - rule.base_tokens)
    result: Size = math.e ** (low + slope * (count - rule.base_tokens))
    return result


def _root(size: Size, argument: str, base: float, base_argument: str) -> Size:
    result: Size = (
        _positive(argument, size) / _positive(base_argument, arguments.real(base_argument, base))
    ) ** 0.5
    return result


def _positive(argument: str, value: Any) -> Any:
    """The number, array or tensor, if all of it is finite and above 0."""
    if hasattr(value, "shape"):
        # NumPy's and PyTorch's arrays have the same operators.
        wrong = ~((value > 0) & (value < math.inf))
        if bool(wrong.any()):
            raise SpeeDiffValueError(
                f"{argument} must be finite and above 0, got {value[wrong].flatten()[0]}"
            )
        return value
    if isinstance(value, (list, tuple)):
        raise SpeeDiffTypeError(
            f"{argument} must be a number, an array or a tensor, got a {type(value).__name__}"
        )
    number = arguments.real(argument, value)
    if not 0 < number < math.inf:
        raise SpeeDiffValueError(f"{argument} must be finite and above 0, got {value!r}")
    return number


def _finite(argument: str, value: object) -> float:
    number = arguments.real(argument, value)
    if not math.isfinite(number):
        raise SpeeDiffValueError(f"{argument} must be finite, got {value!r}")
    return number


def _at_most(value: Any, most: int) -> Any:
    return value.clip(max=most) if hasattr(value, "shape") else min(value, float(most))
