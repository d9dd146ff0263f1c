"""The small classifier: its training, its files, and the weights that the package has."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from training_runs import fails, write_images, write_latents

import speediff
from speediff._data import datasets, openclipart
from speediff.cli import main

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
pytest.importorskip("tqdm")

from speediff.torch._evaluation import classifier, classifier_training  # noqa: E402
from speediff.torch._evaluation.classifier_network import Classifier, tensor_shapes, widths  # noqa: E402
from speediff.torch._evaluation.classifier_training import train  # noqa: E402

if TYPE_CHECKING:
    from speediff.torch._evaluation.classifier_training import Trained

PACKAGE = Path(speediff.__file__).parent
SOURCES = {"fashion-mnist": datasets.FASHION_MNIST, "openclipart": openclipart.FOLDER}
LEEWAY = {"fashion-mnist": 0.01, "openclipart": 0.04}
"""How far a repeated training's accuracy may be: the test sets have 10,000 and 709 images."""
needs_fashion_mnist = pytest.mark.skipif(
    not datasets.FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is not installed"
)
pytestmark = pytest.mark.usefixtures("one_thread_of_pytorch")


@pytest.fixture(scope="module")
def data(images: str) -> datasets.Dataset:
    """40 images of four classes that are easy to tell apart."""
    return datasets.load(images)


@pytest.fixture(scope="module")
def trained(data: datasets.Dataset) -> Trained:
    """A classifier of them."""
    return train(data, data, name="quadrants", steps=40)


@pytest.fixture
def saved(trained: Trained, tmp_path: Path) -> Path:
    """Its file."""
    classifier.save(tmp_path / "quadrants.safetensors", trained.classifier.facts, trained.tensors)
    return tmp_path / "quadrants.safetensors"


# ---- What it computes ----------------------------------------------------------------------------


def test_it_learns_what_can_be_learned(trained: Trained, data: datasets.Dataset) -> None:
    assert trained.classifier.facts.accuracy == 1
    assert (trained.classifier.logits(data.values).argmax(axis=1) == data.labels).all()
    assert "quadrants, 64 features, 100.0% of 40 test images" in trained.classifier.label


def test_it_computes_what_the_network_in_training_does(data: datasets.Dataset, trained: Trained) -> None:
    """PyTorch's own batch normalization, in evaluation mode, is the oracle of the folded weights."""
    network = classifier_training._Network(trained.classifier.facts)
    classifier_training._fit(network, data, 20, flip=True)
    folded = Classifier(trained.classifier.facts, network.folded())
    network.eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(data.values).float()).numpy()
    np.testing.assert_allclose(folded.logits(data.values), expected, rtol=1e-4, atol=1e-4)


def test_logits_are_linear_in_the_features(trained: Trained, data: datasets.Dataset) -> None:
    features = trained.classifier.features(data.values)
    assert features.shape == (40, trained.classifier.dimension)
    assert features.dtype == np.float32
    assert (features >= 0).all()
    weight, bias = (trained.tensors[name].float().numpy() for name in ("head.weight", "head.bias"))
    np.testing.assert_allclose(
        trained.classifier.logits(data.values), features @ weight.T + bias, rtol=1e-4, atol=1e-5
    )


def test_an_image_has_the_same_features_whatever_is_beside_it(
    trained: Trained, data: datasets.Dataset
) -> None:
    many = np.concatenate([data.values] * 4)
    features = trained.classifier.features(many)
    for rows in (slice(0, 1), slice(7, 80), slice(60, 160)):
        np.testing.assert_allclose(
            trained.classifier.features(many[rows]), features[rows], rtol=1e-5, atol=1e-5
        )
    assert trained.classifier.features(many[:0]).shape == (0, 64)


@pytest.mark.parametrize(("size", "stages"), [(4, 3), (8, 3), (28, 3), (32, 3), (36, 4), (64, 4), (256, 6)])
def test_larger_images_get_more_stages(size: int, stages: int) -> None:
    assert len(widths(size)) == stages
    assert 1 <= size >> (stages - 1) <= 8
    assert widths(size)[-1] <= 128


@pytest.mark.parametrize(("channels", "size"), [(1, 4), (3, 36)])
def test_images_of_other_sizes_and_colors(channels: int, size: int) -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(30) % 3
    values = (
        generator.integers(0, 100, (30, channels, size, size), np.uint8) + 70 * labels[:, None, None, None]
    )
    some = datasets.Dataset(values.astype(np.uint8), labels, 3, ("dark", "gray", "bright"))
    made = train(some, some, name="levels", steps=30).classifier
    assert made.features(some.values).shape == (30, 64)
    assert made.classes == ("dark", "gray", "bright")
    assert made.facts.accuracy == 1


