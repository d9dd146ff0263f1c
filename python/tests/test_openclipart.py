"""The drawings of openclipart: classes, the tests' part, how a drawing is scaled, and what is kept."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from data_files import fails
from training_runs import QUICK, losses, train

import speediff
from speediff._data import openclipart
from speediff._data.datasets import load, load_test
from speediff._runs import validation
from speediff._support import user_cache

image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")

INSTALLED = openclipart.FOLDER
needs_openclipart = pytest.mark.skipif(not INSTALLED.is_dir(), reason="openclipart-png is not installed")
COUNTS = {"animals": 60, "buttons": 3, "shapes/stars": 50, "science": 49}
RED, CLEAR = (255, 0, 0, 255), (0, 0, 0, 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same layout: RGBA drawings of 6×4, the left half red, the right half transparent."""
    drawings = tmp_path / "png"
    for subject, count in COUNTS.items():
        (drawings / subject).mkdir(parents=True)
        for i in range(count):
            pixels = np.zeros((4, 6, 4), np.uint8)
            pixels[:, :3] = (255 - i, len(subject), i, 255)
            image.fromarray(pixels).save(
                drawings / subject / f"thing{chr(97 + i % 26)}{chr(97 + i // 26)}_{i:02}.png"
            )
    monkeypatch.setattr(openclipart, "FOLDER", drawings)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return drawings


