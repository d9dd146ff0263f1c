"""Small classifiers by name or file: safetensors, float16, with the facts as JSON in the metadata."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..._support import extras, replacement
from ..._support.reading import check_regular, reading
from ...errors import SpeeDiffValueError
from .classifier_network import Classifier, Facts, names_of_stage, tensor_shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    Tensors = Mapping[str, torch.Tensor]

KEY = "speediff classifier"
"""The key of the facts. There is one only: safetensors writes several in random order."""
WHAT = "a file that `speediff classifier` wrote"
PACKAGED = Path(__file__).with_name("weights")
ENDING = ".safetensors"
STORED = torch.float16
"""Half the size, and no class changes: the accuracy is that of the stored weights."""
LARGEST = 1 << 30
"""Bytes of a file that can be read. Classifiers have less than a megabyte."""


def packaged() -> list[str]:
    """The names of the classifiers that the package has."""
    return sorted(path.stem for path in PACKAGED.glob(f"*{ENDING}"))


def load(source: str | os.PathLike[str]) -> Classifier:
    """Reads a classifier.

    Args:
        source: The name of one that the package has, such as `fashion-mnist`, or a file that
            `speediff classifier` wrote.

    Raises:
        SpeeDiffValueError: If the file is something else. The error names the first missing tensor.
        SpeeDiffError: If safetensors is missing; the error says how to install it.
        OSError: If the file cannot be read.
    """
    path = PACKAGED / f"{source}{ENDING}" if source in packaged() else Path(source)
    library = _library()
    check_regular(path)
    if path.stat().st_size > LARGEST:
        raise SpeeDiffValueError(f"{path} must be {WHAT}, got {path.stat().st_size} bytes")
    with reading(path, WHAT), library.safe_open(str(path), "pt") as file:
        # One by one: a file of another program may hold more than the memory.
        facts = _facts(path, (file.metadata() or {}).get(KEY), set(file.keys()))
        tensors = {}
        for name, shape in _shapes(facts).items():
            _check_present(path, name, file.keys())
            if tuple(file.get_slice(name).get_shape()) != shape:
                got = tuple(file.get_slice(name).get_shape())
                raise SpeeDiffValueError(f"{path} must be {WHAT}: {name} must have shape {shape}, got {got}")
            tensors[name] = file.get_tensor(name).float()
            if not torch.isfinite(tensors[name]).all():
                raise SpeeDiffValueError(f"{path} must hold finite numbers, got others in {name}")
    return Classifier(facts, tensors)


def rounded(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors as a file holds them."""
    return {name: tensor.detach().to(STORED).contiguous() for name, tensor in tensors.items()}


def save(path: Path, facts: Facts, tensors: Tensors) -> None:
    """Writes a classifier, replacing an existing file."""
    text = json.dumps(dataclasses.asdict(facts), ensure_ascii=False)
    replacement.replace_bytes(path, _library("safetensors.torch").save(rounded(tensors), {KEY: text}))


def _library(module: str = "safetensors") -> Any:
    return extras.load(module, "a classifier", install=extras.EVALUATE)


def _facts(path: Path, text: str | None, names: set[str]) -> Facts:
    """Parses and checks the facts."""
    if text is None:
        _check_present(path, names_of_stage(0)[0], names)
        raise SpeeDiffValueError(f"{path} must be {WHAT}: its metadata has no {KEY!r}")
    facts = Facts.parse(json.loads(text))
    fault = facts.fault()
    if fault:
        raise SpeeDiffValueError(f"{path} must be {WHAT}: {fault}")
    return facts


def _shapes(facts: Facts) -> dict[str, tuple[int, ...]]:
    return tensor_shapes(facts.channels, facts.widths, len(facts.classes))


def _check_present(path: Path, name: str, names: Any) -> None:
    if name not in names:
        raise SpeeDiffValueError(f"{path} must be {WHAT}: the tensor {name} is missing")
