"""Imports packages that import torchvision but use nothing of it here.

The torchvision on PyPI is built for CUDA. Beside a CPU build of PyTorch it does not import, and while it is
installed, transformers and diffusers do not import either. torch-fidelity and timm import it for data sets
and transforms, which nothing here uses. So they are imported with a stand-in, if there is no torchvision.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "torchvision"


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """A context in which `import torchvision` works. The stand-in is gone after it."""
    try:
        importlib.import_module(NAME)
    except Exception:  # A mismatch with PyTorch raises RuntimeError, or OSError.
        pass
    else:
        yield
        return
    _forget()  # What a failed import left behind.
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget()  # Others must not believe that it is installed.


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


class _Absent(type):
    """The type of classes that stand for anything: a base class, a namespace, a value."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(name)

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise ImportError(f"{cls.__name__} needs {NAME}, which is not installed or does not fit this PyTorch")


def _absent(name: str) -> Any:
    return _Absent(name, (), {})


class _Module(ModuleType):
    """A module with every name."""

    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _absent(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for torchvision and each module below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The specification of a stand-in; None for other packages."""
        if fullname.partition(".")[0] != NAME:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """An empty module with every name."""
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""