def whole(size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels, those for tests last."""
    data, test = load("openclipart", input_size=size), load_test("openclipart", input_size=size)
    assert test is not None
    return np.concatenate([data.values, test.values]), np.concatenate([data.labels, test.labels])


# ---- Classes and parts ---------------------------------------------------------------------------


def test_small_folders_are_one_class(folder: Path) -> None:
    data, test = load("openclipart"), load_test("openclipart")
    assert test is not None
    assert data.class_names == test.class_names == ("animals", "shapes", "other")
    assert data.num_classes == test.num_classes == 3
    assert np.bincount(whole()[1]).tolist() == [60, 50, 52]
    assert data.values.shape[1:] == (3, 32, 32)
    assert (
        f"openclipart: {len(data)} of 162 drawings, for training, 32×32, in color, 3 classes"
        in data.summary[0]
    )
    assert f"{len(test)} of 162 drawings, for tests" in test.summary[0]
    assert data.summary[1] == "other: folders of fewer than 50 drawings (buttons 3, science 49)"


def test_the_parts_are_validations(folder: Path) -> None:
    settings = {"input_size": 16, "background": "#ffffff", "unconditional": False}
    data, test = validation.split("openclipart", settings, folder)
    assert len(data) + len(test) == 162
    assert 0.03 < len(test) / 162 < 0.25
    assert data.values.shape[1:] == test.values.shape[1:] == (3, 16, 16)


def test_a_network_is_trained_on_them(folder: Path, tmp_path: Path) -> None:
    train("openclipart", tmp_path / "run", "--input-size", "8", *QUICK)
    assert len(losses(tmp_path / "run")) == 6


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("jazz_enrique_meza_c_02.png", "jazz_enrique_meza_c"),
        ("cfbulb_lit_benji_park_.png", "cfbulb_lit_benji_park"),
        ("star_95pt06step.png", "star_95pt"),
        ("stripper_jarno_vasamaa_01r.png", "stripper_jarno_vasamaa"),
        ("pattern-dot-grid-0003.png", "pattern-dot-grid"),
        ("2_dead_frogs_lumen_desig_01.png", "2_dead_frogs_lumen_desig"),
        ("paperbag1_juliane_krug.png", "paperbag1_juliane_krug"),
        ("baloon1_02.png", "baloon1"),
        ("14_layer_visible.png", "14_layer_visible"),
        ("Fc10.PNG", "fc"),
        ("007.png", "007"),
        ("text.png", "text"),
    ],
)
def test_a_family_is_a_name_without_its_last_number(name: str, family: str) -> None:
    assert openclipart.family(f"/some/where_01/{name}") == family


def test_a_tenth_of_all_families_is_for_tests() -> None:
    share = np.mean([openclipart.is_for_tests(f"drawing of {i} hats.png") for i in range(20_000)])
    assert share == pytest.approx(0.1, abs=0.01)
    for i in range(100):
        sides = {
            openclipart.is_for_tests(f"{folder}/hat{i}x_{n:02}.png") for folder in "ab" for n in range(9)
        }
        assert len(sides) == 1


def test_a_file_counts_once_in_each_class(folder: Path) -> None:
    """A file with several names is on one side, in both classes."""
    before = whole()[1]
    for i, path in enumerate(sorted((folder / "animals").iterdir())):
        (folder / "shapes" / f"another name {i}.png").symlink_to(Path("..") / "animals" / path.name)
        (folder / "animals" / f"yet another {i}.png").symlink_to(path.name)
    data, test = load("openclipart"), load_test("openclipart")
    assert test is not None
    assert len(data) + len(test) == len(before) + 60
    for part in (data, test):
        animals, shapes = ({v.tobytes() for v in part.values[part.labels == label]} for label in (0, 1))
        assert animals
        assert animals <= shapes


# ---- Drawings ------------------------------------------------------------------------------------


def drawn(tmp_path: Path, pixels: np.ndarray, size: int, **options: object) -> np.ndarray:
    picture = image.fromarray(pixels)
    picture.save(tmp_path / "drawing.png", **options)
    return openclipart.draw(str(tmp_path / "drawing.png"), size).astype(int)


def test_a_drawing_is_padded_to_a_square_on_white(tmp_path: Path) -> None:
    wide = np.full((4, 8, 4), RED, np.uint8)
    expected = np.full((8, 8, 3), 255)
    expected[2:6] = RED[:3]
    assert (drawn(tmp_path, wide, 8) == expected).all()
    assert (drawn(tmp_path, wide.transpose(1, 0, 2), 8) == expected.transpose(1, 0, 2)).all()
    line = np.full((1, 100, 4), RED, np.uint8)
    assert (drawn(tmp_path, line, 8)[3] == RED[:3]).all(), "a line does not vanish"


def test_scaling_averages_all_pixels(tmp_path: Path) -> None:
    """A fine chessboard is gray: nothing is skipped, and transparent pixels have no color of their own."""
    board = np.indices((256, 256)).sum(axis=0) % 2 == 0
    pixels = np.where(board[:, :, None], RED, CLEAR).astype(np.uint8)
    inner = drawn(tmp_path, pixels, 16)[2:-2, 2:-2]
    assert abs(inner - [255, 127.5, 127.5]).max() <= 3
    hidden = pixels.copy()
    hidden[~board, :3] = (0, 255, 0)
    assert (drawn(tmp_path, hidden, 16)[2:-2, 2:-2] == inner).all()


def test_scaling_agrees_with_compositing_before(tmp_path: Path) -> None:
    """Both orders are linear; bytes in between round. Pillow's resize of the composite is the oracle."""
    generator = np.random.default_rng(0)
    smooth = image.fromarray(generator.integers(0, 256, (6, 6, 4), np.uint8)).resize((120, 120))
    pixels = np.asarray(smooth)
    alpha = pixels[:, :, 3:] / 255
    composite = np.rint(pixels[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    expected = np.asarray(image.fromarray(composite).resize((24, 24), image.Resampling.LANCZOS)).astype(int)
    assert abs(drawn(tmp_path, pixels, 24) - expected).max() <= 3


def test_drawings_of_every_mode_in_the_package(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), (90, 90, 90, 255), np.uint8)
    pixels[:, 2:, 3] = 0
    expected = np.full((4, 4, 3), 255)
    expected[:, :2] = 90
    picture = image.fromarray(pixels)
    palette = image.fromarray(np.where(pixels[:, :, 3] > 0, 1, 0).astype(np.uint8), "P")
    palette.putpalette([255, 0, 0, 90, 90, 90])
    for converted, options in (
        (picture, {}),
        (picture.convert("LA"), {}),
        (palette, {"transparency": 0}),
    ):
        converted.save(tmp_path / "drawing.png", **options)
        assert (openclipart.draw(str(tmp_path / "drawing.png"), 4) == expected).all(), converted.mode
    for mode in ("RGB", "L"):
        picture.convert(mode).save(tmp_path / "drawing.png")
        assert (openclipart.draw(str(tmp_path / "drawing.png"), 4) == 90).all(), mode


# ---- What is kept --------------------------------------------------------------------------------


def test_a_drawing_is_decoded_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = whole()
    (kept,) = (tmp_path / "cache" / "speediff").iterdir()

    def never(*_: object) -> None:
        raise AssertionError("it was decoded")

    with monkeypatch.context() as patched:
        patched.setattr(openclipart, "draw", never)
        assert (whole()[0] == first[0]).all()
        with pytest.raises(AssertionError):
            whole(16)
    for damaged in (b"", b"junk", kept.read_bytes()[:-50]):
        kept.write_bytes(damaged)
        assert (whole()[0] == first[0]).all()
        assert len(kept.read_bytes()) > 1000
    np.savez(kept, images=np.zeros((162, 3, 8, 8), np.uint8))
    assert (whole()[0] == first[0]).all()


def test_a_changed_drawing_is_decoded_again(folder: Path) -> None:
    first = whole()[0]
    path = folder / "animals" / "thingaa_00.png"
    image.fromarray(np.full((6, 6, 4), (1, 2, 3, 255), np.uint8)).save(path)
    changed = (whole()[0] != first).any(axis=(1, 2, 3))
    assert changed.sum() == 1
    assert (whole()[0][changed] == np.reshape([1, 2, 3], (3, 1, 1))).all()


def test_a_folder_that_cannot_be_written_costs_only_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = whole()[0]
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert (whole()[0] == first).all()
    assert f"{tmp_path / 'file' / 'speediff'}: Not a directory; the next start" in capsys.readouterr().err


def test_the_cache_is_where_users_expect_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert user_cache.folder() == tmp_path / ".cache" / "speediff"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache.folder() == tmp_path / ".cache" / "speediff"


# ---- Faults --------------------------------------------------------------------------------------


def test_the_package_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openclipart, "FOLDER", tmp_path / "nothing")
    fails("openclipart needs Debian's package: apt-get install openclipart-png", "openclipart")


@pytest.mark.parametrize("size", [0, -3, 513])
def test_wrong_sizes(size: int) -> None:
    fails(f"--input-size must be in [1, 512] for openclipart, got {size}", "openclipart", input_size=size)


def test_the_background_is_white(folder: Path) -> None:
    fails(
        "--background applies only to a folder of pictures, got openclipart",
        "openclipart",
        background="#000000",
    )


def test_damaged_drawings(folder: Path) -> None:
    path = folder / "animals" / "thingaa_00.png"
    content = path.read_bytes()
    path.write_bytes(b"GIF89a")
    fails(f"{path} must be a PNG, got b'GIF89a'", "openclipart")
    path.write_bytes(content[:-30])
    fails(f"{path} must be a picture that Pillow reads: ", "openclipart")


def test_drawings_that_would_need_gigabytes_are_left_out(folder: Path) -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 6, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "animals" / "huge.png").write_bytes(content)
    data = load("openclipart")
    assert data.summary[2] == "1 left out (more than 178956970 pixels): animals/huge.png"
    assert len(whole()[0]) == 162


