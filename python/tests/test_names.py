"""Names of classes and files on the command line, and those that are no UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from training_runs import QUICK, TINY, fails, train

from speediff import SpeeDiffValueError
from speediff._support import text_names
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")

ACCENTED = ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}")
"""The same word in Unicode's forms NFC and NFD."""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("coat", ["coat"]),
        ("coat,bag", ["coat", "bag"]),
        (" coat , ankle boot ", ["coat", "ankle boot"]),
        ('"red, green",blue', ["red, green", "blue"]),
        ('a, " b " ,c', ["a", " b ", "c"]),
        ('"say ""no""",5" disk', ['say "no"', '5" disk']),
        ('"",a', ["", "a"]),
        ("a,", ["a", ""]),
        ("", [""]),
        ('"two\nlines"', ["two\nlines"]),
    ],
)
def test_a_list_of_names(text: str, names: list[str]) -> None:
    assert text_names.split("--classes", text) == names


@pytest.mark.parametrize("text", ['"a', '"a"b', 'a,"b', '"a""', '"a" b,c'])
def test_quotes_that_do_not_close(text: str) -> None:
    with pytest.raises(SpeeDiffValueError, match="--classes must close each quote before a comma"):
        text_names.split("--classes", text)


def test_a_name_in_either_form_of_unicode() -> None:
    for known in ACCENTED:
        for name in ACCENTED:
            assert text_names.find("--classes", name, ("bar", known)) == 1
    assert [text_names.find("--classes", name, ACCENTED) for name in ACCENTED] == [0, 1]
    third = "\N{LATIN SMALL LETTER E WITH CIRCUMFLEX AND ACUTE}"
    forms = ("\N{LATIN SMALL LETTER E WITH CIRCUMFLEX}\N{COMBINING ACUTE ACCENT}",
             "e\N{COMBINING CIRCUMFLEX ACCENT}\N{COMBINING ACUTE ACCENT}")  # fmt: skip
    with pytest.raises(SpeeDiffValueError, match=r"must name one class, got .*, which matches labels 0, 1"):
        text_names.find("--classes", third, forms)
    with pytest.raises(SpeeDiffValueError, match="which matches labels 1, 2"):  # Of bytes, and of letters.
        text_names.find("--classes", os.fsdecode(b"caf\xe9"), ("bar", "caf\\xe9", "caf\\xe9"))
    with pytest.raises(SpeeDiffValueError, match="did you mean 'bar'"):
        text_names.find("--classes", "bat", ("bar", "foo"))


def test_what_is_no_utf_8_is_escaped() -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9")
    assert text_names.printable(name) == "caf\\xe9 é"
    assert text_names.printable("café") == "café"
    text = text_names.to_json({"name": name, "other": "é"})
    assert text.encode().count("é".encode()) == 2
    assert json.loads(text) == {"name": name, "other": "é"}


def test_a_line_with_names_has_no_control_characters() -> None:
    text = f"a\nb\x1b[31m\r{os.fsdecode(bytes([0xE9]))} é日 ok"
    assert text_names.one_line(text) == "a\\nb\\x1b[31m\\r\\xe9 é日 ok"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder, and classes in it, with all that names can have."""
    folder = tmp_path / os.fsdecode(b"d\xfcck")
    for index, name in enumerate((os.fsdecode(b"caf\xe9"), " b,c ", ACCENTED[1], 'say "no"', "日本")):
        (folder / name).mkdir(parents=True)
        pixels = np.full((8, 8), 40 * index, np.uint8)
        Image.fromarray(pixels).save(folder / name / os.fsdecode(b"\xe9.png"))
    return folder


def test_names_of_all_kinds_train_resume_and_generate(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rün"
    train(str(pictures), out, *QUICK[:2], "--samples", "1", "--sample-steps", "2")
    train(str(pictures), out, "--steps", "7", "--samples", "0", "--resume")
    description = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert description["data"]["source"] == str(pictures)
    names = [" b,c ", "caf\\xe9", ACCENTED[1], 'say "no"', "日本"]
    assert sorted(description["data"]["class_names"]) == sorted(names)
    labels = {name: index for index, name in enumerate(description["data"]["class_names"])}
    for text, expected in (
        ('" b,c "', [" b,c "]),
        (os.fsdecode(b"caf\xe9"), ["caf\\xe9"]),
        ("caf\\xe9", ["caf\\xe9"]),
        (f'{ACCENTED[0]},"say ""no""", 日本', [ACCENTED[1], 'say "no"', "日本"]),
    ):
        command = ["generate", str(out / "run.safetensors"), "--n", "1", "--steps", "2", "--out"]
        assert main([*command, str(tmp_path / "named.npy"), "--classes", text]) == 0
        numbers = ",".join(str(labels[name]) for name in expected)
        assert main([*command, str(tmp_path / "numbered.npy"), "--labels", numbers]) == 0
        assert (np.load(tmp_path / "named.npy") == np.load(tmp_path / "numbered.npy")).all()
    assert main([*command, str(out / "images"), "--classes", "caf\\xe9"]) == 0
    capsys.readouterr()
    fails(capsys, "--classes must close each quote", *command[:-1], "--classes", '"b')


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_of_all_kinds_are_printed_without_a_traceback(
    pictures: Path, tmp_path: Path, encoding: str
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "speediff", "train", str(pictures), *TINY, *QUICK]
    out = tmp_path / "rün"
    good = subprocess.run([*command, "--out", out], env=environment, capture_output=True)
    assert good.returncode == 0, good.stderr
    (pictures / "bad").mkdir()
    (pictures / "bad" / os.fsdecode(b"\xe9.png")).write_bytes(b"no picture")
    bad = subprocess.run([*command, "--out", tmp_path / "other"], env=environment, capture_output=True)
    assert bad.returncode == 2
    for result in (good, bad):
        assert b"Traceback" not in result.stderr
    assert b"must be a picture that Pillow reads" in bad.stderr.splitlines()[-1]
