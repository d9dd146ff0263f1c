"""CIFAR-10's own files, and what is no such file."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from data_files import GENERATOR, fails

import speediff
from speediff._data import cifar
from speediff._data.datasets import load, load_test

if TYPE_CHECKING:
    from pathlib import Path

CIFAR = GENERATOR.integers(0, 256, (6, 4, 3072), np.uint8)
CIFAR_LABELS = GENERATOR.integers(0, 10, (6, 4))


class _PythonTwo(pickle._Pickler):
    """Writes byte strings as the strings of Python 2, which wrote CIFAR-10."""

    def save_bytes(self, text: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)
        self.memoize(text)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_bytes}


def cifar_pickle(content: object) -> bytes:
    file = io.BytesIO()
    _PythonTwo(file, protocol=2).dump(content)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")


def write_cifar(folder: Path, *, binary: bool) -> list[Path]:
    paths = []
    for name, values, labels in zip(
        cifar.NAMES["train"] + cifar.NAMES["test"], CIFAR, CIFAR_LABELS, strict=True
    ):
        paths.append(folder / (f"{name}.bin" if binary else name))
        records = np.concatenate((labels[:, None].astype(np.uint8), values), axis=1)
        batch = {b"data": values, b"labels": labels.tolist(), b"batch_label": b"training batch"}
        paths[-1].write_bytes(records.tobytes() if binary else cifar_pickle(batch))
    return paths


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("unpacked_inside", [False, True])
def test_cifar_10_is_read_from_its_own_files(tmp_path: Path, binary: bool, unpacked_inside: bool) -> None:
    folder = tmp_path / cifar.FOLDERS[1 + binary] if unpacked_inside else tmp_path
    folder.mkdir(exist_ok=True)
    write_cifar(folder, binary=binary)
    data, test = load(str(tmp_path)), load_test(str(tmp_path))
    assert (data.values == CIFAR[:5].reshape(20, 3, 32, 32)).all()
    assert (data.labels == CIFAR_LABELS[:5].ravel()).all()
    assert data.class_names[3] == "cat"
    assert test is not None
    assert (test.values == CIFAR[5].reshape(4, 3, 32, 32)).all()


def test_a_missing_or_cut_batch_is_named(tmp_path: Path) -> None:
    for binary in (False, True):
        paths = write_cifar(tmp_path, binary=binary)
        paths[2].write_bytes(paths[2].read_bytes()[:-1])
        fails(str(paths[2]), tmp_path)
        paths[2].unlink()
        fails(f"must hold {paths[2].name}, which is missing", tmp_path)
        paths[0].unlink()


@pytest.mark.parametrize("binary", [False, True])
def test_a_missing_first_batch_is_named(tmp_path: Path, binary: bool) -> None:
    """The others are no folder of pictures."""
    paths = write_cifar(tmp_path, binary=binary)
    paths[0].unlink()
    fails(f"{tmp_path} must hold {paths[0].name}, which is missing", tmp_path)
    paths[0].mkdir()
    fails(f"{tmp_path} must hold {paths[0].name}, which is missing", tmp_path)


def test_a_pickle_does_not_decide_how_much_memory_is_taken(tmp_path: Path) -> None:
    """The unpickler in C makes room for 2³² entries here."""
    paths = write_cifar(tmp_path, binary=False)
    paths[0].write_bytes(b"\x80\x02}r" + struct.pack("<I", (1 << 31) - 1) + b".")
    tracemalloc.start()
    try:
        fails(f"{paths[0]} must be one of CIFAR-10's batches: no b'data'", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("a pickle ran code",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": CIFAR[0], b"labels": [0, 1, 2]}, "must have a label for each image"),
        ({b"data": CIFAR[0], b"labels": [0, 1, 2, 10]}, "must be in [0, 10), got 10 for entry 3"),
        ({b"data": CIFAR[0]}, "no b'labels'"),
        ({b"data": CIFAR[0].astype(np.int32), b"labels": [0] * 4}, "data must be uint8 (n, 3072)"),
        ({b"data": CIFAR[0, :, :30], b"labels": [0] * 4}, "data must be uint8 (n, 3072)"),
        ({b"data": np.asfortranarray(CIFAR[0]), b"labels": [0] * 4}, "in C order"),
        ({b"data": [1, 2], b"labels": [0] * 2}, "has no attribute"),
        ([1, 2], "must be one of CIFAR-10's batches"),
        ({b"data": _Evil(), b"labels": []}, "it names __builtin__.print"),
    ],
)
def test_pickles_that_are_no_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    paths = write_cifar(tmp_path, binary=False)
    paths[0].write_bytes(cifar_pickle(content))
    fails(message, tmp_path)
    assert capsys.readouterr().out == ""


def test_no_damage_to_a_pickle_escapes(tmp_path: Path) -> None:
    (path, *_) = write_cifar(tmp_path, binary=False)
    content = path.read_bytes()
    head = content.find(CIFAR[0].tobytes())  # What is between is pixels.
    refused = 0
    for place in (*range(0, head), *range(head + CIFAR[0].size, len(content))):
        damaged = bytearray(content)
        damaged[place] ^= 1 << GENERATOR.integers(8)
        path.write_bytes(damaged)
        try:
            load(str(tmp_path))
        except speediff.SpeeDiffError:
            refused += 1
    assert refused > 100
