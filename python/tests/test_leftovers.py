"""What tests leave behind: nothing outside the folders that pytest and `conftest.py` make."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import LEFT_BEHIND

NAMES = """
import os, tempfile
tempfile.mkdtemp(prefix="torchelastic_")
print(tempfile.gettempdir())
"""


def test_temporary_files_of_processes_are_removed_with_the_run(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=True).stdout
    for folder in (found.strip(), tempfile.gettempdir()):
        assert LEFT_BEHIND in Path(folder).parents
    assert LEFT_BEHIND not in tmp_path.parents


@pytest.mark.parametrize(
    ("module", "place"), [("huggingface_hub.constants", "HF_HOME"), ("matplotlib", "get_cachedir")]
)
def test_caches_of_libraries_are_too(module: str, place: str) -> None:
    folder = getattr(pytest.importorskip(module), place)
    assert LEFT_BEHIND in Path(folder() if callable(folder) else folder).parents


def test_a_run_of_pytest_leaves_nothing(tmp_path: Path) -> None:
    test = tmp_path / "test_one.py"
    test.write_text(
        f"import subprocess, sys\n\ndef test_one():\n    subprocess.run([sys.executable, '-c', {NAMES!r}])\n"
    )
    (tmp_path / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text())
    place = tmp_path / "tmp"
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test)],
        env=environment,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert list(place.iterdir()) == []
