"""`speediff generate`: what it writes, from which seeds, and what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import speediff
from speediff._runs import picture_grids
from speediff.cli import main

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")

TRAINING = (
    "--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "8", "--warmup", "0",
    "--method", "uniform", "--timesteps", "30", "--steps", "2", "--samples", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: `named` of three named classes in color, `plain` of gray images without labels, `latents`."""
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(0)
    for name in ("bee", "big cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for index in range(3):
            pixels = generator.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{index}.png")
    np.save(folder / "plain.npy", generator.integers(0, 256, (9, 8, 8), np.uint8))
    np.save(folder / "latents.npy", generator.standard_normal((9, 4, 8, 8)).astype(np.float32))
    for run, data in (("named", "pictures"), ("plain", "plain.npy"), ("latents", "latents.npy")):
        assert main(["train", str(folder / data), "--out", str(folder / run), *TRAINING]) == 0
    return folder


def generate(run: Path, out: Path, *flags: str) -> None:
    """Runs a command that succeeds."""
    assert main(["generate", str(run / "run.safetensors"), "--out", str(out), "--steps", "3", *flags]) == 0


def array(run: Path, out: Path, *flags: str) -> Any:
    generate(run, out / "images.npy", *flags)
    return np.load(out / "images.npy", allow_pickle=False)


def fails(capsys: pytest.CaptureFixture[str], message: str, *command: str) -> None:
    """The command ends with exit code 2 and one line, which says this."""
    capsys.readouterr()
    try:
        code: Any = main(["generate", *command])
    except SystemExit as exit_:  # From argparse.
        code = exit_.code
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert err[-1].startswith("speediff: ")
    assert message in err[-1]


def test_an_array_is_what_the_library_generates(folder: Path, tmp_path: Path) -> None:
    flags = (
        "--labels",
        "2,0",
        "--n",
        "2",
        "--seed",
        "7",
        "--cfg-scale",
        "1.5",
        "--method",
        "ddim",
        "--eta",
        "0.5",
    )
    images = array(folder / "named", tmp_path, *flags)
    with speediff.Trainer.load(folder / "named" / "run.safetensors") as trainer:
        options: Any = {"steps": 3, "method": "ddim", "eta": 0.5, "cfg_scale": 1.5, "seed": 7}
        expected = trainer.generate(np.array([2, 2, 0, 0]), **options)
    assert (images == expected).all()
    assert (images.shape, images.dtype) == ((4, 3, 8, 8), np.float32)


def test_an_image_is_the_same_in_any_company(folder: Path, tmp_path: Path) -> None:
    many = array(folder / "named", tmp_path, "--labels", "1", "--n", "5")
    alone = array(folder / "named", tmp_path, "--labels", "1", "--n", "1", "--seed", "3")
    np.testing.assert_allclose(alone[0], many[3], atol=1e-5)  # Products of other shapes round otherwise.


def test_without_labels_every_class_comes(folder: Path, tmp_path: Path) -> None:
    all_of_them = array(folder / "named", tmp_path, "--n", "2")
    named = array(folder / "named", tmp_path, "--n", "2", "--classes", "bee, big cat,dog")
    assert (all_of_them == named).all()
    assert len(all_of_them) == 6


def test_unlabelled_images_and_latents(folder: Path, tmp_path: Path) -> None:
    assert array(folder / "plain", tmp_path, "--n", "3").shape == (3, 1, 8, 8)
    assert array(folder / "latents", tmp_path, "--n", "2").shape == (2, 4, 8, 8)


def test_the_weights_are_the_averaged_ones_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    averaged = array(folder / "plain", tmp_path, "--n", "1")
    own = array(folder / "plain", tmp_path, "--n", "1", "--no-ema")
    assert (averaged != own).any()


def test_a_grid_has_a_named_row_for_each_class(folder: Path, tmp_path: Path) -> None:
    images = array(folder / "named", tmp_path, "--n", "4")
    generate(folder / "named", tmp_path / "grid.png", "--n", "4")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    cells = images.reshape(3, 4, 3, 8, 8)
    expected = np.asarray(picture_grids.grid(cells, ("bee", "big cat", "dog")))
    assert (grid == expected).all()
    # The last cell, enlarged sevenfold, is where it should be.
    pixels = np.rint((np.clip(images[-1], -1, 1) + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
    corner = grid[-8 - 56 : -8, -8 - 56 : -8]
    assert (corner == pixels.repeat(7, axis=0).repeat(7, axis=1)).all()


def test_a_folder_gets_a_picture_each(folder: Path, tmp_path: Path) -> None:
    generate(folder / "named", tmp_path / "images", "--labels", "1,2", "--n", "2", "--seed", "5")
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [
        "00000-big cat-seed5.png",
        "00001-big cat-seed6.png",
        "00002-dog-seed7.png",
        "00003-dog-seed8.png",
    ]
    images = array(folder / "named", tmp_path, "--labels", "1,2", "--n", "2", "--seed", "5")
    for name, image in zip(names, images, strict=True):
        pixels = np.asarray(Image.open(tmp_path / "images" / name))
        assert (pixels == picture_grids.to_bytes(image)).all()
    generate(folder / "plain", tmp_path / "gray", "--n", "1")
    assert Image.open(tmp_path / "gray" / "00000-seed0.png").mode == "L"


def test_a_checkpoint_works_without_its_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "named" / "run.safetensors", tmp_path)
    generate(tmp_path, tmp_path / "grid.png", "--n", "1")


def test_ctrl_c_ends_it_at_once(folder: Path, tmp_path: Path) -> None:
    command = ["generate", str(folder / "plain" / "run.safetensors"), "--n", "1000000", "--out", "images.npy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "speediff", *command], cwd=tmp_path, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    process.stderr.read(1)  # The bar is there: it generates.
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_pixels_of_a_picture_are_rounded_and_cut_off() -> None:
    image = np.array([-7, -1, -0.999, 0, 0.9961, 1, 3], np.float32).reshape(1, 1, 7)
    assert picture_grids.to_bytes(image)[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255, 255]


def test_what_it_refuses(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named, plain, latents = (str(folder / name / "run.safetensors") for name in ("named", "plain", "latents"))
    fails(capsys, "nowhere", "nowhere/run.safetensors")
    fails(capsys, "--labels must be numbers in [0, 3), got '3'", named, "--labels", "0,3")
    fails(capsys, "--labels must be numbers in [0, 3), got 'x'", named, "--labels", "x")
    fails(capsys, "--labels must be numbers in [0, 3), got '-1'", named, "--labels=-1")
    fails(
        capsys,
        "--classes must be one of bee, big cat, dog, got 'bea'; did you mean",
        named,
        "--classes",
        "bea",
    )
    fails(capsys, "not allowed with argument", named, "--classes", "bee", "--labels", "0")
    fails(capsys, "--labels does not apply to a network without labels", plain, "--labels", "0")
    fails(capsys, "--n must be at least 1, got 0", named, "--n", "0")
    fails(capsys, "steps must be ", named, "--steps", "31")
    fails(capsys, "steps must be ", named, "--steps", "0")
    fails(capsys, "--method must be one of ddim, ddpm, got 'euler'", named, "--method", "euler")
    fails(capsys, "eta must be ", named, "--method", "ddim", "--eta", "-1")
    fails(capsys, "cfg_scale must be ", named, "--cfg-scale", "nan")
    fails(capsys, "seed must be ", named, "--seed", "-1")
    fails(capsys, "--out must be a folder or end in .png or .npy, got 'a.jpg'", named, "--out", "a.jpg")
    fails(
        capsys, "--out must end in .npy for images of 4 channels", latents, "--out", str(tmp_path / "a.png")
    )
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(Path(named).read_bytes()[:-7])
    fails(capsys, "damaged.safetensors", str(damaged))
    damaged.write_bytes(b"")
    fails(capsys, "damaged.safetensors", str(damaged))


def test_a_checkpoint_alone_knows_the_names_of_its_classes(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "named" / "run.safetensors", tmp_path)
    named = array(tmp_path, tmp_path, "--n", "1", "--classes", "dog")
    assert (named == array(folder / "named", tmp_path, "--n", "1", "--labels", "2")).all()


def test_names_that_do_not_fit_the_network_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "named" / "run.safetensors", tmp_path)
    checkpoint = str(tmp_path / "run.safetensors")
    description = json.loads((folder / "named" / "run.json").read_text())
    description["data"]["class_names"] = ["bee"]
    (tmp_path / "run.json").write_text(json.dumps(description))
    fails(capsys, "run.json must name the 3 classes of run.safetensors, got 1", checkpoint)
