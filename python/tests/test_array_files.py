"""Files of NumPy that are damaged, truncated, or made to do harm: one line with the file's name."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from data_files import GENERATOR, PIXELS, fails

import speediff
from speediff._data import npy_files
from speediff._data.datasets import load
from speediff._native import memory
from speediff._support import reading
from speediff.cli import main

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = "must be a whole file that numpy.save wrote: "


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file with any header."""
    text = header.encode("latin1") + b"\n"
    return (
        b"\x93NUMPY"
        + bytes(version)
        + struct.pack("<H" if version[0] == 1 else "<I", len(text))
        + text
        + data
    )


def described(shape: Any, descr: str = "'|u1'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


def saved(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,"), WHOLE),  # Ends in a TokenError.
        (npy("'''"), WHOLE),
        (npy("(" * 3000), WHOLE),
        (npy("-" * 9000 + "1"), WHOLE),
        (npy("[1]"), WHOLE),
        (npy("\xff\0"), WHOLE),
        (npy(" " * 20_000), WHOLE),
        (npy(described((5, 3, 6, 6)), b"1" * 539), "its header promises 540 bytes, got 539"),
        (npy(described((5, 3, 6, 6)), b"1" * 541), "must hold one array, got more bytes after its 540"),
        (npy(described((-5, 3, 6, 6)), b"1" * 540), WHOLE + "its shape is (-5, 3, 6, 6)"),
        (npy(described((-1, 3, 6, -1)), b"1" * 540), WHOLE + "its shape is"),
        (npy(described((1 << 80, 3, 6, 6))), "its header promises"),
        (npy(described((1 << 62, 1 << 62, 1))), "its header promises"),
        (npy(described((5.5, 3))), WHOLE),
        (npy(described(("a",))), WHOLE),
        (npy(described((1,) * 70), b"1"), WHOLE),
        (npy(described((5, 3), "'|O'"), b"1" * 120), WHOLE + "Object arrays cannot be loaded"),
        (npy(described((5,), "[('a', '|u1'), ('b', '|O')]"), b"1" * 45), WHOLE + "Object arrays"),
        (npy(described((5,), "[('a', '|u1'), ('b', '<f4')]"), b"1" * 25), WHOLE + "it holds records"),
        (npy(described((5,), "('|u1', (3, 6, 6))"), b"1" * 540), WHOLE),
        (npy(described((5,), "'|V0'")), WHOLE),
        (npy(described((5,), "'<U0'")), ""),
        (npy(described((5,), "'no'")), WHOLE),
        (npy(described((5,), "'<f4x'")), WHOLE),
        (npy(described((5, 3, 6, 6), order="2"), b"1" * 540), WHOLE),
        (npy(described((5, 3, 6, 6)), b"1" * 540, version=(3, 0)), WHOLE + "its format has the version 3.0"),
        (npy(described((5, 3, 6, 6)), b"1" * 540, version=(9, 9)), WHOLE),
        (b"\x93NUMPY\x01", WHOLE),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff", WHOLE),
    ],
)
def test_every_damaged_header(tmp_path: Path, content: bytes, message: str) -> None:
    for path in (tmp_path / "data.npy", tmp_path / "data.npz"):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("x.npy", content)
        else:
            path.write_bytes(content)
        fails(message, path)
        fails(str(path), path)


def test_the_header_of_long_shapes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    path.write_bytes(npy(described((5, 3, 6, 6), order="True"), PIXELS.tobytes(order="F"), version=(2, 0)))
    assert (load(str(path)).values == PIXELS).all()


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """No file is mapped: a mapped one would end the process."""
    path = tmp_path / "data.npy"
    path.write_bytes(saved(np.zeros((3 << 20) + 5, np.uint8)))

    class Shrinking(io.FileIO):
        def read(self, size: int = -1) -> Any:
            if size == reading.PIECE:
                os.truncate(path, 1 << 20)
            return super().read(size)

    with (
        pytest.raises(speediff.SpeeDiffValueError, match="its header promises"),
        reading.reading(path, "whole"),
    ):
        npy_files.parse(path, Shrinking(path), 1 << 30)


def test_no_damage_to_a_byte_escapes(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("x.npy", saved(PIXELS[:1]))
            archive.writestr("y.npy", saved(np.array([0])))
        content = path.read_bytes()
        assert (load(str(path)).values == PIXELS[:1]).all()
        refused = 0
        for place in range(len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 1 << GENERATOR.integers(8)
            path.write_bytes(damaged)
            try:
                load(str(path))
            except speediff.SpeeDiffError as error:
                refused += str(path) in str(error)
        assert refused > len(content) / 2


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_archives_of_other_kinds(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(compress(saved(PIXELS)))
    fails(f"{path} {WHOLE}", path)


def _patched(content: bytes, *, flags: int = 0, method: int | None = None) -> bytes:
    """An archive of one member whose two headers say something else."""
    result = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(signature) + offset
        result[place] |= flags
        if method is not None:
            result[place + 2 : place + 4] = struct.pack("<H", method)
    return bytes(result)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"flags": 1}, "encrypted"), ({"method": 9}, "not supported"), ({"method": 99}, "not")],
)
def test_encrypted_and_unknown_archives(tmp_path: Path, changes: Any, message: str) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=PIXELS)
    path.write_bytes(_patched(path.read_bytes(), **changes))
    fails(f"{path} {WHOLE}", path)
    fails(message, path)


def test_a_small_archive_of_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.zeros((100, 3, 64, 64), np.uint8))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(memory, "limit", lambda: 1 << 20)
    with pytest.raises(speediff.SpeeDiffMemoryError, match=r"must fit into memory: it holds 0.0 GiB"):
        load(str(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.npy")
    fails("data.npy must be a file, got a pipe, a socket or a device", tmp_path / "data.npy")
    with pytest.raises(speediff.SpeeDiffValueError, match="must be a file, got a folder"):
        npy_files.load(tmp_path)


def test_what_an_archive_holds_beside_the_data_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=PIXELS, labels=np.zeros(5, int), x=PIXELS, mean=PIXELS[0])
    assert load(str(tmp_path / "data.npz")).summary == (
        f"{tmp_path / 'data.npz'}: 5 images, 6×6, in color, 1 class (0 5)",
        "left out: x, mean, neither images nor labels",
    )


def test_a_table_of_betas_is_read_as_data_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "betas.npy"
    for content in (npy("'''"), npy(described((1 << 80,), "'<f8'")), saved(np.linspace(0, 1, 5))[:-1]):
        path.write_bytes(content)
        assert main(["plan", "--betas", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"speediff: --betas must be an array that numpy.save wrote: {path} {WHOLE}")
