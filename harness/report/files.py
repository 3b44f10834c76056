# SPDX-License-Identifier: GPL-2.0-only
"""Files that are there whole or not at all, and text from a guest made harmless."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Final

from harness.errors import InfrastructureError

LONGEST_TEXT: Final = 2000
"""Characters of a guest's text that a report shows of one message."""

# Everything that XML 1.0 forbids and that can move a terminal's cursor; tab and newline stay.
_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def write_atomically(path: Path, data: str) -> None:
    """Write ``data`` as UTF-8 beside ``path`` and rename it into place.

    Raises :class:`InfrastructureError` when the folder cannot be written.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise InfrastructureError(f"cannot write {path}: {error.strerror or error}") from error


def harmless(text: str, longest: int = LONGEST_TEXT) -> str:
    """Guest text for a terminal or a file: control characters shown as ``\\x1b``, not too long."""
    shown = _HARMFUL.sub(_spelled, text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def _spelled(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
