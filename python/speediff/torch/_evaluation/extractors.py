"""Feature extractors by name.

extractor("classifier")               a small classifier of Fashion-MNIST
extractor("classifier=FILE")          one that you trained
extractor("efficientnet-lite0")       from its package
extractor("inception=FILE.pth")       the weights of the standard FID
extractor("clip=FOLDER")              a CLIP in transformers' format
extractor("dinov2=FILE.pth")          DINOv2's ViT-L/14
extractor("features=FILE.npy")        features that another program extracted
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ...errors import SpeeDiffValueError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .extractor import Extractor

MODULES = {
    "classifier": "classified",
    "efficientnet-lite0": "efficientnet",
    "inception": "inception",
    "clip": "clip",
    "dinov2": "dinov2",
    "features": "saved_features",
}
"""The module of each extractor. Its function `load` takes the text after the equals sign, or None."""


def extractor(text: str) -> Extractor:
    """The extractor that a text describes, as NAME or NAME=PATH.

    Raises:
        SpeeDiffValueError: If the name is unknown, or the file is not what its name says.
        SpeeDiffError: If a package is missing; the error says how to install it.
        OSError: If a file cannot be read.
    """
    name, has_path, path = text.partition("=")
    if name not in MODULES:
        raise unknown_name("--features", name, MODULES)
    if has_path and not path:
        raise SpeeDiffValueError(f"--features must be NAME or NAME=PATH, got {text!r}")
    module: Any = importlib.import_module(f".{MODULES[name]}", __package__)
    load: Callable[[str | None], Extractor] = module.load
    return load(path or None)
