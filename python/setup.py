"""Marks a wheel that holds libraries as one for their platform, and for any Python: ctypes loads them."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel


class LibraryDistribution(Distribution):
    """A package that belongs into the platform's folder."""

    def has_ext_modules(self) -> bool:
        """Says so to setuptools, which knows no libraries but extension modules."""
        return True


class LibraryWheel(bdist_wheel):
    """A wheel that is tied to a platform, but to no version or build of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Gives the tags of interpreter, ABI and platform."""
        return "py3", "none", super().get_tag()[2]


if (Path(__file__).parent / "speediff" / "lib").is_dir():
    setup(distclass=LibraryDistribution, cmdclass={"bdist_wheel": LibraryWheel})
else:
    setup()
