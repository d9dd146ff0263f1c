"""Finding and loading the native library, in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import speediff
from speediff._native import instruction_sets
from speediff._native import library as native_library

PACKAGE = Path(speediff.__file__).parent
REPORT = """
import builtins, sys
try:
    import speediff
except BaseException as error:
    names = [kind.__name__ for kind in type(error).__mro__]
    print(" ".join(names))
    print(error)
else:
    print("loaded", speediff.library_path())
"""


def import_it(
    library: str | None, package: Path = PACKAGE, isa: str | None = None, folder: Path | str = "/"
) -> tuple[str, str]:
    """The classes and the message of what importing in a folder raises, or "loaded <path>" and nothing."""
    choices = {"SPEEDIFF_LIBRARY": library, "SPEEDIFF_ISA": isa}
    environment = {key: value for key, value in os.environ.items() if key not in choices}
    environment |= {key: value for key, value in choices.items() if value is not None}
    environment["PYTHONPATH"] = str(package.parent)
    # A copy of a wheel's library does not find OpenBLAS by where it lies itself.
    environment["LD_LIBRARY_PATH"] = str(PACKAGE.parent / "speediff.libs")
    run = subprocess.run(
        [sys.executable, "-c", REPORT],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    first, _, rest = run.stdout.partition("\n")
    return first, rest


def refused(library: str | None, package: Path = PACKAGE, isa: str | None = None) -> str:
    """The message, after checking the classes."""
    classes, message = import_it(library, package, isa)
    assert {"SpeeDiffLibraryError", "SpeeDiffError", "ImportError"} <= set(classes.split()), classes + message
    return message


def compiled(folder: Path, source: str) -> str:
    """A shared library of a few lines of C."""
    (folder / "stub.c").write_text(source)
    path = folder / "libspeediff.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(folder / "stub.c"), "-o", str(path)], check=True)
    return str(path)


@pytest.fixture
def bare_package(tmp_path: Path) -> Path:
    """The package without a library, outside any checkout."""
    target = tmp_path / "site" / "speediff"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "lib"))
    return target


def test_the_library_in_use_is_reported() -> None:
    assert Path(speediff.library_path()).is_file()
    assert "libspeediff" in Path(speediff.library_path()).name


def test_the_environment_chooses_the_library(tmp_path: Path) -> None:
    copy = tmp_path / "renamed.so"
    shutil.copy(speediff.library_path(), copy)
    assert import_it(str(copy)) == (f"loaded {copy}", "")


def test_a_choice_may_be_relative_to_the_working_folder(tmp_path: Path) -> None:
    copy = tmp_path / "libc.so.6"  # A bare name that the system's loader knows.
    shutil.copy(speediff.library_path(), copy)
    assert import_it(copy.name, folder=tmp_path) == (f"loaded {copy}", "")


def test_an_empty_choice_is_none() -> None:
    assert import_it("")[0].startswith("loaded")


def test_a_library_of_another_abi_version_is_refused(tmp_path: Path) -> None:
    for version in (0, native_library.ABI_VERSION + 1, 4_000_000_000):
        path = compiled(tmp_path, f"unsigned speediff_abi_version(void) {{ return {version}u; }}")
        message = refused(path)
        assert path in message
        assert str(version) in message
        assert str(native_library.ABI_VERSION) in message


def test_a_chosen_library_that_is_missing_is_not_replaced_by_another(tmp_path: Path) -> None:
    message = refused(str(tmp_path / "nowhere.so"))
    assert str(tmp_path / "nowhere.so") in message
    assert "SPEEDIFF_LIBRARY" in message
    assert ".build" not in message


def test_a_failed_search_lists_every_place(bare_package: Path) -> None:
    message = refused(None, bare_package)
    assert str(bare_package / "lib") in message
    assert str(bare_package.parent.parent / ".build") in message
    assert "SPEEDIFF_LIBRARY" in message
    assert "make build" in message


def test_the_packages_own_library_comes_first(bare_package: Path) -> None:
    own, checkout = bare_package / "lib", bare_package.parent.parent / ".build" / "release"
    name = Path(speediff.library_path()).name
    checkout.mkdir(parents=True)
    shutil.copy(speediff.library_path(), checkout / name)
    assert import_it(None, bare_package)[0] == f"loaded {checkout / name}"
    own.mkdir()
    shutil.copy(speediff.library_path(), own / name)
    assert import_it(None, bare_package)[0] == f"loaded {own / name}"


def test_the_environment_chooses_among_the_packages_builds(bare_package: Path) -> None:
    name = Path(speediff.library_path()).name
    builds = [bare_package / "lib" / level / name for level in instruction_sets.LEVELS]
    for build in builds:
        build.parent.mkdir(parents=True)
        shutil.copy(speediff.library_path(), build)
    loaded = import_it(None, bare_package)[0]
    assert loaded in {f"loaded {build}" for build in builds}
    assert import_it(None, bare_package, isa="")[0] == loaded
    assert import_it(None, bare_package, isa="x86-64-v2")[0] == f"loaded {builds[0]}"
    assert refused(None, bare_package, isa="avx2").startswith(
        "SPEEDIFF_ISA must be one of x86-64-v2, x86-64-v3"
    )
    builds[0].unlink()
    assert refused(None, bare_package, isa="x86-64-v2").startswith("SPEEDIFF_ISA must be one of x86-64-v3")


def test_a_choice_among_builds_that_are_not_there_is_refused(bare_package: Path) -> None:
    assert refused(None, bare_package, isa="x86-64-v2").startswith("SPEEDIFF_ISA must be unset")


def test_a_library_that_is_chosen_is_no_build_to_choose_among() -> None:
    library = speediff.library_path()
    assert import_it(library, isa="x86-64-v5") == (f"loaded {library}", "")


@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF" + bytes(60)])
def test_a_file_that_is_no_library_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "libspeediff.so"
    path.write_bytes(content)
    assert str(path) in refused(str(path))


def test_a_folder_is_no_library(tmp_path: Path) -> None:
    assert str(tmp_path) in refused(str(tmp_path))


def test_another_programs_library_is_refused(tmp_path: Path) -> None:
    path = compiled(tmp_path, "int something_else(void) { return 0; }")
    message = refused(path)
    assert path in message
    assert "speediff_abi_version" in message


def test_a_library_that_lacks_functions_is_refused(tmp_path: Path) -> None:
    source = f"unsigned speediff_abi_version(void) {{ return {native_library.ABI_VERSION}; }}"
    path = compiled(tmp_path, source)
    message = refused(path)
    assert path in message
    assert "speediff_version" in message
