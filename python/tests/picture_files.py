"""Picture files written byte by byte, as other programs than Pillow write them."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def write_png(path: Path, samples: Any, *, bits: int, kind: int, transparent: bytes = b"") -> None:
    """A PNG of any depth.

    Args:
        path: Where it goes.
        samples: Integers, (h, w) or (h, w, c).
        bits: Of a sample: 1, 2, 4, 8 or 16.
        kind: 0 is gray, 2 RGB, 4 gray with alpha, 6 RGB with alpha.
        transparent: What its tRNS chunk holds.
    """
    height, width = samples.shape[:2]
    if bits == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    else:
        values = samples.astype(np.uint8).reshape(height, -1, 1)
        rows = np.packbits(np.unpackbits(values, axis=2)[:, :, 8 - bits :].reshape(height, -1), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    content = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBB3x", width, height, bits, kind))
    if transparent:
        content += _chunk(b"tRNS", transparent)
    path.write_bytes(content + _chunk(b"IDAT", zlib.compress(data)) + _chunk(b"IEND", b""))


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def write_tiff(path: Path, data: bytes, *, size: int, big: bool = False, **tags: int) -> None:
    """A gray TIFF of one strip.

    Args:
        path: Where it goes.
        data: The strip.
        size: Both width and height.
        big: Whether it is big-endian.
        tags: `bits` of a sample (16), its `format` (1: unsigned), `photometric` (1: 0 is black).
    """
    entries = {
        256: size, 257: size, 258: tags.get("bits", 16), 259: 1, 262: tags.get("photometric", 1), 273: 0,
        277: 1, 278: size, 279: len(data), 339: tags.get("format", 1),
    }  # fmt: skip
    order = ">" if big else "<"
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    content = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, value in entries.items():
        content += struct.pack(f"{order}HHII", tag, 4, 1, value)
    path.write_bytes(content + struct.pack(f"{order}I", 0) + data)
