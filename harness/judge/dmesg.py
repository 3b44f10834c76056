# SPDX-License-Identifier: GPL-2.0-only
"""The engine that reads a kernel console and finds the reports in it.

Text is fed in chunks while the guest runs; the result does not depend on where the chunks were cut.
With PRINTK_CALLER each task and each CPU is a context of its own, so reports that were printed at the
same time by two CPUs stay apart. What counts as a report is data, in kinds.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from harness.judge import frames, kinds
from harness.judge.kinds import Follow, Header, Kind
from harness.judge.lines import Line, LineSplitter, Replay, parse_line
from harness.judge.marks import Mark, parse_mark

MOST_LINES: Final = 400
"""Lines kept of one report; what is beyond is read but not kept."""
GAP_OPEN: Final = 60
"""A report that has not come to its end is over after so many lines that do not look like one."""
GAP_ENDED: Final = 25
"""How far behind the end of a report its consequence (a panic) still belongs to it, in lines."""
MOST_OPEN: Final = 64
"""Reports read at the same time, in different contexts."""
MOST_ABOVE: Final = 12
"""Lines between ``cut here`` and the header."""
MOST_MARKS: Final = 1000


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
class _Open:
    """A report that is being read."""

    header: Header
    at: Line
    groups: dict[str, str]
    lines: list[Line]
    aside: list[Line] = field(default_factory=list)
    seen: set[Kind] = field(default_factory=set)
    ended: bool = False
    panicked: bool = False
    dropped: bool = False

    @property
    def kind(self) -> Kind:
        return self.header.kind

    def keep(self, line: Line) -> None:
        """``line`` belongs to the report, and with it what was held aside before it."""
        for one in (*self.aside, line):
            if len(self.lines) < MOST_LINES:
                self.lines.append(one)
        self.aside.clear()

    def from_opener(self) -> list[Line]:
        """Take back what stands above the next report's header (``cut here`` and below)."""
        for index in range(len(self.aside) - 1, -1, -1):
            if kinds.OPENER.match(self.aside[index].text):
                taken, self.aside = self.aside[index:], self.aside[:index]
                return taken
        return []


def _cells(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if value}


def match_header(text: str, after_cut: bool = True) -> tuple[Header, dict[str, str]] | None:
    """The header that a line is, with its groups."""
    for header in kinds.HEADERS:
        if any(needle in text for needle in header.needles):
            match = header.pattern.match(text)
            if match is not None and (after_cut or not header.needs_cut):
                return None if kinds.SUPPRESSIONS.match(text) else (header, _cells(match))
    return None


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


