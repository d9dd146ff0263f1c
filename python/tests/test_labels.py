"""Names in pictures: in any script for which there is a font, else as numbers, and never as boxes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import speediff
from speediff._plans import fonts
from speediff._runs import picture_grids
from speediff._support import messages
from speediff.cli import main

ImageFont: Any = pytest.importorskip("PIL.ImageFont")
pytest.importorskip("tqdm")
pytest.importorskip("matplotlib")

if TYPE_CHECKING:
    from collections.abc import Sequence

CELLS = np.zeros((3, 1, 1, 8, 8), np.float32)
NO_LETTERS = "\U000f0000"
"""A character that no font has."""


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_said", set())


def grid(names: Sequence[str], numbers: Sequence[int] | None = None) -> Any:
    return np.asarray(picture_grids.grid(CELLS, names, numbers=numbers))


@pytest.mark.parametrize(
    "names", [("cat", "dog", "a b"), ("Löwe", "épée", "ñandú"), ("кот", "γάτα", "пёс"), ("a", "", " ")]
)
def test_names_of_european_scripts_are_drawn(
    capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    """matplotlib brings a font for those that Pillow's own lacks."""
    font, drawable = fonts.choose(names, 13)
    assert drawable == [True] * 3
    box = bytes(font.getmask(NO_LETTERS))
    for letter in set("".join(names)) - {" "}:
        assert bytes(font.getmask(letter)) != box, letter
    grid(names)
    assert capsys.readouterr().err == ""


def test_letters_and_their_accents_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    """As macOS writes names of files."""
    assert (grid(("Lo\u0308we", "a", "b")) == grid(("Löwe", "a", "b"))).all()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [NO_LETTERS, f"cat {NO_LETTERS}", "\udcff"])
def test_names_without_a_font_are_drawn_as_numbers_with_one_warning(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    picture = grid(("cat", name, "dog"), (4, 7, 9))
    assert (picture == grid(("cat", "7", "dog"))).all()
    grid(("cat", name, "dog"), (4, 7, 9))
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("speediff: warning: no font has these class names; they are drawn as numbers; ")
    assert "fonts-noto-cjk" in err


def test_a_font_of_the_system_is_used_where_it_has_the_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ImageFont.load_default(13)
    path = fonts._font_of_matplotlib()
    assert Path(path).is_file()
    monkeypatch.setattr(fonts, "_font_of_matplotlib", lambda: "/nowhere/font.ttf")
    monkeypatch.setattr(fonts, "SYSTEM_FONTS", ("nowhere.ttf",))
    assert fonts.choose(["кот"], 13)[1] == [False]
    monkeypatch.setattr(fonts, "SYSTEM_FONTS", ("nowhere.ttf", path))
    font, drawable = fonts.choose(["кот"], 13)
    assert drawable == [True]
    assert font.getname() != own.getname()
    mixed = fonts.choose(["cat", "кот", NO_LETTERS], 13)
    assert (mixed[0].getname(), mixed[1]) == (font.getname(), [True, True, False]), "the one with the most"
    assert fonts.choose(["cat"], 13)[0].getname() == own.getname(), "the picture is as ever"


def test_generate_draws_the_labels_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run whose classes have names that no font here has."""
    from training_runs import TINY

    np.savez(tmp_path / "d.npz", images=np.zeros((8, 8, 8), np.uint8), labels=np.arange(8) % 4)
    flags = ("--steps", "1", "--samples", "0", *TINY)
    assert main(["train", str(tmp_path / "d.npz"), "--out", str(tmp_path / "run"), *flags]) == 0
    path = tmp_path / "run" / "run.json"
    pictures = {}
    for name in (NO_LETTERS, "2"):
        description = json.loads(path.read_text())
        description["data"]["class_names"] = ["a", "b", name, "d"]
        path.write_text(json.dumps(description))
        out = tmp_path / f"{len(pictures)}.png"
        words = ["generate", str(tmp_path / "run" / "run.safetensors"), "--labels", "2,1", "--n", "1"]
        assert main([*words, "--steps", "2", "--out", str(out)]) == 0
        pictures[name] = out.read_bytes()
    assert pictures[NO_LETTERS] == pictures["2"]
    assert "drawn as numbers" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["猫.npy", os.fsdecode(b"\xff.npy"), f"{NO_LETTERS}.npy"])
@pytest.mark.filterwarnings("error:Glyph")
def test_letters_that_matplotlib_lacks_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    np.save(tmp_path / "table.npy", speediff.NoiseSchedule.linear(1000).betas)
    table = tmp_path / name
    (tmp_path / "table.npy").rename(table)
    assert main(["plan", "--json", "--betas", str(table), "--plot", str(tmp_path / "plan.png")]) == 0
    err = capsys.readouterr().err
    assert err.startswith("speediff: warning: DejaVu Sans, the pictures' font, lacks characters; ")
    assert err.count("\n") == 1
