"""The MDT of sail-sg/MDT: the oracle's network with the label embedder and the attributes of its authors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import official_dit
import reference_mdt

if TYPE_CHECKING:
    from torch import Tensor


class LabelEmbedder(official_dit.LabelEmbedder):
    def forward(self, labels: Tensor, train: bool = False) -> Tensor:
        return super().forward(labels, train)


class MDT(reference_mdt.MDT):
    """Version 1. The tokens that the masked pass keeps are given, instead of `enable_mask`."""

    version = 1

    def __init__(
        self,
        num_heads: int,
        mask_ratio: float | None,
        decode_layer: int,
        num_classes: int = 10,
        class_dropout_prob: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(
            num_heads=num_heads,
            version=self.version,
            decode_layer=decode_layer,
            num_classes=num_classes,
            **options,
        )
        self.y_embedder = LabelEmbedder(num_classes, self.pos_embed.shape[2], class_dropout_prob)
        self.num_heads, self.mask_ratio, self.decode_layer = num_heads, mask_ratio, decode_layer
        self.mask_token.requires_grad_(mask_ratio is not None)


class MDTv2(MDT):
    version = 2
