# SPDX-License-Identifier: GPL-2.0-only
"""Whole blocks of a log that cannot matter, found without looking at their lines.

A block is quiet when it holds none of the words that could begin a report, a mark or a note of printk.
Skipping a quiet block changes nothing but the time it takes: when in doubt it is not quiet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.judge.headers import HEADERS
from harness.judge.kinds import Header

BLOCK: Final = 16 * 1024
"""Bytes looked at together: large enough to be fast, small enough that one word costs little."""

# What changes the parser's state without being a header: openers, printk's notes, marks.
_OTHERS: Final = ("cut here", "=" * 20, "printk messages dropped", "replaying previous", "harness: ")
_WORDS: Final = (*dict.fromkeys(needle for header in HEADERS for needle in header.needles), *_OTHERS)
# A word that contains another is found with it.
_SHORTEST: Final = [word for word in _WORDS if not any(one != word and one in word for one in _WORDS)]
_NEEDLES: Final = tuple(word.encode() for word in _SHORTEST)
# Characters that clean() takes out, and which could stand in the middle of a word.
_CONTROL: Final = bytes({*range(0x20), 0x7F} - set(b"\t\n\r"))

_BY_NEEDLE: Final[tuple[tuple[str, tuple[tuple[int, Header], ...]], ...]] = tuple(
    (word, tuple((place, header) for place, header in enumerate(HEADERS) if word in header.needles))
    for word in dict.fromkeys(needle for header in HEADERS for needle in header.needles)
)


def blocks(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """Whole lines of ``data[start:end]``, about :data:`BLOCK` bytes at a time."""
    while start < end:
        cut = end if end - start <= BLOCK else data.rfind(b"\n", start, start + BLOCK) + 1
        if cut <= start:  # a line longer than a block
            cut = data.index(b"\n", start) + 1
        yield data[start:cut]
        start = cut


def is_quiet(block: bytes) -> bool:
    """Nothing in these lines can matter to a parser that is between reports."""
    if any(needle in block for needle in _NEEDLES):
        return False
    if block.count(b"\r") != block.count(b"\r\n"):
        return False
    return len(block.translate(None, _CONTROL)) == len(block)


def candidates(text: str) -> list[Header]:
    """The headers that a line could be, in the order of their table."""
    if text.startswith(" "):  # a stack frame, or the inside of a table
        return []
    found = [pair for word, pairs in _BY_NEEDLE if word in text for pair in pairs]
    if len(found) > 1:
        found.sort(key=lambda pair: pair[0])
    return [header for _, header in found]
