"""`speediff train` and `compare` on a folder of pictures: what they say of it, and what of it they take."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from training_runs import QUICK, TINY, fails, train

from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")
GENERATOR = np.random.default_rng(0)


def write_pictures(folder: Path, count: int = 4, channels: int = 4) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = GENERATOR.integers(0, 256, (8, 8, channels), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


def test_a_run_says_what_it_trains_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        write_pictures(tmp_path / "data" / name)
    (tmp_path / "data" / "notes.txt").touch()
    train(str(tmp_path / "data"), tmp_path / "out", *QUICK)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        f"{tmp_path / 'data'}: 8 pictures of 9 files, 8×8, in color, 2 classes (cat 4, dog 4)",
        "8 transparent, composited on #ffffff: "
        "cat/0.png, cat/1.png, cat/2.png, cat/3.png, dog/0.png and 3 more",
    ]
    assert lines[2] == "1 left out (no ending of a picture): notes.txt"


def test_other_data_are_summarized_too(
    images: str, latents: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(images, tmp_path / "images", *QUICK)
    train(latents, tmp_path / "latents", *QUICK)
    err = capsys.readouterr().err
    assert f"{images}: 40 images, 8×8, gray, 4 classes (0 10, 1 10, 2 10, 3 10)\n" in err
    assert f"{latents}: 20 latents, 8×8, 4 channels, no labels\n" in err


@pytest.mark.parametrize("has_classes", [False, True])
def test_a_run_in_its_own_data_does_not_train_on_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_classes: bool
) -> None:
    data = tmp_path / "data"
    if has_classes:
        data.mkdir()
        for name in ("bee", "zebra"):
            write_pictures(data / name, channels=3)
    else:
        write_pictures(data, channels=3)
    monkeypatch.chdir(data)
    samples = ("--samples", "1", "--sample-steps", "2", "--sample-every", "2")
    for out in (".", "runs/train"):
        command = ["train", ".", "--out", out, *TINY, "--steps"]
        assert main([*command, "4", *samples]) == 0
        assert (data / out / "samples.png").exists()
        assert (data / out / "samples-0000002.png").exists()
        assert main([*command, "6", "--resume", *samples]) == 0
    assert main(["train", ".", "--out", "runs/other", *TINY, *QUICK]) == 0
    fingerprints = {
        json.loads((data / out / "run.json").read_text())["data"]["fingerprint"]
        for out in (".", "runs/train", "runs/other")
    }
    assert len(fingerprints) == 1
    assert "5 left out (written by SpeeDiff): " in capsys.readouterr().err


def test_a_comparison_in_its_own_data_does_not_train_on_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    write_pictures(tmp_path / "data", count=12, channels=3)
    monkeypatch.chdir(tmp_path / "data")
    samples = ("--samples", "1", "--sample-steps", "2", "--validation-images", "1")
    command = ["compare", ".", "--methods", "uniform", "--out", "both", *TINY, *samples, "--steps"]
    assert main([*command, "2"]) == 0
    assert (tmp_path / "data" / "both" / "curves.png").exists()
    assert main([*command, "4", "--resume"]) == 0
    assert "1 left out (written by SpeeDiff): both/" in capsys.readouterr().err


def test_the_background_is_a_setting_of_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "data")
    data, out = str(tmp_path / "data"), tmp_path / "out"
    train(data, out, *QUICK, "--background", "Red")
    assert json.loads((out / "run.json").read_text())["settings"]["background"] == "#ff0000"
    assert "4 transparent, composited on #ff0000: 0.png" in capsys.readouterr().err
    for flags in ((), ("--background", "#F00"), ("--background", "rgb(255, 0, 0)")):
        train(data, out, "--steps", "8", "--samples", "0", "--resume", *flags)
    command = ["train", data, "--out", str(out), "--resume"]
    fails(capsys, "--background #ff0000, got #ffffff", *command, "--background", "white")
    shutil.rmtree(out)
    train(data, out, *QUICK)
    fails(capsys, "--background #ffffff, got #000000", *command, "--background", "black")


@pytest.mark.parametrize("color", ["", "whit", "#12345", "#11223344", "rgba(1,2,3,4)"])
def test_a_background_that_is_no_color(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], color: str
) -> None:
    write_pictures(tmp_path / "data")
    message = f"--background must be an opaque color, such as white or '#808080', got {color!r}"
    fails(
        capsys,
        message,
        "train",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "out"),
        "--background",
        color,
    )


def test_data_that_are_not_pictures_have_no_background(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", images, "--out", str(tmp_path), "--background", "black")
    fails(capsys, "--background applies only to a folder of pictures", *command)


def test_a_run_of_an_earlier_version_has_no_background(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", channels=3)
    train(str(tmp_path / "data"), tmp_path / "out", *QUICK)
    description = json.loads((tmp_path / "out" / "run.json").read_text())
    del description["settings"]["background"]
    (tmp_path / "out" / "run.json").write_text(json.dumps(description))
    train(str(tmp_path / "data"), tmp_path / "out", "--steps", "7", "--samples", "0", "--resume")
