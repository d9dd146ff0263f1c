"""DINOv2's ViT-L/14, prepared as in dgm-eval (Stein et al. 2023) and edm2 (Karras et al. 2024)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from ...errors import SpeeDiffFileError, SpeeDiffValueError
from . import metrics, weights
from .extractor import Extractor, in_batches
from .pillow_resize import resized

if TYPE_CHECKING:
    from .extractor import Bytes, Floats
    from .weights import State

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's colors."""
OFFSET = 0.1
"""DINOv2 scales positions to a size that is this much larger, and keeps those of the size itself."""


class Shape(NamedTuple):
    """A vision transformer. The defaults are ViT-L/14 at 224 pixels."""

    width: int = 1024
    depth: int = 24
    heads: int = 16
    patch: int = 14
    size: int = 224

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch


class DINOv2(Extractor):
    """The class token after the last normalization."""

    name = "DINOv2"

    def __init__(self, network: Any, shape: Shape, path: str) -> None:
        """Takes timm's network in inference mode."""
        self._network = network
        self._size = shape.size
        self.dimension = shape.width
        self.resize = f"Pillow's bicubic to {shape.size}×{shape.size}"
        self.label = f"DINOv2 ViT-L/{shape.patch} of {path}"

    def features(self, images: Bytes) -> Floats:
        """The class token, (n, 1024)."""
        return in_batches(self._forward, images, "DINOv2 features")

    def _forward(self, images: torch.Tensor) -> Any:
        x = torch.from_numpy(resized(images.numpy(), self._size)).float() / 255
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        return self._network((x - mean) / std)


def load(path: str | None, shape: Shape | None = None) -> DINOv2:
    """The network with the weights in a file.

    Args:
        path: `dinov2_vitl14_pretrain.pth` of DINOv2, or timm's `vit_large_patch14_dinov2`.
        shape: Another transformer, for tests.

    Raises:
        SpeeDiffValueError: If there is no path.
        SpeeDiffFileError: If the file holds anything else.
    """
    if path is None:
        raise SpeeDiffValueError(
            "--features must be dinov2=FILE.pth, with the weights of DINOv2's ViT-L/14, got dinov2"
        )
    timm = metrics.library("timm", "dinov2")
    shape = shape or Shape()
    state = weights.read(path)
    state.pop("mask_token", None)  # Used in training only.
    network = timm.create_model(
        "vit_large_patch14_dinov2",
        pretrained=False,
        num_classes=0,
        img_size=shape.size,
        patch_size=shape.patch,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
    )
    if "pos_embed" in state:
        state["pos_embed"] = _positions(state, shape, path)
    weights.fill(network, state, path, "the weights of DINOv2's ViT-L/14")
    return DINOv2(network.eval().requires_grad_(False), shape, path)


def _positions(state: State, shape: Shape, path: str) -> torch.Tensor:
    """The position embeddings for this grid: the bicubic interpolation that DINOv2 does in each pass."""
    given = state["pos_embed"]
    grid = math.isqrt(max(given.numel() // max(given.shape[-1], 1) - 1, 0))
    if given.shape != (1, 1 + grid**2, given.shape[-1]) or grid == 0:
        raise SpeeDiffFileError(
            f"{path} must hold pos_embed of shape (1, 1 + grid², width), got {tuple(given.shape)}"
        )
    if grid == shape.grid:
        return given
    table = given[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2).float()
    scale = (shape.grid + OFFSET) / grid
    table = F.interpolate(table, scale_factor=scale, mode="bicubic", antialias=False)
    return torch.cat((given[:, :1].float(), table.flatten(2).transpose(1, 2)), dim=1)
