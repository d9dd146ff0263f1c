"""`speediff evaluate`: the table, the files, and its errors in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluation_sets import Projection, images

import speediff
from speediff.cli import main
from speediff.torch._evaluation import evaluating

if TYPE_CHECKING:
    from pathlib import Path

TRAINING = (
    "--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "8", "--warmup", "0",
    "--method", "uniform", "--timesteps", "30", "--steps", "2", "--samples", "0", "--threads", "1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def projection(monkeypatch: pytest.MonkeyPatch) -> Projection:
    """Stands for the default extractor."""
    network = Projection()
    make = evaluating.make_extractor
    monkeypatch.setattr(
        evaluating, "make_extractor", lambda text: network if text == "classifier" else make(text)
    )
    return network


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of three classes in `real.npz`, and a run of two steps on them."""
    folder = tmp_path_factory.mktemp("data")
    labels = np.random.default_rng(0).integers(0, 3, 60)
    np.savez(folder / "real.npz", images=images(60, 0), labels=labels)
    np.save(folder / "made.npy", images(30, 1))
    np.save(folder / "labels.npy", np.arange(30) % 3)
    assert main(["train", str(folder / "real.npz"), "--out", str(folder / "run"), *TRAINING]) == 0
    return folder


def evaluate(data: Path, what: str, *flags: str) -> int:
    return main(["evaluate", str(data / what), "--against", str(data / "real.npz"), *flags])


def fails(capsys: pytest.CaptureFixture[str], message: str, *command: str) -> None:
    """The command ends with exit code 2 and one line, which says this."""
    capsys.readouterr()
    try:
        code: Any = main(["evaluate", *command])
    except SystemExit as exit_:  # From argparse.
        code = exit_.code
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert err[-1].startswith("speediff: ")
    assert message in err[-1]


def test_the_table_and_the_file_have_what_the_function_returns(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (
        "--labels",
        str(data / "labels.npy"),
        "--kid-subset-size",
        "20",
        "--kid-subsets",
        "4",
        "--seed",
        "3",
    )
    assert evaluate(data, "made.npy", *flags, "--json", str(tmp_path / "result.json")) == 0
    expected = speediff.evaluate(
        data / "made.npy",
        data / "real.npz",
        labels=np.load(data / "labels.npy"),
        kid_subset_size=20,
        kid_subsets=4,
        seed=3,
    )
    assert capsys.readouterr().out == f"{expected}\n"
    assert json.loads((tmp_path / "result.json").read_text()) == expected.to_dict()


@pytest.mark.parametrize("what", ["run", "run/run.safetensors"])
def test_a_run_is_evaluated_by_its_checkpoint(
    what: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(data, what, "--n", "9", "--steps", "3", "--method", "ddpm", "--threads", "1") == 0
    out = capsys.readouterr().out
    checkpoint = data / "run" / "run.safetensors"
    assert out.startswith(f"{checkpoint} at step 2: 9 images\n")
    assert "images: ddpm, 3 steps, no guidance, x₀ clipped, EMA weights, seeds 0 to 8" in out
    assert "class accuracy" in out


def test_x0_is_not_clipped_if_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("run", "--n", "9", "--steps", "3", "--measure", "fd")
    assert evaluate(data, *command) == 0
    clipped = capsys.readouterr().out
    assert evaluate(data, *command, "--no-clip") == 0
    out = capsys.readouterr().out
    assert "no guidance, x₀ not clipped, EMA weights" in out
    expected = speediff.evaluate(
        data / "run" / "run.safetensors", str(data / "real.npz"), measures=["fd"], n=9, steps=3, clip=False
    )
    assert str(expected).splitlines()[3:] == out.splitlines()[3:]
    assert out.replace("not clipped", "clipped") != clipped
    assert evaluate(data, "made.npy", "--no-clip") == 2
    assert "--no-clip applies only to a checkpoint" in capsys.readouterr().err


def test_some_measures_are_chosen(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(data, "made.npy", "--measure", "fd,is") == 0
    out = capsys.readouterr().out
    assert "FD (projection)" in out
    assert "KID" not in out


def test_statistics_are_saved_and_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "statistics.npz")
    assert evaluate(data, "made.npy", "--measure", "fd", "--save-statistics", path) == 0
    first = capsys.readouterr().out
    assert main(["evaluate", str(data / "made.npy"), "--against", path, "--measure", "fd"]) == 0
    assert capsys.readouterr().out == first


def test_a_diverged_run_is_a_result(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with speediff.Trainer.load(data / "run" / "run.safetensors", threads=1) as trainer:
        trainer.flat_parameters[:] = 1e30  # The largest that a checkpoint may hold is finite.
        trainer.save(tmp_path / "broken.safetensors")
    command = ["evaluate", str(tmp_path / "broken.safetensors"), "--against", str(data / "real.npz")]
    flags = ["--n", "4", "--steps", "2", "--no-ema", "--json", str(tmp_path / "result.json")]
    assert main([*command, *flags]) == 0
    assert "broken.safetensors: diverged at step 2: samples must be finite" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["diverged_at_step"] == 2


def test_what_it_refuses(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, real = str(data / "made.npy"), str(data / "real.npz")
    both = (made, "--against", real)
    fails(capsys, "the following arguments are required: --against", made)
    fails(capsys, "nowhere.npy", "nowhere.npy", "--against", real)
    fails(capsys, "DATA must be one of", made, "--against", "nothing")
    fails(capsys, "--features must be one of", *both, "--features", "inception-v3")
    fails(capsys, "--n must be at least 2, got 1", *both, "--n", "1")
    fails(capsys, "n must be at most 30, the number of images, got 31", *both, "--n", "31")
    fails(capsys, "--cfg-scale applies only to a checkpoint", *both, "--cfg-scale", "2")
    fails(capsys, "--threads applies only to a checkpoint", *both, "--threads", "1")
    fails(capsys, "--no-ema applies only to a checkpoint", *both, "--no-ema")
    fails(capsys, "measures must be one of", *both, "--measure", "fid")
    fails(capsys, "labels must be given for the accuracy", *both, "--measure", "accuracy")
    fails(capsys, "nowhere/result.json", *both, "--json", "nowhere/result.json")
    fails(capsys, "nowhere/s.npz", *both, "--save-statistics", "nowhere/s.npz")
    (tmp_path / "captions.txt").write_bytes(b"\xff\n" * 30)
    fails(capsys, "must be a text in UTF-8", *both, "--captions", str(tmp_path / "captions.txt"))
    run = str(data / "run")
    fails(capsys, "steps must be ", run, "--against", real, "--steps", "1")
    fails(capsys, "labels must be left out", run, "--against", real, "--labels", str(data / "labels.npy"))


@pytest.mark.parametrize("module", ["torch", "torch_fidelity"])
def test_a_missing_package_is_named_before_the_data_are_read(module: str) -> None:
    # In a process of its own: a second import of speediff.torch would register its operator again.
    code = (
        f"import sys; sys.modules[{module!r}] = None; "
        "from speediff.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["evaluate", "nowhere.npy", "--against", "nowhere"]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert f"needs {module}" in result.stderr
    assert "evaluate]'" in result.stderr
