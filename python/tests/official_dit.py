"""The DiT of facebookresearch/DiT: the oracle's network with the label embedder of its authors.

Built and initialized as `models.py` does it: adaLN-Zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import reference_dit
import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class LabelEmbedder(nn.Module):
    """Drops labels in training."""

    def __init__(self, num_classes: int, hidden_size: int, dropout_prob: float) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + (dropout_prob > 0), hidden_size)
        self.num_classes, self.dropout_prob = num_classes, dropout_prob

    def forward(self, labels: Tensor, train: bool) -> Tensor:
        if train and self.dropout_prob > 0:
            dropped = torch.rand(len(labels)) < self.dropout_prob
            labels = torch.where(dropped, self.num_classes, labels)
        return self.embedding_table(labels)


class DiT(reference_dit.DiT):
    """x_t (n, c, h, w), t (n,) and labels (n,) to (n, c or 2c, h, w)."""

    def __init__(
        self,
        input_size: int = 32,
        patch_size: int = 2,
        in_channels: int = 4,
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        class_dropout_prob: float = 0.1,
        num_classes: int = 1000,
        learn_sigma: bool = True,
    ) -> None:
        data: dict[str, Any] = {
            "input_size": input_size, "in_channels": in_channels, "num_classes": num_classes,
            "learn_sigma": learn_sigma,
        }  # fmt: skip
        super().__init__(hidden_size, depth, num_heads, patch_size, mlp_ratio, **data)
        self.y_embedder = LabelEmbedder(num_classes, hidden_size, class_dropout_prob)
        self.initialize_weights()

    def initialize_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        weight = self.x_embedder.proj.weight.data
        nn.init.xavier_uniform_(weight.view(len(weight), -1))
        for table in (self.y_embedder.embedding_table, self.t_embedder.mlp[0], self.t_embedder.mlp[2]):
            nn.init.normal_(table.weight, std=0.02)
        for last in (*(block.adaLN_modulation[-1] for block in self.blocks), self.final_layer.linear):
            nn.init.zeros_(last.weight)
        nn.init.zeros_(self.final_layer.adaLN_modulation[-1].weight)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        x = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t) + self.y_embedder(y, self.training)
        for block in self.blocks:
            x = block(x, c)
        return self.unpatchify(self.final_layer(x, c))
