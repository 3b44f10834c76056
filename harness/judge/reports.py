# SPDX-License-Identifier: GPL-2.0-only
"""A kernel report: while it is being read, and when it is done."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from harness.judge import follows, frames
from harness.judge.kinds import Header, Kind
from harness.judge.lines import Line

MOST_LINES: Final = 400
"""Lines kept of one report; what is beyond is read but not kept."""
MOST_DUMPED: Final = 32
"""Of these, lines that only show memory."""


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


@dataclass(slots=True)
class OpenReport:
    """A report that is being read."""

    header: Header
    at: Line
    groups: dict[str, str]
    lines: list[Line]
    latest: int
    """Number of the last line read in its context."""
    aside: list[Line] = field(default_factory=list)
    seen: set[Kind] = field(default_factory=set)
    ended: bool = False
    panicked: bool = False
    dropped: bool = False
    dumped: int = 0

    @property
    def kind(self) -> Kind:
        return self.header.kind

    def keep(self, line: Line) -> None:
        """``line`` belongs to the report, and with it what was held aside before it."""
        for one in (*self.aside, line):
            is_dump = follows.DUMP.match(one.text) is not None
            self.dumped += is_dump
            if len(self.lines) < MOST_LINES and not (is_dump and self.dumped > MOST_DUMPED):
                self.lines.append(one)
        self.aside.clear()

    def from_opener(self) -> list[Line]:
        """Take back what stands above the next report's header (``cut here`` and below)."""
        for index in range(len(self.aside) - 1, -1, -1):
            if follows.OPENER.match(self.aside[index].text):
                taken, self.aside = self.aside[index:], self.aside[:index]
                return taken
        return []


def _title(header: Header, groups: dict[str, str], frame: str | None) -> str:
    """The header's title filled in; a place for which there is nothing takes its punctuation with it."""
    values = {name: frames.normalise(value) for name, value in groups.items()}
    # Names stay as they are: they are not different from one run to the next.
    values |= {name: groups[name] for name in ("cache", "victim", "comm", "order") if name in groups}
    if "where" in groups:
        values["file"] = re.sub(r"(?::\d+)+$", "", groups["where"])
    title = re.sub(
        r"(?:(?:: | at | )?\{(\w+)\})",
        lambda place: place[0].replace(f"{{{place[1]}}}", values[place[1]]) if place[1] in values else "",
        header.title,
    ).strip()
    if header.framed and frame:
        title = f"{title} in {frame}"
    return title[: frames.LONGEST_TITLE]


def judge(open_: OpenReport) -> Report:
    """Turn what was read into a report."""
    lines = open_.lines if open_.ended else [*open_.lines, *open_.aside][:MOST_LINES]
    lines = sorted(lines, key=lambda line: line.number)
    groups = open_.groups
    below = [line.text for line in lines if line.number > open_.at.number]
    stack = frames.stack_of(below)
    frame = frames.guilty(stack, groups.get("frame"))
    cpu, task = _cpu_and_task(groups, below)
    return Report(
        kind=open_.kind,
        title=_title(open_.header, groups, frame),
        frame=frame,
        line=open_.at.number,
        context=open_.at.caller,
        cpu=cpu,
        task=task,
        stack=tuple(str(one) for one in stack),
        raw=tuple(line.raw for line in lines),
        corrupted=_is_corrupted(open_, bool(stack)),
        where=groups.get("where"),
        message=groups.get("message") or groups.get("what"),
        positions=tuple(line.number for line in lines),
        panicked=open_.panicked,
    )


_CPU_LINE: Final = re.compile(
    r"CPU: (?P<cpu>\d+) (?:UID: \d+ )?PID: (?P<pid>\d+) Comm: (?P<comm>.+?) (?:Kdump|Not tainted|Tainted)"
)


def _cpu_and_task(groups: dict[str, str], below: Iterable[str]) -> tuple[int | None, str | None]:
    cpu = groups.get("cpu")
    task = groups.get("task")
    if task is None and "comm" in groups and "pid" in groups:
        task = f"{groups['comm']}/{groups['pid']}"
    if cpu is None or task is None:
        for text in below:
            if match := _CPU_LINE.match(text):
                cpu = cpu or match["cpu"]
                task = task or f"{match['comm']}/{match['pid']}"
                break
    return int(cpu) if cpu is not None else None, task


def _is_corrupted(open_: OpenReport, has_stack: bool) -> bool:
    """A stack is due where a report has an end of its own; a header must be whole."""
    header = open_.header
    if open_.dropped or header.needs_cut:
        return True
    if open_.kind is Kind.RUST_PANIC and "message" not in open_.groups:
        return True
    if open_.kind is Kind.KASAN and "what" not in open_.groups:
        return True
    return header.end is not None and not open_.kind.is_fact and not has_stack
