"""The small U-Net of the examples on 28 x 28 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers import UNet2DModel

if TYPE_CHECKING:
    from torch import Tensor, nn


def small_unet(
    channels: int, *, in_channels: int = 1, out_channels: int = 1, classes: int = 0
) -> UNet2DModel:
    """A U-Net of three levels, 28, 14 and 7 pixels wide, with attention at the lowest.

    It has no dropout: a training step's randomness is all in its batch.

    Args:
        channels: At the highest level; two and four times as many below. A multiple of 8.
        in_channels: Of the images it sees.
        out_channels: Of what it predicts.
        classes: How many there are; the label after the last stands for "no class given". 0: it
            takes no labels.
    """
    return UNet2DModel(
        sample_size=28,
        in_channels=in_channels,
        out_channels=out_channels,
        block_out_channels=(channels, 2 * channels, 4 * channels),
        down_block_types=("DownBlock2D",) * 3,  # attention is in the block between down and up
        up_block_types=("UpBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=16,
        num_class_embeds=classes + 1 if classes else None,
    )


def predict(network: nn.Module, x_t: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
    """What ``network`` predicts for ``x_t``; t in [0, 1000], as the embedding of time expects."""
    prediction: Tensor = network(x_t, t, class_labels=labels, return_dict=False)[0]
    return prediction
