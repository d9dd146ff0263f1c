"""Folders of pictures: their classes, their modes and sizes, and every damaged file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from data_files import GENERATOR, GRAY, PIXELS, fails

from speediff._data.datasets import load, load_test

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")


def write_picture(path: Path, pixels: Any, **options: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    color = PIXELS.transpose(0, 2, 3, 1)
    for index, name in enumerate(("cat/1.png", "cat/0.png", "bee/x.PNG", "dog/deeper/y.bmp")):
        (tmp_path / "dog").mkdir(exist_ok=True)
        write_picture(tmp_path / name, color[index])
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    data = load(str(tmp_path))
    assert data.class_names == ("bee", "cat", "dog")
    assert data.labels.tolist() == [0, 1, 1, 2]
    assert (data.values == PIXELS[[2, 1, 0, 3]]).all()
    assert load_test(str(tmp_path)) is None


def test_pictures_beside_each_other_have_no_labels(tmp_path: Path) -> None:
    write_picture(tmp_path / "b.png", GRAY[1])
    write_picture(tmp_path / "a.png", GRAY[0])
    data = load(str(tmp_path))
    assert (data.values == PIXELS[:2, :1]).all()
    assert data.labels is None


def test_one_colored_picture_makes_all_of_them_colored(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", GRAY[0])
    write_picture(tmp_path / "b.png", PIXELS[1].transpose(1, 2, 0))
    values = load(str(tmp_path)).values
    assert (values[0] == GRAY[0]).all()
    assert (values[1] == PIXELS[1]).all()


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", GRAY[0].astype(np.uint16) * 257)
    assert (load(str(tmp_path)).values[0, 0] == GRAY[0]).all()


def test_pictures_are_turned_as_their_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    write_picture(tmp_path / "a.png", GRAY[0], exif=exif)
    assert (load(str(tmp_path)).values[0, 0] == GRAY[0, ::-1, ::-1]).all()


def test_the_middle_of_a_picture_is_scaled(tmp_path: Path) -> None:
    pixels = np.zeros((8, 20), np.uint8)
    pixels[:, 6:14] = 200  # The middle square, which alone is to be left.
    write_picture(tmp_path / "a.png", pixels)
    values = load(str(tmp_path), input_size=4).values
    assert values.shape == (1, 1, 4, 4)
    assert (values == 200).all()
    fails("a.png must be square, got 8×20; --input-size crops and scales all pictures", tmp_path)


def test_pictures_of_several_sizes_need_one(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", GRAY[0])
    write_picture(tmp_path / "b.png", GRAY[1, :5])
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    fails(f"different sizes, got 6×6 in {first} and 5×6 in {second}", tmp_path)
    assert load(str(tmp_path), input_size=4).values.shape == (2, 1, 4, 4)


def test_folders_without_sense(tmp_path: Path) -> None:
    fails(f"{tmp_path} must hold pictures, got none", tmp_path)
    write_picture(tmp_path / "a.png", GRAY[0])
    write_picture(tmp_path / "cat" / "b.png", GRAY[1])
    fails("must hold pictures or sub-folders of them, got both: a.png and cat/", tmp_path)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tiff"])
def test_a_damaged_picture_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "cat" / f"damaged.{ending}"
    write_picture(tmp_path / "cat" / "a.png", np.zeros((60, 60, 3), np.uint8))
    write_picture(path, GENERATOR.integers(0, 256, (60, 60, 3), np.uint8))
    content = path.read_bytes()
    for damaged in (b"", b"junk", content[:20], content[: len(content) // 2]):
        path.write_bytes(damaged)
        fails(f"{path} must be a picture that Pillow reads: ", tmp_path)
