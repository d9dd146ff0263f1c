"""The patches of docs/migrate: their form, and that they fit."""

from __future__ import annotations

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
PAGE = PATCHES.parent / "migrate.md"


def test_every_patch_has_a_stand_in_and_a_place_on_the_page() -> None:
    assert sorted(PARTS) == NAMES
    for name in NAMES:
        assert f"(migrate/{name}.patch)" in PAGE.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_patch_adds_at_most_five_lines_and_names_the_commit(name: str) -> None:
    header, hunks = read_patch(PATCHES / f"{name}.patch")
    assert 1 <= sum(len(hunk.added) for hunk in hunks) <= 5
    assert re.search(r"\bat [0-9a-f]{40}\b", header)
    for hunk in hunks:
        assert hunk.counts == (len(hunk.old), len(hunk.new))
    for commit in re.findall(r"[0-9a-f]{40}", header):
        assert commit[:7] in PAGE.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_gnu_patch_does_the_same(name: str, tmp_path: Path) -> None:
    if shutil.which("patch") is None:
        pytest.skip("needs GNU patch")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    put_together(name, ours)
    put_together(name, theirs)
    apply_patch(PATCHES / f"{name}.patch", ours)
    command = ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i", str(PATCHES / f"{name}.patch")]
    subprocess.run(command, cwd=theirs, check=True, stdout=subprocess.DEVNULL)
    for file in ours.glob("**/*.py"):
        assert file.read_text() == (theirs / file.relative_to(ours)).read_text()
