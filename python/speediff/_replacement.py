"""Text files that are replaced as a whole: at every moment there is the old one or the new one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes a file, or puts it in the place of the one that is there.

    Raises:
        OSError: If it cannot be written; it names the file, and the old one stays.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)  # A full disk has none.
        raise
