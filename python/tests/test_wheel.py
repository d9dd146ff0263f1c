"""What a wheel holds and needs, where the package was installed from one: `make test-wheel`."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import speediff

LIBRARY = Path(speediff.library_path())
PACKAGE = Path(speediff.__file__).parent
BUNDLED = PACKAGE.parent / "speediff.libs"
# What every Linux of the wheel's tag has.
SYSTEM = {"ld-linux-x86-64", "libc", "libgcc_s", "libm", "libstdc++"}

pytestmark = pytest.mark.skipif(
    LIBRARY.parents[1] != PACKAGE / "lib", reason="the package was not installed from a wheel"
)

TRAIN = """
import ctypes, json, sys
before = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
ctypes.CDLL(sys.argv[1])
after = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
import numpy as np
import speediff
sampler = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(1000), seed=0)
network = speediff.DiT(hidden_size=64, depth=1, num_heads=2, patch_size=4)
trainer = speediff.Trainer(network, sampler, input_size=8, in_channels=1, num_classes=2)
trainer.step(np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int64))
(blas,) = (path for path in after - before if "openblas" in path)
corename = ctypes.CDLL(blas).openblas_get_corename
corename.restype = ctypes.c_char_p
print(json.dumps({"mapped": sorted(after - before), "kernels": corename().decode()}))
"""


@pytest.fixture(scope="module")
def process() -> dict[str, object]:
    """What a process maps for the library alone, and the kernels of OpenBLAS once it trained."""
    environment = {**os.environ, "SPEEDIFF_MATRIX_PRODUCT": "openblas"}
    command = [sys.executable, "-c", TRAIN, str(LIBRARY)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_the_build_that_is_asked_for_is_loaded() -> None:
    asked = os.environ.get("SPEEDIFF_ISA")
    assert LIBRARY.parent.name == asked or not asked
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    assert {path for path in mapped if "libspeediff" in path} == {str(LIBRARY)}


def test_the_library_takes_nothing_from_the_system_but_what_every_linux_has(
    process: dict[str, object],
) -> None:
    mapped = process["mapped"]
    assert isinstance(mapped, list)
    others = {Path(path) for path in mapped} - {LIBRARY}
    foreign = {path for path in others if path.parent.resolve() != BUNDLED.resolve()}
    assert {path.name.partition(".so")[0] for path in foreign} <= SYSTEM
    assert sorted(path.name.split("-")[0] for path in others - foreign) == [
        "libgfortran",
        "libopenblasp",
        "libquadmath",
    ]


def test_the_weights_of_classifiers_are_in_the_wheel() -> None:
    weights = {path.name for path in (PACKAGE / "torch" / "_evaluation" / "weights").iterdir()}
    assert {"fashion-mnist.safetensors", "openclipart.safetensors"} <= weights


def test_the_builds_share_one_openblas() -> None:
    assert len(list(BUNDLED.glob("libopenblas*"))) == 1
    assert {path.parent.name for path in PACKAGE.glob("lib/*/libspeediff.so")} == {
        "x86-64-v2",
        "x86-64-v3",
        "x86-64-v4",
    }


def test_the_bundled_openblas_has_kernels_for_this_processor(process: dict[str, object]) -> None:
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("the processor is as old as the kernels that OpenBLAS falls back to")
    assert process["kernels"] in {"Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids"}


def test_licences_of_all_libraries_are_in_the_wheel() -> None:
    files = importlib.metadata.files("speediff") or []
    licences = {path.name: path.read_text() for path in files if path.parent.name == "licenses"}
    assert set(licences) == {"LICENSE", "LICENSE-GCC", "LICENSE-OpenBLAS", "LICENSE-Swift", "NOTICE"}
    assert "Runtime Library Exception" in licences["LICENSE-Swift"]
    assert "GCC RUNTIME LIBRARY EXCEPTION" in licences["LICENSE-GCC"]
    for library in BUNDLED.iterdir():
        assert library.name.split("-")[0].removesuffix("p") in licences["NOTICE"]
