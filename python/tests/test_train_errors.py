"""What `speediff train` says when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from training_runs import QUICK, TINY, fails, losses, train

import speediff
from speediff._support import extras

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tqdm")
pytest.importorskip("PIL")


def test_what_cannot_be_written_is_named(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up, as `os.replace` would tell."""
    train(images, tmp_path, *QUICK)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    command = ("train", images, "--out", str(tmp_path), "--resume", "--steps", "8")
    fails(capsys, f"{tmp_path / 'run.json'}: No space left on device", *command)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_loss_that_is_not_finite_names_the_last_checkpoint(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wild = ("--steps", "50", "--lr", "1e30", "--samples", "0")
    command = ("train", images, "--out", str(tmp_path), *TINY, *wild)
    fails(capsys, "there is no checkpoint yet; try a smaller --lr or --clip 1", *command)
    fails(
        capsys,
        f"the last checkpoint is {tmp_path / 'run.safetensors'}, step ",
        *command,
        "--checkpoint-every",
        "1",
    )
    with speediff.Trainer.load(tmp_path / "run.safetensors") as trainer:
        assert len(losses(tmp_path)) == trainer.global_step


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--steps 0", "--steps must be at least 1, got 0"),
        ("--steps many", "argument --steps: invalid int value: 'many'"),
        ("--batch-size 0", "--batch-size must be at least 1, got 0"),
        ("--batch-size 1000000000", "--batch-size must be below 1048577, got 1000000000"),
        ("--batch-size 10 --accumulation 4", "--batch-size must be a multiple of --accumulation (4), got 10"),
        ("--accumulation 0", "--accumulation must be at least 1, got 0"),
        ("--checkpoint-every 0", "--checkpoint-every must be at least 1, got 0"),
        ("--sample-every 0", "--sample-every must be at least 1, got 0"),
        ("--samples -1", "--samples must be at least 0, got -1"),
        ("--sample-steps 1", "--sample-steps must be at least 2, got 1"),
        ("--seed -1", "--seed must be at least 0, got -1"),
        ("--threads 0", "threads must be "),
        ("--lr -1", "learning_rate must be "),
        ("--lr nan", "learning_rate must be "),
        ("--warmup -1", "warmup_steps must be "),
        ("--ema-decay 1.5", "ema_decay must be "),
        ("--clip 0", "max_grad_norm must be "),
        ("--label-dropout 1.5", "class_dropout_prob must be "),
        ("--weight-decay -1", "weight_decay must be "),
        ("--patch 3", "patch"),
        ("--heads 3", "num_heads"),
        ("--hidden 0", "hidden_size must be "),
        ("--mdt 3", "version must be below 3, got 3"),
        ("--mdt 2 --decode-layer 9", "decode_layer must be in [0, depth = "),
        ("--mdt 1 --decode-layer 1 --mask-ratio 1", "mask_ratio must be in [0, 1) and leave at least one of"),
        ("--mask-ratio 0.3", "--mask-ratio must be given together with --mdt, got 0.3"),
        ("--input-size 9", "--input-size must be 8, the size of"),
        ("--prediction noise", "--prediction must be one of epsilon, flow, sample, v, got 'noise'"),
        ("--strata some", "--strata must be one of low_discrepancy, none, stratified, got 'some'"),
        ("--method sped", "--method sped: a method must be one of"),
        ("--method adaptive+", "--method adaptive+: must be like laplace"),
        ("--schedule cosin", "--schedule must be one of"),
        ("--timesteps 10 --betas b.npy", "--timesteps must not be given together with --betas"),
        ("--schedule cosine --beta-end 0.1", "--beta-end does not apply to the cosine schedule"),
    ],
)
def test_bad_flags_are_one_line(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: str, message: str
) -> None:
    out = tmp_path / "run"
    fails(capsys, message, "train", images, "--out", str(out), *TINY, *flags.split())
    assert not out.exists()


def test_bad_models_and_folders_are_one_line(
    images: str, latents: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", images, "--out", str(tmp_path / "run"))
    fails(capsys, "DiT-S/2", *command, "--model", "DiT-S/3")
    fails(
        capsys,
        "--depth must not be given together with --model",
        *command,
        "--model",
        "DiT-S/2",
        "--depth",
        "3",
    )
    fails(capsys, "--flip must not be given with latents", "train", latents, "--flip")
    fails(capsys, "DATA must be one of", "train", "nowhere")
    (tmp_path / "file").write_text("")
    fails(capsys, f"{tmp_path / 'file'}", "train", images, *TINY, *QUICK, "--out", str(tmp_path / "file"))


RUN_WITHOUT = (
    "import sys; sys.modules[sys.argv[1]] = None; from speediff.cli import main; sys.exit(main(sys.argv[2:]))"
)


@pytest.mark.parametrize(("module", "purpose"), [("tqdm", "a progress bar"), ("PIL", "a picture")])
def test_what_is_missing_is_named_before_training(
    images: str, tmp_path: Path, module: str, purpose: str
) -> None:
    command = [
        sys.executable,
        "-c",
        RUN_WITHOUT,
        module,
        "train",
        images,
        "--out",
        str(tmp_path / "run"),
        *TINY,
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"speediff: {purpose} needs {module}")
    assert extras.command("speediff[train]") in finished.stderr
    assert not (tmp_path / "run").exists()
