"""The oracle's MDT: its names, where it is a DiT by construction, and what a mask hides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_dit import DiT
from reference_mdt import MDT, RelativePositions, load
from reference_mdt_training import kept_tokens
from tiny_mdt import DATA, KEPT, LABELS, SHAPE, TOKENS, VERSIONS, T, X, create

# ---- Names ---------------------------------------------------------------------------------------


def block_names(name: str, skips: bool = False) -> dict[str, tuple[int, ...]]:
    """Eight numbers a token, two heads, sixteen in the MLP; tables of 7² differences and 3."""
    shapes = {
        "attn.qkv.weight": (24, 8),
        "attn.qkv.bias": (24,),
        "attn.proj.weight": (8, 8),
        "attn.proj.bias": (8,),
        "attn.rel_pos_bias.relative_position_bias_table": (52, 2),
        "attn.rel_pos_bias.relative_position_index": (16, 16),
        "mlp.fc1.weight": (16, 8),
        "mlp.fc1.bias": (16,),
        "mlp.fc2.weight": (8, 16),
        "mlp.fc2.bias": (8,),
        "adaLN_modulation.1.weight": (48, 8),
        "adaLN_modulation.1.bias": (48,),
    }
    if skips:
        shapes |= {"skip_linear.weight": (8, 16), "skip_linear.bias": (8,)}
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


FIRST = {
    "pos_embed": (1, 16, 8),
    "decoder_pos_embed": (1, 16, 8),
    "mask_token": (1, 1, 8),
    "x_embedder.proj.weight": (8, 3, 2, 2),
    "x_embedder.proj.bias": (8,),
    "t_embedder.mlp.0.weight": (8, 256),
    "t_embedder.mlp.0.bias": (8,),
    "t_embedder.mlp.2.weight": (8, 8),
    "t_embedder.mlp.2.bias": (8,),
    "y_embedder.embedding_table.weight": (6, 8),
}
LAST = {
    **block_names("sideblocks.0"),
    "final_layer.linear.weight": (24, 8),
    "final_layer.linear.bias": (24,),
    "final_layer.adaLN_modulation.1.weight": (16, 8),
    "final_layer.adaLN_modulation.1.bias": (16,),
}
MIDDLE = {
    1: block_names("blocks.0") | block_names("blocks.1") | block_names("blocks.2"),
    2: {
        **block_names("en_inblocks.0"),
        **block_names("en_inblocks.1"),
        **block_names("en_outblocks.0", True),
        **block_names("en_outblocks.1", True),
        **block_names("de_blocks.0", True),
        **block_names("de_blocks.1", True),
    },
}


@pytest.mark.parametrize("version", VERSIONS)
def test_names_shapes_and_order_are_the_official_ones(version: int) -> None:
    state = create(version).state_dict()
    expected = {**FIRST, **MIDDLE[version], **LAST}
    assert [(name, tuple(value.shape)) for name, value in state.items()] == list(expected.items())
    integers = {name for name, value in state.items() if value.dtype == torch.int64}
    assert integers == {name for name in state if name.endswith("relative_position_index")}


def test_the_index_of_relative_positions_is_that_of_the_authors() -> None:
    """Of four tokens on a grid of 2×2: three times the rows between them, and the columns, from 0."""
    index = RelativePositions(2, 1).relative_position_index
    assert index.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_a_state_dict_loads_with_and_without_the_indices() -> None:
    source = {name: value.numpy() for name, value in create(2).float().state_dict().items()}
    floats = {name: value for name, value in source.items() if value.dtype == np.float32}
    for arrays in (source, floats):
        model = MDT(**SHAPE, **DATA, **VERSIONS[2])
        load(model, arrays)
        assert all((value.numpy() == source[name]).all() for name, value in model.state_dict().items())
    name = "de_blocks.0.attn.rel_pos_bias.relative_position_index"
    for wrong in ({**source, name: source[name].T}, {**floats, "more": floats["mask_token"]}):
        with pytest.raises(AssertionError):
            load(model, wrong)


# ---- A DiT by construction -----------------------------------------------------------------------


def as_dit(model: MDT, blocks: list[str], decoder_places: bool) -> DiT:
    """The DiT of these blocks of an MDT."""
    result, state = DiT(depth=len(blocks), **SHAPE, **DATA), model.state_dict()
    names = {name: name for name in result.state_dict()}
    for number, block in enumerate(blocks):
        lead = f"blocks.{number}."
        names |= {name: f"{block}.{name[len(lead) :]}" for name in names if name.startswith(lead)}
    weights = {name: state[source] for name, source in names.items()}
    if decoder_places:
        weights["pos_embed"] = weights["pos_embed"] + state["decoder_pos_embed"]
    result.double().load_state_dict(weights)
    return result


def without_relative_positions(model: MDT) -> MDT:
    for name, parameter in model.named_parameters():
        if name.endswith("bias_table"):
            parameter.data.zero_()
    return model


def skip_only(model: MDT, *blocks: str) -> MDT:
    """These blocks begin with the tokens that skip to them, and all others with those of the block before."""
    for name, module in model.named_modules():
        if name.endswith("skip_linear"):
            half = torch.eye(8)
            parts = [0 * half, half] if name.rpartition(".")[0] in blocks else [half, 0 * half]
            module.weight.data[...] = torch.cat(parts, dim=1)
            module.bias.data.zero_()
    return model


IN, OUT, DECODER = ([f"{name}.0", f"{name}.1"] for name in ("en_inblocks", "en_outblocks", "de_blocks"))


def test_version_1_that_tells_no_places_apart_is_a_dit() -> None:
    model = without_relative_positions(create(1))
    model.decoder_pos_embed.data.zero_()
    expected = as_dit(model, ["blocks.0", "blocks.1", "blocks.2"], False)(X, T, LABELS)
    torch.testing.assert_close(model(X, T, LABELS), expected, rtol=0, atol=1e-12)


def test_version_1_with_no_encoder_adds_the_decoders_places_first() -> None:
    model = without_relative_positions(create(1, decode_layer=3))
    expected = as_dit(model, ["blocks.0", "blocks.1", "blocks.2"], True)(X, T, LABELS)
    torch.testing.assert_close(model(X, T, LABELS), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("skipped_to", "blocks"),
    [
        ([], [*IN, *OUT, *DECODER]),
        (OUT[:1], [*IN, *OUT, *DECODER]),
        (OUT[1:], [IN[0], OUT[1], *DECODER]),
        (DECODER[:1], DECODER),
        (DECODER[1:], DECODER[1:]),
        (DECODER, DECODER[1:]),
    ],
)
def test_version_2_skips_from_the_matching_block_and_from_the_embedded_image(
    skipped_to: list[str], blocks: list[str]
) -> None:
    """The last input block's tokens are those that the first output block is given anyway."""
    model = skip_only(without_relative_positions(create(2)), *skipped_to)
    model.decoder_pos_embed.data.zero_()
    expected = as_dit(model, blocks, False)(X, T, LABELS)
    torch.testing.assert_close(model(X, T, LABELS), expected, rtol=0, atol=1e-12)


