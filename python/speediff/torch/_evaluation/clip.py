"""A user's CLIP in transformers' format: image features, and the CLIP score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..._support import extras
from ..._support.reading import reading
from ...errors import SpeeDiffFileError, SpeeDiffValueError
from .extractor import Extractor, in_batches
from .pillow_resize import in_color

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from .extractor import Bytes, Floats

WHAT = "a folder with a CLIP that transformers saved"


class CLIP(Extractor):
    """The embedding of an image, before it is divided by its length."""

    name = "CLIP"

    def __init__(self, model: Any, processor: Any, tokenizer: Any, path: str) -> None:
        """Takes the parts that transformers loads."""
        self._model, self._processor, self._tokenizer = model, processor, tokenizer
        self.dimension = model.config.projection_dim
        size = model.config.vision_config.image_size
        self.resize = f"the folder's own, to {size}×{size}"
        self.label = f"CLIP of {path}"

    def features(self, images: Bytes) -> Floats:
        """The image embeddings, (n, projection_dim)."""
        return in_batches(self._images, images, "CLIP features")

    def cosines(self, features: Floats, captions: Sequence[str]) -> np.ndarray[Any, Any]:
        """The cosine of each image's embedding with its caption's, (n,)."""
        seen: dict[str, Any] = {}
        for caption in captions:  # Captions of classes repeat.
            if caption not in seen:
                seen[caption] = self._caption(caption)
        texts = torch.stack([seen[caption] for caption in captions])
        found: np.ndarray[Any, Any] = torch.cosine_similarity(torch.from_numpy(features), texts).numpy()
        return found

    def _images(self, images: torch.Tensor) -> Any:
        pixels = self._processor(images=list(in_color(images.numpy())), return_tensors="pt")["pixel_values"]
        return self._model.visual_projection(self._model.vision_model(pixels).pooler_output)

    @torch.inference_mode()
    def _caption(self, caption: str) -> Any:
        tokens = self._tokenizer([caption], truncation=True, return_tensors="pt")
        return self._model.text_projection(self._model.text_model(**tokens).pooler_output)[0]


def load(path: str | None) -> CLIP:
    """The CLIP in a folder. Nothing is downloaded.

    Raises:
        SpeeDiffValueError: If there is no path.
        SpeeDiffFileError: If the folder holds anything else.
    """
    if path is None:
        raise SpeeDiffValueError("--features must be clip=FOLDER, with a CLIP of transformers, got clip")
    if not (Path(path) / "config.json").is_file():
        raise SpeeDiffFileError(f"{path} must be {WHAT}, got no config.json in it")
    library = extras.load("transformers", "clip", install=extras.EVALUATE)
    with reading(path, WHAT):
        options: dict[str, Any] = {"local_files_only": True}
        model, told = library.CLIPModel.from_pretrained(path, output_loading_info=True, **options)
        processor = library.CLIPImageProcessor.from_pretrained(path, **options)
        tokenizer = library.CLIPTokenizer.from_pretrained(path, **options)
    # transformers would go on with random values.
    for name in sorted(map(str, told["missing_keys"])):
        raise SpeeDiffFileError(f"{path} must be {WHAT}, got one without {name}")
    return CLIP(model.eval().requires_grad_(False), processor, tokenizer, path)
