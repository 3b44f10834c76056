# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of a console become lines: whole ones, without what printk, the wire and loggers put around them.

What printk itself writes is read here: ``<4>`` (console_msg_format=syslog), ``[    1.234567]``,
``[   T12]`` or ``[    C0]`` (PRINTK_CALLER), its notes about messages it dropped or replays
(kernel/printk/printk.c, ``info_print_prefix`` and ``console_prepend_message``), ANSI colours, carriage
returns and bytes that are not UTF-8. What dmesg(1), syslog and the journal write is in prefixes.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from harness.judge.prefixes import Wrapping, unwrap

LONGEST_LINE: Final = 4096
"""Bytes kept of one line; printk's own limit is 1024 (PRINTKRB_RECORD_MAX)."""

_PREFIX: Final = re.compile(
    r"(?:<(?P<level>\d{1,3})>)?"
    r"(?:\[ *(?P<time>\d{1,9}\.\d{6})\])?"
    r"(?: ?\[ *(?P<caller>[TC]\d{1,10})\])?"
)
# Behind the clock of an Android kernel: its CPU and its task, as each vendor likes it.
_VENDOR: Final = r"(?:[ .-]*\(\d+\)\[\d+:[^\]]*\]| *\[\d+: [^\]]{1,18}: *\d+\] |c\d+ +\d+ )"
USUAL: Final = re.compile(rf"\[ *\d{{1,9}}\.\d{{6}}\](?: ?\[ *([TC]\d{{1,10}})\])? ?{_VENDOR}?")
"""The prefix of nearly every line; its group is the caller."""
HOST_BEHIND: Final = re.compile(r"\] *[\w.-]+ kernel: ")
"""journalctl -o short-monotonic puts more behind what looks like the usual prefix."""
NOTHING: Final = re.compile("()")
"""The prefix of every line of a log without prefixes."""
_BEHIND: Final = re.compile(_VENDOR)
_TIME: Final = re.compile(r"(?:<\d{1,3}>)?\[ *\d{1,9}\.\d{6}\]")
_HOST: Final = re.compile(r"[\w.-]+ kernel: ?")
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\n\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_CONTROL_BYTES: Final = bytes({*range(0x20), 0x7F} - set(b"\t\n\r"))
_DROPPED: Final = re.compile(r"\*\* (\d+) printk messages dropped \*\* ?")
_MISSED: Final = re.compile(r"Missed (\d+) kernel messages")
REPLAY: Final = "** replaying previous printk message **"

STAMP_LIKE: Final = re.compile(
    r"\[ *\d{1,9}\.\d{6}|\[ *[TC]\d{1,10}\]|\d\d:\d\d|kernel:|[a-z] *:[a-z]+ *:|\[ *\+\d|\d,\d+,\d+,"
    r"|<\d{1,3}>|(?m:^>)"
)
"""What every line with a stamp has somewhere; other lines may have it too."""


class Line(NamedTuple):
    """One line of a console. ``number`` counts from 1 in the log as it arrived."""

    number: int
    raw: str
    """The line with its prefixes, without colours and control characters."""
    text: str
    """The line without its prefixes; leading blanks of a stack frame are kept."""
    caller: str
    """``T12`` (task), ``C0`` (interrupt on a CPU), or empty without PRINTK_CALLER."""
    stamped: bool
    """It carries a time stamp, a caller, or a logger's word that the kernel said it."""
    from_user: bool
    """A process said it: a facility other than the kernel's, or another name in a syslog."""
    dropped: int = 0
    """How many messages printk said it had dropped just before."""
    logged: bool = False
    """A logger (syslog, the journal) wrote it to a file that outlives a boot."""
    hot: bool = True
    """It has words that could begin a report (prefilter.py)."""


class WholeLines:
    """Cuts chunks of bytes into whole lines; the result does not depend on where the chunks were cut."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """All lines completed by ``chunk``, each with its line end and none longer than allowed."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._keep(chunk)
            return b""
        first = chunk.find(b"\n") + 1
        self._keep(chunk[: first - 1])
        whole = bytes(self._tail) + b"\n" + _shorten(chunk[first:end])
        self._tail.clear()
        self._keep(chunk[end:])
        return whole

    def finish(self) -> bytes:
        """The last line, when the log does not end with a line end."""
        last = bytes(self._tail) + b"\n" if self._tail else b""
        self._tail.clear()
        return last

    def _keep(self, piece: bytes) -> None:
        self._tail += piece[: LONGEST_LINE - len(self._tail)]


def _shorten(lines: bytes) -> bytes:
    if len(lines) <= LONGEST_LINE:
        return lines
    parts = lines.split(b"\n")
    if max(map(len, parts)) <= LONGEST_LINE:
        return lines
    return b"\n".join(part[:LONGEST_LINE] for part in parts)


