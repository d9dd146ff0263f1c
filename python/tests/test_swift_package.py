"""A Swift package that depends on the checkout builds, draws and trains with the code of the docs."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path

import pytest

import speediff

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "c-and-swift.md"

pytestmark = pytest.mark.checkout


@pytest.mark.long
def test_a_package_that_depends_on_the_checkout_builds_and_trains(tmp_path: Path) -> None:
    manifest, program = re.findall(r"```swift\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert manifest.count('"../speediff"') == 1
    main = tmp_path / "Sources" / "Example" / "main.swift"
    main.parent.mkdir(parents=True)
    main.write_text(program)
    (tmp_path / "Package.swift").write_text(manifest.replace("../speediff", str(ROOT)))
    command = re.search(r"`(swift run [^`]*)`", PAGE.read_text())
    assert command
    finished = subprocess.run(command[1].split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    draw, *steps, floats = finished.stdout.splitlines()

    sampler = speediff.TimestepSampler.speed(speediff.NoiseSchedule.linear(1000), seed=0)
    t, w = sampler.sample(256)
    found = re.fullmatch(r"t = (\d+), w = ([\d.]+)", draw)
    assert found
    assert (int(found[1]), float(found[2])) == (t[0], pytest.approx(w[0], rel=1e-6))

    numbers = [re.fullmatch(r"step (\d+): loss (.*), gradient (.*)", step) for step in steps]
    assert [int(match[1]) for match in numbers if match] == list(range(1, 11))
    assert all(math.isfinite(float(match[i])) for match in numbers if match for i in (2, 3))
    assert floats == "128 floats"
    file = (tmp_path / "run.safetensors").read_bytes()
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    assert header["__metadata__"]["trainer.global_step"] == "10"
    assert header["blocks.1.attn.qkv.weight"]["shape"] == [96, 32]


def test_every_argument_of_c_has_its_name_in_swift() -> None:
    """A name that is not in the list would reach a Swift caller in C's spelling."""
    names = set(re.findall(r'"(\w+)":', (ROOT / "Sources/ArgumentErrors/SwiftNames.swift").read_text()))
    for path in (ROOT / "Sources").glob("[!C]*/**/*.swift"):
        for argument in re.findall(r'Error\(\s*"([a-z]\w*_\w+)', path.read_text()):
            assert argument in names, path
