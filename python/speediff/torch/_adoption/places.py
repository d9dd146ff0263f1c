"""Maps PyTorch tensors to the trainer's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import SpeeDiffValueError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    Size = tuple[int, ...]


class Part(NamedTuple):
    """The place of a PyTorch tensor: rows of one of the trainer's tensors."""

    name: str
    """The trainer's tensor."""
    piece: int = 0
    pieces: int = 1
    """The number of equal parts."""

    def of(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The rows as a view."""
        whole = tensors[self.name]
        rows = len(whole) // self.pieces
        return whole[self.piece * rows : (self.piece + 1) * rows]


def placed(
    what: str, parts: Mapping[str, Part], sizes: Mapping[str, Size], tensors: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The view of each PyTorch tensor in the trainer's tensors, which they must fill completely.

    Raises:
        SpeeDiffValueError: If a tensor is missing, has a different shape, or is not in the network.
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
            f"{what} must have all tensors of its network, got none or only part of {some(missing)}"
        )
    return views


def some(names: Collection[str]) -> str:
    """The first few names, for errors."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
