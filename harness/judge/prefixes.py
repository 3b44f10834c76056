# SPDX-License-Identifier: GPL-2.0-only
"""What programs write in front of a kernel's line when they keep it: a table of layouts.

dmesg(1) from util-linux (``-x``, ``-T``, ``-d``, ``-e``, ``--time-format=iso``), records of /dev/kmsg
(Documentation/ABI/testing/dev-kmsg), rsyslog and busybox, journalctl's ``short`` outputs, OpenWrt's
logread, continuous integration's own clocks, quoted mail. A name other than ``kernel`` in a syslog means
that a process said it, whatever the words are.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Wrapping(NamedTuple):
    """A line without what was put around it, and what that said about it."""

    text: str
    stamped: bool = False
    from_user: bool = False
    caller: str = ""
    logged: bool = False


_CLOCK: Final = r"\d\d:\d\d:\d\d(?:[.,]\d+)?"
_ISO: Final = rf"\d{{4}}[-/]\d\d[-/]\d\d(?:[T ]|, ?){_CLOCK}(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
# A month has letters of any script, and may carry a number or a dot.
_SHORT: Final = rf"[^\W_]{{2,6}}\.? +\d{{1,2}} {_CLOCK}"
_LONG: Final = rf"[^\W\d_]{{1,4}}\.? [^\W_]{{2,6}}\.? +\d{{1,2}} {_CLOCK} \d{{4}}"
_FULL: Final = rf"[^\W\d_]{{2,4}}\.? {_ISO}(?: [A-Z]{{2,5}})?"
_LEVEL: Final = r"(?:emerg|alert|crit|err|warn|notice|info|debug)"

_SYSLOG: Final = re.compile(
    rf"(?:<\d{{1,3}}>)?(?:{_FULL}|{_ISO}|{_LONG}|{_SHORT}) (?P<host>(?!kernel:)[\w.:@()-]+ )?"
    rf"(?:(?P<facility>[a-z]\w*)\.{_LEVEL} )?(?P<tag>[\w.@/-]+)(?:\[\d+\])?: ?"
)
_DMESG_X: Final = re.compile(rf"(?P<facility>[a-z]\w{{2,7}}) *:{_LEVEL} *: ?")
_DMESG_T: Final = re.compile(
    rf"\[(?:{_LONG}(?: <[ \d.+]*>)?|[^\W_]{{3,6}}\.? *\d{{1,2}} \d\d:\d\d| *\+\d+\.\d{{6}}"
    rf"|[ \d.]+<[ \d.+]*>)\] ?"
)
_DMESG_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{6}(?:Z|[+-]\d\d:\d\d) ")
_KMSG: Final = re.compile(r"(?P<level>\d{1,4}),\d+,\d+,[^;,]*(?:,caller=(?P<caller>[TC]\d+))?[^;]*;")
_CI: Final = re.compile(rf"\[?(?:{_ISO}|{_CLOCK})\]? (?:\[(?! *\d+\.\d{{6}}\])[\w ./-]+\] )?(?=\S| )")
# Not in front of hexadecimal: so KASAN and s390 point at a line of memory or code.
_QUOTE: Final = re.compile(r"(?:>+ )+|>+(?=[A-Z\[=-]|kernel BUG |watchdog: |rcu: |$)")
_TORN: Final = re.compile(r"\d{1,9}\.\d{6}\](?:\[ *(?P<caller>[TC]\d{1,10})\])? ?")
"""The first line of what was pasted, less its first character."""
_WALL: Final = re.compile(r" ?kernel: ?")
# Android: a console that says on which CPU and in which task.
_CPU: Final = re.compile(r"(?:<\d>)?-?\(\d+\)\[\d+:[^\]]*\]|c\d+ +\d+ (?=[A-Z<\[])")


def unwrap(line: str) -> Wrapping | None:
    """``line`` without the first layout that fits, and all that are inside; None when it has none."""
    if not line:
        return None
    first = line[0]
    if first == "[":
        if match := _DMESG_T.match(line):
            return _inside(line[match.end() :], stamped=True)
    elif first in "> ":
        if match := _QUOTE.match(line):
            return _inside(line[match.end() :])
    elif first.isdigit():
        if match := _KMSG.match(line):
            user = int(match["level"]) > 7
            return Wrapping(line[match.end() :], True, user, match["caller"] or "")
        if match := _DMESG_ISO.match(line):
            return Wrapping(line[match.end() :], True)
        if match := _TORN.match(line):
            return Wrapping(line[match.end() :], True, caller=match["caller"] or "")
    if ":" in line:
        return _logged(line)
    return None


def _inside(rest: str, *, stamped: bool = False) -> Wrapping:
    inner = unwrap(rest) or Wrapping(rest)
    return inner._replace(stamped=inner.stamped or stamped)


def _logged(line: str) -> Wrapping | None:
    if (match := _SYSLOG.match(line)) and _is_program(match):
        rest = line[match.end() :]
        if match["tag"] != "kernel":
            return Wrapping(rest, stamped=True, from_user=True, logged=True)
        user = match["facility"] not in (None, "kern", "user")
        return Wrapping(_past_cpu(rest), stamped=True, from_user=user, logged=True)
    if match := _DMESG_X.match(line):
        return _inside(line[match.end() :], stamped=True)._replace(from_user=match["facility"] != "kern")
    if match := _WALL.match(line):
        return Wrapping(line[match.end() :], stamped=True)
    if match := _CI.match(line):
        return _inside(line[match.end() :])
    return None


def _past_cpu(rest: str) -> str:
    match = _CPU.match(rest)
    return rest[match.end() :] if match else rest


def _is_program(match: re.Match[str]) -> bool:
    """A syslog names host and program; ``error:`` and ``mm/slub.c:`` are the kernel's after a clock."""
    tag: str = match["tag"]
    if tag == "kernel":
        return True
    named = match["host"] is not None or match["facility"] is not None
    return named and "/" not in tag.removesuffix("/") and tag not in _WORDS


_WORDS: Final = frozenset(("error", "fault", "BUG", "WARNING", "INFO", "Oops", "KASAN", "UBSAN", "lockup"))
