# SPDX-License-Identifier: GPL-2.0-only
"""A kernel report: while it is being read, and when it is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from operator import itemgetter
from typing import Final

from harness.judge import follows, frames
from harness.judge.body import Found, Part
from harness.judge.identity import fingerprint
from harness.judge.kinds import Header, Kind
from harness.judge.lines import Line

MOST_LINES: Final = 400
"""Lines kept of one report; what is beyond is read but not kept."""
ROOM_FOR_TRACE: Final = 100
"""Lines from the first ``Call Trace:`` on that are kept all the same."""
MOST_DUMPED: Final = 32
"""Of these, lines that only show memory."""
_OTHERS_WITH_STACK: Final = ("FAULT_INJECTION: ", "FAULT_FLAG_ALLOW_RETRY missing")
"""What shows a stack and is no report."""
_INJECTING: Final = frozenset(
    ("should_fail", "should_fail_ex", "should_failslab", "should_fail_alloc_page", "should_fail_usercopy")
)
_LISTED: Final = frozenset({Part.FRAME, Part.ARM_FRAME})
MOST_CHARACTERS: Final = 100_000
"""Characters kept of one report, however long its lines are."""


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that the kernel said was wrong."""

    kind: Kind
    title: str
    """What happened and where, without addresses, numbers and lines: the same for the same bug."""
    frame: str | None
    """The function to blame."""
    line: int
    """Line of the header in the log, from 1."""
    context: str
    """PRINTK_CALLER's id (``T12``, ``C0``), or empty."""
    cpu: int | None
    task: str | None
    """``comm/pid``."""
    stack: tuple[str, ...]
    raw: tuple[str, ...]
    """The lines of the report as they were printed."""
    corrupted: bool
    """Something is missing or garbled: it counts, but its title should not be trusted."""
    where: str | None = None
    """``file:line`` when the header says it."""
    message: str | None = None
    positions: tuple[int, ...] = ()
    """The line number of each of ``raw``."""
    panicked: bool = False
    """The kernel panicked over it."""
    corrupted_why: str = ""
    """What is missing or garbled, in words; empty unless ``corrupted``."""
    taint: str | None = None
    """The letters of ``Tainted:`` without blanks, empty for ``Not tainted``, None when it is not said."""
    fingerprint: str = ""
    """The same for one bug, whichever detector saw it."""

    @property
    def is_fact(self) -> bool:
        """Not a bug by itself: an OOM kill, a failed allocation."""
        return self.kind.is_fact

    def as_json(self) -> dict[str, object]:
        """Plain data, as in the results file."""
        return {
            "kind": str(self.kind),
            "title": self.title,
            "frame": self.frame,
            "where": self.where,
            "message": self.message,
            "line": self.line,
            "context": self.context,
            "cpu": self.cpu,
            "task": self.task,
            "stack": list(self.stack),
            "corrupted": self.corrupted,
            "panicked": self.panicked,
            "raw": list(self.raw),
            "positions": list(self.positions),
        }


Kept = tuple[int, str, str, Found | None]
"""A line of a report: its number, as printed, without prefixes, and what it is."""


