"""Pictures of every depth, and with every kind of transparency: exact, or refused."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from data_files import GENERATOR, PIXELS, fails
from picture_files import write_png, write_tiff

from speediff._data.datasets import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Image = pytest.importorskip("PIL.Image")

DEEP = GENERATOR.integers(0, 1 << 16, (8, 8)).astype(np.uint16)
COLORS = PIXELS[:3].transpose(0, 2, 3, 1)
"""Three pictures (6, 6, 3)."""


def values(folder: Path, **options: Any) -> Any:
    """The one picture in a folder, (h, w, c)."""
    (value,) = load(str(folder), **options).values
    return value.transpose(1, 2, 0)


# ---- More than 8 bits ----------------------------------------------------------------------------


def png(path: Path) -> None:
    write_png(path.with_suffix(".png"), DEEP, bits=16, kind=0)


def pgm(path: Path) -> None:
    path.with_suffix(".pgm").write_bytes(b"P5\n8 8\n65535\n" + DEEP.astype(">u2").tobytes())


def plain_pgm(path: Path) -> None:
    path.with_suffix(".pgm").write_text("P2 8 8 65535\n" + " ".join(map(str, DEEP.ravel())))


def little_tiff(path: Path) -> None:
    write_tiff(path.with_suffix(".tif"), DEEP.astype("<u2").tobytes(), size=8)


def big_tiff(path: Path) -> None:
    write_tiff(path.with_suffix(".tif"), DEEP.astype(">u2").tobytes(), size=8, big=True)


def inverted_tiff(path: Path) -> None:
    write_tiff(path.with_suffix(".tif"), (65535 - DEEP).astype("<u2").tobytes(), size=8, photometric=0)


def twelve_bit_tiff(path: Path) -> None:
    bits = np.unpackbits((DEEP >> 4).astype(">u2")[..., None].view(np.uint8), axis=2)[:, :, 4:]
    write_tiff(path.with_suffix(".tif"), np.packbits(bits.reshape(8, -1), axis=1).tobytes(), size=8, bits=12)


def compressed_tiff(path: Path) -> None:
    Image.fromarray(DEEP).save(path.with_suffix(".tiff"), compression="tiff_deflate")


def jpeg_2000(path: Path) -> None:
    Image.fromarray(DEEP).save(path.with_suffix(".jp2"), irreversible=False)


GRAY_WRITERS = (
    png, pgm, plain_pgm, little_tiff, big_tiff, inverted_tiff, twelve_bit_tiff, compressed_tiff, jpeg_2000,
)  # fmt: skip


@pytest.mark.parametrize("write", GRAY_WRITERS)
def test_deep_gray_keeps_its_upper_eight_bits(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "a")
    assert np.array_equal(values(tmp_path), (DEEP >> 8)[:, :, None])


@pytest.mark.parametrize("kind", [2, 6, 4])
def test_deep_colors_and_alpha_keep_their_upper_eight_bits(tmp_path: Path, kind: int) -> None:
    channels = {2: 3, 6: 4, 4: 2}[kind]
    samples = GENERATOR.integers(0, 1 << 16, (8, 8, channels))
    if kind != 2:
        samples[..., -1] = 65535
    write_png(tmp_path / "a.png", samples, bits=16, kind=kind)
    assert np.array_equal(values(tmp_path), samples[..., : 1 if kind == 4 else 3] >> 8)


def test_deep_gray_is_turned_as_its_camera_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    Image.fromarray(DEEP).save(tmp_path / "a.png", exif=exif)
    assert (values(tmp_path)[..., 0] == (DEEP >> 8)[::-1, ::-1]).all()


INTEGERS = DEEP.astype(np.int32)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.tif", lambda path: Image.fromarray(INTEGERS).save(path)),
        ("a.tif", lambda path: Image.fromarray((DEEP / 65535).astype(np.float32)).save(path)),
        ("a.tif", lambda path: write_tiff(path, INTEGERS.tobytes(), size=8, bits=32)),
        ("a.tif", lambda path: write_tiff(path, DEEP.tobytes(), size=8, format=2)),
        ("a.tif", lambda path: write_tiff(path, DEEP.tobytes()[:64], size=8, bits=8, format=2)),
        ("a.im", lambda path: Image.fromarray(INTEGERS).save(path)),
        ("a.im", lambda path: Image.fromarray(DEEP.astype(np.float32)).save(path)),
        ("a.pfm", lambda path: path.write_bytes(b"Pf\n8 8\n-1.0\n" + DEEP.astype("<f4").tobytes())),
    ],
)
@pytest.mark.filterwarnings("ignore:IM image format:DeprecationWarning")
def test_numbers_without_a_range_are_refused(tmp_path: Path, name: str, write: Any) -> None:
    if tmp_path.joinpath(name).suffix not in Image.registered_extensions():
        pytest.skip(f"this Pillow reads no {name}")
    write(tmp_path / name)
    fails(f"{tmp_path / name} must be scaled to ", tmp_path)
    fails("the range of its values is unknown", tmp_path)


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "CMYK"), ("a.tif", "CMYK"), ("a.tif", "LAB")])
def test_colors_that_a_profile_decides_are_refused(tmp_path: Path, name: str, mode: str) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / name)
    fails(f"{name} must be converted to RGB: colors of mode {mode} depend on a color profile", tmp_path)


def test_a_deep_ppm_in_color_is_refused(tmp_path: Path) -> None:
    samples = GENERATOR.integers(0, 1 << 16, (8, 8, 3)).astype(">u2")
    (tmp_path / "a.ppm").write_bytes(b"P6\n8 8\n65535\n" + samples.tobytes())
    fails("a.ppm must be a PNG or have 8 bits: Pillow rounds", tmp_path)
    (tmp_path / "a.ppm").write_bytes(b"P6\n8 8\n255\n" + (samples >> 8).astype(np.uint8).tobytes())
    assert np.array_equal(values(tmp_path), samples >> 8)


# ---- Transparency --------------------------------------------------------------------------------


def composed(colors: Any, alpha: Any, background: tuple[int, ...]) -> Any:
    """The definition, in fractions."""
    share = alpha[:, :, None] / 255
    return np.rint(colors * share + np.array(background) * (1 - share))


@pytest.mark.parametrize("background", ["#ffffff", "#000000", "#12ab80"])
def test_colors_are_shown_on_the_background(tmp_path: Path, background: str) -> None:
    alpha = GENERATOR.integers(0, 256, (6, 6), np.uint8)
    alpha[0], alpha[1] = 0, 255
    Image.fromarray(np.dstack((COLORS[0], alpha))).save(tmp_path / "a.png")
    expected = composed(COLORS[0], alpha, tuple(bytes.fromhex(background[1:])))
    assert (values(tmp_path, background=background) == expected).all()


def test_gray_stays_gray_on_a_gray_background(tmp_path: Path) -> None:
    gray, alpha = COLORS[0, :, :, 0], COLORS[0, :, :, 1]
    Image.fromarray(np.dstack((gray, alpha))).save(tmp_path / "a.png")
    for background, channels in (("#ffffff", 1), ("#808080", 1), ("#ff0000", 3)):
        color = tuple(bytes.fromhex(background[1:]))[:channels]
        got = values(tmp_path, background=background)
        assert got.shape == (6, 6, channels)
        assert (got == composed(gray[:, :, None], alpha, color)).all()


def test_an_opaque_picture_has_no_background(tmp_path: Path) -> None:
    opaque = np.full((6, 6), 255, np.uint8)
    Image.fromarray(np.dstack((COLORS[0, :, :, 0], opaque))).save(tmp_path / "a.png")
    assert (values(tmp_path, background="#ff0000") == COLORS[0, :, :, :1]).all()
    assert len(load(str(tmp_path)).summary) == 1


@pytest.mark.parametrize("ending", ["png", "gif", "tiff", "webp", "tga"])
def test_no_format_shows_what_is_below_transparent_pixels(tmp_path: Path, ending: str) -> None:
    colors = np.dstack((COLORS[0], np.zeros((6, 6), np.uint8)))
    Image.fromarray(colors).save(tmp_path / f"a.{ending}", **({"lossless": True} if ending == "webp" else {}))
    assert (values(tmp_path) == 255).all()
    assert load(str(tmp_path)).summary[2].startswith("1 fully transparent, now only background: a.")


def test_a_tga_says_whether_it_has_alpha(tmp_path: Path) -> None:
    path = tmp_path / "a.tga"
    Image.fromarray(np.dstack((COLORS[0], np.zeros((6, 6), np.uint8)))).save(path)
    content = bytearray(path.read_bytes())
    assert content[17] & 15 == 8
    content[17] &= 0xF0  # What follows a color is now nothing but padding.
    path.write_bytes(content)
    assert np.array_equal(values(tmp_path), COLORS[0])


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_value_of_a_gray_png(tmp_path: Path, bits: int) -> None:
    top = (1 << bits) - 1
    samples = GENERATOR.integers(0, top + 1, (8, 8))
    samples[0, :2] = 0, top
    key = samples[0, 1]
    write_png(tmp_path / "a.png", samples, bits=bits, kind=0, transparent=struct.pack(">H", key))
    plain = samples >> 8 if bits == 16 else samples * 255 // top
    expected = np.where(samples == key, 127, plain)
    assert (values(tmp_path, background="#7f7f7f")[..., 0] == expected).all()


def test_sixteen_bits_of_a_value_decide_whether_it_is_transparent(tmp_path: Path) -> None:
    samples = np.array([[0x1234, 0x1235], [0x1333, 0x0034]])
    write_png(tmp_path / "a.png", samples, bits=16, kind=0, transparent=struct.pack(">H", 0x1234))
    assert values(tmp_path)[..., 0].tolist() == [[255, 0x12], [0x13, 0]]


def test_the_transparent_color_of_a_png(tmp_path: Path) -> None:
    samples = COLORS[0].copy()
    samples[2, 3] = samples[4, 4] = (7, 8, 9)
    samples[2, 4] = (7, 8, 10)
    write_png(tmp_path / "a.png", samples, bits=8, kind=2, transparent=struct.pack(">3H", 7, 8, 9))
    expected = np.where((samples == (7, 8, 9)).all(axis=2)[:, :, None], 255, samples)
    assert np.array_equal(values(tmp_path), expected)
    write_png(
        tmp_path / "a.png",
        samples.astype(int) * 257,
        bits=16,
        kind=2,
        transparent=struct.pack(">3H", 7, 8, 9),
    )
    fails("a.png must be a picture with an alpha channel or 8 bits", tmp_path)


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255])])
def test_transparent_colors_of_a_palette(tmp_path: Path, transparency: Any) -> None:
    indices = GENERATOR.integers(0, 3, (8, 8)).astype(np.uint8)
    palette = np.array([[255, 0, 255], [0, 0, 255], [0, 200, 0]])
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.ravel().tolist())
    picture.save(tmp_path / "a.png", transparency=transparency)
    alpha = np.array([0, 255, 255] if transparency == 0 else list(transparency))
    expected = composed(palette[indices], alpha[indices], (255, 255, 255))
    assert np.array_equal(values(tmp_path), expected)


def test_transparency_does_not_bleed_when_scaled(tmp_path: Path) -> None:
    colors = np.full((8, 8, 4), 255, np.uint8)
    colors[:, :4] = (0, 0, 0, 0)  # Black, but not to be seen.
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert (values(tmp_path, input_size=4) == 255).all()


# ---- Other formats -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    ["jfif", "jpe", "jp2", "j2k", "tga", "pbm", "pnm", "dib", "ico", "icns", "pcx", "qoi", "sgi", "avif"],
)
def test_every_format_that_pillow_reads(tmp_path: Path, ending: str) -> None:
    if Image.registered_extensions().get(f".{ending}") not in Image.SAVE:
        pytest.skip(f"this Pillow writes no .{ending}")
    size = {"ico": 32, "icns": 1024}.get(ending, 8)  # These hold several, of which the largest counts.
    Image.new("1" if ending == "pbm" else "RGB", (size, size), "white").save(tmp_path / f"A.{ending.upper()}")
    got = values(tmp_path)
    assert got.shape[:2] == (size, size)
    assert (got > 250).all()


@pytest.mark.parametrize("name", ["a.gif", "a.tiff", "a.webp", "a.png", "a.mpo"])
def test_the_first_of_several_frames_is_used(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "black", "white")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / name) as written:
        if getattr(written, "n_frames", 1) < 3:
            pytest.skip(f"this Pillow writes no whole {name}")
    data = load(str(tmp_path))
    assert (data.values > 250).all()
    expected = f"1 with several frames, pages or layers; only the first is used: {name}"
    assert expected in data.summary


def test_a_picture_that_would_need_another_program_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    fails("a.png must be a picture that Pillow reads: cannot identify", tmp_path)


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, np.zeros((1, 1)), bits=8, kind=0)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    fails(
        f"{path} must be a picture that Pillow reads: Image size (10000000000 pixels) exceeds limit", tmp_path
    )
