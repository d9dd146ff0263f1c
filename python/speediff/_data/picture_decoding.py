"""One picture file as bytes, gray or in color, on a background where it is transparent.

A picture that has no exact 8 bits is refused.
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
"""Modes of Pillow: what their channels hold."""
SIXTEEN_BITS = {
    "PNG": ("I;16", "I"),
    "PPM": ("I;16", "I"),
    "JPEG2000": ("I;16",),
    "TIFF": ("I;16", "I;16B", "I;16L", "I;16N"),
}
"""The modes of gray pictures with 12 or 16 bits, by format; "I" of another format has any integers."""
KEY_STEPS = {"1": 255, "L;2": 85, "L;4": 17}
"""By how much Pillow multiplies what a PNG of few bits holds; its transparent value only in some versions."""
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF."""
NO_STILL = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"})
"""Formats that Pillow opens and cannot decode, or has another program draw."""
FEATURES = {"AVIF": "avif", "JPEG": "jpg", "JPEG2000": "jpg_2000", "PNG": "zlib", "WEBP": "webp"}
"""What must have been compiled into Pillow."""
FOREIGN = frozenset(
    {
        *(".avif", ".jp2", ".webp"),
        *(".bpg", ".exr", ".hdr", ".heic", ".heif", ".jxl", ".jxr", ".xcf"),
        *(".cr2", ".cr3", ".dng", ".nef"),
        *(".emf", ".eps", ".pdf", ".ps", ".svg", ".wmf"),
    }
)
"""Endings of pictures that no Pillow, or not every Pillow, reads."""


class Picture(NamedTuple):
    """What a file held."""

    pixels: Bytes
    """(h, w, c), c being 1 or 3."""
    is_transparent: bool
    """Whether the background is to be seen."""
    is_blank: bool
    """Whether nothing but the background is to be seen."""
    has_more_frames: bool
    """Whether it is the first of several: of an animation, of pages or layers."""


class Decoder:
    """Reads pictures of one size."""

    def __init__(self, input_size: int | None, background: Color) -> None:
        """Takes what is the same for all of them.

        Args:
            input_size: The middle, as large a square as fits, is scaled to this size. None: nothing is.
            background: What transparent pictures are shown on, each in [0, 255].

        Raises:
            SpeeDiffError: Without Pillow.
        """
        image = extras.load("PIL.Image", "reading pictures")
        features = extras.load("PIL.features", "reading pictures")
        image.init()
        formats = {name for name in image.OPEN if name not in NO_STILL}
        formats -= {name for name in formats & FEATURES.keys() if not features.check(FEATURES[name])}
        known = {ending: "JPEG" if name == "MPO" else name for ending, name in image.EXTENSION.items()}
        self.endings = frozenset(ending for ending, name in known.items() if name in formats)
        """Of what can be read, in lower case."""
        self.unreadable = FOREIGN - self.endings
        """Endings of pictures that cannot be."""
        self._formats = sorted(formats & set(known.values()))
        self._input_size = input_size
        self._background = np.array(background, np.uint32)

    def read(self, path: str) -> Picture:
        """Reads a file.

        Raises:
            SpeeDiffValueError: If it is damaged, or has more than 8 bits in a way that has no exact picture.
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
        """The picture on the background: gray stays gray if that is gray, too."""
        is_gray = pixels.shape[2] == 1 and len(set(self._background.tolist())) == 1
        background = self._background[:1] if is_gray else self._background
        share = alpha[:, :, None].astype(np.uint32)
        return ((pixels * share + background * (255 - share) + 127) // 255).astype(np.uint8)


class _Layout:
    """How a file holds its pixels, which Pillow tells before it has read them."""

    def __init__(self, path: str, opened: Any) -> None:
        """Raises SpeeDiffValueError if there is no exact picture of 8 bits."""
        self._mode, self._format = opened.mode, opened.format
        self._tags = opened.tag_v2 if self._format == "TIFF" else {}
        self._packing, self._maximum = _packing(opened)
        self._key = opened.info.get("transparency")
        """The value or color that is transparent; of a palette, the alpha of its colors."""
        self._has_alpha = self._mode in WITH_ALPHA and not _is_padded(path, self._format)
        self._is_deep = self._mode in SIXTEEN_BITS.get(self._format, ())
        self.has_more_frames = bool(getattr(opened, "is_animated", False))
        fault = self._fault()
        if fault is not None:
            raise SpeeDiffValueError(f"{path} must be {fault}")

    def _fault(self) -> str | None:
        """What the file must be instead; None if all is well."""
        if any(sample != 1 for sample in self._tags.get(SAMPLE_FORMAT, ())):
            return "scaled to unsigned integers of 8 or 16 bits: the range of its numbers is not known"
        if not self._is_deep and (self._mode == "F" or self._mode.startswith("I")):
            return f"scaled to 8 or 16 bits: the range of its numbers is not known, in mode {self._mode}"
        if not self._is_deep and self._mode not in GRAY | IN_COLOR:
            return f"converted to RGB: of mode {self._mode}, a color profile decides the colors"
        if self._mode == "RGB" and self._format == "PPM" and self._maximum > 255:
            return "a PNG or have 8 bits: Pillow rounds a PPM in color of more"
        if self._key is not None and self._packing == "RGB;16B":
            return "a picture with an alpha channel or 8 bits: it has 16, and names one transparent color"
        return None

    def split(self, picture: Any) -> tuple[Bytes, Bytes | None]:
        """Colors (h, w, c), c being 1 or 3, and alpha (h, w), if there is any.

        Args:
            picture: The decoded picture.
        """
        if self._is_deep:
            samples = np.asarray(picture)[:, :, None]
            return self._upper_eight(samples), self._keyed(samples)
        # Gray and alpha of 16 bits are RGBA for Pillow.
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
        """The upper 8 bits of as many as a TIFF says, or of 16."""
        bits = self._tags.get(BITS_PER_SAMPLE, (16,))[0]
        upper: Bytes = (samples >> (bits - 8)).astype(np.uint8)
        return 255 - upper if self._tags.get(PHOTOMETRIC) == 0 else upper

    def _keyed(self, samples: Any) -> Bytes | None:
        """The alpha of a picture one of whose values or colors is transparent."""
        if self._key is None:
            return None
        step = KEY_STEPS.get(self._packing, 1)
        is_raw = step > 1 and self._key <= 255 // step
        hidden = samples == np.array(self._key) * (step if is_raw else 1)
        alpha: Bytes = np.where(hidden.all(axis=2), 0, 255).astype(np.uint8)
        return alpha


def _is_padded(path: str, format: str) -> bool:
    """Whether a TGA says that it has no alpha. Pillow takes the fourth byte of its pixels for one anyhow."""
    if format != "TGA":
        return False
    with open(path, "rb") as file:
        return file.read(18)[-1] & 15 == 0


def _packing(opened: Any) -> tuple[str, int]:
    """Pillow's name for how pixels lie in the file, and the largest value if that is part of a PPM."""
    arguments = opened.tile[0][3] if opened.tile else ()
    if isinstance(arguments, str):
        return arguments, 0
    first, *others = arguments or ("",)
    return str(first), max((number for number in others if isinstance(number, int)), default=0)


def _scaled(pixels: Bytes, size: int) -> Bytes:
    """The middle, as large a square as fits, scaled: (size, size, c)."""
    from PIL import Image

    height, width, channels = pixels.shape
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    middle = np.ascontiguousarray(pixels[top : top + side, left : left + side])
    picture = Image.fromarray(middle[:, :, 0] if channels == 1 else middle)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS)).reshape(size, size, channels)
