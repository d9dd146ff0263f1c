"""The patches of docs/migrate: their form, and that they fit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from patches import apply_patch, read_patch
from peer_stand_ins import PARTS, PATCHES, put_together

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted(path.stem for path in PATCHES.glob("*.patch"))
INDEX = PATCHES.parent / "migrate.md"
PAGES = {path.name: path.read_text() for path in [INDEX, *PATCHES.glob("*.md")]}


def test_every_patch_has_a_stand_in_and_a_place_on_the_pages() -> None:
    assert sorted(PARTS) == NAMES
    for name in NAMES:
        assert f"(migrate/{name}.patch)" in INDEX.read_text()
        assert any(f"]({name}.patch)" in text for text in PAGES.values()), name


def test_the_index_names_every_page() -> None:
    for path in PATCHES.glob("*.md"):
        assert f"(migrate/{path.name})" in INDEX.read_text(), path.name


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_adds_at_most_five_lines_and_names_the_commit(name: str) -> None:
    header, hunks = read_patch(PATCHES / f"{name}.patch")
    assert 1 <= sum(len(hunk.added) for hunk in hunks) <= 5
    assert re.search(r"\bat [0-9a-f]{40}\b", header)
    for commit in re.findall(r"[0-9a-f]{40}", header):
        assert commit[:7] in INDEX.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_hunks_count_their_lines_and_have_context_on_both_sides(name: str) -> None:
    """git wants context after a change, and GNU patch as much of it before as after."""
    shift: dict[str, int] = {}
    for hunk in read_patch(PATCHES / f"{name}.patch")[1]:
        assert hunk.counts == (len(hunk.old), len(hunk.new))
        before, after = hunk.context
        assert before == after >= 2
        assert hunk.starts[1] - hunk.starts[0] == shift.get(hunk.path, 0)
        shift[hunk.path] = shift.get(hunk.path, 0) + len(hunk.new) - len(hunk.old)


COMMANDS = {
    "GNU patch": ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i"],
    "GNU patch with fuzz": ["patch", "-p1", "--batch", "-i"],
    "git": ["git", "apply"],
}


def run(tool: str, patch: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = COMMANDS[tool]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {tool}")
    # No repository above the folder may change what git does.
    return subprocess.run(
        [*command, str(PATCHES / f"{patch}.patch")], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
    )  # fmt: skip


@pytest.mark.parametrize("tool", COMMANDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_usual_tools_do_the_same(name: str, tool: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    put_together(name, ours)
    put_together(name, theirs)
    apply_patch(PATCHES / f"{name}.patch", ours)
    result = run(tool, name, theirs)
    assert result.returncode == 0, result.stdout + result.stderr
    for file in ours.glob("**/*.py"):
        assert file.read_text() == (theirs / file.relative_to(ours)).read_text()


@pytest.mark.parametrize("tool", COMMANDS)
@pytest.mark.parametrize(("patch", "version"), [("mdt", "mdt-v1"), ("mdt-v1", "mdt")])
def test_a_patch_for_the_other_version_of_mdt_is_refused(
    patch: str, version: str, tool: str, tmp_path: Path
) -> None:
    """Version 1 has no Min-SNR in its losses; dividing by it would make E[w] 3.79."""
    put_together(version, tmp_path)
    assert run(tool, patch, tmp_path).returncode != 0
    loop = (tmp_path / "masked_diffusion" / "train_util.py").read_text()
    assert "import speediff" not in loop
    assert "from speediff" not in loop
