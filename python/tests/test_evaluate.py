"""`speediff.evaluate`: arrays, folders, checkpoints and statistics, and what it refuses before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from evaluation_sets import Projection, images
from PIL import Image

import speediff
from speediff._trainer import sample_sets
from speediff.torch._evaluation import evaluating, metrics, statistics_files

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def projection(monkeypatch: pytest.MonkeyPatch) -> Projection:
    """Stands for every extractor that a text names."""
    network = Projection()
    make = evaluating.make_extractor
    monkeypatch.setattr(evaluating, "make_extractor", lambda text: make(text) if "=" in text else network)
    return network


@pytest.fixture
def real(tmp_path: Path) -> str:
    """60 labelled images in a .npz file."""
    labels = np.random.default_rng(0).integers(0, 3, 60)
    np.savez(tmp_path / "real.npz", images=images(60, 0), labels=labels)
    return str(tmp_path / "real.npz")


def save_pictures(folder: Path, batch: Array) -> None:
    folder.mkdir(parents=True)
    for index, image in enumerate(batch):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")


@pytest.fixture
def trainer() -> speediff.Trainer:
    sampler = speediff.TimestepSampler(speediff.NoiseSchedule.linear(30), seed=0)
    return speediff.Trainer(
        speediff.DiT(16, 1, 2, 2), sampler, input_size=8, in_channels=1, num_classes=3, seed=0, threads=1
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_pictures_is_measured_as_the_array(channels: int, tmp_path: Path) -> None:
    made, real = images(30, 1, channels=channels), images(60, 0, channels=channels)
    save_pictures(tmp_path / "made", made)
    save_pictures(tmp_path / "real", real)
    np.save(tmp_path / "made.npy", made)
    options: Any = {"kid_subsets": 5, "kid_subset_size": 20}
    of_arrays = speediff.evaluate(made, real, **options)
    of_folders = speediff.evaluate(tmp_path / "made", str(tmp_path / "real"), **options)
    of_files = speediff.evaluate(str(tmp_path / "made.npy"), real, **options)
    assert of_arrays.values == of_folders.values == of_files.values
    assert of_arrays.floor == of_folders.floor
    assert of_arrays.values.keys() == {"fd", "kid", "kid_std", "is", "is_std", "precision", "recall"}


def test_the_result_says_what_stood_behind_each_number(real: str) -> None:
    result = speediff.evaluate(images(40, 1), real, labels=np.arange(40) % 3, kid_subset_size=25, seed=4)
    text = str(result)
    for part in (
        "an array: 40 images",
        f"against {real}: 60 images",
        "features: a random projection; resize: none; 6 numbers",
        "floor, 30",
        "FD (projection)",
        "KID (projection)",
        "Inception Score (projection)",
        "class accuracy",
        "floor: one half of the reference against the other half, 30 images",
        "KID: 100 random subsets of 25 images",
        "Inception Score: 4 splits",
        "precision, recall: 3 nearest neighbors, 40 images of the reference",
        "seed: 4",
    ):
        assert part in text
    assert "FID" not in text
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["values"]["fd"] == result["fd"]


def test_a_trainer_generates_the_images_and_their_classes(trainer: speediff.Trainer, real: str) -> None:
    result = speediff.evaluate(trainer, real, n=12, steps=3, cfg_scale=1.5, seed=7)
    like = np.load(real)["labels"]
    labels = sample_sets.labels_like(like, 3, 12)
    made = trainer.generate(labels, steps=3, method="ddim", cfg_scale=1.5, clip=True, seed=7)
    pixels = np.rint((made.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    expected = speediff.evaluate(pixels, real, labels=labels, seed=7)
    assert result.values == expected.values
    assert result.n == 12
    assert result.what == "a trainer at step 0"
    assert result.settings["images"] == "ddim, 3 steps, guidance 1.5, x₀ clipped, EMA weights, seeds 7 to 18"


def test_a_checkpoint_is_evaluated_as_its_trainer(
    trainer: speediff.Trainer, real: str, tmp_path: Path
) -> None:
    trainer.save(tmp_path / "run.safetensors")
    of_file = speediff.evaluate(tmp_path / "run.safetensors", real, n=9, steps=2)
    assert of_file.values == speediff.evaluate(trainer, real, n=9, steps=2).values
    assert of_file.what == f"{tmp_path / 'run.safetensors'} at step 0"


def test_labels_have_the_proportions_of_others() -> None:
    like = np.array([2, 0, 0, 1, 0, 0])
    labels = sample_sets.labels_like(like, 3, 12)
    assert labels is not None
    assert labels.tolist() == [0] * 8 + [1] * 2 + [2] * 2
    assert sample_sets.labels_like(like, None, 12) is None
    equal = sample_sets.labels_like(None, 3, 7)
    assert equal is not None
    assert np.bincount(equal).max() - np.bincount(equal).min() <= 1


def test_a_diverged_network_is_named(trainer: speediff.Trainer, real: str) -> None:
    trainer.flat_parameters[:] = np.nan
    message = r"samples must be finite, got 5 of 5 images that are not: the training has diverged by step 0"
    with pytest.raises(speediff.SpeeDiffNonFiniteError, match=message):
        speediff.evaluate(trainer, real, n=5, steps=2, ema=False)


def test_saved_statistics_give_the_same_distance_and_floor(real: str, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    first = speediff.evaluate(images(40, 1), real, statistics=path)
    again = speediff.evaluate(images(40, 1), path)
    assert again.values == {**{"fd": first["fd"]}, "is": first["is"], "is_std": first["is_std"]}
    assert again.floor == {"fd": first.floor["fd"]}
    assert (again.reference_n, again.floor_n, again.against) == (60, first.floor_n, real)
    assert again.floor_what == first.floor_what


def test_statistics_of_another_program_are_read(real: str, tmp_path: Path) -> None:
    """mu and sigma in float64, as pytorch-fid writes them."""
    features = Projection().features(np.load(real)["images"]).astype(np.float64)
    np.savez(tmp_path / "fid.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    result = speediff.evaluate(images(40, 1), tmp_path / "fid.npz", measures=["fd"])
    assert result["fd"] == pytest.approx(speediff.evaluate(images(40, 1), real)["fd"], rel=1e-5)
    assert result.floor == {}
    assert "floor: unknown: there are no real images to measure" in str(result)
    assert "an unknown number of images" in str(result)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"mu": np.zeros(5), "sigma": np.eye(5)},
            "must hold statistics of 6 numbers, as a random projection",
        ),
        ({"mu": np.zeros(6), "sigma": np.eye(5)}, r"mu \(d,\) and sigma \(d, d\), got \(6,\) and \(5, 5\)"),
        ({"mu": np.full(6, np.nan), "sigma": np.eye(6)}, "must hold mu as finite float32 or float64"),
        (
            {"mu": np.zeros(6, int), "sigma": np.eye(6)},
            "must hold mu as finite float32 or float64, got int64",
        ),
        (
            {"mu": np.zeros(6), "sigma": np.eye(6), "about": np.array('{"extractor": "InceptionV3"}')},
            "must hold statistics of a random projection, got those of InceptionV3",
        ),
        ({"mu": np.zeros(6), "sigma": np.eye(6), "about": np.array("?")}, "must be a file with mu and sigma"),
    ],
)
def test_statistics_of_something_else_are_refused(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "statistics.npz", **content)
    with pytest.raises(speediff.SpeeDiffValueError, match=message):
        speediff.evaluate(images(40, 1), tmp_path / "statistics.npz")


def test_features_of_another_program_stand_for_images(real: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    mine, theirs = (generator.standard_normal((n, 5)) for n in (60, 70))
    np.save(tmp_path / "mine.npy", mine)
    np.save(tmp_path / "theirs.npy", theirs)
    features = f"features={tmp_path / 'mine.npy'}"
    result = speediff.evaluate(real, tmp_path / "theirs.npy", features=features)
    expected = metrics.frechet_distance(metrics.statistics(mine), metrics.statistics(theirs))
    assert result["fd"] == expected
    np.save(tmp_path / "theirs.npy", theirs[:, :4])
    with pytest.raises(speediff.SpeeDiffValueError, match=r"must hold features of 5 numbers.*got 4"):
        speediff.evaluate(real, tmp_path / "theirs.npy", features=features)


class TestRefusals:
    """What is refused before any feature is extracted."""

    @pytest.fixture(autouse=True)
    def _no_work(self, projection: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> Any:
            raise AssertionError("features were extracted")

        monkeypatch.setattr(projection, "features", refuse)
        monkeypatch.setattr(sample_sets, "generate", refuse)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"what": images(1, 0)}, "an array must have at least 2 images, got 1"),
            (
                {"what": images(9, 0, size=9)},
                "an array must have images of 1×8×8 .*, as .*real.npz has, got 1×9×9",
            ),
            ({"what": images(9, 0, channels=3)}, "must have images of 1×8×8 .*, got 3×8×8"),
            (
                {"what": images(9, 0) / 255},
                "what must be a name, a path, or a uint8 array of images, got float64",
            ),
            ({"what": images(9, 0)[:, 0]}, r"what must have the shape \(n, c, h, w\) with c = 1 or 3"),
            ({"n": 1}, "n must be at least 2, got 1"),
            ({"n": 10}, "n must be at most 9, the number of images, got 10"),
            ({"steps": 5}, "steps applies only to a checkpoint or a trainer, got an array"),
            ({"measures": ["fid"]}, "measures must be one of .*, got 'fid'"),
            ({"measures": []}, "measures must be at least one, got none"),
            ({"measures": ["accuracy"]}, "labels must be given for the accuracy of an array"),
            ({"measures": ["clip_score"]}, "captions must be given for the CLIP score of an array"),
            ({"captions": ["a", "b"]}, "captions must be one for each of 9 images, got 2"),
            ({"labels": np.zeros(8, int)}, r"labels must be 9 integers, one per image, got int64 \(8,\)"),
            ({"labels": np.zeros(9)}, "labels must be 9 integers, one per image, got float64"),
            ({"labels": np.full(9, 3)}, r"labels must be in \[0, 3\), got 3 for image 0"),
            ({"labels": np.arange(9) - 1}, r"labels must be in \[0, 3\), got -1 for image 0"),
            ({"seed": -1}, "seed must be at least 0, got -1"),
            ({"kid_subset_size": 1}, "kid_subset_size must be at least 2, got 1"),
            ({"reference_images": 1}, "reference_images must be at least 2, got 1"),
        ],
    )
    def test_arguments(self, arguments: dict[str, Any], message: str, real: str) -> None:
        with pytest.raises(speediff.SpeeDiffError, match=message):
            speediff.evaluate(**{"what": images(9, 0), "against": real, **arguments})

    def test_unknown_arguments(self, real: str) -> None:
        with pytest.raises(speediff.SpeeDiffTypeError, match="evaluate got an unknown argument 'step'"):
            speediff.evaluate(images(9, 0), real, step=5)

    def test_features_of_another_number_of_images(
        self, trainer: speediff.Trainer, real: str, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "mine.npy", np.zeros((60, 5)))
        features = f"features={tmp_path / 'mine.npy'}"
        for what in (trainer, images(59, 0)):
            with pytest.raises(speediff.SpeeDiffValueError, match=r"must have a row for each of .*, got 60"):
                speediff.evaluate(what, tmp_path / "mine.npy", features=features)
        with pytest.raises(speediff.SpeeDiffValueError, match=r"against must be a .npy file of features"):
            speediff.evaluate(images(60, 0), images(60, 0), features=features)
        with pytest.raises(speediff.SpeeDiffError, match=r"real.npz must be a whole file that numpy.save"):
            speediff.evaluate(images(60, 0), real, features=features)

    def test_latents(self, tmp_path: Path, real: str) -> None:
        np.save(tmp_path / "latents.npy", np.zeros((9, 4, 8, 8), np.float32))
        with pytest.raises(speediff.SpeeDiffTypeError, match="must be uint8 images, got float32 latents"):
            speediff.evaluate(tmp_path / "latents.npy", real)
        with pytest.raises(speediff.SpeeDiffTypeError, match="the reference must be uint8 images"):
            speediff.evaluate(images(9, 0), tmp_path / "latents.npy")

    def test_pictures_of_several_sizes(self, tmp_path: Path, real: str) -> None:
        save_pictures(tmp_path / "made", images(3, 0))
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "made" / "x.png")
        with pytest.raises(speediff.SpeeDiffValueError, match="where pictures have different sizes, got 8×8"):
            speediff.evaluate(tmp_path / "made", real)

    def test_a_network_of_another_size(self, trainer: speediff.Trainer) -> None:
        message = "a trainer at step 0 must have images of 1×9×9 .*, as an array has, got 1×8×8"
        with pytest.raises(speediff.SpeeDiffValueError, match=message):
            speediff.evaluate(trainer, images(9, 0, size=9))

    def test_a_network_of_latents(self, real: str) -> None:
        sampler = speediff.TimestepSampler(speediff.NoiseSchedule.linear(30), seed=0)
        network = speediff.DiT(16, 1, 2, 2)
        with (
            speediff.Trainer(network, sampler, input_size=8, in_channels=4, threads=1) as trainer,
            pytest.raises(speediff.SpeeDiffValueError, match="images of 1 or 3 channels, got 4"),
        ):
            speediff.evaluate(trainer, real)

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            (None, "labels must be given for the accuracy"),
            (4, "needs a classifier of the classes of a trainer"),
        ],
    )
    def test_the_accuracy_of_a_network_with_other_classes(
        self, classes: int | None, message: str, real: str
    ) -> None:
        sampler = speediff.TimestepSampler(speediff.NoiseSchedule.linear(30), seed=0)
        data: Any = {"input_size": 8, "in_channels": 1, "num_classes": classes}
        with (
            speediff.Trainer(speediff.DiT(16, 1, 2, 2), sampler, threads=1, **data) as trainer,
            pytest.raises(speediff.SpeeDiffValueError, match=message),
        ):
            speediff.evaluate(trainer, real, measures=["accuracy"])

    def test_labels_beside_a_network(self, trainer: speediff.Trainer, real: str) -> None:
        with pytest.raises(speediff.SpeeDiffValueError, match="labels must be left out"):
            speediff.evaluate(trainer, real, labels=np.zeros(1000, int))

    @pytest.mark.parametrize("module", ["torch_fidelity", "tqdm"])
    def test_a_missing_package(self, module: str, real: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(speediff.SpeeDiffError, match=f"needs {module}.*pip install"):
            speediff.evaluate(images(9, 0), real)


def test_without_pytorch_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = None; import speediff; speediff.evaluate('a', 'b')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SpeeDiffError: evaluate needs torch" in run.stderr
    assert "[evaluate]'" in run.stderr


def test_importing_the_package_imports_no_pytorch() -> None:
    code = "import sys, speediff; speediff.evaluate; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_archive_of_images_is_not_one_of_statistics(real: str, tmp_path: Path) -> None:
    from pathlib import Path

    assert not statistics_files.is_one(Path(real))
    assert not statistics_files.is_one(tmp_path)
