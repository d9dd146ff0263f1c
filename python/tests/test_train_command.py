"""`speediff train`: what it writes, resumes and refuses, on images of a few pixels."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")

TINY = ("--hidden", "16", "--depth", "1", "--heads", "2", "--batch-size", "8", "--warmup", "0")
QUICK = ("--steps", "6", "--samples", "0")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """40 images of 8×8 in four classes, which are where they are bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 4
    pixels = generator.integers(0, 60, (40, 8, 8), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[4 * (label // 2) :, 4 * (label % 2) :] += 150
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, images=pixels, labels=labels)
    return str(path)


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """20 unlabelled latents of four channels."""
    path = tmp_path_factory.mktemp("data") / "latents.npy"
    np.save(path, np.random.default_rng(1).standard_normal((20, 4, 8, 8)).astype(np.float32))
    return str(path)


def train(data: str, out: Path, *flags: str) -> None:
    """Runs a command that succeeds."""
    assert main(["train", data, "--out", str(out), *TINY, *flags]) == 0


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return [float(row["loss"]) for row in rows]


def fails(capsys: pytest.CaptureFixture[str], message: str, *command: str) -> None:
    """The command ends with exit code 2 and one line, which says this."""
    capsys.readouterr()
    try:
        code: Any = main(list(command))
    except SystemExit as exit_:  # From argparse.
        code = exit_.code
    err = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert err[-1].startswith("speediff: ")
    assert message in err[-1]


# ---- A run ---------------------------------------------------------------------------------------


def test_a_run_writes_its_files(images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(images, tmp_path, "--steps", "7", "--samples", "3", "--sample-steps", "4", "--method", "uniform")
    out, err = capsys.readouterr()
    for name in ("run.safetensors", "loss.csv", "samples.png"):
        assert str(tmp_path / name) in out.splitlines()
    assert out.startswith("uniform: 7 steps, ")
    assert "7/7" in err
    assert "images/s" in err
    assert len(losses(tmp_path)) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "loss.csv",
        "run.json",
        "run.safetensors",
        "samples.png",
    ]
    description = json.loads((tmp_path / "run.json").read_text())
    assert description["settings"]["method"] == "uniform"
    assert description["data"]["kind"] == "images"
    # Four rows of three: 8 pixels enlarged sevenfold, with gaps.
    picture = Image.open(tmp_path / "samples.png")
    assert picture.size[0] > 3 * 56
    assert picture.size[1] > 4 * 56


def test_the_checkpoint_is_the_trainer_that_the_flags_describe(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK, "--lr", "2e-3", "--seed", "5", "--learn-sigma", "--prediction", "v")
    with speediff.Trainer.load(tmp_path / "run.safetensors") as trainer:
        assert trainer.global_step == 6
        assert (trainer.input_size, trainer.in_channels, trainer.num_classes) == (8, 1, 4)
        assert (trainer.seed, trainer.learn_sigma) == (5, True)
        assert trainer.learning_rate == pytest.approx(2e-3)
        assert trainer.config == speediff.DiT(16, 1, 2, 2, mlp_ratio=4.0)
        assert trainer.sampler.recipe.drawing.prediction == "v"
        assert trainer.sampler.recipe.sampling == speediff.sampling.Asymmetric()
        assert trainer.schedule.steps == 1000


def test_training_is_what_the_library_does(images: str, tmp_path: Path) -> None:
    """Losses and weights are those of a loop of one's own over the same batches."""
    from speediff import _batches, _datasets

    train(images, tmp_path, *QUICK, "--seed", "3", "--clip", "0.5", "--flip", "--timesteps", "50")
    schedule = speediff.NoiseSchedule.linear(50)
    batches = _batches.Batches(_datasets.load(images), 8, seed=3, flip=True)
    with (
        speediff.Trainer(
            speediff.DiT(16, 1, 2, 2, mlp_ratio=4.0),
            speediff.TimestepSampler.speed(schedule, seed=3, prediction="epsilon"),
            input_size=8,
            in_channels=1,
            num_classes=4,
            learn_sigma=False,
            learning_rate=1e-3,
            ema_decay=0.999,
            ema_warmup=True,
            max_grad_norm=0.5,
            seed=3,
        ) as own,
        speediff.Trainer.load(tmp_path / "run.safetensors") as trainer,
    ):
        assert losses(tmp_path) == [own.step(*batches.batch(step)) for step in range(6)]
        for name, values in own.parameters.items():
            assert (values == trainer.parameters[name]).all(), name


def test_the_loss_falls(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, "--steps", "300", "--samples", "0", "--lr", "3e-3", "--method", "uniform")
    curve = losses(tmp_path)
    assert np.mean(curve[-50:]) < 0.5 * np.mean(curve[:10])


METHODS = sorted({method.name for method in speediff.methods() if method.implemented})


@pytest.mark.parametrize("method", [*METHODS, "speed", "official", "speed(k=2,lam=0.7)", "mode+min_snr*p2"])
def test_every_method_trains(images: str, tmp_path: Path, method: str) -> None:
    text = {"cosmap": "cosmap+uniform"}.get(method, method)
    train(images, tmp_path, "--steps", "2", "--samples", "0", "--method", text)
    assert np.isfinite(losses(tmp_path)).all()


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v", "flow"])
@pytest.mark.parametrize("flags", [(), ("--unconditional",), ("--learn-sigma", "--strata", "stratified")])
def test_every_target_trains(images: str, tmp_path: Path, prediction: str, flags: tuple[str, ...]) -> None:
    train(images, tmp_path, *QUICK, "--prediction", prediction, *flags)
    assert np.isfinite(losses(tmp_path)).all()


def test_latents_train_without_a_picture(latents: str, tmp_path: Path) -> None:
    train(latents, tmp_path, "--steps", "3")
    assert not (tmp_path / "samples.png").exists()
    assert json.loads((tmp_path / "run.json").read_text())["data"]["kind"] == "latents"


def test_micro_batches_make_the_step_of_the_whole_batch(images: str, tmp_path: Path) -> None:
    for accumulation in ("1", "4"):
        train(
            images, tmp_path / accumulation, *QUICK, "--accumulation", accumulation, "--label-dropout", "0.5"
        )
    assert losses(tmp_path / "4") == pytest.approx(losses(tmp_path / "1"), rel=1e-4)


def test_samples_can_be_drawn_on_the_way(images: str, tmp_path: Path) -> None:
    flags = ("--steps", "5", "--samples", "1", "--sample-steps", "2", "--sample-every", "2")
    train(images, tmp_path, *flags)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["samples-0000002.png", "samples-0000004.png", "samples.png"]


# ---- Resuming ------------------------------------------------------------------------------------

RESUMABLE = [
    (),
    ("--flip", "--method", "official", "--accumulation", "2"),
    ("--method", "adaptive(bins=4)+uncertainty(bins=3)", "--accumulation", "2", "--unconditional"),
    ("--method", "uniform+to_emphasis(of=laplace(scale=2)+min_snr)", "--strata", "low_discrepancy"),
    ("--method", "loss_second_moment(history=1)", "--timesteps", "21"),
]


@pytest.mark.parametrize("flags", RESUMABLE)
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(
    images: str, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(images, whole, "--steps", "23", "--samples", "0", *flags)
    train(images, parts, "--steps", "9", "--samples", "0", *flags)
    train(images, parts, "--steps", "23", "--samples", "0", *flags, "--resume")
    assert losses(parts) == losses(whole)
    checkpoints = [(out / "run.safetensors").read_bytes() for out in (parts, whole)]
    assert checkpoints[0] == checkpoints[1]


def test_a_resumed_run_has_its_own_settings(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK, "--method", "uniform + p2( k=2 )", "--seed", "4")
    command = ["train", images, "--out", str(tmp_path), "--resume", "--steps", "8", "--samples", "0"]
    assert main(command) == 0
    assert len(losses(tmp_path)) == 8
    settings = json.loads((tmp_path / "run.json").read_text())["settings"]
    assert (settings["steps"], settings["method"], settings["seed"]) == (8, "uniform+p2(k=2)", 4)


def test_a_finished_run_has_nothing_to_train(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(images, tmp_path, *QUICK)
    before = (tmp_path / "run.safetensors").read_bytes()
    train(images, tmp_path, *QUICK, "--resume")
    assert "has 6 steps: nothing to train" in capsys.readouterr().out
    assert (tmp_path / "run.safetensors").read_bytes() == before


def test_resuming_nothing_starts(images: str, tmp_path: Path) -> None:
    train(images, tmp_path, *QUICK, "--resume")
    assert len(losses(tmp_path)) == 6


def test_what_a_resumed_run_refuses(
    images: str, latents: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path)
    train(images, tmp_path, *QUICK)
    again = ("train", images, "--out", out)
    fails(capsys, f"{tmp_path / 'run.safetensors'} exists: add --resume, or take another --out", *again)
    resume = (*again, "--resume")
    fails(capsys, "the settings of the run: --lr 0.001, got 0.1", *resume, "--lr", "0.1")
    fails(
        capsys,
        "--flip False, got True; --method speed, got uniform",
        *resume,
        "--flip",
        "--method",
        "uniform",
    )
    fails(capsys, "the data of the run: ", "train", latents, "--out", out, "--resume")
    (tmp_path / "loss.csv").write_text("step,loss,seconds\n1,a,b\n")
    fails(capsys, "loss.csv must hold step, loss, seconds as this run wrote it", *resume)
    (tmp_path / "loss.csv").unlink()
    content = (tmp_path / "run.json").read_text()
    for damaged in (
        "",
        "[]",
        "{}",
        content[:-30],
        content.replace('"seed"', '"sed"'),
        content.replace('"data"', '"dat"'),
    ):
        (tmp_path / "run.json").write_text(damaged)
        fails(capsys, "run.json must be as `speediff train` wrote it", *resume)
    (tmp_path / "run.json").write_text(content.replace('"seed": 0', '"seed": 1'))
    fails(capsys, "run.safetensors must be of the run in run.json", *resume)
    (tmp_path / "run.json").unlink()
    fails(capsys, "run.json: No such file or directory", *resume)
    (tmp_path / "run.json").write_text(content)
    checkpoint = tmp_path / "run.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    fails(capsys, "run.safetensors", *resume)


def test_rows_of_lost_steps_are_dropped(images: str, tmp_path: Path) -> None:
    """A run is killed after its log and before its checkpoint."""
    train(images, tmp_path, "--steps", "4", "--samples", "0")
    before = losses(tmp_path)
    with (tmp_path / "loss.csv").open("a") as file:
        file.write("5,9.9,1\n6,9.9,1\n")
    train(images, tmp_path, "--steps", "6", "--samples", "0", "--resume")
    assert losses(tmp_path)[:4] == before
    assert 9.9 not in losses(tmp_path)


def start(data: str, out: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "speediff", "train", data, "--out", str(out), *TINY, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)


LONG = ("--steps", "100000", "--samples", "0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_run_goes_on(images: str, tmp_path: Path, number: signal.Signals) -> None:
    process = start(images, tmp_path, *LONG, "--checkpoint-every", "3")
    wait_for(tmp_path / "run.safetensors", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping after this step" in err
    steps = len(losses(tmp_path))
    assert f"stopped at step {steps}; --resume continues {tmp_path / 'run.safetensors'}" in err
    train(images, tmp_path, "--steps", str(steps + 5), "--samples", "0", "--resume")
    whole = tmp_path / "whole"
    train(images, whole, "--steps", str(steps + 5), "--samples", "0")
    assert losses(tmp_path) == losses(whole)


def test_a_killed_run_goes_on_where_its_checkpoint_was(images: str, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(images, killed, *LONG, "--checkpoint-every", "2")
    wait_for(killed / "run.safetensors", process)
    time.sleep(0.05)
    process.kill()
    process.communicate()
    with speediff.Trainer.load(killed / "run.safetensors") as trainer:
        steps = trainer.global_step + 4
    for out, flags in ((killed, ("--resume",)), (whole, ())):
        train(images, out, "--steps", str(steps), "--samples", "0", *flags)
    assert losses(killed) == losses(whole)


def test_the_second_ctrl_c_ends_the_process_at_once() -> None:
    script = (
        "import time; from speediff._interrupt import StopRequest\n"
        "with StopRequest() as stop:\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(0.01)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == b"\n"
    assert b"stopping after this step" in process.stderr.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


def test_signals_are_as_before_after_training(images: str, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    train(images, tmp_path, *QUICK)
    assert signal.getsignal(signal.SIGINT) is before


# ---- What goes wrong -----------------------------------------------------------------------------


def test_what_cannot_be_written_is_named(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up, as `os.replace` would tell."""
    train(images, tmp_path, *QUICK)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
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
    assert "pip install -e 'python[train]'" in finished.stderr
    assert not (tmp_path / "run").exists()
