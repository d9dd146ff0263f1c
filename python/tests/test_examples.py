"""The examples run with tiny arguments, resume to the bit, and share a batch over processes."""

from __future__ import annotations

import ast
import contextlib
import csv
import importlib
import io
import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import running_examples
from running_examples import EXAMPLES, FEW_RESULTS, LONG, SCRIPTS, TINY

import speediff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

OPTIONAL = "torch", "diffusers", "tqdm", "matplotlib", "PIL", "transformers"
PRESETS = "speed", "official"
NAMES = sorted({method.name for method in speediff.methods() if method.cls})
FOLLOWS_LOSS = "adaptive(bins=2)+uncertainty(bins=2)"
"""It has learned enough to change its draws after a step or two."""
CONTINUOUS = {"train_edm"}
"""Scripts whose noise levels are continuous, and which take no method that follows the loss."""
EVERY_SCRIPT = pytest.mark.parametrize("script", SCRIPTS)


def command(script: str, *flags: str, launcher: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, *launcher, str(EXAMPLES / f"{script}.py"), *TINY, *flags]


def tiny(script: str, out: Path, *flags: str) -> None:
    running_examples.run(script, *TINY, "--out", str(out), *flags)


def losses(out: Path) -> list[float]:
    with (out / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def complaint(capsys: pytest.CaptureFixture[str], run: Callable[[], None]) -> str:
    """The last line that a run ends with, which must not be a success."""
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code not in (None, 0)
    message = capsys.readouterr().err.strip().splitlines()
    return str(stopped.value.code) if isinstance(stopped.value.code, str) else message[-1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a script's tiny run, which is made once; `printed.txt` is what it printed."""
    folder = tmp_path_factory.mktemp("whole")

    def of(script: str) -> Path:
        out = folder / script
        if not out.exists():
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                tiny(script, out)
            (out / "printed.txt").write_text(printed.getvalue())
        return out

    return of


@EVERY_SCRIPT
def test_a_script_is_one_file_with_one_shared_module_and_uses_what_is_public(script: str) -> None:
    tree = ast.parse((EXAMPLES / f"{script}.py").read_text())
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {module.partition(".")[0] for module in modules} & own == {"common"}
    private = [name for name in modules if name.startswith("speediff.") and "._" in name]
    assert private == []


@EVERY_SCRIPT
def test_help_needs_nothing_but_python(script: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({OPTIONAL!r}))\n"  # importing one of them is an ImportError
        f"sys.argv = ['x', '--help']; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        f"runpy.run_path({str(EXAMPLES / script) + '.py'!r}, run_name='__main__')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "--method" in result.stdout
    assert "--tiny" in result.stdout


@EVERY_SCRIPT
def test_a_tiny_run_writes_its_pictures_and_one_line_of_results(
    script: str, whole: Callable[[str], Path]
) -> None:
    out = whole(script)
    printed = (out / "printed.txt").read_text()
    for name in ("loss.png", "samples.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert str(out / name) in printed
    assert printed.strip().splitlines()[-1].startswith("speed: ")


@EVERY_SCRIPT
def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one(script: str, tmp_path: Path) -> None:
    method = "speed" if script in CONTINUOUS else FOLLOWS_LOSS
    flags = ("--method", method, *FEW_RESULTS)
    tiny(script, tmp_path / "whole", "--steps", "6", *flags)
    tiny(script, tmp_path / "parts", "--steps", "3", *flags)
    tiny(script, tmp_path / "parts", "--steps", "6", "--resume", *flags)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - CONTINUOUS))
def test_a_method_that_follows_the_loss_is_told_it_at_every_step(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speediff.torch import TimestepSampler

    told, update = [], TimestepSampler.update

    def listen(sampler: Any, t: Any, of_each: Any) -> None:
        told.append((t.shape, of_each.shape))
        update(sampler, t, of_each)

    monkeypatch.setattr(TimestepSampler, "update", listen)
    tiny(script, tmp_path, "--steps", "2", "--batch-size", "4", "--method", "adaptive", *FEW_RESULTS)
    assert told == [((4,), (4,))] * 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of all scripts, each by two processes."""
    folder = tmp_path_factory.mktemp("shared")
    program = [sys.executable, running_examples.__file__, "share", str(folder), *SCRIPTS]
    subprocess.run(program, check=True, capture_output=True, text=True, timeout=300)
    return folder


@EVERY_SCRIPT
def test_two_processes_share_the_global_batch_of_one(
    script: str, shared: Path, whole: Callable[[str], Path]
) -> None:
    # The same draws, images and noise; sums in another order.
    assert losses(shared / script) == pytest.approx(losses(whole(script)), rel=1e-4)


def test_torchrun_starts_an_example(tmp_path: Path, whole: Callable[[str], Path]) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    program = command("train_dit", "--out", str(tmp_path), launcher=launcher)
    subprocess.run(program, check=True, capture_output=True, timeout=300)
    assert losses(tmp_path) == pytest.approx(losses(whole("train_dit")), rel=1e-4)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of all scripts, each killed in the middle."""
    folder = tmp_path_factory.mktemp("killed")
    program = [sys.executable, running_examples.__file__, "kill", str(folder), *SCRIPTS]
    subprocess.run(program, check=True, capture_output=True, text=True, timeout=300)
    return folder


@EVERY_SCRIPT
def test_a_killed_run_goes_on_where_its_checkpoint_was(script: str, killed: Path, tmp_path: Path) -> None:
    flags = (*FEW_RESULTS, *LONG)
    tiny(script, tmp_path, *flags)
    assert not (killed / script / "loss.csv").exists(), "it was not finished"
    tiny(script, killed / script, *flags, "--resume")
    assert losses(killed / script) == losses(tmp_path)


def test_ctrl_c_finishes_the_step_and_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny("train_dit", tmp_path / "whole")
    import common

    make, steps = common.training_batch, []

    def interrupt(*arguments: Any, **keywords: Any) -> Any:
        steps.append(arguments)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return make(*arguments, **keywords)

    monkeypatch.setattr(common, "training_batch", interrupt)
    tiny("train_dit", tmp_path / "parts")
    assert len(steps) == 4
    assert "--resume" in capsys.readouterr().out.splitlines()[-1]
    tiny("train_dit", tmp_path / "parts", "--resume")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


@EVERY_SCRIPT
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--steps", "0"), "argument --steps: must be at least 1, got 0"),
        (("--lr", "nan"), "argument --lr: must be in (0, inf), got nan"),
        (("--colums", "3"), "unrecognized arguments: --colums 3"),
        (("--method", "sped"), "got 'sped'; did you mean 'speed'?"),
        (("--method", "laplace(width=1)"), "a parameter of laplace must be one of mean, scale"),
        (("--method", "learned"), "learned is not implemented"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    script: str, flags: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in complaint(capsys, partial(tiny, script, tmp_path, *flags))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_continued_as_it_was_begun(
    whole: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = whole("train_unet")
    again = partial(tiny, "train_unet", out)
    assert complaint(capsys, again).endswith("exists: add --resume, or take another --out")
    message = complaint(capsys, partial(again, "--resume", "--seed", "1", "--schedule", "cosine"))
    assert message.endswith("--schedule was linear, is cosine; --seed was 0, is 1")
    assert "not by train_flow" in complaint(capsys, partial(tiny, "train_flow", out, "--resume"))


def test_missing_data_are_told_with_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = partial(tiny, "train_unet", tmp_path, "--data", str(tmp_path))
    assert "apt-get install dataset-fashion-mnist" in complaint(capsys, run)


@pytest.mark.parametrize("name", [*PRESETS, *(name for name in NAMES if name != "cosmap"), "cosmap+uniform"])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", None])
def test_every_method_makes_a_sampler(name: str, beta_schedule: str | None) -> None:
    from speediff.torch import TimestepSampler, schedule_from

    if beta_schedule is None:
        schedule = schedule_from(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0))
        build = partial(TimestepSampler.from_text, schedule, name, prediction="flow")
        if name in ("inverse_snr", "sigmoid"):  # pure noise has no value of theirs
            with pytest.raises(speediff.SpeeDiffValueError, match=r"t = 1000"):
                build()
            return
    else:
        schedule = schedule_from(diffusers.DDPMScheduler(beta_schedule=beta_schedule))
        build = partial(TimestepSampler.from_text, schedule, name, prediction="epsilon")
    t, w = build().sample(16)
    assert t.shape == w.shape == (16,)


def test_a_vae_makes_latents_of_a_folder_of_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for number in range(44):
        folder = tmp_path / "pictures" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 36), (number, 0, 200 * (number % 2))).save(folder / f"{number}.png")
    diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, norm_num_groups=4, latent_channels=4, sample_size=32,
    ).save_pretrained(tmp_path / "vae")  # fmt: skip
    flags = ("--data", str(tmp_path / "pictures"), "--image-size", "32", "--patch", "2")
    tiny("train_dit", tmp_path / "latents", *flags, "--vae", str(tmp_path / "vae"))
    tiny("train_dit", tmp_path / "pixels", *flags)
    for name in ("latents", "pixels"):
        assert (tmp_path / name / "samples.png").exists()
    import torch

    saved = torch.load(tmp_path / "latents" / "checkpoint.pt", weights_only=True)["model"]
    assert saved["pos_embed.proj.weight"].shape == (32, 4, 2, 2), "four channels in patches of two"
    message = complaint(capsys, partial(tiny, "train_dit", tmp_path / "x", "--vae", str(tmp_path)))
    assert "no AutoencoderKL there" in message


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, then its new name: a power cut after the second leaves what the first wrote."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    common, path, events = importlib.import_module("common"), tmp_path / "checkpoint.pt", []
    sync = os.fsync

    def listen(descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        size = os.path.getsize(path) if path.exists() else None
        events.append((target, os.path.getsize(target) if target.endswith(".tmp") else size))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", listen)
    common.save(path, {"step": 3})
    size = path.stat().st_size
    assert events == [(str(path.with_suffix(".tmp")), size), (str(tmp_path), size)]
    assert torch.load(path) == {"step": 3}
    assert list(tmp_path.iterdir()) == [path]
