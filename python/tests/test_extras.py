"""What a command says where a package is missing, in a checkout and from a wheel."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import pytest

import speediff
from speediff._support import extras

if TYPE_CHECKING:
    from pathlib import Path


def test_a_checkout_is_installed_from_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    assert extras.command("speediff[cli]") == "pip install -e 'python[cli]'"
    assert extras.command("scikit-learn") == "pip install scikit-learn"


def test_a_wheel_is_given_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path)
    assert extras.command("speediff[cli]") == "pip install 'speediff[cli]'"
    assert shlex.split(extras.command("speediff[train]")) == ["pip", "install", "speediff[train]"]
    assert extras.command("scikit-learn") == "pip install scikit-learn"


@pytest.mark.parametrize("module", ["tqdm", "PIL.Image", "matplotlib", "mpi4py.MPI"])
def test_the_message_names_module_purpose_and_command(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(speediff.SpeeDiffError) as error:
        extras.load(module, "a picture", install="speediff[mpi]")
    assert str(error.value).startswith(f"a picture needs {module} (")
    assert str(error.value).endswith(f": {extras.command('speediff[mpi]')}")


def test_a_module_of_ours_names_the_package_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.delitem(sys.modules, "speediff.cli.plan_table", raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(speediff.SpeeDiffError, match=r"^the table needs rich \(.*\), or look elsewhere$"):
        extras.load_own("cli.plan_table", "the table", install="rich", instead="), or look elsewhere")
