"""What a folder of pictures may hold beside them: used, or named as left out, and never a shifted label."""

from __future__ import annotations

import inspect
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from data_files import GRAY, fails

from speediff._data import picture_files
from speediff._data.datasets import load

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")


def write(path: Path, index: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(GRAY[index]).save(path, format="PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of one picture each."""
    write(tmp_path / "data" / "cat" / "1.png", 0)
    write(tmp_path / "data" / "dog" / "1.png", 1)
    return tmp_path / "data"


def summary(folder: Path, **options: Any) -> list[str]:
    """What is said of the folder, of which the two pictures and no others are used."""
    data = load(str(folder), **options)
    assert (data.values[:, 0] == GRAY[:2]).all()
    assert data.class_names == ("cat", "dog")
    return list(data.summary)


def test_a_summary_says_how_many_pictures_there_are(folder: Path) -> None:
    assert summary(folder) == [f"{folder}: 2 pictures, 6×6, gray, 2 classes (cat 1, dog 1)"]
    (folder / "cat" / "1.txt").write_text("a cat")
    assert summary(folder) == [
        f"{folder}: 2 pictures of 3 files, 6×6, gray, 2 classes (cat 1, dog 1)",
        "1 left out (no ending of a picture): cat/1.txt",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("._1.png", "hidden"),
        (".DS_Store", "hidden"),
        (".ipynb_checkpoints/1.png", "hidden"),
        ("deeper/.thumbnails/1.png", "hidden"),
        ("__MACOSX/1.png", "of the operating system"),
        ("@eaDir/1.png", "of the operating system"),
        ("Thumbs.db", "of the operating system"),
        ("Desktop.ini", "of the operating system"),
        ("1.heic", "format that this Pillow cannot read"),
        ("1.SVG", "format that this Pillow cannot read"),
        ("1.mp4", "no ending of a picture"),
        ("picture", "no ending of a picture"),
        ("png", "no ending of a picture"),
        ("run/run.safetensors", "written by SpeeDiff"),
    ],
)
def test_what_is_no_picture_is_named(folder: Path, name: str, reason: str) -> None:
    write(folder / "cat" / name)
    is_folder = "/" in name and reason != "no ending of a picture"
    left_out = f"{os.path.dirname(name)}/" if is_folder else name
    assert summary(folder)[1:] == [f"1 left out ({reason}): cat/{left_out}"]
    if not is_folder:  # The same beside the classes.
        (folder / "cat" / name).rename(folder / name)
        assert summary(folder)[1:] == [f"1 left out ({reason}): {name}"]


def test_names_cannot_write_to_the_terminal(folder: Path) -> None:
    (folder / "cat" / "\x1b[2J\n.txt").touch()
    assert summary(folder)[1:] == ["1 left out (no ending of a picture): cat/\\x1b[2J\\n.txt"]


def test_many_files_that_are_left_out_are_counted(folder: Path) -> None:
    for index in range(7):
        (folder / "dog" / f"{index}.txt").touch()
    names = ", ".join(f"dog/{index}.txt" for index in range(5))
    assert summary(folder)[1:] == [f"7 left out (no ending of a picture): {names} and 2 more"]


def test_a_hidden_folder_may_itself_be_the_data(tmp_path: Path) -> None:
    write(tmp_path / ".cache" / "__MACOSX" / "1.png")
    assert len(load(str(tmp_path / ".cache" / "__MACOSX"))) == 1


# ---- Labels do not shift -------------------------------------------------------------------------


def test_a_class_without_pictures_is_an_error(folder: Path) -> None:
    (folder / "bee").mkdir()
    fails(f"{folder / 'bee'} must hold pictures, got none: each sub-folder of {folder} is a class", folder)
    (folder / "bee" / "1.txt").touch()
    (folder / "bee" / ".1.png").touch()
    fails(f"{folder / 'bee'} must hold pictures, got none", folder)


def test_folders_without_pictures_do_not_make_classes_of_loose_pictures(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    (tmp_path / "notes").mkdir()
    data = load(str(tmp_path))
    assert data.labels is None
    assert data.summary[1:] == ("1 left out (folder without pictures): notes/",)


def test_an_error_without_pictures_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "1.heic").touch()
    (tmp_path / ".1.png").touch()
    fails("must hold pictures, got none; 1 left out (hidden): .1.png; 1 left out (format that", tmp_path)


def test_a_folder_that_may_not_be_read_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "cat" / "deeper" / "1.png")
    scandir = os.scandir
    for locked in (folder, folder / "cat", folder / "cat" / "deeper"):

        def refuse(path: str, locked: Path = locked) -> Any:
            if path == str(locked):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(PermissionError) as error:
            load(str(folder))
        assert error.value.filename == str(locked)


# ---- Links ---------------------------------------------------------------------------------------


