"""Named colour emoji: pictures from the Noto font, names from the Unicode character database.

Both are Debian packages, so that images with captions need no download: about 1,370 emoji of one
code point each, such as "red heart", "delivery truck" and "cat face".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from data import Images

if TYPE_CHECKING:
    from collections.abc import Sequence

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian: fonts-noto-color-emoji
NAMES = Path("/usr/share/unicode/emoji/emoji-test.txt")  # Debian: unicode-data
SIZE = 32
_BITMAP_SIZE = 109  # the only size that the font has: a colour font of bitmaps cannot be scaled

# What an example draws in the end. The first are in the training, the others are not: the network
# knows "red heart" and "green book", but has never seen the two together.
SEEN = (
    "red heart", "blue heart", "yellow heart", "orange square", "green circle", "green apple",
    "grinning face", "cat face", "pizza", "delivery truck", "umbrella", "four leaf clover",
)  # fmt: skip
UNSEEN = (
    "green heart", "purple heart", "orange circle", "blue square", "yellow circle", "red apple",
    "blue book", "cat with wry smile",
)  # fmt: skip
_HELD_OUT_EVERY = 25  # for the validation loss


@dataclass(frozen=True)
class Emoji:
    """A name, its characters, and where the Unicode list has it, such as "Food & Drink"."""

    name: str
    text: str
    group: str


def missing_files() -> list[Path]:
    """What the Debian packages fonts-noto-color-emoji and unicode-data have not brought."""
    return [path for path in (FONT, NAMES) if not path.is_file()]


def named_emoji(path: Path = NAMES) -> list[Emoji]:
    """Every emoji that is one code point, in the order of the list.

    The others are flags, keycaps, and persons in several skin tones, hair styles and pairs: two
    thirds of the list, and much alike at 32 by 32 pixels.
    """
    found, group = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        entry = re.match(r"([0-9A-F ]+?) *; fully-qualified +# \S+ E[\d.]+ (.+)", line)
        if entry is None:
            continue
        text = "".join(chr(int(code, 16)) for code in entry[1].split())
        if len(text.removesuffix("\ufe0f")) == 1:  # U+FE0F only asks for colour
            found.append(Emoji(entry[2], text, group))
    return found


def is_held_out(place: int, emoji: Emoji) -> bool:
    """Whether validation has it rather than training; ``place`` is that in the whole list."""
    return emoji.name in UNSEEN or (place % _HELD_OUT_EVERY == 0 and emoji.name not in SEEN)


def render(emoji: Sequence[Emoji], size: int = SIZE) -> torch.Tensor:
    """Their pictures on white, uint8 (n, 3, size, size)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(FONT), _BITMAP_SIZE)
    pictures = np.empty((len(emoji), size, size, 3), np.uint8)
    for place, one in enumerate(emoji):
        left, top, right, bottom = font.getbbox(one.text)
        side = max(right - left, bottom - top)
        picture = Image.new("RGB", (side, side), "white")
        corner = ((side - right - left) // 2, (side - bottom - top) // 2)  # in the middle
        ImageDraw.Draw(picture).text(corner, one.text, font=font, embedded_color=True)
        pictures[place] = np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def split(emoji: Sequence[Emoji], size: int = SIZE) -> tuple[Images, Images]:
    """Images for training and for validation; their labels are places in ``emoji``."""
    pixels, held_out = render(emoji, size), [is_held_out(*pair) for pair in enumerate(emoji)]
    chosen = torch.tensor(held_out)
    places = torch.arange(len(emoji))
    return Images(pixels[~chosen], places[~chosen]), Images(pixels[chosen], places[chosen])
