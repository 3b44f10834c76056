# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of a console become lines: whole ones, without the prefixes that printk and the wire put on them.

What is understood: ``<4>`` (console_msg_format=syslog), ``[    1.234567]``, ``[   T12]`` or ``[    C0]``
(PRINTK_CALLER), ANSI colours, carriage returns, bytes that are not UTF-8, something glued in front of
the time stamp, and printk's own notes about messages it dropped or replays (kernel/printk/printk.c,
``info_print_prefix`` and ``console_prepend_message``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LONGEST_LINE: Final = 4096
"""Bytes kept of one line; printk's own limit is 1024 (PRINTKRB_RECORD_MAX)."""

_PREFIX: Final = re.compile(
    r"(?:<(?P<level>\d{1,3})>)?"
    r"(?:\[ *(?P<time>\d{1,9}\.\d{6})\])?"
    r"(?: ?\[ *(?P<caller>[TC]\d{1,10})\])?"
)
_TIME: Final = re.compile(r"(?:<\d{1,3}>)?\[ *\d{1,9}\.\d{6}\]")
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_DROPPED: Final = re.compile(r"\*\* (\d+) printk messages dropped \*\* ?")
_REPLAY: Final = "** replaying previous printk message **"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a console. ``number`` counts from 1 in the log as it arrived."""

    number: int
    raw: str
    """The line with its prefixes, without colours and control characters."""
    text: str
    """The line without its prefixes; leading blanks of a stack frame are kept."""
    caller: str
    """``T12`` (task), ``C0`` (interrupt on a CPU), or empty without PRINTK_CALLER."""
    stamped: bool
    """It carries a time stamp or a caller: it came through printk."""
    from_user: bool
    """It was written to /dev/kmsg (a facility other than the kernel's; only seen with ``<level>``)."""
    dropped: int = 0
    """How many messages printk said it had dropped just before."""


class LineSplitter:
    """Cuts chunks of bytes into lines; the result does not depend on where the chunks were cut."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines completed by ``chunk``, without their line ends."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._keep(chunk[start:end])
            yield bytes(self._tail)
            self._tail.clear()
            start = end + 1
        self._keep(chunk[start:])

    def finish(self) -> Iterator[bytes]:
        """The last line, when the log does not end with a line end."""
        if self._tail:
            yield bytes(self._tail)
            self._tail.clear()

    def _keep(self, piece: bytes) -> None:
        self._tail += piece[: LONGEST_LINE - len(self._tail)]


def clean(raw: bytes) -> str:
    """Text that can be matched and shown: decoded, without colours and control characters."""
    text = raw.decode("utf-8", "backslashreplace")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub("", text)


def parse_line(number: int, raw: bytes) -> Line:
    """Take one line apart."""
    shown = clean(raw)
    rest = shown
    dropped = 0
    if "printk messages dropped" in rest:
        dropped = sum(int(count) for count in _DROPPED.findall(rest))
        rest = _DROPPED.sub("", rest)
    prefix = _PREFIX.match(rest)
    if (prefix is None or prefix["time"] is None) and (glued := _TIME.search(rest)):
        rest = rest[glued.start() :]
        prefix = _PREFIX.match(rest)
    assert prefix is not None  # every part of it is optional
    stamped = prefix["time"] is not None or prefix["caller"] is not None
    text = rest[prefix.end() :]
    if stamped and text.startswith(" "):
        text = text[1:]
    level = prefix["level"]
    return Line(
        number=number,
        raw=shown,
        text=text,
        caller=prefix["caller"] or "",
        stamped=stamped,
        from_user=level is not None and int(level) >> 3 != 0,
        dropped=dropped,
    )


class Replay:
    """Joins what printk says twice when a panicking CPU takes the console over in the middle of a line.

    The note can stand on a line of its own or be glued to the half that was printed already; either
    way the message that follows is complete, so the half before the note is let go.
    """

    def __init__(self) -> None:
        self._held: Line | None = None
        self.is_noted = False
        """The next line is a replay of the one before."""

    def feed(self, line: Line) -> Line | None:
        """The line that is now certain, if any; always one behind."""
        if _REPLAY in line.raw:
            if line.raw.strip() == _REPLAY:
                self.is_noted = True
                return None
            before, self._held = self._held, None
            return before
        before, self._held = self._held, line
        if self.is_noted and before is not None and line.raw.startswith(before.raw):
            before = None
        self.is_noted = False
        return before

    def finish(self) -> Line | None:
        """The last line."""
        last, self._held = self._held, None
        return last


def tail_lines(console: bytes, most: int = 10) -> tuple[str, ...]:
    """The last lines of a console that say anything, without prefixes: what a person looks at first."""
    texts = (parse_line(1, raw).text.rstrip() for raw in console[-most * LONGEST_LINE :].split(b"\n"))
    return tuple([text for text in texts if text][-most:])
