"""The list of methods: `speediff.methods()`, `speediff methods` and the tables of docs/methods."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import speediff
from speediff.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "methods" / "README.md"

SAMPLINGS = [
    "uniform", "asymmetric", "log_normal", "logit_normal", "mode", "cosmap", "beta", "clts",
    "noise_to_detail", "laplace", "cauchy", "loss_second_moment", "adaptive", "info_noise", "table",
    "shifted", "truncated", "mixture", "blend", "stages",
]  # fmt: skip
WEIGHTINGS = [
    "uniform", "change_aware", "p2", "min_snr", "soft_min_snr", "debiased", "snr", "inverse_snr",
    "max_snr", "truncated_snr", "sigmoid", "edm", "sigma_sqrt", "cosmap", "uncertainty", "to_emphasis",
    "importance", "bsmntw", "linear_sigma", "table",
]  # fmt: skip


def test_all_methods_are_listed_and_those_left_out_have_a_reason() -> None:
    listed = speediff.methods()
    assert {m.name for m in listed if m.kind == "sampling" and m.implemented} == set(SAMPLINGS)
    assert {m.name for m in listed if m.kind == "weighting" and m.implemented} == set(WEIGHTINGS)
    assert {m.name for m in listed if m.kind == "draw"} == {"flow_pairs", "shift_per_entry"}
    assert [m.name for m in listed if not m.implemented] == ["bs", "learned"]
    for method in listed:
        assert method.formula
        assert method.source
        assert method.implemented != method.note.startswith("not implemented: ")


@pytest.mark.parametrize("method", [m for m in speediff.methods() if m.cls], ids=lambda m: m.name)
def test_a_method_is_made_with_the_defaults_that_are_listed(method: Any) -> None:
    assert method.cls(**method.defaults) == method.cls()
    assert method.cls.__doc__
    for name in method.defaults:
        assert re.search(rf"^ +{name}: ", method.cls.__doc__, re.MULTILINE), f"{name} is not documented"


@pytest.mark.parametrize("method", [m for m in speediff.methods() if m.call], ids=lambda m: m.name)
def test_a_draw_is_listed_with_the_defaults_of_its_function(method: Any) -> None:
    call = attrgetter(method.call)
    modules: list[Any] = [speediff]
    if importlib.util.find_spec("torch"):
        modules.append(importlib.import_module("speediff.torch"))
    for module in modules:
        parameters = inspect.signature(call(module)).parameters
        assert {name: parameters[name].default for name in method.defaults} == method.defaults
        if isinstance(inspect.getattr_static(module.SigmaSampler, call(module).__name__), staticmethod):
            call(module)(seed=0, **method.defaults)
    with pytest.raises(speediff.SpeeDiffValueError, match=f"neither a sampling nor.*call {method.call}"):
        speediff.parse_method(method.name)


def test_the_tables_of_the_page_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "update-methods-page.py"))
    text = PAGE.read_text()
    assert script["updated"](text) == text, "run `make methods`"
    assert text.count(script["BEGIN"]) == text.count(script["END"]) == 1


def test_the_command_prints_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    table = capsys.readouterr().out
    for method in speediff.methods():
        assert method.name in table
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(m["kind"], m["name"]) for m in listed] == [(m.kind, m.name) for m in speediff.methods()]
    assert listed[1]["defaults"] == {"k": 5.0, "tau": None, "r": 143.5}
    assert main(["methods", "--markdown"]) == 0
    assert capsys.readouterr().out.strip() in PAGE.read_text()


@pytest.mark.parametrize("columns", [80, 130])
def test_the_table_fits_the_terminal_and_breaks_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["methods"]) == 0
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= columns
    words = table.split()
    for method in speediff.methods():
        for text in (method.note or method.formula, method.source, *method.defaults):
            for word in text.split():
                assert word in words or any(found.startswith(f"{word}=") for found in words), word


@pytest.mark.parametrize("columns", [24, 40, 60, 79])
def test_a_narrow_terminal_cuts_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["methods"]) == 0
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= columns
    assert "…" not in table
    rows = [line.rstrip() for line in table.splitlines()]
    for method in speediff.methods():
        if columns < 64:  # A list.
            assert method.name in rows
        text = "".join((method.note or method.formula).split())
        if columns < 64:
            assert text in "".join(table.split())


def test_a_pipe_has_every_row_whole() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "speediff", "methods"]
    table = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    rows = [" ".join(line.split()) for line in table.splitlines()]
    for method in speediff.methods():
        assert f"{method.name} {' '.join((method.note or method.formula).split())} {method.source}" in rows


def test_every_symbol_has_a_spelling_where_the_output_is_ascii() -> None:
    command = [sys.executable, "-m", "speediff", "methods"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "?" not in out
    assert "sigma^-2, sigma = 1/(1+sqrt S)" in out
