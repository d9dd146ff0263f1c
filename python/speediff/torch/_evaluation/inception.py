"""The Inception network of the standard FID, as torch-fidelity has it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import SpeeDiffValueError
from . import metrics, weights
from .extractor import Extractor, in_batches, in_color

if TYPE_CHECKING:
    from .extractor import Bytes, Floats

FEATURES, LOGITS = "2048", "logits_unbiased"
"""torch-fidelity's names of the layers of FID and of the Inception Score."""


class Inception(Extractor):
    """InceptionV3 of 2015-12-05, which FID is defined by."""

    name = "Inception"
    resize = "bilinear to 299×299, as in TensorFlow 1"
    dimension = 2048
    has_logits = True

    def __init__(self, network: Any, path: str) -> None:
        """Takes torch-fidelity's extractor, and the file of its weights."""
        self._network = network
        self.label = f"InceptionV3 of {path}"

    @property
    def distance_name(self) -> str:
        """FID, as the Fréchet distance is called with this network and no other."""
        return "FID"

    def features(self, images: Bytes) -> Floats:
        """The output of the last pooling, (n, 2048)."""
        return self._layers(images, FEATURES)

    def logits(self, images: Bytes) -> Floats:
        """The output of the last layer without its bias, (n, 1008)."""
        return self._layers(images, LOGITS)

    def both(self, images: Bytes) -> tuple[Floats, Floats]:
        """Features and logits of one pass."""
        found = self._layers(images, FEATURES, LOGITS)
        return np.ascontiguousarray(found[:, : self.dimension]), found[:, self.dimension :]

    def _layers(self, images: Bytes, *layers: str) -> Floats:
        self._network.features_list = [*layers]
        return in_batches(
            lambda part: torch.cat(self._network(in_color(part)), dim=1), images, "Inception features"
        )


def load(path: str | None) -> Inception:
    """The network with the weights in a file.

    Args:
        path: `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity, or
            `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid.

    Raises:
        SpeeDiffValueError: If there is no path.
        SpeeDiffFileError: If the file holds anything else.
    """
    if path is None:
        raise SpeeDiffValueError(
            "--features must be inception=FILE.pth, with the weights of the standard FID, got inception"
        )
    module = metrics.library("torch_fidelity.feature_extractor_inceptionv3", "inception")
    state, file = weights.read(path), path

    class Checked(module.FeatureExtractorInceptionV3):  # type: ignore[misc, name-defined]
        """Takes the tensors that were read above: torch-fidelity's own reading runs code in the file."""

        def load_state_dict(self, *_: object, **__: object) -> None:
            weights.fill(self, state, file, "the Inception weights of the standard FID")

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    network = Checked("inception-v3-compat", [FEATURES], feature_extractor_weights_path=nothing)
    return Inception(network, path)