@dataclass(slots=True)
class OpenReport:
    """A report that is being read."""

    header: Header
    at: Line
    groups: dict[str, str]
    latest: int
    """Number of the last line read in its context."""
    lines: list[Kept] = field(default_factory=list)
    aside: list[Kept] = field(default_factory=list)
    """Lines since the last one that looks like a part of a report."""
    seen: set[Kind] = field(default_factory=set)
    ended: bool = False
    panicked: bool = False
    dropped: bool = False
    unstamped: bool = False
    """Its header had no time stamp in a log whose lines have them."""
    latest_header: str = ""
    detailed: bool = False
    """The header's details were found, or there are none."""
    dumped: int = 0
    characters: int = 0
    traced: bool = False
    """A ``Call Trace:`` was read."""
    mixed: bool = False
    """Before that, something else said that it shows a stack."""
    room: int = MOST_LINES
    """Lines that may be kept: the first trace is, however long the chains of locks above it are."""

    @property
    def kind(self) -> Kind:
        return self.header.kind

    def keep(self, line: Kept) -> None:
        """``line`` belongs to the report, and with it what was held aside before it."""
        if self.aside:
            for one in self.aside:
                self._append(one)
            self.aside.clear()
        found = line[3]
        if found is not None:
            if found.part is Part.DUMP:
                self.dumped += 1
                if self.dumped > MOST_DUMPED:
                    return
            elif found.part is Part.TRACE and not self.traced:
                self.traced = True
                self.room = max(MOST_LINES, len(self.lines) + ROOM_FOR_TRACE)
        self.characters += len(line[1])  # as in _append(), which would cost time here
        if len(self.lines) < self.room and self.characters <= MOST_CHARACTERS:
            self.lines.append(line)

    def _append(self, line: Kept) -> None:
        self.characters += len(line[1])
        if len(self.lines) < self.room and self.characters <= MOST_CHARACTERS:
            self.lines.append(line)

    def put_aside(self, line: Kept) -> None:
        """``line`` does not look like a part of the report, but what follows may."""
        self.mixed |= not self.traced and line[2].startswith(_OTHERS_WITH_STACK)
        self.aside.append(line)

    def is_said_again(self) -> bool:
        """A decoder says the header once for each function inlined there; a mail may break that line."""
        latest = self.aside[-1] if self.aside else self.lines[-1]
        return " [inline]" in self.latest_header or latest[2].endswith(" [inline]")

    def above(self) -> list[Kept]:
        """What stands above its header."""
        return [one for one in self.lines if one[0] < self.at.number]

    def from_opener(self) -> list[Kept]:
        """Take back what stands above the next report's header (``cut here`` and below)."""
        for index in range(len(self.aside) - 1, -1, -1):
            if follows.OPENER.match(self.aside[index][2]):
                taken, self.aside = self.aside[index:], self.aside[:index]
                return taken
        return []


def kept(line: Line) -> Kept:
    """``line`` as a part of a report that is not looked at further."""
    return line.number, line.raw, line.text, None


_NAMES: Final = ("cache", "victim", "comm", "order")


def _of_a_kind(comm: str) -> str:
    """The name of a kernel thread without the number of its CPU, its device or its pool."""
    name, mark, rest = re.split(r"([/:])", comm, maxsplit=1) if re.search(r"[/:]", comm) else (comm, "", "")
    return name + mark + re.sub(r"\d+", "N", rest)


@lru_cache(maxsize=1024)
def _title(header: Header, pairs: tuple[tuple[str, str], ...], frame: str | None) -> str:
    """The header's title filled in; a place for which there is nothing takes its punctuation with it."""
    groups = dict(pairs)
    values = {
        name: frames.normalise(value) for name, value in groups.items() if f"{{{name}}}" in header.title
    }
    # Names stay as they are: they are not different from one run to the next.
    values |= {name: groups[name] for name in _NAMES if name in groups}
    if "comm" in groups:
        values["comm"] = _of_a_kind(groups["comm"])
    if "where" in groups:
        values["file"] = frames.source_path(groups["where"])
    title = re.sub(
        r"(?:(?:: | at | )?\{(\w+)\})",
        lambda place: place[0].replace(f"{{{place[1]}}}", values[place[1]]) if place[1] in values else "",
        header.title,
    ).strip()
    if header.framed and frame:
        title = f"{title} in {frame}"
    return title[: frames.LONGEST_TITLE]


def judge(open_: OpenReport) -> Report | None:
    """Turn what was read into a report; None when it turns out that the kernel is not to blame."""
    lines = open_.lines
    if not open_.ended and open_.aside:
        lines = [*lines, *open_.aside][: open_.room]
    lines = sorted(lines, key=itemgetter(0))
    groups = open_.groups
    below = [line for line in lines if line[0] > open_.at.number]
    stack, certain = frames.read_stack(map(itemgetter(3), below))
    if (open_.header.needs_stack or open_.unstamped) and not _is_backed(open_, stack):
        return None
    missing = "" if certain else _missing_of_stack(open_, stack, below)
    if open_.kind is Kind.LOCKDEP and missing:
        stack = ()  # what looks like one is how some lock was taken earlier
    # lockdep says itself where the lock is taken; who freed a lock that was held is in the stack
    named = groups.get("frame") or (None if stack and "freed" in groups.get("what", "") else groups.get("at"))
    suspects = frames.below_tick(stack) if open_.kind.is_stall else stack
    frame = frames.guilty(suspects, named) if open_.kind is not Kind.OOM else None
    cpu, task, taint = _who(groups, below)
    why = _why_corrupted(open_, stack, missing)
    title = _title(open_.header, tuple(groups.items()), frame)
    return Report(
        kind=open_.kind,
        title=title,
        frame=frame,
        line=open_.at.number,
        context=open_.at.caller,
        cpu=cpu,
        task=task,
        stack=tuple(map(str, stack)),
        raw=tuple(map(itemgetter(1), lines)),
        corrupted=bool(why),
        where=groups.get("where"),
        message=groups.get("message") or groups.get("what"),
        positions=tuple(map(itemgetter(0), lines)),
        panicked=open_.panicked,
        corrupted_why=why,
        taint=taint,
        fingerprint=fingerprint(open_.kind, title, frame),
    )


