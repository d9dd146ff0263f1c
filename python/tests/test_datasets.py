"""The data of the training commands: what is read, against what was written, and every damaged file."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from data_files import GENERATOR, GRAY, PIXELS, fails

from speediff._data import datasets
from speediff._data.datasets import Dataset, load, load_test

if TYPE_CHECKING:
    from pathlib import Path

LATENTS = GENERATOR.standard_normal((5, 4, 6, 6)).astype(np.float32)
LABELS = np.array([0, 2, 1, 2, 0])


# ---- What a data set gives -----------------------------------------------------------------------


def test_bytes_become_numbers_from_minus_one_to_one() -> None:
    x, y = Dataset(PIXELS, LABELS, 3).batch(np.array([3, 1]))
    np.testing.assert_allclose(x, PIXELS[[3, 1]] / 127.5 - 1, atol=1e-7)
    assert (x.dtype, y.tolist()) == (np.float32, [2, 2])
    ends = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    assert Dataset(ends).batch(np.arange(2))[0].ravel().tolist() == [-1, 1]


def test_latents_stay_as_they_are() -> None:
    x, y = Dataset(LATENTS).batch(np.array([4, 4, 0]))
    assert (x == LATENTS[[4, 4, 0]]).all()
    assert y is None


def test_chosen_images_are_mirrored() -> None:
    x, _ = Dataset(PIXELS).batch(np.arange(5), np.array([True, False, True, False, False]))
    plain, _ = Dataset(PIXELS).batch(np.arange(5))
    assert (x[[0, 2]] == plain[[0, 2], :, :, ::-1]).all()
    assert (x[[1, 3, 4]] == plain[[1, 3, 4]]).all()


def test_a_batch_is_the_callers_to_change() -> None:
    data = Dataset(LATENTS.copy(), LABELS.copy(), 3)
    x, y = data.batch(np.arange(5))
    x[:], y[:] = 0, 0
    assert (data.values == LATENTS).all()
    assert (data.labels == LABELS).all()


def test_a_fingerprint_tells_data_apart() -> None:
    changed, relabelled = PIXELS.copy(), LABELS.copy()
    changed[4, 2, 5, 5] ^= 1
    relabelled[4] = 1
    prints = [
        Dataset(PIXELS, LABELS).fingerprint,
        Dataset(changed, LABELS).fingerprint,
        Dataset(PIXELS, relabelled).fingerprint,
        Dataset(PIXELS).fingerprint,
    ]
    assert len(set(prints)) == 4
    assert prints[0] == Dataset(PIXELS.copy(), LABELS.copy()).fingerprint


# ---- Known names ---------------------------------------------------------------------------------


def test_digits_are_scikit_learns() -> None:
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    data = load("digits")
    x, y = data.batch(np.arange(len(data)))
    # Bytes hold sixteenths to half a step.
    np.testing.assert_allclose(x[:, 0], bunch.images / 8 - 1, atol=1.01 / 255)
    assert (y == bunch.target).all()
    assert data.class_names == tuple("0123456789")
    assert load_test("digits") is None


@pytest.mark.skipif(not datasets.FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_debians() -> None:
    data, test = load("fashion-mnist"), load_test("fashion-mnist")
    assert data.values.shape == (60_000, 1, 28, 28)
    assert np.bincount(data.labels).tolist() == [6000] * 10
    assert test is not None
    assert test.values.shape == (10_000, 1, 28, 28)
    # The first image of Zalando's README is an ankle boot; users of torchvision normalize by these.
    assert data.class_names[data.labels[0]] == "ankle boot"
    assert data.values.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert data.values.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert load(str(datasets.FASHION_MNIST)).class_names is None


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    fails(
        "DATA must be one of a .npy or .npz file, a folder, digits, fashion-mnist, openclipart, got",
        "fashon-mnist",
    )
    fails("did you mean 'fashion-mnist'?", "fashon-mnist")
    fails("got 'pictures.zip'", "pictures.zip")
    with pytest.raises(FileNotFoundError):
        load("missing.npy")


# ---- idx -----------------------------------------------------------------------------------------


def idx(values: np.ndarray[Any, Any]) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


BYTES = LABELS.astype(np.uint8)


def write_idx(folder: Path, prefix: str = "train", *, zipped: bool = False) -> tuple[Path, Path]:
    paths = []
    for name, values in (("images-idx3-ubyte", GRAY), ("labels-idx1-ubyte", BYTES)):
        content = idx(values)
        path = folder / f"{prefix}-{name}{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(content) if zipped else content)
        paths.append(path)
    return paths[0], paths[1]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_idx_files(tmp_path: Path, zipped: bool) -> None:
    write_idx(tmp_path, zipped=zipped)
    assert load_test(str(tmp_path)) is None
    write_idx(tmp_path, "t10k", zipped=zipped)
    for data in (load(str(tmp_path)), load_test(str(tmp_path))):
        assert data is not None
        assert (data.values == PIXELS[:, :1]).all()
        assert (data.labels == LABELS).all()
        assert data.num_classes == 3


def test_damaged_idx_files(tmp_path: Path) -> None:
    images, labels = write_idx(tmp_path)
    content = images.read_bytes()
    images.write_bytes(content[:-1])
    fails(f"{images} must hold 5×6×6 bytes after its header, got 179", tmp_path)
    images.write_bytes(content + b"?")
    fails(f"{images} must hold 5×6×6 bytes after its header, got more", tmp_path)
    images.write_bytes(b"\0\0\x0d\3" + content[4:])
    fails(f"{images} must be an idx file that begins with 0x00000803, got 0x00000d03", tmp_path)
    images.write_bytes(content[:9])
    fails("must be an idx file", tmp_path)
    images.write_bytes(b"")
    fails("must be an idx file", tmp_path)
    images.write_bytes(b"\0\0\x08\3" + b"\xff" * 12)  # 7·10²⁸ bytes, says the header.
    fails("must hold 4294967295×4294967295×4294967295 bytes after its header, got 0", tmp_path)
    images.write_bytes(content)
    labels.write_bytes(idx(BYTES[:4]))
    fails("labels of", tmp_path)
    fails("must have the shape (5,), got (4,)", tmp_path)
    labels.unlink()
    fails("must hold train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz", tmp_path)
    images.rename(labels)
    fails("must hold train-images-idx3-ubyte or train-images-idx3-ubyte.gz", tmp_path)


def test_a_small_gzip_file_of_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = write_idx(tmp_path, zipped=True)
    images.write_bytes(gzip.compress(idx(np.zeros((1000, 64, 64), np.uint8))))
    assert images.stat().st_size < 10_000
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1 << 8, "SC_PAGE_SIZE": 1 << 12}.get)
    fails(f"{images} must fit into memory: it holds 0.0 GiB", tmp_path)


def test_damaged_gzip_files(tmp_path: Path) -> None:
    images, _ = write_idx(tmp_path, zipped=True)
    content = images.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    for damaged in (content[:-9], content[: len(content) // 2], b"junk" + content, bytes(flipped)):
        images.write_bytes(damaged)
        fails(f"{images} must be a whole gzip file: ", tmp_path)


def test_a_label_beyond_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "FASHION_MNIST", tmp_path)
    fails("apt-get install dataset-fashion-mnist", "fashion-mnist")
    _, labels = write_idx(tmp_path)
    labels.write_bytes(idx(np.array([0, 9, 1, 10, 2], np.uint8)))
    fails("labels of fashion-mnist must be in [0, 10), got 10 for entry 3", "fashion-mnist")


# ---- Arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (np.asfortranarray(PIXELS), PIXELS),
        (GRAY, PIXELS[:, :1]),
        (GRAY[..., None], PIXELS[:, :1]),
        (LATENTS, LATENTS),
        (LATENTS.astype(np.float16), LATENTS.astype(np.float16)),
    ],
)
def test_arrays_of_images_and_latents(tmp_path: Path, stored: Any, expected: Any) -> None:
    np.save(tmp_path / "data.npy", stored)
    data = load(str(tmp_path / "data.npy"))
    assert (data.values == expected).all()
    assert data.values.dtype == expected.dtype
    assert data.labels is data.num_classes is None
    np.savez_compressed(tmp_path / "data.npz", stored, LABELS.astype(np.uint16))
    data = load(str(tmp_path / "data.npz"))
    assert (data.values == expected).all()
    assert (data.labels.tolist(), data.labels.dtype) == (LABELS.tolist(), np.int64)
    assert data.num_classes == 3


@pytest.mark.parametrize(("values", "labels"), [("images", "labels"), ("latents", "labels"), ("x", "y")])
def test_the_names_in_an_archive(tmp_path: Path, values: str, labels: str) -> None:
    np.savez(tmp_path / "data.npz", **{values: LATENTS, labels: LABELS, "other": LABELS})
    data = load(str(tmp_path / "data.npz"), input_size=6)
    assert (data.values == LATENTS).all()
    assert (data.labels == LABELS).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": PIXELS}, "must hold one of images, latents, x, arr_0, got pixels"),
        ({"x": PIXELS[0, 0]}, "must hold images of shape (n, h, w), (n, c, h, w) or (n, h, w, c)"),
        ({"x": PIXELS[:, :2]}, "with c = 1 or 3, got (5, 2, 6, 6)"),
        ({"x": PIXELS[:, :, :5]}, "must hold square images or latents, got 5×6"),
        ({"x": PIXELS[:0]}, "of shape (n, c, h, w), got (0, 3, 6, 6)"),
        ({"x": LATENTS[0]}, "of shape (n, c, h, w), got (4, 6, 6)"),
        ({"x": LATENTS[0, 0, 0, 0]}, "of shape (n, c, h, w), got ()"),
        ({"x": PIXELS.astype(np.int64)}, "must hold uint8 images or float32 latents, got int64"),
        ({"x": LATENTS.astype(np.float64)}, "must hold uint8 images or float32 latents, got float64"),
        ({"x": np.array(["text"])}, "must hold uint8 images or float32 latents, got <U4"),
        ({"x": PIXELS, "y": LABELS[:4]}, "must have the shape (5,), got (4,)"),
        ({"x": PIXELS, "y": LABELS[:, None]}, "must have the shape (5,), got (5, 1)"),
        ({"x": PIXELS, "y": LABELS / 2}, "must be integers, got float64"),
        ({"x": PIXELS, "y": LABELS - 1}, "must be in [0, 65536), got -1 for entry 0"),
        ({"x": PIXELS, "y": LABELS + 2**40}, "must be in [0, 65536), got 1099511627776 for entry 0"),
        ({"x": np.array([None] * 5)}, "Object arrays cannot be loaded"),
    ],
)
def test_arrays_that_are_no_data(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    fails(message, tmp_path / "data.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_latents_must_be_finite(tmp_path: Path, value: float, dtype: Any) -> None:
    damaged = LATENTS.astype(dtype)
    damaged[3, 1, 2, 5] = value
    np.save(tmp_path / "data.npy", damaged)
    fails(f"data.npy must hold finite numbers, got {value} in entry 3", tmp_path / "data.npy")


def test_damaged_array_files(tmp_path: Path) -> None:
    path, archive = tmp_path / "data.npy", tmp_path / "data.npz"
    np.save(path, PIXELS)
    content = path.read_bytes()
    huge = content.replace(b"(5, 3, 6, 6)", b"(5555555555555, 3, 6, 6)")
    for damaged in (content[:-1], content[:60], content[:3], b"", b"junk", huge, pickle.dumps([1])):
        path.write_bytes(damaged)
        fails(f"{path} must be a whole file that numpy.save wrote: ", path)
    for save in (np.savez, np.savez_compressed):
        save(archive, x=PIXELS)
        content = archive.read_bytes()
        flipped = bytearray(content)
        flipped[250] ^= 0xFF
        for damaged in (content[:-1], content[:100], bytes(flipped)):
            archive.write_bytes(damaged)
            fails(f"{archive} must be a whole file that numpy.save wrote: ", archive)


def test_another_size_than_the_datas_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", PIXELS)
    fails("--input-size must be 6, the size of", tmp_path / "data.npy", input_size=8)
