"""Networks by the name of their family, in Python and in the header."""

from __future__ import annotations

import re
from typing import Any

import header
import pytest
from tiny_trainers import create, images, labels, refuses, sampler

import speediff
from speediff import MDT, DiT, Network, SpeeDiffTypeError, Trainer
from speediff._native import c_training as ct
from speediff._native import native_network

SHAPE = {"hidden_size": 16, "depth": 2, "num_heads": 2, "patch_size": 4}


def test_a_family_by_its_name_trains_as_its_class() -> None:
    x, y = images(), labels()
    plain = MDT(16, 2, 2, 4, decode_layer=2, min_snr_gamma=None)
    for network, twin, more in [
        (Network("dit", **SHAPE), DiT(16, 2, 2, 4), {}),
        (
            Network("mdt", **SHAPE, decode_layer=2, min_snr_gamma=0),
            plain,
            {"frequency_shift": 0, "min_snr_gamma": 0},
        ),
    ]:
        with create(model=network) as trainer, create(model=twin) as expected:
            assert trainer.config == twin, "it is given back as its class"
            assert trainer.step(x, y) == expected.step(x, y)
            assert network.family == twin.family
            assert network.values == {**twin.values, **more}


def test_what_a_family_lacks_is_refused_with_a_list_of_what_it_has() -> None:
    refuses(lambda: Network("unet"), "family must be one of dit, mdt.*, got unet")
    refuses(lambda: Network("dit\0"), "family must be one of")
    refuses(lambda: Network("dit", width=3), "width must be a value of dit", "hidden_size = 1152")
    refuses(lambda: Network("dit", input_size=8), "input_size must be a value of dit")
    refuses(lambda: Network("dit", depth=2.5), "depth must be an integer", kind=SpeeDiffTypeError)
    text: Any = "2"
    refuses(lambda: Network("dit", mlp_ratio=text), "mlp_ratio must be a real number", kind=SpeeDiffTypeError)
    number: Any = 3
    refuses(lambda: Network(number), "family must be a name", kind=SpeeDiffTypeError)
    refuses(lambda: create(model=Network("dit", **{**SHAPE, "depth": 0})), "depth must be in")
    refuses(lambda: Trainer("DiT-S2", sampler()), "DiT-S/2 to DiT-XL/8", r"did you mean DiT-S/2\?")


def test_networks_are_equal_if_their_values_are() -> None:
    one, same, other = Network("dit", depth=3), Network("dit", depth=3), Network("dit", depth=4)
    assert one == same != other
    assert len({one, same, other}) == 2
    assert eval(repr(one), {"Network": Network}) == one


def test_the_table_of_the_header_is_that_of_the_library() -> None:
    text = header.HEADER.read_text()
    table = text[: text.index("speediff_status speediff_network_create(const char")].rsplit(
        "/* A network:", 1
    )[1]
    rows: dict[str, dict[str, float]] = {}
    for family, name, default in re.findall(r"^ \*   (\w*) +(\w+) +([\d.]+) ", table, flags=re.MULTILINE):
        rows.setdefault(family or list(rows)[-1], {})[name] = float(default)
    rows["mdt"] = {**rows["dit"], **_rows_of_mdt(table)}
    rows["dit"] = {name: value for name, value in rows["dit"].items() if name not in _rows_of_mdt(table)}
    families = ct.speediff_network_family_names().decode().split()
    assert families[: len(rows)] == list(rows), "families that the header does not describe come last"
    for family in rows:
        assert {one.name: one.default for one in native_network.values_of(family)} == rows[family]


def _rows_of_mdt(table: str) -> dict[str, float]:
    part = table[table.index("mdt     as dit") :]
    return {
        name: float(value)
        for name, value in re.findall(r"^ \*    +(\w+) +([\d.]+) ", part, flags=re.MULTILINE)
    }


@pytest.mark.parametrize("name", ["DiT-B/4", "MDT-L/8", "MDTv2-S/2"])
def test_an_official_name_is_a_network_of_its_family(name: str) -> None:
    kind = DiT if name.startswith("DiT") else MDT
    assert kind.named(name).values["patch_size"] == int(name[-1])
    assert speediff.DiT.named("DiT-XL/2") == DiT()