def test_linked_pictures_and_folders_are_used(folder: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).rename(tmp_path / name)
        (folder / name).mkdir()
    (folder / "cat" / "1.png").symlink_to(tmp_path / "cat" / "1.png")
    (folder / "dog" / "linked").symlink_to(tmp_path / "dog")
    assert len(summary(folder)) == 1
    for name in ("cat", "dog"):
        (folder / name).rename(tmp_path / f"old {name}")
        (folder / name).symlink_to(tmp_path / name)
    assert len(summary(folder)) == 1


def test_pictures_that_are_there_twice_are_named(folder: Path) -> None:
    (folder / "dog" / "2.png").symlink_to("1.png")
    os.link(folder / "cat" / "1.png", folder / "dog" / "3.png")
    (folder / "kitten").symlink_to("cat")
    data = load(str(folder))
    assert data.labels.tolist() == [0, 1, 1, 1, 2]
    assert data.summary[1:] == (
        "3 used again (link to the same file): dog/2.png is dog/1.png, dog/3.png is cat/1.png, "
        "kitten/1.png is cat/1.png",
    )


def test_a_link_to_a_folder_above_ends(folder: Path) -> None:
    (folder / "cat" / "all").symlink_to("..")
    (folder / "dog" / "again").symlink_to(".")
    (line,) = summary(folder)[1:]
    assert line == "2 left out (link to a folder above): cat/all/, dog/again/"


def test_a_link_to_nothing_is_named(folder: Path) -> None:
    (folder / "cat" / "2.png").symlink_to("missing.png")
    (folder / "cat" / "3.png").symlink_to("3.png")
    (folder / "cat" / ".4.png").symlink_to(".4.png")
    assert summary(folder)[1:] == [
        "1 left out (hidden): cat/.4.png",
        "2 left out (link to nothing): cat/2.png, cat/3.png",
    ]


def test_pipes_and_sockets_are_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "cat" / "2.png")
    (folder / "dog" / "2.png").symlink_to("/dev/zero")
    monkeypatch.chdir(folder)  # The name of a socket must be short.
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("dog/3.png")
    names = "cat/2.png, dog/2.png, dog/3.png"
    assert summary(folder)[1:] == [f"3 left out (pipe, socket or device): {names}"]


def test_folders_may_be_nested_deeper_than_calls(folder: Path) -> None:
    deep = folder.joinpath("dog", *"d" * 200, "2.png")
    write(deep, 1)
    frames = len(inspect.stack(0))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(frames + 100)
    try:
        found = picture_files.find(str(folder), {".png"}, (), None)
    finally:
        sys.setrecursionlimit(limit)
    assert found.classes["dog"] == [str(folder / "dog" / "1.png"), str(deep)]


# ---- What SpeeDiff wrote -------------------------------------------------------------------------


def test_pictures_of_runs_are_no_data(folder: Path) -> None:
    for name in ("samples.png", "samples-0000100.png", "curves.png"):
        write(folder / name)
    write(folder / "runs" / "train" / "samples.png")
    (folder / "runs" / "train" / "run.json").write_text('{\n  "speediff": "0.1.0",\n')
    (line,) = summary(folder)[1:]
    names = "curves.png, runs/train/, samples-0000100.png, samples.png"
    assert line == f"4 left out (written by SpeeDiff): {names}"
    write(folder / "cat" / "samples.png")  # A name like any other.
    assert len(load(str(folder))) == 3


@pytest.mark.parametrize("name", ["run.json", "results.json"])
def test_only_descriptions_of_speediff_make_a_run(folder: Path, name: str) -> None:
    description = folder / "cat" / name
    description.write_text('{"speed": 1}')
    assert summary(folder)[1:] == [f"1 left out (no ending of a picture): cat/{name}"]
    (folder / "cat").rename(folder / "dog" / "run")
    (folder / "dog" / "run" / name).write_text('{\n "speediff": "0.1.0"}')
    data = load(str(folder))
    assert data.summary[1:] == ("1 left out (written by SpeeDiff): dog/run/",)


def test_the_folder_of_the_run_is_no_data(folder: Path) -> None:
    write(folder / "out" / "loss.png")
    (line,) = summary(folder, out=folder / "out")[1:]
    assert line == "1 left out (written by SpeeDiff): out/"
    assert summary(folder.parent / "data" / ".." / "data", out=folder / "out")[1:] == [line]
    assert load(str(folder)).class_names == ("cat", "dog", "out")


def test_the_order_is_that_of_names(tmp_path: Path) -> None:
    names = ("b/1.png", "b.png", "a/2.png", "a/10.png", "a-b/1.png", "A/1.png")
    for name in names:
        write(tmp_path / "class" / name)
    found = picture_files.find(str(tmp_path), {".png"}, (), None)
    expected = sorted((tmp_path / "class" / name for name in names), key=lambda path: path.parts)
    assert found.classes == {"class": [str(path) for path in expected]}
