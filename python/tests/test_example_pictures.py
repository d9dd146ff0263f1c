"""The folders of pictures that the examples train on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from running_examples import EXAMPLES

Image = pytest.importorskip("PIL.Image")
sys.path.insert(0, str(EXAMPLES))

import common  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures in each of two classes, black and white."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(20):
            Image.new("RGB", (8, 8), (label * 255,) * 3).save(tmp_path / name / f"{number:02}.png")
    return tmp_path


def test_hidden_files_and_folders_are_no_pictures(folder: Path) -> None:
    (folder / "cat" / "._00.png").write_bytes(b"\0\5\x16\7")
    for name in (".git", "__MACOSX"):
        (folder / name).mkdir()
        Image.new("RGB", (8, 8)).save(folder / name / "0.png")
    train, validation = common.load_images(folder, 8)
    assert train.class_names == ("cat", "dog")
    assert len(train.paths) + len(validation.paths) == 40
    images, labels = train.take(np.arange(38))
    assert (images[:, 0, 0, 0] == 2 * labels - 1).all()


def test_transparent_pictures_are_put_on_white(folder: Path) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 255)
    for path in (folder / "cat").iterdir():
        Image.fromarray(pixels).save(path)
    train, _ = common.load_images(folder, 8)
    (image,), _ = train.take((train.labels == 0).nonzero()[0][:1])
    assert image[:, 0].T.tolist() == [[1, -1, -1]] * 4 + [[1, 1, 1]] * 4


def test_a_picture_of_sixteen_bits_is_refused(folder: Path) -> None:
    for path in (folder / "cat").iterdir():
        Image.fromarray(np.full((8, 8), 1000, np.uint16)).save(path)
    train, _ = common.load_images(folder, 8)
    with pytest.raises(SystemExit, match="must have 8 bits per channel"):
        train.take((train.labels == 0).nonzero()[0][:1])