# ---- Training ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(images: str, tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        out = tmp_path / f"{name}.safetensors"
        flags = ("--steps", "12", "--seed", seed, "--threads", "1", "--flip")
        assert main(["classifier", images, "--out", str(out), *flags]) == 0
        contents.append(out.read_bytes())
        torch.rand(5)  # The state of PyTorch's generator does not matter.
    assert contents[0] == contents[1] != contents[2]


def test_training_leaves_pytorch_as_it_was(data: datasets.Dataset) -> None:
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        train(data, data, name="quadrants", steps=10, threads=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert (torch.get_rng_state() == state).all()


def test_the_command_writes_what_load_reads(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "quadrants.safetensors"
    assert main(["classifier", images, "--out", str(out), "--steps", "40", "--threads", "1"]) == 0
    made = classifier.load(out)
    assert capsys.readouterr().out == f"{out}: {made.label}\n"
    assert made.facts.command == f"speediff classifier {images} --steps 40 --seed 0 --threads 1"
    assert (made.facts.channels, made.facts.size, made.facts.test_images) == (1, 8, 4)
    assert made.classes == ("0", "1", "2", "3")
    whole = datasets.load(images)
    assert (made.logits(whole.values).argmax(axis=1) == whole.labels).mean() > 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--steps", "9"), "--steps must be at least 10, got 9"),
        (("--seed", "-1"), "--seed must be at least 0, got -1"),
        (("--threads", "0"), "--threads must be at least 1, got 0"),
        (("--out", "nowhere/x.safetensors"), "nowhere/x.safetensors: No such file or directory"),
        (("--input-size", "9"), "--input-size must be 8"),
        (("--background", "black"), "--background applies only to a folder of pictures"),
    ],
)
def test_wrong_flags(
    images: str, flags: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(capsys, message, "classifier", images, "--out", str(tmp_path / "x.safetensors"), *flags)
    assert not list(tmp_path.iterdir())


def test_data_without_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.safetensors")
    fails(
        capsys,
        "must be uint8 images, got float32 latents",
        "classifier",
        write_latents(tmp_path),
        "--out",
        out,
    )
    pixels = np.load(write_images(tmp_path))["images"]
    for arrays, message in (
        ({"images": pixels}, "must have labels: a classifier learns them"),
        ({"images": pixels, "labels": np.full(40, 2)}, "must have images of two classes or more, got 1"),
        ({"images": pixels[:, :3, :3], "labels": np.arange(40) % 2}, "of at least 4 pixels, got 3"),
    ):
        np.savez(tmp_path / "wrong.npz", **arrays)
        fails(capsys, message, "classifier", str(tmp_path / "wrong.npz"), "--out", out)


# ---- Images that are not for it ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            np.zeros((2, 1, 9, 9), np.uint8),
            "must have the shape (n, 1, 8, 8) for the classifier of quadrants",
        ),
        (np.zeros((2, 3, 8, 8), np.uint8), "got (2, 3, 8, 8); `speediff classifier DATA` trains one"),
        (np.zeros((8, 8), np.uint8), "got (8, 8)"),
        (np.zeros((2, 1, 8, 8), np.float32), "images must be a uint8 array, got float32"),
        ([[0]], "images must be a uint8 array, got list"),
    ],
)
def test_other_images(trained: Trained, wrong: Any, message: str) -> None:
    for method in (trained.classifier.features, trained.classifier.logits):
        with pytest.raises(speediff.SpeeDiffError) as error:
            method(wrong)
        assert message in str(error.value)


# ---- Files ---------------------------------------------------------------------------------------


def test_a_file_holds_the_whole_classifier(saved: Path, trained: Trained, data: datasets.Dataset) -> None:
    read = classifier.load(str(saved))
    assert read.facts == trained.classifier.facts
    assert (read.features(data.values) == trained.classifier.features(data.values)).all()
    assert (read.logits(data.values) == trained.classifier.logits(data.values)).all()


def refused(path: Path, message: str) -> None:
    with pytest.raises(speediff.SpeeDiffValueError) as error:
        classifier.load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


NAMES = list(tensor_shapes(1, (32, 64, 64), 4))


@pytest.mark.parametrize("missing", NAMES)
def test_the_first_missing_tensor_is_named(saved: Path, trained: Trained, missing: str) -> None:
    kept = {name: trained.tensors[name] for name in NAMES[: NAMES.index(missing)]}
    classifier.save(saved, trained.classifier.facts, kept)
    refused(saved, f"the tensor {missing} is missing")


def test_a_file_of_another_program(saved: Path, trained: Trained) -> None:
    saved.write_bytes(safetensors.save({"x_embedder.proj.weight": torch.zeros(3)}))
    refused(saved, "that `speediff classifier` wrote: the tensor stages.0.weight is missing")
    saved.write_bytes(safetensors.save(trained.tensors))
    refused(saved, "its metadata has no 'speediff classifier'")
    for content in (b"", b"junk", b"\xff" * 100, saved.read_bytes()[:1000]):
        saved.write_bytes(content)
        refused(saved, "must be a file that `speediff classifier` wrote: ")
    refused(saved.parent, "must be a file, got a folder")
    with pytest.raises(FileNotFoundError):
        classifier.load("fashion_mnist")


