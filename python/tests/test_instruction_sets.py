"""Choosing among the builds of a wheel, for processors of every level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import speediff
from speediff._native import instruction_sets as sets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Machine = Callable[[str], None]

BUILDS = list(sets.LEVELS)
# The lines that Linux 6.1 prints, without the flags that no level asks for.
FLAGS = {
    "Pentium 4": "fpu cx8 cmov mmx fxsr sse sse2 syscall lm pni",
    "Nehalem": "fpu cx8 cmov mmx fxsr sse sse2 syscall lm pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm",
    "Ivy Bridge": "pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm xsave avx f16c",
    "Haswell": "pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm xsave avx f16c fma movbe abm bmi1 avx2 bmi2",
    "Zen 3": "sse4a pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm xsave avx f16c fma movbe abm bmi1 avx2 bmi2",
    "Knights Landing": "pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm xsave avx f16c fma movbe abm bmi1 avx2 "
    "bmi2 avx512f avx512pf avx512er avx512cd",
    "Skylake-SP": "pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm xsave avx f16c fma movbe abm bmi1 avx2 bmi2 "
    "avx512f avx512dq avx512cd avx512bw avx512vl",
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Gives this machine another one's processor."""
    monkeypatch.delenv("SPEEDIFF_ISA", raising=False)

    def become(name: str) -> None:
        info = tmp_path / "cpuinfo"
        block = f"processor\t: 0\nmodel name\t: {name}\nflags\t\t: {FLAGS[name]}\nbugs\t\t: spectre_v1\n\n"
        info.write_text(block + "processor\t: 1\nflags\t\t: avx512f\n")
        monkeypatch.setattr(sets, "CPUINFO", info)

    return become


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("Nehalem", "x86-64-v2"),
        ("Ivy Bridge", "x86-64-v2"),
        ("Haswell", "x86-64-v3"),
        ("Zen 3", "x86-64-v3"),
        ("Knights Landing", "x86-64-v3"),
        ("Skylake-SP", "x86-64-v4"),
    ],
)
def test_the_highest_level_of_the_processor_is_chosen(machine: Machine, name: str, level: str) -> None:
    machine(name)
    assert sets.choose(BUILDS) == level


@pytest.mark.parametrize("missing", sorted(set().union(*sets.LEVELS.values())))
def test_no_level_is_chosen_that_lacks_anything(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    flags = set(FLAGS["Skylake-SP"].split()) - {missing}
    monkeypatch.setitem(FLAGS, "less", " ".join(flags))
    machine("less")
    below = [level for level in BUILDS if missing not in sets.LEVELS[level]]
    below = below[: BUILDS.index(next(level for level in BUILDS if missing in sets.LEVELS[level]))]
    if below:
        assert sets.choose(BUILDS) == below[-1]
    else:
        with pytest.raises(speediff.SpeeDiffLibraryError, match=missing):
            sets.choose(BUILDS)


def test_a_build_that_is_not_there_is_not_chosen(machine: Machine) -> None:
    machine("Skylake-SP")
    assert sets.choose(["x86-64-v2", "x86-64-v3"]) == "x86-64-v3"


def test_a_processor_below_every_build_is_told_what_it_lacks(machine: Machine) -> None:
    machine("Pentium 4")
    with pytest.raises(speediff.SpeeDiffLibraryError) as caught:
        sets.choose(BUILDS)
    assert str(caught.value).startswith(
        "this package needs a processor with x86-64-v2, and this one lacks cx16, "
    )
    assert "SPEEDIFF_LIBRARY" in str(caught.value)


def test_a_system_that_does_not_tell_gets_the_lowest(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sets, "CPUINFO", tmp_path / "nowhere")
    assert sets.choose(BUILDS) == "x86-64-v2"


@pytest.mark.parametrize("level", BUILDS)
def test_the_environment_chooses(machine: Machine, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    machine("Skylake-SP")
    monkeypatch.setenv("SPEEDIFF_ISA", level)
    assert sets.choose(BUILDS) == level


def test_an_empty_choice_is_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("Haswell")
    monkeypatch.setenv("SPEEDIFF_ISA", "")
    assert sets.choose(BUILDS) == "x86-64-v3"


@pytest.mark.parametrize("asked", ["x86-64", "x86-64-v5", "v3", "X86-64-V3", " x86-64-v3", "../lib"])
def test_an_unknown_choice_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    machine("Skylake-SP")
    monkeypatch.setenv("SPEEDIFF_ISA", asked)
    with pytest.raises(speediff.SpeeDiffLibraryError) as caught:
        sets.choose(BUILDS)
    assert str(caught.value) == f"SPEEDIFF_ISA must be one of x86-64-v2, x86-64-v3, x86-64-v4, got {asked!r}"


def test_a_choice_beyond_the_processor_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine("Knights Landing")
    monkeypatch.setenv("SPEEDIFF_ISA", "x86-64-v4")
    with pytest.raises(speediff.SpeeDiffLibraryError) as caught:
        sets.choose(BUILDS)
    assert str(caught.value) == (
        "SPEEDIFF_ISA must be a level that this processor supports, got 'x86-64-v4', which needs "
        "avx512bw, avx512dq, avx512vl"
    )


def test_a_choice_without_builds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDIFF_ISA", "x86-64-v3")
    with pytest.raises(speediff.SpeeDiffLibraryError, match=r"SPEEDIFF_ISA must be unset .* got 'x86-64-v3'"):
        sets.choose([])
