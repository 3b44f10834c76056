# SPDX-License-Identifier: GPL-2.0-only
"""Lines that could matter, found without looking at lines.

Fragments of the words that begin a report, a mark or a note of printk are looked for in a whole piece of
a log; between reports every line without one is skipped. What begins with a capital or another rare
character is one pattern, because only such characters cost it time; the rest are searched one by one. A
fragment too many costs time, a missing one would cost a report: a test holds the headers against them.
"""

from __future__ import annotations

import re
from typing import Final

from harness.judge.headers import HEADERS
from harness.judge.kinds import Header

BLOCK: Final = 64 * 1024
"""Bytes looked at together."""

_CAPITALS: Final = (
    r"B(?:UG[: ]|ad (?:mode|swap))|W(?:ARNING: )|I(?:NFO: |nternal er|nsufficient st|nstruction bus)"
    r"|U(?:nable to |BSAN: |nhandled |nused swap)|O(?:ops|ut of mem|bjects rem|DEBUG: )|V(?:FS: )|C(?:FI f"
    r"|SD lock)"
    r"|K(?:ernel (?:pan|BUG|Fau|ins|bug|stack)|illed proc)|P(?:ANIC: |ower down)|L(?:OCKUP|inux version )"
    r"|M(?:issing E|emory cg|issed \d)|D(?:ivision by z|ecompression er|ata bus)|T(?:hread ov)"
    r"|S(?:lab c|Error|ynchronous |ystem halted|tarting new|ysRq)|R(?:e(?:starting sys|boot|setting))"
    r"|\*\* (?:\d|repl)"
    r"|#\d+\]"
)
_WORDS: Final = (
    "cut here",
    "=" * 20,
    " corruption",
    " double add",
    "refcount_t: ",
    "usercopy: ",
    "slab error in",
    " overwritten] 0x",
    "unreferenced object",
    "suspected memory leak",
    "unregister_netdevice: ",
    ": bad p",
    "pagealloc: s",
    "panicked at ",
    "invoked oom-killer",
    " allocation f",
    "page allocation stalls",
    ": vmalloc ",
    "harness: ",
    "huh, entered softirq",
)
_HOT: Final = re.compile(_CAPITALS)

_BY_NEEDLE: Final[tuple[tuple[str, tuple[tuple[int, Header], ...]], ...]] = tuple(
    (word, tuple((place, header) for place, header in enumerate(HEADERS) if word in header.needles))
    for word in dict.fromkeys(needle for header in HEADERS for needle in header.needles)
)


def hot_lines(text: str) -> list[int]:
    """Where in ``text`` the lines begin that could matter to a parser that is between reports."""
    found: set[int] = set()
    search, rfind, find = _HOT.search, text.rfind, text.find
    place = 0
    while (match := search(text, place)) is not None:
        at = match.start()
        found.add(rfind("\n", 0, at) + 1)
        place = find("\n", at)
    for word in _WORDS:
        at = find(word)
        while at >= 0:
            found.add(rfind("\n", 0, at) + 1)
            at = find(word, find("\n", at))
    return sorted(found)


def candidates(text: str) -> list[Header]:
    """The headers that a line could be, in the order of their table."""
    found = [pair for word, pairs in _BY_NEEDLE if word in text for pair in pairs]
    if len(found) > 1:
        found.sort(key=lambda pair: pair[0])
    return [header for _, header in found]
