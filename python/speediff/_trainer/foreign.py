"""What files of other programs are that users take for checkpoints of SpeeDiff."""

from __future__ import annotations

import os

_LONGEST_HEADER = 100_000_000
"""Of a safetensors file, in bytes."""


def kind(path: str) -> str | None:
    """What a file or folder is, for messages; None if it is none of the kinds that are known here."""
    try:
        if os.path.isdir(path):
            return (
                "a folder of diffusers" if {"config.json", "model_index.json"} & {*os.listdir(path)} else None
            )
        # Opening a FIFO would wait for a writer.
        return _kind_of_file(path) if os.path.isfile(path) else None
    except OSError:
        return None


def _kind_of_file(path: str) -> str | None:
    with open(path, "rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")
        if start[8:] == b"{" and length <= _LONGEST_HEADER:
            header = file.read(length - 1)
            is_foreign = b'"data_offsets"' in header and b'"speediff.version"' not in header
            return "a safetensors file of another program" if is_foreign else None
    if start.startswith(b"PK\3\4"):
        return "a zip archive, as torch.save writes"
    # A pickle begins with its protocol.
    return (
        "a pickle, as torch.save once wrote"
        if start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5")
        else None
    )