class ConsoleParser:
    """Reads a console as it grows. ``marks`` and ``dropped`` grow with it."""

    def __init__(self) -> None:
        self._splitter = LineSplitter()
        self._replay = Replay()
        self._open: dict[str, _Open] = {}
        self._above: dict[str, list[Line]] = {}
        self._done: list[_Open] = []
        self._stamped = False
        self._boots = 0
        self.lines = 0
        self.dropped = 0
        """Messages that printk says never reached this console."""
        self.marks: list[Mark] = []

    def feed(self, chunk: bytes) -> list[Report]:
        """The reports that ``chunk`` brought to their end."""
        for raw in self._splitter.feed(chunk):
            self._raw_line(raw)
        return self._take_done()

    def finish(self) -> list[Report]:
        """The rest: reports that the end of the log cut short are judged as they are."""
        for raw in self._splitter.finish():
            self._raw_line(raw)
        if last := self._replay.finish():
            self._line(last)
        for context in list(self._open):
            self._close(context)
        return self._take_done()

    def pending(self) -> list[Report]:
        """What has begun but not come to its end, as it would be judged now."""
        return [_judge(open_) for open_ in self._open.values()]

    def _take_done(self) -> list[Report]:
        done, self._done = self._done, []
        return [_judge(open_) for open_ in done]

    def _raw_line(self, raw: bytes) -> None:
        self.lines += 1
        if line := self._replay.feed(parse_line(self.lines, raw)):
            self._line(line)

    def _line(self, line: Line) -> None:
        self._stamped = self._stamped or line.stamped
        if line.dropped:
            self.dropped += line.dropped
            for hurt in self._open.values():
                hurt.dropped = True
        if line.text.startswith("harness: ") and (mark := parse_mark(line.number, line.text)):
            if len(self.marks) < MOST_MARKS:
                self.marks.append(mark)
            return
        # Once time stamps were seen, a line without one did not come from the kernel's printk.
        if line.from_user or (self._stamped and not line.stamped):
            return
        open_ = self._open.get(line.caller)
        found = match_header(line.text, after_cut=self._is_cut(line.caller, open_))
        if found and not self._is_first_boot(found[0]):
            self._on_header(line, found[0], found[1], open_)
        elif open_ is not None:
            self._on_body(line, open_)
        else:
            self._on_other(line)

    def _is_cut(self, context: str, open_: _Open | None) -> bool:
        above = open_.aside if open_ is not None else self._above.get(context, ())
        return any("cut here" in line.text for line in above)

    def _is_first_boot(self, header: Header) -> bool:
        if header.kind is not Kind.REBOOT:
            return False
        self._boots += 1
        return self._boots == 1

    def _on_header(self, line: Line, header: Header, groups: dict[str, str], open_: _Open | None) -> None:
        if header.kind is Kind.PANIC and (host := self._panics_over(line, open_)):
            host.panicked = True
            host.keep(line)
            return
        if open_ is not None:
            if open_.kind is Kind.PANIC or open_.panicked:
                open_.keep(line)  # a dying kernel says much
                return
            if follow := _find_follow(open_, header, groups, line):
                _absorb(open_, follow, header, groups, line)
                return
            above = open_.from_opener()
            self._close(line.caller)
        else:
            above = self._above.pop(line.caller, [])
        new = _Open(header, line, groups, [*above, line], seen={header.kind}, ended=header.end is None)
        new.panicked = header.kind is Kind.PANIC or bool(kinds.FATAL.match(line.text))
        if len(self._open) >= MOST_OPEN:
            self._close(next(iter(self._open)))
        self._open[line.caller] = new

    def _panics_over(self, line: Line, open_: _Open | None) -> _Open | None:
        """The report over which the kernel panics; a panic of its own has none."""
        if open_ is not None and not open_.kind.is_fact:
            return open_
        if kinds.CONSEQUENCE.match(line.text.partition("not syncing: ")[2]):
            real = [one for one in self._open.values() if not one.kind.is_fact]
            return max(real, key=lambda one: one.at.number, default=None)
        return None

    def _on_body(self, line: Line, open_: _Open) -> None:
        _note_details(open_, line.text)
        header = open_.header
        if header.end is not None and header.end.match(line.text):
            open_.ended = True
            open_.keep(line)
        elif kinds.BODY.match(line.text) and not kinds.OPENER.match(line.text):
            open_.keep(line)
        else:
            open_.aside.append(line)
            if len(open_.aside) > _gap(open_):
                self._close(line.caller)

    def _on_other(self, line: Line) -> None:
        if kinds.OPENER.match(line.text):
            if len(self._above) >= MOST_OPEN:
                self._above.pop(next(iter(self._above)))
            self._above[line.caller] = [line]
        elif (above := self._above.get(line.caller)) is not None:
            above.append(line)
            if len(above) > MOST_ABOVE:
                del self._above[line.caller]

    def _close(self, context: str) -> None:
        self._done.append(self._open.pop(context))


def _gap(open_: _Open) -> int:
    if open_.kind is Kind.OOM and not open_.ended:
        return MOST_LINES  # the state of all memory and all tasks stands between call and kill
    return GAP_ENDED if open_.ended else GAP_OPEN


def _note_details(open_: _Open, text: str) -> None:
    details = open_.header.details
    if details is not None and (match := details.match(text)):
        for name, value in _cells(match).items():
            open_.groups.setdefault(name, value)


def _find_follow(open_: _Open, header: Header, groups: dict[str, str], line: Line) -> Follow | None:
    for follow in kinds.FOLLOWS:
        if (
            follow.kind is header.kind
            and open_.kind in follow.within
            and (follow.after_end or not open_.ended)
            and not (follow.once and _had(open_, header))
            and (not follow.same or open_.groups.get(follow.same) == groups.get(follow.same))
            and (follow.pattern is None or follow.pattern.search(line.text))
        ):
            return follow
    return None


def _had(open_: _Open, header: Header) -> bool:
    if header.kind is open_.kind:
        return open_.header is header or "twice" in open_.groups
    return header.kind in open_.seen


def _absorb(open_: _Open, follow: Follow, header: Header, groups: dict[str, str], line: Line) -> None:
    open_.keep(line)
    open_.seen.add(header.kind)
    if header.kind is open_.kind:
        open_.groups["twice"] = "yes"
    if follow.upgrade:
        open_.header = header
        open_.groups = {**open_.groups, **groups}
    else:
        for name, value in groups.items():
            open_.groups.setdefault(name, value)
    open_.ended = header.end is None


def _judge(open_: _Open) -> Report:
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


def _is_corrupted(open_: _Open, has_stack: bool) -> bool:
    """A stack is due where a report has an end of its own; a header must be whole."""
    header = open_.header
    if open_.dropped or header.needs_cut:
        return True
    if open_.kind is Kind.RUST_PANIC and "message" not in open_.groups:
        return True
    if open_.kind is Kind.KASAN and "what" not in open_.groups:
        return True
    return header.end is not None and not open_.kind.is_fact and not has_stack


def parse(text: bytes | str) -> list[Report]:
    """All reports of a whole log, in the order in which they begin. Facts (OOM) are among them."""
    parser = ConsoleParser()
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    reports = [*parser.feed(data), *parser.finish()]
    return sorted(reports, key=lambda report: report.line)
