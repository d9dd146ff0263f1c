"""Decodes one picture file to bytes, gray or color, and composites transparency on a background.

Pictures without an exact 8-bit form are rejected.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._support import extras
from .._support.reading import reading
from ..errors import SpeeDiffValueError

if TYPE_CHECKING:
    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Color = tuple[int, int, int]

GRAY = frozenset({"1", "L", "LA", "La"})
IN_COLOR = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"})
WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA"})
"""Pillow's modes and their channels."""
SIXTEEN_BITS = {
    "PNG": ("I;16", "I"),
    "PPM": ("I;16", "I"),
    "JPEG2000": ("I;16",),
    "TIFF": ("I;16", "I;16B", "I;16L", "I;16N"),
}
"""Modes of 12- and 16-bit gray pictures, by format. "I" in other formats holds arbitrary integers."""
KEY_STEPS = {"1": 255, "L;2": 85, "L;4": 17}
"""Pillow's scale factors for PNGs of few bits. Only some versions also scale the transparent value."""
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""TIFF tags."""
NO_STILL = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"})
"""Formats that Pillow opens but cannot decode, or renders with another program."""
FEATURES = {"AVIF": "avif", "JPEG": "jpg", "JPEG2000": "jpg_2000", "PNG": "zlib", "WEBP": "webp"}
"""Pillow features that formats need."""
FOREIGN = frozenset(
    {
        *(".avif", ".jp2", ".webp"),
        *(".bpg", ".exr", ".hdr", ".heic", ".heif", ".jxl", ".jxr", ".xcf"),
        *(".cr2", ".cr3", ".dng", ".nef"),
        *(".emf", ".eps", ".pdf", ".ps", ".svg", ".wmf"),
    }
)
"""Suffixes of pictures that some or all versions of Pillow cannot read."""


class Picture(NamedTuple):
    """A decoded file."""

    pixels: Bytes
    """Shape (h, w, c) with c = 1 or 3."""
    is_transparent: bool
    """Whether any background shows through."""
    is_blank: bool
    """Whether the picture is fully transparent."""
    has_more_frames: bool
    """Whether it is the first of several frames, pages or layers."""


class Decoder:
    """Reads pictures of one size."""

    def __init__(self, input_size: int | None, background: Color) -> None:
        """Stores the settings of all pictures.

        Args:
            input_size: Size to scale the largest centered square to. None: no cropping or scaling.
            background: The color behind transparent pictures, channels in [0, 255].

        Raises:
            SpeeDiffError: If Pillow is missing.
        """
        image = extras.load("PIL.Image", "reading pictures")
        features = extras.load("PIL.features", "reading pictures")
        image.init()
        formats = {name for name in image.OPEN if name not in NO_STILL}
        formats -= {name for name in formats & FEATURES.keys() if not features.check(FEATURES[name])}
        known = {ending: "JPEG" if name == "MPO" else name for ending, name in image.EXTENSION.items()}
        self.endings = frozenset(ending for ending, name in known.items() if name in formats)
        """Readable suffixes, in lower case."""
        self.unreadable = FOREIGN - self.endings
        """Suffixes of pictures that this Pillow cannot read."""
        self._formats = sorted(formats & set(known.values()))
        self._input_size = input_size
        self._background = np.array(background, np.uint32)

    def read(self, path: str) -> Picture:
        """Reads a file.

        Raises:
            SpeeDiffValueError: If the file is damaged or has no exact 8-bit form.
            OSError: If it cannot be read.
        """
        with reading(path, "a picture that Pillow reads"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._decode(path)

    def _decode(self, path: str) -> Picture:
        from PIL import Image, ImageOps

        with Image.open(path, formats=self._formats) as opened:
            layout = _Layout(path, opened)
            pixels, alpha = layout.split(ImageOps.exif_transpose(opened))
        is_transparent = alpha is not None and bool((alpha < 255).any())
        is_blank = alpha is not None and not alpha.any()
        if alpha is not None and is_transparent:
            pixels = self._composed(pixels, alpha)
        if self._input_size is not None:
            pixels = _scaled(pixels, self._input_size)
        return Picture(pixels, is_transparent, is_blank, layout.has_more_frames)

    def _composed(self, pixels: Bytes, alpha: Bytes) -> Bytes:
        """Composites the picture on the background. Gray stays gray on a gray background."""
        is_gray = pixels.shape[2] == 1 and len(set(self._background.tolist())) == 1
        background = self._background[:1] if is_gray else self._background
        share = alpha[:, :, None].astype(np.uint32)
        return ((pixels * share + background * (255 - share) + 127) // 255).astype(np.uint8)


class _Layout:
    """A file's pixel layout, which Pillow knows before decoding."""

    def __init__(self, path: str, opened: Any) -> None:
        """Raises SpeeDiffValueError if the file has no exact 8-bit form."""
        self._mode, self._format = opened.mode, opened.format
        self._tags = opened.tag_v2 if self._format == "TIFF" else {}
        self._packing, self._maximum = _packing(opened)
        self._key = opened.info.get("transparency")
        """The transparent value or color; for a palette, the alpha of its colors."""
        self._has_alpha = self._mode in WITH_ALPHA and not _is_padded(path, self._format)
        self._is_deep = self._mode in SIXTEEN_BITS.get(self._format, ())
        self.has_more_frames = bool(getattr(opened, "is_animated", False))
        fault = self._fault()
        if fault is not None:
            raise SpeeDiffValueError(f"{path} must be {fault}")

    def _fault(self) -> str | None:
        """What the file must be instead; None if it is usable."""
        if any(sample != 1 for sample in self._tags.get(SAMPLE_FORMAT, ())):
            return "scaled to unsigned integers of 8 or 16 bits: the range of its values is unknown"
        if not self._is_deep and (self._mode == "F" or self._mode.startswith("I")):
            return f"scaled to 8 or 16 bits: the range of its values is unknown, in mode {self._mode}"
        if not self._is_deep and self._mode not in GRAY | IN_COLOR:
            return f"converted to RGB: colors of mode {self._mode} depend on a color profile"
        if self._mode == "RGB" and self._format == "PPM" and self._maximum > 255:
            return "a PNG or have 8 bits: Pillow rounds color PPMs with more bits"
        if self._key is not None and self._packing == "RGB;16B":
            return "a picture with an alpha channel or 8 bits, got 16 bits and one transparent color"
        return None

    def split(self, picture: Any) -> tuple[Bytes, Bytes | None]:
        """Returns colors (h, w, c) with c = 1 or 3, and alpha (h, w) or None.

        Args:
            picture: The decoded picture.
        """
        if self._is_deep:
            samples = np.asarray(picture)[:, :, None]
            return self._upper_eight(samples), self._keyed(samples)
        # Pillow reads 16-bit gray with alpha as RGBA.
        is_gray = self._mode in GRAY or self._packing.startswith("LA")
        if self._has_alpha or (self._mode == "P" and self._is_palette_transparent(picture)):
            straight = picture.convert("LA") if self._mode == "La" else picture
            channels = np.asarray(straight.convert("RGBA"))
            return channels[:, :, : 1 if is_gray else 3], channels[:, :, 3]
        pixels = np.asarray(picture.convert("L" if is_gray else "RGB"))
        pixels = pixels[:, :, None] if is_gray else pixels
        return pixels, self._keyed(pixels)

    def _is_palette_transparent(self, picture: Any) -> bool:
        return self._key is not None or picture.palette.mode == "RGBA"

    def _upper_eight(self, samples: Any) -> Bytes:
        """The upper 8 bits of a TIFF's bit depth, or of 16."""
        bits = self._tags.get(BITS_PER_SAMPLE, (16,))[0]
        upper: Bytes = (samples >> (bits - 8)).astype(np.uint8)
        return 255 - upper if self._tags.get(PHOTOMETRIC) == 0 else upper

    def _keyed(self, samples: Any) -> Bytes | None:
        """The alpha of a picture with one transparent value or color."""
        if self._key is None:
            return None
        step = KEY_STEPS.get(self._packing, 1)
        is_raw = step > 1 and self._key <= 255 // step
        hidden = samples == np.array(self._key) * (step if is_raw else 1)
        alpha: Bytes = np.where(hidden.all(axis=2), 0, 255).astype(np.uint8)
        return alpha


def _is_padded(path: str, format: str) -> bool:
    """Whether a TGA declares no alpha. Pillow reads the fourth byte of its pixels as alpha anyway."""
    if format != "TGA":
        return False
    with open(path, "rb") as file:
        return file.read(18)[-1] & 15 == 0


def _packing(opened: Any) -> tuple[str, int]:
    """Pillow's name for the pixel packing, and a PPM's largest value."""
    arguments = opened.tile[0][3] if opened.tile else ()
    if isinstance(arguments, str):
        return arguments, 0
    first, *others = arguments or ("",)
    return str(first), max((number for number in others if isinstance(number, int)), default=0)


def _scaled(pixels: Bytes, size: int) -> Bytes:
    """The largest centered square, scaled to (size, size, c)."""
    from PIL import Image

    height, width, channels = pixels.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    middle = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    picture = Image.fromarray(middle[:, :, 0] if channels == 1 else middle)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS)).reshape(size, size, channels)