def test_damaged_tensors(saved: Path, trained: Trained) -> None:
    facts = trained.classifier.facts
    bias = trained.tensors["stages.1.bias"]
    classifier.save(saved, facts, {**trained.tensors, "stages.1.bias": bias[:-1]})
    refused(saved, "stages.1.bias must have shape (64,), got (63,)")
    classifier.save(saved, facts, {**trained.tensors, "stages.1.bias": bias * torch.inf})
    refused(saved, "must hold finite numbers, got others in stages.1.bias")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"widths": []}, "widths must be 1 to 16 positive numbers, got ()"),
        ({"widths": [32, -64, 64]}, "widths must be 1 to 16 positive numbers"),
        ({"widths": [1] * 17}, "widths must be 1 to 16 positive numbers"),
        ({"size": 3}, "size must be enough for 3 stages, got 3"),
        ({"classes": ["one"]}, "classes must be two or more, got 1"),
        ({"mean": [1.0, 2.0]}, "mean must have a finite number per channel"),
        ({"std": [0.0]}, "std must be positive, got (0.0,)"),
        ({"std": ["wide"]}, "could not convert string to float"),
        ({"classes": 7}, "not iterable"),
        ({"size": None}, "must be a file that `speediff classifier` wrote"),
        ({"classes": list("abcde")}, "head.weight must have shape (5, 64), got (4, 64)"),
    ],
)
def test_damaged_facts(saved: Path, trained: Trained, changed: dict[str, Any], message: str) -> None:
    facts = {**dataclasses.asdict(trained.classifier.facts), **changed}
    saved.write_bytes(safetensors.save(trained.tensors, {classifier.KEY: json.dumps(facts)}))
    refused(saved, message)
    del facts[next(iter(changed))]
    saved.write_bytes(safetensors.save(trained.tensors, {classifier.KEY: json.dumps(facts)}))
    refused(saved, f"no '{next(iter(changed))}'")


# ---- The package's own weights -------------------------------------------------------------------


@pytest.mark.parametrize("name", classifier.packaged())
def test_the_packages_weights_are_small(name: str) -> None:
    assert (classifier.PACKAGED / f"{name}.safetensors").stat().st_size < 400_000
    packaged = classifier.load(name)
    facts = packaged.facts
    assert packaged.dimension <= 128
    assert (facts.channels, facts.size) == {"fashion-mnist": (1, 28), "openclipart": (3, 32)}[name]
    blocks = np.random.default_rng(0).integers(0, 256, (200, facts.channels, 4, 4), np.uint8)
    images = blocks.repeat(facts.size // 4, axis=2).repeat(facts.size // 4, axis=3)
    assert (packaged.features(images).std(axis=0) > 0).mean() > 0.5
    assert facts.command.startswith(f"speediff classifier {name} ")
    assert name in packaged.label


@needs_fashion_mnist
def test_the_weights_for_fashion_mnist() -> None:
    packaged = classifier.load("fashion-mnist")
    test = datasets.load_test("fashion-mnist")
    assert test is not None
    part = test.part(slice(0, 2000))
    right = packaged.logits(part.values).argmax(axis=1) == part.labels
    assert right.mean() == pytest.approx(packaged.facts.accuracy, abs=0.02)
    assert packaged.facts.accuracy >= 0.9
    assert packaged.classes == test.class_names
    # A covariance of 1,000 images is far from singular, though the features have 64 dimensions.
    eigenvalues = np.linalg.eigvalsh(np.cov(packaged.features(part.values[:1000]).T.astype(np.float64)))
    assert eigenvalues[0] > 1e-5 * eigenvalues[-1]


@pytest.mark.long
@pytest.mark.parametrize("name", classifier.packaged())
def test_the_command_makes_the_packages_weights(name: str, tmp_path: Path) -> None:
    if not SOURCES[name].is_dir():
        pytest.skip(f"the Debian package of {name} is not installed")
    packaged, test = classifier.load(name), datasets.load_test(name)
    assert test is not None
    assert packaged.classes == test.class_names
    assert packaged.facts.test_images == len(test)
    right = packaged.logits(test.values).argmax(axis=1) == test.labels
    assert right.mean() == pytest.approx(packaged.facts.accuracy, abs=0.003)
    out = tmp_path / "made.safetensors"
    assert main([*packaged.facts.command.split()[1:], "--out", str(out)]) == 0
    # Another processor or PyTorch rounds otherwise.
    assert classifier.load(out).facts.accuracy == pytest.approx(packaged.facts.accuracy, abs=LEEWAY[name])


@pytest.mark.checkout
def test_a_wheel_would_hold_the_weights() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["speediff"]
    held = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert held >= set(classifier.PACKAGED.iterdir()) != set()
