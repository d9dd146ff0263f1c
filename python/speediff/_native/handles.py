"""Ownership of native objects."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..errors import SpeeDiffClosedError, SpeeDiffTypeError

if TYPE_CHECKING:
    from collections.abc import Callable


class Handle:
    """Owns a native object and destroys it with the last reference to the handle.

    Callers hold a reference during each library call, so another thread's `close()` cannot free an
    object in use.
    """

    __slots__ = ("__weakref__", "pointer")

    def __init__(
        self, kind: Any, create: Callable[..., object], destroy: Callable[[Any], object], *args: Any
    ) -> None:
        pointer = kind()
        create(*args, pointer)
        self.pointer = pointer
        # Not at interpreter exit, where the object may still be in use; the process frees it.
        weakref.finalize(self, destroy, pointer).atexit = False


Native = TypeVar("Native", bound=Handle)


class Closable(Generic[Native]):
    """A Python object that owns a handle. Use `close()` or `with`, or leave it to garbage collection."""

    _instead: ClassVar[str] = "make another one"
    """Advice in the error when copying is not supported."""

    def __init__(self, handle: Native) -> None:
        self._owned: Native | None = handle

    @property
    def _handle(self) -> Native | None:
        """The handle; None after `close()`."""
        return self._owned

    def _open_handle(self) -> Native:
        """The handle.

        Raises:
            SpeeDiffClosedError: After `close()`.
        """
        return self._opened(self._handle)

    def _opened(self, handle: Native | None) -> Native:
        """Checks a handle that was read before; errors as for `_open_handle`."""
        if handle is None:
            raise SpeeDiffClosedError(f"this {type(self).__name__} must be open, got a closed one")
        return handle

    def close(self) -> None:
        """Frees the native object. Calling it again does nothing."""
        self._owned = None

    def __getstate__(self) -> Any:
        """Rejects copying and pickling. Subclasses that can recreate the native object override this."""
        raise SpeeDiffTypeError(f"a {type(self).__name__} must not be copied or pickled; {self._instead}")

    def __enter__(self) -> Any:
        self._open_handle()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