_LEAST_BACKING: Final = 3
"""Frames below a header without a time stamp, in a log that has them, for it to be the kernel's."""


def _is_backed(open_: OpenReport, stack: tuple[frames.Frame, ...]) -> bool:
    if open_.unstamped:
        return len(stack) >= _LEAST_BACKING
    return bool(stack) or len(open_.seen) > 1 or "twice" in open_.groups


_CPU_LINE: Final = re.compile(
    r"(?:CPU: (?P<cpu>\d+) (?:UID: \d+ )?PID|Pid): (?P<pid>\d+),? [Cc]omm: (?P<comm>.+?)"
    r" (?:Kdump: \w+ )?(?:Not tainted|Tainted: (?P<taint>(?:[A-Z] ?| )*)|(?=\d))"
)
_PROCESS: Final = re.compile(r"Process (?P<comm>.+) \(pid: (?P<pid>\d+),|TASK = \S+ '(?P<name>.+?)'")


def _who(groups: dict[str, str], below: list[Kept]) -> tuple[int | None, str | None, str | None]:
    """CPU, ``comm/pid`` and taint, from the header or from the first line that says them."""
    cpu = groups.get("cpu")
    task = groups.get("task")
    taint: str | None = None
    if task is None and "comm" in groups and "pid" in groups:
        task = f"{groups['comm']}/{groups['pid']}"
    for _, _, text, found in below:
        if found is not None and found.part is Part.CPU and (match := _CPU_LINE.match(text)):
            cpu = cpu or match["cpu"]
            task = task or f"{match['comm']}/{match['pid']}"
            taint = (match["taint"] or "").replace(" ", "")
            break
        if task is None and text.startswith("Process ") and (match := _PROCESS.match(text)):
            task = f"{match['comm']}/{match['pid']}"
    return int(cpu) if cpu is not None else None, task, taint


def _is_above_trace(line: Kept) -> bool:
    return line[3] is None or line[3].part is not Part.TRACE


def _missing_of_stack(open_: OpenReport, stack: tuple[frames.Frame, ...], below: list[Kept]) -> str:
    """What a stack that is due lacks, in words; a place alone is no stack."""
    if not stack:
        return "it has no stack"
    if not open_.traced and open_.kind is Kind.LOCKDEP:
        return "it ends before its stack"
    seen = {found.part for *_, found in below if found is not None and not found.doubtful}
    early = [found.function for *_, found in takewhile(_is_above_trace, below) if found is not None]
    open_.mixed |= open_.traced and not _INJECTING.isdisjoint(early)
    if not seen & _LISTED and not any(found is not None and found.doubtful for *_, found in below):
        if not (open_.traced and any(line[2].endswith("</TASK>") for line in below)):
            return "it ends before its stack"
    elif not seen & _LISTED and Part.PLACE not in seen:
        return "its stack is a guess"
    return ""


def _why_corrupted(open_: OpenReport, stack: tuple[frames.Frame, ...], missing: str) -> str:
    """A stack is due where a report has an end of its own; a header must be whole."""
    header = open_.header
    if open_.dropped:
        return "messages were dropped within it"
    if header.needs_cut:
        return "its first line is of an unknown layout"
    if open_.kind is Kind.RUST_PANIC and "message" not in open_.groups:
        return "the panic's message is missing"
    if open_.kind is Kind.KASAN and "what" not in open_.groups:
        return "its first line was cut short"
    if open_.kind is Kind.PANIC and follows.NAMELESS.match(open_.groups.get("what", "")):
        return "the panic says that something else happened before, which the log does not show"
    if header.end is None or open_.kind.is_fact:
        return ""
    if not missing and (open_.mixed or not _INJECTING.isdisjoint(map(itemgetter(0), stack))):
        return "another stack, which is no report's, is mixed into it"
    return missing
