"""Networks of diffusers with the weights of official ones, as diffusers' conversion script makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers import DiTTransformer2DModel

if TYPE_CHECKING:
    import official_dit
    from torch import Tensor


def converted(model: official_dit.DiT) -> DiTTransformer2DModel:
    """The same weights in diffusers; each block gets embedders of its own, all alike."""
    hidden, channels, patch, _ = model.x_embedder.proj.weight.shape
    heads = model.blocks[0].attn.num_heads
    result = DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=hidden // heads,
        in_channels=channels,
        out_channels=model.out_channels,
        num_layers=len(model.blocks),
        sample_size=model.side * patch,
        patch_size=patch,
        num_embeds_ada_norm=model.y_embedder.num_classes,
    )
    result.load_state_dict(renamed(model))
    return result


def renamed(model: official_dit.DiT) -> dict[str, Tensor]:
    """The state dict under the names of diffusers."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    result = {}
    for kind in ("weight", "bias"):
        result[f"pos_embed.proj.{kind}"] = state[f"x_embedder.proj.{kind}"]
        result[f"proj_out_1.{kind}"] = state[f"final_layer.adaLN_modulation.1.{kind}"]
        result[f"proj_out_2.{kind}"] = state[f"final_layer.linear.{kind}"]
        for i in range(len(model.blocks)):
            new, old = f"transformer_blocks.{i}.", f"blocks.{i}."
            embedder = f"{new}norm1.emb.timestep_embedder.linear_"
            result[f"{embedder}1.{kind}"] = state[f"t_embedder.mlp.0.{kind}"].clone()
            result[f"{embedder}2.{kind}"] = state[f"t_embedder.mlp.2.{kind}"].clone()
            result[f"{new}norm1.linear.{kind}"] = state[f"{old}adaLN_modulation.1.{kind}"]
            for letter, rows in zip("qkv", state[f"{old}attn.qkv.{kind}"].chunk(3), strict=True):
                result[f"{new}attn1.to_{letter}.{kind}"] = rows.clone()
            result[f"{new}attn1.to_out.0.{kind}"] = state[f"{old}attn.proj.{kind}"]
            result[f"{new}ff.net.0.proj.{kind}"] = state[f"{old}mlp.fc1.{kind}"]
            result[f"{new}ff.net.2.{kind}"] = state[f"{old}mlp.fc2.{kind}"]
    for i in range(len(model.blocks)):
        table = state["y_embedder.embedding_table.weight"].clone()
        result[f"transformer_blocks.{i}.norm1.emb.class_embedder.embedding_table.weight"] = table
    return result


def tied(model: DiTTransformer2DModel) -> DiTTransformer2DModel:
    """The module with one embedder for all blocks, as the official network has it."""
    for block in model.transformer_blocks:
        block.norm1.emb = model.transformer_blocks[0].norm1.emb
    return model


def predict(model: DiTTransformer2DModel, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return model(x, timestep=t, class_labels=y, return_dict=False)[0]