# ---- The mask ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_keeping_all_tokens_in_any_order_is_the_full_pass(version: int) -> None:
    model, everything = create(version), torch.from_numpy(kept_tokens(1, 2, 3, 4, TOKENS, TOKENS))
    assert not (everything == torch.arange(TOKENS)).all(dim=1).any()
    torch.testing.assert_close(model(X, T, LABELS, everything), model(X, T, LABELS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_encoder_that_is_given_nothing_leaves_mask_tokens(version: int) -> None:
    model, changed = create(version), create(version)
    for name, parameter in changed.named_parameters():
        if name.startswith(("en_", "blocks.0", "blocks.1")):
            parameter.data += 1
    outputs = [m(X, T, LABELS, KEPT[:, :0]) for m in (model, changed)]
    assert torch.equal(*outputs)
    assert outputs[0].isfinite().all()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_order_of_the_tokens_kept_does_not_matter(version: int) -> None:
    model = create(version)
    output = model(X, T, LABELS, KEPT)
    torch.testing.assert_close(model(X, T, LABELS, KEPT.flip(1)), output, rtol=0, atol=1e-12)
    assert (model(X, T, LABELS, KEPT[:, 1:]) - output).abs().amax() > 1e-3
    assert (model(X, T, LABELS) - output).abs().amax() > 1e-3


@pytest.mark.parametrize("version", VERSIONS)
def test_the_encoder_sees_nothing_of_the_tokens_masked(version: int) -> None:
    """MDTv2's decoder would: its blocks skip from the embedded image, of which nothing is masked."""
    model, changed = create(version), X.clone()
    for image, tokens in zip(changed, KEPT.tolist(), strict=True):
        for token in set(range(TOKENS)) - set(tokens):
            row, column = divmod(token, 4)
            image[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 1
    if version == 2:
        assert not torch.equal(model(changed, T, LABELS, KEPT), model(X, T, LABELS, KEPT))
        for block in model.de_blocks:
            block.skip_linear.weight.data[:, 8:] = 0
    assert torch.equal(model(changed, T, LABELS, KEPT), model(X, T, LABELS, KEPT))
    assert not torch.equal(model(changed, T, LABELS), model(X, T, LABELS))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_encoder_of_a_part_is_that_of_all_with_the_masked_keys_left_out(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create(version)
    embedded = model.x_embedder(X) + model.pos_embed
    c = model.t_embedder(T) + model.y_embedder(LABELS)
    part = model.encode(embedded.gather(1, model.rows(KEPT)), c, KEPT)
    hidden = torch.full((4, TOKENS), -math.inf).scatter(1, KEPT, 0)[:, None, None, :]
    forward = RelativePositions.forward
    monkeypatch.setattr(RelativePositions, "forward", lambda self, kept: forward(self, kept) + hidden)
    whole = model.encode(embedded, c, None)
    torch.testing.assert_close(part, whole.gather(1, model.rows(KEPT)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_side_block_changes_the_tokens_masked_alone(version: int) -> None:
    model = create(version)
    x, c = model.x_embedder(X)[:, :10], model.t_embedder(T)
    tokens = model.interpolate(x, c, KEPT)
    expected = x + model.decoder_pos_embed.expand(4, -1, -1).gather(1, model.rows(KEPT))
    assert torch.equal(tokens.gather(1, model.rows(KEPT)), expected)
    before = (model.mask_token + model.decoder_pos_embed).expand(4, -1, -1)
    before = before.scatter(1, model.rows(KEPT), expected)
    masked = torch.ones(4, TOKENS).scatter(1, KEPT, 0).bool()
    assert torch.equal(tokens[masked], model.sideblocks[0](before, c)[masked])
