# SPDX-License-Identifier: GPL-2.0-only
"""A stack frame with its places in the sources: what symbols.py finds and the reports show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A function and a line in it. ``file`` is relative to the tree, ``line`` counts from 1."""

    function: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file or ""
        return f"{self.function} at {where}" if where else self.function


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame of a report's stack."""

    text: str
    """As the kernel printed it: ``function+0x1d/0x40 [module]``."""
    places: tuple[Place, ...] = ()
    """Innermost inlined call first, the function that the symbol names last; empty when not resolved."""
