"""Stand-ins for other trainers, with the patches of docs/migrate applied."""

from __future__ import annotations

import importlib
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from patches import apply_patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

PEERS = Path(__file__).parent / "peers"
PATCHES = Path(__file__).resolve().parents[2] / "docs" / "migrate"

PARTS = {
    "dit": {"dit": "."},
    "guided-diffusion": {"guided-diffusion": "."},
    "mdt": {"guided-diffusion/guided_diffusion": "masked_diffusion", "mdt": "."},
    "mdt-v1": {"guided-diffusion/guided_diffusion": "masked_diffusion", "mdt": ".", "mdt-v1": "."},
    "edm": {"edm": "."},
    "fdm": {"edm": ".", "fdm": "."},
    "speed": {"speed": "."},
    "diffusers-text-to-image": {"diffusers/examples/text_to_image": "examples/text_to_image"},
    "diffusers-sd3": {"diffusers/examples/dreambooth": "examples/dreambooth"},
    "sd-scripts": {"sd-scripts": "."},
    "sit": {"sit": "."},
}
"""Which folders of `peers` a stand-in is put together from: MDT and FDM derive from others."""

UNPATCHED = {
    name: {name: "."}
    for name in ("ai-toolkit", "anima", "denoising-diffusion-pytorch", "ltx-2", "musubi-tuner")
}
"""Those that lines of a user's own script are for."""

IN_MDT_2 = ("from adan import Adan\n", "from torch.distributed.optim import ZeroRedundancyOptimizer\n")
"""What version 1 of MDT does not import: by these lines a patch tells the versions apart."""


def put_together(name: str, root: Path) -> None:
    """The stand-in as it was before the patch."""
    for source, target in {**PARTS, **UNPATCHED}[name].items():
        shutil.copytree(PEERS / source, root / target, dirs_exist_ok=True)
    shutil.copy(PEERS / "toys.py", root)
    if name == "mdt-v1":
        loop = root / "masked_diffusion" / "train_util.py"
        text = loop.read_text()
        for line in IN_MDT_2:
            text = text.replace(line, "")
        # The optimizers of version 2 are not what differs here.
        text = text.replace("Adan(", "th.optim.AdamW(").replace(", ZeroRedundancyOptimizer", ", None")
        loop.write_text(text)


@contextmanager
def patched(
    name: str, root: Path, folder: str = ".", change: Callable[[str], str] | None = None
) -> Iterator[Callable[[str], ModuleType]]:
    """Imports modules of a patched stand-in, and forgets them at the end.

    Args:
        name: The patch's, or one of those without a patch.
        root: An empty folder.
        folder: Where its scripts lie.
        change: Changes the text of the patched files further.
    """
    put_together(name, root)
    if name in PARTS:
        apply_patch(PATCHES / f"{name}.patch", root)
    if change is not None:
        for file in root.glob("**/*.py"):
            file.write_text(change(file.read_text()))
    paths = [str(root / folder), str(root)]
    # Other modules of the same names, such as our own examples, stand aside meanwhile.
    names = {file.stem for path in paths for file in Path(path).iterdir()}
    aside = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}
    sys.path[:0] = paths
    importlib.invalidate_caches()
    try:
        yield importlib.import_module
    finally:
        for path in paths:
            sys.path.remove(path)
        for module, content in list(sys.modules.items()):
            if str(getattr(content, "__file__", None)).startswith(str(root)):
                del sys.modules[module]
        sys.modules.update(aside)


def batches(count: int, n: int) -> list[torch.Tensor]:
    """The same images every time."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 2, 4, 4, generator=generator) for _ in range(count)]


def close(actual: float, expected: torch.Tensor) -> None:
    """Two losses in float32."""
    assert actual == pytest.approx(expected.item(), rel=1e-6)