def clean(raw: bytes) -> str:
    """Text that can be matched and shown: decoded, without colours and control characters but line ends."""
    text = raw.decode("utf-8", "backslashreplace")
    if "\r" in text:
        text = text.replace("\r", "")
    if len(raw.translate(None, _CONTROL_BYTES)) == len(raw):
        return text
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub("", text)


def parse_line(number: int, raw: bytes) -> Line:
    """Take one line apart."""
    return take_apart(number, clean(raw))


def take_apart(number: int, shown: str, hot: bool = True) -> Line:
    """Take one clean line apart."""
    usual = USUAL.match(shown)
    if usual is not None and not ("kernel: " in shown and HOST_BEHIND.search(shown)):
        return Line(number, shown, shown[usual.end() :], usual[1] or "", True, False, 0, False, hot)
    return _wrapped(number, shown, hot)


def is_bare(text: str) -> bool:
    """No line of ``text`` can have a prefix of any kind, or a note of printk."""
    return STAMP_LIKE.search(text) is None and "** " not in text and "Missed " not in text


def _wrapped(number: int, shown: str, hot: bool) -> Line:
    """A line that is not simply printk's: something stands in front of it, or it has no stamp at all."""
    rest = shown
    dropped = 0
    if "dropped **" in rest:
        dropped = sum(int(count) for count in _DROPPED.findall(rest))
        rest = _DROPPED.sub("", rest)
    elif "Missed " in rest:
        dropped = sum(int(count) for count in _MISSED.findall(rest))
    around = unwrap(rest) or Wrapping(rest)
    rest = around.text
    prefix = _PREFIX.match(rest)
    if (prefix is None or prefix["time"] is None) and (glued := _TIME.search(rest)):
        rest = rest[glued.start() :]
        prefix = _PREFIX.match(rest)
    assert prefix is not None
    stamped = prefix["time"] is not None or prefix["caller"] is not None
    text = rest[prefix.end() :]
    if stamped and text.startswith(" "):
        text = text[1:]
    if prefix["time"] is not None and (host := _HOST.match(text)):
        text = text[host.end() :]
    if prefix["time"] is not None and (vendor := _BEHIND.match(text)):
        text = text[vendor.end() :]
    level = prefix["level"]
    return Line(
        number=number,
        raw=shown,
        text=text,
        caller=prefix["caller"] or around.caller,
        stamped=stamped or around.stamped,
        from_user=around.from_user or (level is not None and int(level) > 7),
        dropped=dropped,
        logged=around.logged,
        hot=hot,
    )


class Replay:
    """Joins what printk says twice when a panicking CPU takes the console over in the middle of a line.

    The note can stand on a line of its own or be glued to the half that was printed already; either
    way the message that follows is complete, so the half before the note is let go.
    """

    def __init__(self) -> None:
        self._held: Line | None = None
        self._is_noted = False
        self._noted_at = 0

    def repeats(self, first: Line, line: Line) -> bool:
        """``line`` is ``first`` once more, with a note in between: of a message of several lines."""
        return first.number < self._noted_at < line.number and line.raw == first.raw

    @property
    def is_busy(self) -> bool:
        """There is a line that is not certain yet, or a note about the next."""
        return self._held is not None or self._is_noted

    def feed(self, line: Line) -> Line | None:
        """The line that is now certain, if any; always one behind."""
        before = self._held
        if REPLAY in line.raw:
            self._noted_at = line.number
            if line.raw.strip() == REPLAY:
                self._is_noted = True
                return None
            self._held = None
            return before
        self._held = line
        if self._is_noted:
            self._is_noted = False
            if before is not None and line.raw.startswith(before.raw):
                return None
        return before

    def finish(self) -> Line | None:
        """The last line; nothing while a note waits for the line it is about."""
        if self._is_noted:
            return None
        last, self._held = self._held, None
        return last

    def release(self) -> Line | None:
        """The last line, whatever waits: there is nothing more to come."""
        self._is_noted = False
        return self.finish()


def first_stamped(text: str) -> int | None:
    """Where the first line with a time stamp begins."""
    place = 0
    while (match := STAMP_LIKE.search(text, place)) is not None:
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.index("\n", match.start())
        line = take_apart(0, text[start:end])
        if line.stamped or line.from_user:
            return start
        place = end
    return None


_SECONDS: Final = re.compile(r"\[ *(\d+)\.\d{6}\]")


def begins_late(line: Line) -> bool:
    """The log's first line with a time is from a machine that had been up for a while."""
    match = _SECONDS.search(line.raw)
    return match is not None and int(match[1]) >= 1


def tail_lines(console: bytes, most: int = 10) -> tuple[str, ...]:
    """The last lines of a console that say anything, without prefixes: what a person looks at first."""
    texts = (parse_line(1, raw).text.rstrip() for raw in console[-most * LONGEST_LINE :].split(b"\n"))
    return tuple([text for text in texts if text][-most:])


def numbered(text: str, start: int = 1) -> Iterator[Line]:
    """The lines of a text, taken apart."""
    for number, raw in enumerate(text.splitlines(), start):
        yield take_apart(number, raw)
