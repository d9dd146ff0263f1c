"""How near generated images are to real ones: `speediff.evaluate`, and its result.

    result = speediff.evaluate("samples/", "fashion-mnist", features="classifier")
    result = speediff.evaluate(images, "fashion-mnist")     # uint8 (n, c, h, w) of any pipeline
    result["fd"], result.floor["fd"]
    print(result)

It needs PyTorch: `pip install 'speediff[evaluate]'`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ._support import extras
from ._support.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ._data.raw import Labels
    from .training import Trainer

    Source = str | os.PathLike[str] | Any

TITLES = {
    "kid": "KID",
    "is": "Inception Score",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "class accuracy",
    "clip_score": "CLIP score",
}
"""How a value is printed; "fd" by the name that its extractor gives it."""
OF_FEATURES = ("kid", "is", "precision", "recall")
"""Values that mean nothing without the name of the extractor."""
SPREADS = {"kid": "kid_std", "is": "is_std"}
"""Values with a standard deviation."""


@dataclass(frozen=True)
class Evaluation:
    """Numbers, and what stood behind them. `print` shows all of it; `to_dict` is plain JSON."""

    values: dict[str, float]
    """Of `fd`, `kid`, `kid_std`, `is`, `is_std`, `precision`, `recall`, `accuracy` and `clip_score`."""
    floor: dict[str, float]
    """The same of real images; empty if none are known."""
    what: str
    """What was evaluated."""
    n: int
    """The number of its images."""
    against: str
    """What it was compared with."""
    reference_n: int
    """The number of those images; 0 if a file of statistics does not tell."""
    floor_what: str
    """Which real images were measured against which, for the floor."""
    floor_n: int
    """The number of images that were measured for the floor."""
    extractor: str
    """The network and its weights."""
    distance_name: str
    """The name of `fd`: FID for one network only."""
    resize: str
    """How images were brought to the network's size."""
    dimension: int
    """The length of a feature."""
    seed: int
    """The seed of all random choices."""
    settings: dict[str, Any] = field(default_factory=dict)
    """How KID, the Inception Score, and precision and recall were computed, and how images were generated."""

    def __getitem__(self, name: str) -> float:
        """A value by its name."""
        return self.values[name]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {"speediff": __version__, **asdict(self)}

    def __str__(self) -> str:
        """A table for a terminal."""
        lines = [
            f"{self.what}: {self.n} images",
            f"against {self.against}: {self.reference_n or 'an unknown number of'} images",
            f"features: {self.extractor}; resize: {self.resize}; {self.dimension} numbers",
            "",
        ]
        rows = [("", f"{self.n} images", f"floor, {self.floor_n}" if self.floor else "floor")]
        for name in self.values:
            if name not in SPREADS.values():
                title = self.distance_name if name == "fd" else TITLES[name]
                if name in OF_FEATURES:
                    title += self.distance_name.removeprefix("FID").removeprefix("FD")
                rows.append((title, _number(name, self.values), _number(name, self.floor)))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            cells = [row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2))]
            lines.append("  ".join(cells).rstrip())
        lines += ["", f"floor: {self.floor_what}"]
        lines += [f"{name}: {value}" for name, value in self.settings.items()]
        return "\n".join([*lines, f"seed: {self.seed}"])


def _number(name: str, values: Mapping[str, float]) -> str:
    if name not in values:
        return "–"
    text = f"{values[name]:.5f}" if name in ("kid", "clip_score") else f"{values[name]:.3f}"
    spread = SPREADS.get(name)
    if spread is None:
        return text
    return f"{text} ± {values[spread]:.5f}" if name == "kid" else f"{text} ± {values[spread]:.3f}"


def evaluate(
    what: Source | Trainer,
    against: Source,
    *,
    features: str = "classifier",
    measures: Sequence[str] | None = None,
    n: int | None = None,
    labels: Labels | None = None,
    captions: Sequence[str] | None = None,
    input_size: int | None = None,
    reference_images: int | None = None,
    statistics: str | os.PathLike[str] | None = None,
    kid_subsets: int = 100,
    kid_subset_size: int = 1000,
    seed: int = 0,
    **generation: Any,
) -> Evaluation:
    """Compares images with real ones: Fréchet distance, KID, and what else is possible.

    torch-fidelity computes all numbers but the class accuracy and the CLIP score, which is the mean cosine
    of CLIP's embeddings of each image and its caption.

    Args:
        what: Images, uint8 (n, c, h, w) with c = 1 or 3; a folder of pictures, a .npy or .npz file; or a
            checkpoint, or a `Trainer`, which generates them.
        against: The real images: DATA as for `speediff train`, an array as above, or a .npz file of
            statistics with mu and sigma. With `features="features=FILE.npy"`, a .npy file of their features.
        features: The extractor: `classifier`, `classifier=FILE`, `efficientnet-lite0`, `inception=FILE.pth`,
            `clip=FOLDER`, `dinov2=FILE.pth` or `features=FILE.npy`.
        measures: Of `fd`, `kid`, `is`, `prc`, `accuracy`, `clip_score`. None: all that are possible.
        n: The number of images. None: all, or 1000 if they are generated.
        labels: The class that each image should show, int64 (n,). None: as in the data.
        captions: What each image should show, n texts. None: the names of the classes.
        input_size: Pictures of folders are center-cropped and scaled to this size.
        reference_images: Use at most this many real images. None: all.
        statistics: Also write mu and sigma of the real images to this .npz file.
        kid_subsets: The number of KID's subsets.
        kid_subset_size: Their size, or that of the smaller set if it has less.
        seed: Of KID's subsets and of all choices; and the seed of generated image 0, image i has seed + i.
        generation: For a checkpoint or a trainer: `steps` (50), `method` ("ddim"), `eta` (0), `cfg_scale`
            (1), `ema` (True), `clip` (True) and `progress` (True), as in `Trainer.generate`.

    Raises:
        SpeeDiffError: If an argument is invalid, images do not fit each other or the extractor, a file is not
            what its name says, or a package is missing. All of this is checked before the work.
        SpeeDiffNonFiniteError: If generated images are not finite: the training has diverged.
        OSError: If a file cannot be read or written.
    """
    module: Any = extras.load_own("torch._evaluation.evaluating", "evaluate", install=extras.EVALUATE)
    result: Evaluation = module.evaluate(
        what,
        against,
        features=features,
        measures=measures,
        n=n,
        labels=labels,
        captions=captions,
        input_size=input_size,
        reference_images=reference_images,
        statistics=statistics,
        kid_subsets=kid_subsets,
        kid_subset_size=kid_subset_size,
        seed=seed,
        generation=generation,
    )
    return result
