"""Checkpoints as bytes: header and data, checksums made anew, and damage of many kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from pathlib import Path

KEYS = ("speediff.data_xxh64", "speediff.header_xxh64")
_MASK = 2**64 - 1
_P1, _P2, _P3, _P4, _P5 = (
    *(0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5),
)


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def xxh64(data: bytes) -> str:
    """XXH64 with seed 0, after xxHash's specification, as 16 hexadecimal digits."""
    place = len(data) // 32 * 32
    result = _P5
    if place:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        words = memoryview(data)[:place].cast("Q").tolist()
        for i, word in enumerate(words):
            lanes[i % 4] = _round(lanes[i % 4], word)
        result = sum(_rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True))
        for lane in lanes:
            result = ((result ^ _round(0, lane)) * _P1 + _P4) & _MASK
    result = (result + len(data)) & _MASK
    while place + 8 <= len(data):
        word = int.from_bytes(data[place : place + 8], "little")
        result = (_rotated(result ^ _round(0, word), 27) * _P1 + _P4) & _MASK
        place += 8
    if place + 4 <= len(data):
        word = int.from_bytes(data[place : place + 4], "little")
        result = (_rotated(result ^ word * _P1 & _MASK, 23) * _P2 + _P3) & _MASK
        place += 4
    for byte in data[place:]:
        result = _rotated(result ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
    result = (result ^ result >> 33) * _P2 & _MASK
    result = (result ^ result >> 29) * _P3 & _MASK
    return f"{result ^ result >> 32:016x}"


def split(file: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and the data."""
    length = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def joined(header: dict[str, Any], data: bytes, *, checksum: str | None = None) -> bytes:
    """The file of a header and of data, with checksums that fit unless the header has none.

    Args:
        checksum: The data's, where it is known.
    """
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and all(key in metadata for key in KEYS):
        header = {**header, "__metadata__": {**metadata, KEYS[0]: checksum or xxh64(data), KEYS[1]: "0" * 16}}
        text = json.dumps(header).encode()
        own = xxh64(len(text).to_bytes(8, "little") + text)
        header["__metadata__"][KEYS[1]] = own
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def damaged(file: bytes, rng: random.Random) -> bytes:
    """The file with bytes that are changed, lost or new."""
    length = int.from_bytes(file[:8], "little")
    # Half of all damage is in the header, which is small.
    place = rng.randrange(8 + length) if rng.random() < 0.5 else rng.randrange(len(file))
    some = rng.randrange(1, 200)
    kind = rng.randrange(8)
    if kind == 0:
        return file[:place] + bytes([file[place] ^ 1 << rng.randrange(8)]) + file[place + 1 :]
    if kind == 1:
        return file[:place]
    if kind == 2:
        return file[:place] + file[place + some :]
    if kind == 3:
        return file[:place] + rng.randbytes(some) + file[place:]
    if kind == 4:
        return file[:place] + rng.randbytes(some) + file[place + some :]
    if kind == 5:
        number = rng.choice(
            [0, 1, 7, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, _MASK, len(file), length + 1]
        )
        return number.to_bytes(8, "little") + file[8:]
    if kind == 6:
        return file[:place] + file[place : place + some] * 2 + file[place + some :]
    digits = str(rng.choice([0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, -1])).encode()
    return file[:place] + digits + file[place + len(digits) :]


_NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    2**24,
    2**31,
    2**32,
    2**47,
    2**62,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    0.5,
    -0.5,
    1e400,
]
_TEXTS = [
    "",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-0",
    "0x10",
    "true",
    "1e-400",
    "\0",
    "é" * 20,
    "x" * 70_000,
    "{}",
]


def hostile(header: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A header, well formed, in which something is not as it should be."""
    header = json.loads(json.dumps(header))
    metadata = header["__metadata__"]
    kind = rng.randrange(5)
    if kind == 0:
        metadata[rng.choice(list(metadata))] = rng.choice(_TEXTS + [str(number) for number in _NUMBERS])
    elif kind == 1:
        del metadata[rng.choice([key for key in metadata if key not in KEYS])]
    elif kind == 2:
        metadata["note"] = json.dumps(_changed(json.loads(metadata["note"]), rng))
    else:
        name = rng.choice([key for key in header if key != "__metadata__"])
        tensor = header[name]
        field = rng.choice(["dtype", "shape", "data_offsets", "name"])
        if field == "name":
            del header[name]
            header[rng.choice(_TEXTS)] = tensor
        elif field == "dtype":
            tensor["dtype"] = rng.choice(["F64", "F32", "BF16", "U8", "F8", ""])
        else:
            numbers = tensor[field]
            numbers[rng.randrange(len(numbers))] = rng.choice([n for n in _NUMBERS if isinstance(n, int)])
    return header


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return {**value, key: _changed(value[key], rng)}
    nested: Any = value
    for _ in range(rng.choice([1, 3, 300])):
        nested = (
            [nested] if rng.random() < 0.1 else {"name": "mixture", "a": nested, "b": value, "share": 0.5}
        )
    small = [number for number in _NUMBERS if not 2**24 <= abs(number) < 2**62]
    return rng.choice([nested, None, True, [], {}, *small, *_TEXTS, json.loads("1" + "0" * 400)])


def rewritten(file: bytes, path: Path, **changes: str | None) -> None:
    """Writes the file with other metadata, and checksums that fit."""
    header, data = split(file)
    for key, value in changes.items():
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value
    path.write_bytes(joined(header, data))
