"""What cannot be written is found before the work, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from training_runs import QUICK, TINY, fails, train

import speediff
from speediff import Trainer
from speediff._runs import picture_grids, training_loop
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

for module in ("tqdm", "PIL", "matplotlib", "rich"):
    pytest.importorskip(module)

DRAWN = ("--steps", "4", "--samples", "2", "--sample-steps", "2")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever trains or samples is too late."""

    def late(*_: Any, **__: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(training_loop, "train", late)
    monkeypatch.setattr(Trainer, "generate", late)


@pytest.fixture(scope="module")
def checkpoint(images: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("run")
    train(images, out, *QUICK)
    return str(out / "run.safetensors")


# ---- train and compare ---------------------------------------------------------------------------


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "name", ["samples.png", "samples-0000000.png", "loss.csv", "run.json", "run.safetensors.d"]
)
def test_train_tries_its_files(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name.removesuffix(".d")).mkdir()
    message = "exists: add --resume" if name.endswith(".d") else f"{tmp_path / name} must be a regular file"
    fails(capsys, message, "train", images, "--out", str(tmp_path), *TINY, *DRAWN, "--sample-every", "2")
    assert names(tmp_path) == [name.removesuffix(".d")]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "name",
    ["report.md", "results.csv", "results.json", "times.csv", "curves.png", "areas.png", "samples.png"],
)
def test_compare_tries_its_files(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).mkdir(parents=True)
    command = ("compare", images, "--out", str(tmp_path), "--methods", "uniform,speed", *TINY, *DRAWN)
    fails(capsys, f"{tmp_path / name} must be a regular file, got a directory", *command)
    assert names(tmp_path) == [name]


def test_pictures_that_are_not_wanted_are_not_tried(images: str, tmp_path: Path) -> None:
    (tmp_path / "samples.png").mkdir()
    train(images, tmp_path, *QUICK)


@pytest.mark.usefixtures("no_work")
def test_a_failed_start_leaves_no_folder(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a" / "b")
    for command in ("train", "compare"):
        fails(capsys, "--seed must be at least 0", command, images, "--out", out, *TINY, "--seed", "-1")
        fails(capsys, "DATA must be one of", command, "nowhere", "--out", out, *TINY)
        assert names(tmp_path) == []


# ---- generate ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_work")
def test_generate_tries_its_target(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link.npy").symlink_to("missing/x.npy")
    os.mkfifo(tmp_path / "fifo.png")
    for name, message in (
        ("fifo.png", "must be a regular file"),
        ("link.npy", "No such file or directory"),
        ("file/a.npy", "--out must be a folder, got the file"),
        ("file/", "--out must be a folder, got the file"),
        ("x" * 252 + ".png", "File name too long"),
        ("y" * 300 + "/a.png", "File name too long"),
    ):
        fails(capsys, message, "generate", checkpoint, "--out", f"{tmp_path}/{name}")
    assert names(tmp_path) == ["fifo.png", "file", "link.npy"]


def test_generate_leaves_no_folder_where_sampling_fails(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/b/c.png", "a/b/", "a/b.npy"):
        out = f"{tmp_path}/{name}"
        fails(capsys, "steps must be ", "generate", checkpoint, "--steps", "5000", "--out", out)
        assert names(tmp_path) == []
        assert main(["generate", checkpoint, "--n", "1", "--steps", "2", "--out", out]) == 0
        assert names(tmp_path) == ["a"]
        import shutil

        shutil.rmtree(tmp_path / "a")


@pytest.mark.usefixtures("no_work")
def test_a_class_whose_name_is_too_long_for_a_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from speediff._runs.generated_files import GeneratedFiles
    from speediff._runs.samples import Rows

    rows = Rows.of(np.array([0, 1]), ["cat", "c" * 250])
    files = GeneratedFiles(str(tmp_path))
    with pytest.raises(OSError, match="File name too long"):
        files.rehearse((4, 1, 8, 8), rows, 0)
    files.rehearse((4, 1, 8, 8), Rows.of(np.array([0, 0]), ["cat", "a/b"]), 0)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("no_work")
def test_a_grid_that_is_no_picture_is_told(
    images: str, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import PIL.Image

    def broken(*_: Any) -> None:
        raise OSError("encoder error -2 when writing image file")  # As Pillow says it: without a name.

    monkeypatch.setattr(PIL.Image.Image, "save", broken)
    message = "pixels cannot be a PNG file: encoder error -2"
    fails(capsys, message, "generate", checkpoint, "--out", str(tmp_path / "a.png"))
    fails(capsys, message, "train", images, "--out", str(tmp_path / "run"), *TINY, *DRAWN)


LIMITED = """
import resource, sys
from speediff import Trainer
from speediff.cli import main
generate = Trainer.generate
def limited(*arguments, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # As a disk that fills up meanwhile.
    return generate(*arguments, **options)
Trainer.generate = limited
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["a.npy", "a.png"])
def test_a_disk_that_fills_up_leaves_the_old_file(checkpoint: str, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    command = ["generate", checkpoint, "--n", "20", "--steps", "2", "--out", str(path)]
    assert main(command) == 0
    before = path.read_bytes()
    words = [sys.executable, "-c", LIMITED, *command, "--seed", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"speediff: {path}: File too large"
    assert path.read_bytes() == before
    assert names(tmp_path) == [name]


# ---- Pictures ------------------------------------------------------------------------------------


def test_plan_tries_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.png").mkdir()
    fails(capsys, "plan.png must be a regular file", "plan", "--plot", str(tmp_path / "plan.png"))
    assert capsys.readouterr().out == ""
    fails(capsys, "k must be at least 1", "plan", "--k", "0", "--plot", str(tmp_path / "new.png"))
    assert names(tmp_path) == ["plan.png"]


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_a_picture_replaces_the_one_before_through_links(tmp_path: Path, ending: str) -> None:
    target, link = tmp_path / f"target{ending}", tmp_path / f"link{ending}"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    assert main(["plan", "--json", "--plot", str(link)]) == 0
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert main(["plan", "--json", "--plot", str(tmp_path / f"new{ending}")]) == 0
    assert target.read_bytes() == (tmp_path / f"new{ending}").read_bytes()


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", "qtagg", ""])
@pytest.mark.parametrize("command", ["plan", "compare"])
def test_the_backend_of_a_notebook_does_not_matter(
    images: str, tmp_path: Path, command: str, backend: str
) -> None:
    words = {
        "plan": ["plan", "--json", "--plot", str(tmp_path / "curves.png")],
        "compare": ["compare", images, "--out", str(tmp_path), "--methods", "uniform", *TINY, *QUICK],
    }[command]
    environment, words = {**os.environ, "MPLBACKEND": backend}, [sys.executable, "-m", "speediff", *words]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("backend", "expected"), [("svg", "svg"), ("nonsense", None)])
def test_a_backend_that_exists_is_left_to_the_program(backend: str, expected: str | None) -> None:
    code = (
        "import os, speediff.plots, matplotlib\n"
        "print(os.environ['MPLBACKEND'], dict.get(matplotlib.rcParams, 'backend'))"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    variable, found = done.stdout.split(maxsplit=1)
    assert variable == backend
    assert expected is None or found.strip() == expected


def test_an_encoder_error_names_the_size() -> None:
    import PIL.Image

    with pytest.raises(speediff.SpeeDiffValueError, match=r"a picture of 0×5 pixels cannot be a PNG file"):
        picture_grids.encoded(PIL.Image.new("RGB", (0, 5)))
