"""Where tensors of PyTorch lie in the trainer's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    Size = tuple[int, ...]


class Part(NamedTuple):
    """Where a tensor of PyTorch lies: rows of one of the trainer's tensors."""

    name: str
    """The trainer's."""
    piece: int = 0
    pieces: int = 1
    """Of as many equal parts."""

    def of(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The rows themselves."""
        whole = tensors[self.name]
        rows = len(whole) // self.pieces
        return whole[self.piece * rows : (self.piece + 1) * rows]


def placed(
    what: str, parts: Mapping[str, Part], sizes: Mapping[str, Size], tensors: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Where each tensor of PyTorch lies in some of the trainer's memory, which they must fill.

    Raises:
        SpeeDiffValueError: If a tensor is missing, has another shape, or is not in the network.
    """
    views: dict[str, NDArray[Any]] = {}
    pieces: dict[str, set[int]] = {name: set() for name in tensors}
    wanted = dict.fromkeys(tensors, 1)
    for name, part in parts.items():
        if part.name not in tensors:
            raise SpeeDiffValueError(f"{what} must have only the tensors of its network, got {name}")
        view = part.of(tensors)
        if sizes[name] != view.shape:
            raise SpeeDiffValueError(f"{what}.{name} must have shape {view.shape}, got {sizes[name]}")
        views[name] = view
        pieces[part.name].add(part.piece)
        wanted[part.name] = part.pieces
    missing = [name for name in tensors if len(pieces[name]) < wanted[name]]
    if missing:
        raise SpeeDiffValueError(
            f"{what} must have all tensors of its network, got none or only a part of {some(missing)}"
        )
    return views


def some(names: Collection[str]) -> str:
    """The first of some names."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
