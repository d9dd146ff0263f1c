"""The CLIP score of named emoji, with a tiny CLIP in transformers' format."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from evaluation_sets import Projection, dataset, images, torch
from running_examples import EXAMPLES

import speediff
from speediff.torch._evaluation.extractors import extractor
from speediff.torch._evaluation.instrument import Instrument
from speediff.torch._evaluation.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

transformers = pytest.importorskip("transformers")

NAMES = ("grinning face", "red heart", "dog face", "grinning face")
SIZE = 32


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights, and a tokenizer of letters."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    shape: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
                             "num_attention_heads": 2}  # fmt: skip
    text = {
        **shape,
        "vocab_size": len(tokens),
        "bos_token_id": len(tokens) - 2,
        "eos_token_id": len(tokens) - 1,
    }
    vision = {**shape, "image_size": SIZE, "patch_size": 8}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(folder)
    options: dict[str, Any] = {"size": {"shortest_edge": SIZE}, "crop_size": SIZE}
    transformers.CLIPImageProcessor(**options).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def emoji() -> Any:
    """Pictures of `NAMES`, uint8 (n, 3, h, w)."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(EXAMPLES)
    example: Any = pytest.importorskip("train_text_to_image")
    monkeypatch.undo()
    if not (example.FONT.exists() and example.NAMES.exists()):
        pytest.skip("needs the Debian packages fonts-noto-color-emoji and unicode-data")
    return example.render(example.named_emoji()[name] for name in NAMES)


def test_the_clip_score_is_the_mean_cosine_of_emoji_and_their_names(clip: Path, emoji: Any) -> None:
    """CLIP's own logits are its temperature times the cosines."""
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.CLIPImageProcessor.from_pretrained(clip)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(clip)
    pixels = processor(images=list(emoji.transpose(0, 2, 3, 1)), return_tensors="pt")
    tokens = tokenizer(list(NAMES), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**tokens, **pixels).logits_per_image / model.logit_scale.exp()
    expected = logits.diagonal().mean().item()
    network = extractor(f"clip={clip}")
    instrument = Instrument(Reference.of_features(network.features(emoji)), None, network, ("clip_score",))
    found = instrument.measure(emoji, captions=NAMES)
    assert found["clip_score"] == pytest.approx(expected, abs=1e-5)
    assert len(set(logits.diagonal().tolist())) > 1


def test_class_names_are_the_captions_of_real_images(clip: Path) -> None:
    real, test = (dataset(20, seed, channels=3, size=16) for seed in (0, 1))
    instrument = Instrument(real, test, extractor(f"clip={clip}"), ("clip_score", "fd"))
    floor = instrument.floor(9)
    assert floor is not None
    assert -1 <= floor.values["clip_score"] <= 1
    unnamed = Instrument(real, test.without_labels(), extractor(f"clip={clip}"), ("clip_score", "fd"))
    assert unnamed.floor(9).values.keys() == {"fd"}  # type: ignore[union-attr]


def test_what_the_clip_score_lacks_is_named(clip: Path, tmp_path: Path) -> None:
    real = dataset(20, 0, channels=3, size=16)
    with pytest.raises(
        speediff.SpeeDiffValueError, match="measure clip_score needs the extractor clip=FOLDER"
    ):
        Instrument(real, None, Projection(), ("clip_score",))
    instrument = Instrument(real, None, extractor(f"clip={clip}"), ("clip_score",))
    with pytest.raises(speediff.SpeeDiffValueError, match="captions must be given for the CLIP score"):
        instrument.measure(images(3, 0, channels=3, size=16))
    shutil.copytree(clip, tmp_path / "part")
    safetensors = pytest.importorskip("safetensors.torch")
    state = safetensors.load_file(tmp_path / "part" / "model.safetensors")
    del state["text_projection.weight"]
    safetensors.save_file(state, tmp_path / "part" / "model.safetensors", {"format": "pt"})
    with pytest.raises(speediff.SpeeDiffFileError, match=r"got one without text_projection.weight"):
        extractor(f"clip={tmp_path / 'part'}")
    with pytest.raises(speediff.SpeeDiffFileError, match=r"got no config.json in it"):
        extractor(f"clip={tmp_path}")