# ---- The package itself --------------------------------------------------------------------------


@needs_openclipart
def test_names_and_classes_of_the_package() -> None:
    collection = openclipart._Collection(INSTALLED)
    assert len(collection.files) == 6900 - 3
    assert len(collection.drawings) == 7407
    assert len(collection.classes) == 17
    assert {"animals", "computer", "food", "people", "shapes", "other"} <= set(collection.classes)
    counts = np.bincount([drawing.label for drawing in collection.drawings])
    assert counts.min() >= openclipart.LEAST
    is_for_tests = [openclipart.is_for_tests(drawing.path) for drawing in collection.drawings]
    assert np.mean(is_for_tests) == pytest.approx(0.1, abs=0.01)
    shares = np.bincount([drawing.label for drawing in collection.drawings], weights=is_for_tests) / counts
    assert shares.min() > 0.05
    assert shares.max() < 0.15


@pytest.mark.long
@needs_openclipart
def test_the_packages_drawings() -> None:
    data, test = load("openclipart"), load_test("openclipart")
    assert test is not None
    assert len(data) + len(test) == 7407
    training = {values.tobytes() for values in data.values}
    repeated = sum(values.tobytes() in training for values in test.values)
    assert repeated <= 15, "the same drawing in another file, of another name"
    corners = np.concatenate([data.values[:, :, 0, 0], data.values[:, :, -1, -1]])
    assert (corners == 255).all(axis=1).mean() > 0.5
    with pytest.raises(speediff.SpeeDiffError):
        load("openclipart", input_size=1000)
