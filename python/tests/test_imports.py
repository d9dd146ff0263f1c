"""Imports of the package point one way, those for type checkers included."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import speediff

PACKAGE = Path(speediff.__file__).parent
APPLICATION = ("speediff._runs", "speediff._experiments", "speediff.cli", "speediff.__main__")
METHODS = "micro_batches", "predictions", "steps", "tensors", "trainer_group"
CIRCLES = {
    frozenset({"speediff.increments", "speediff.schedules"}): "a schedule makes increments, which keep it",
    frozenset({"speediff._samplers.drawing", "speediff._samplers.recipe", "speediff.weighting"}): (
        "`ToEmphasis` is a weighting with a sampler in it, and a sampler has a recipe of weightings"
    ),
    frozenset({"speediff.training", *(f"speediff._trainer.{name}" for name in METHODS)}): (
        "a trainer's methods are functions of other files, which take the trainer"
    ),
    frozenset({"speediff.torch._operator", "speediff.torch._samplers"}): (
        "a sampler registers with the operator, which draws from it"
    ),
}
"""Modules that name each other's types, with the reason. At run time each imports the other or neither."""
AT_THE_TOP = 20


def modules() -> dict[str, Path]:
    """The files of the package by their modules' names."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("speediff", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def targets(name: str, *, at_run_time: bool = False) -> set[str]:
    """The modules of the package that one imports anywhere in its file, or on being imported itself."""
    path = MODULES[name]
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    nodes = ast.walk(tree) if not at_run_time else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else source for full in names}
    return {target for target in found if target in MODULES and target != name}


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that reach each other."""
    reach = {name: set(direct) for name, direct in edges.items()}
    for middle in edges:
        for each in reach.values():
            if middle in each:
                each |= reach[middle]
    return {
        frozenset({name, *(other for other in reach[name] if name in reach[other])})
        for name in edges
        if name in reach[name]
    }


def test_the_walk_sees_imports_of_every_kind() -> None:
    assert "speediff._native.c_api" in targets("speediff._native.handles") | targets("speediff.increments")
    assert "speediff.schedules" in targets("speediff.increments"), "for type checkers alone"
    assert "speediff.schedules" not in targets("speediff.increments", at_run_time=True)
    assert "speediff._experiments.curves" in targets("speediff._experiments.report"), "within a function"
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}


def test_no_modules_import_each_other_in_a_circle() -> None:
    # The package itself imports what it offers, and nothing within imports it back.
    assert circles({name: targets(name) for name in MODULES}) == set(CIRCLES)
    assert circles({name: targets(name, at_run_time=True) for name in MODULES}) == set()


@pytest.mark.parametrize("name", [name for name in MODULES if name != "speediff"])
def test_arrows_point_one_way(name: str) -> None:
    imported = targets(name)
    assert "speediff" not in imported, "import the module that has it"
    if not name.startswith(APPLICATION):
        assert not {target for target in imported if target.startswith(APPLICATION)}
    if not name.startswith(("speediff.cli", "speediff.__main__")):
        assert not {target for target in imported if target.startswith("speediff.cli")}
    if not name.startswith("speediff.torch") and name != "speediff.distributed":
        # Connecting processes by gloo takes PyTorch, if that is asked for.
        assert not {target for target in imported if target.startswith("speediff.torch")}


def test_the_top_of_the_package_is_what_users_import() -> None:
    files = [path.name for path in PACKAGE.iterdir() if path.suffix == ".py"]
    assert len(files) <= AT_THE_TOP
    assert not [name for name in files if name.startswith("_") and not name.startswith("__")]


def test_drawing_timesteps_loads_neither_trainer_nor_networks() -> None:
    program = (
        "import sys, speediff\n"
        "speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(100)).sample(4)\n"
        "late = ['distributed', 'evaluation', 'networks', 'training']\n"
        "assert not [name for name in late if f'speediff.{name}' in sys.modules], sys.modules\n"
        "assert set(speediff.__all__) | set(late) <= set(dir(speediff))\n"
        "assert speediff.training.Trainer is speediff.Trainer\n"
        "try:\n    speediff.trainer\nexcept AttributeError as error:\n    assert 'trainer' in str(error)\n"
        "else:\n    raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
