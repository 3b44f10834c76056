# SPDX-License-Identifier: GPL-2.0-only
"""The engine that reads a kernel console and finds the reports in it.

Text is fed in chunks while the guest runs; the result does not depend on where the chunks were cut.
With PRINTK_CALLER each task and each CPU is a context of its own, so reports that were printed at the
same time by two CPUs stay apart. What counts as a report is data, in headers.py and follows.py.
"""

from __future__ import annotations

import re
from typing import Final

from harness.judge import follows, headers
from harness.judge.kinds import Follow, Header, Kind
from harness.judge.lines import Line, LineSplitter, Replay, parse_line
from harness.judge.marks import Mark, parse_mark
from harness.judge.prefilter import blocks, candidates, is_quiet
from harness.judge.reports import MOST_LINES, OpenReport, Report, judge

__all__ = ["ConsoleParser", "Report", "parse"]

GAP_OPEN: Final = 60
"""A report that has not come to its end is over after so many lines that do not look like one."""
GAP_ENDED: Final = 25
"""How far behind the end of a report its consequence (a panic) still belongs to it, in lines."""
MOST_OPEN: Final = 64
"""Reports read at the same time, in different contexts."""
MOST_ABOVE: Final = 12
"""Lines between ``cut here`` and the header."""
MOST_MARKS: Final = 1000
SILENT: Final = 2000
"""A report is over when its context has said nothing for so many lines of the others."""
EXPIRE_EVERY: Final = 256
"""Lines between two looks for such reports."""


def _cells(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if value}


def match_header(text: str, after_cut: bool) -> tuple[Header, dict[str, str]] | None:
    """The header that a line is, with its groups."""
    for header in candidates(text):
        match = header.pattern.match(text)
        if match is not None and (after_cut or not header.needs_cut):
            return None if headers.SUPPRESSIONS.match(text) else (header, _cells(match))
    return None


class ConsoleParser:
    """Reads a console as it grows. ``marks`` and ``dropped`` grow with it."""

    def __init__(self) -> None:
        self._splitter = LineSplitter()
        self._replay = Replay()
        self._open: dict[str, OpenReport] = {}
        self._above: dict[str, list[Line]] = {}
        self._done: list[OpenReport] = []
        self._stamped = False
        self._boots = 0
        self.lines = 0
        self.dropped = 0
        """Messages that printk says never reached this console."""
        self.marks: list[Mark] = []

    def feed(self, chunk: bytes) -> list[Report]:
        """The reports that ``chunk`` brought to their end."""
        end = chunk.rfind(b"\n") + 1
        first = chunk.find(b"\n") + 1
        self._lines_of(chunk[:first])
        for block in blocks(chunk, first, end):
            if self._is_idle(block) and is_quiet(block):
                self._skip(block)
            else:
                self._lines_of(block)
        self._lines_of(chunk[end:])
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
        return [judge(open_) for open_ in self._open.values()]

    def _take_done(self) -> list[Report]:
        done, self._done = self._done, []
        return [judge(open_) for open_ in done]

    def _lines_of(self, piece: bytes) -> None:
        for raw in self._splitter.feed(piece):
            self._raw_line(raw)

    def _is_idle(self, block: bytes) -> bool:
        """Between reports, and ``block`` cannot be the first to show that lines have time stamps."""
        stamps_known = self._stamped or b"[" not in block
        return stamps_known and not self._open and not self._above and not self._replay.is_noted

    def _skip(self, block: bytes) -> None:
        """Count the lines of a quiet block; the line held for a possible replay is certain by now."""
        if last := self._replay.finish():
            self._line(last)
            if not self._is_idle(block):
                self._lines_of(block)
                return
        self.lines += block.count(b"\n")

    def _raw_line(self, raw: bytes) -> None:
        self.lines += 1
        if line := self._replay.feed(parse_line(self.lines, raw)):
            self._line(line)

    def _line(self, line: Line) -> None:
        if line.number % EXPIRE_EVERY == 0:
            self._expire(line.number)
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
        if open_ is not None:
            open_.latest = line.number
        found = match_header(line.text, after_cut=self._is_cut(line.caller, open_))
        if found and not self._is_first_boot(found[0]):
            self._on_header(line, found[0], found[1], open_)
        elif open_ is not None:
            self._on_body(line, open_)
        else:
            self._on_other(line)

    def _expire(self, now: int) -> None:
        """Let go of reports whose context has been silent for long, and of openers without a header."""
        for context, open_ in list(self._open.items()):
            if now - open_.latest > SILENT:
                self._close(context)
        for context, above in list(self._above.items()):
            if now - above[-1].number > SILENT:
                del self._above[context]

    def _is_cut(self, context: str, open_: OpenReport | None) -> bool:
        above = open_.aside if open_ is not None else self._above.get(context, ())
        return any("cut here" in line.text for line in above)

    def _is_first_boot(self, header: Header) -> bool:
        if header.kind is not Kind.REBOOT:
            return False
        self._boots += 1
        return self._boots == 1

    def _on_header(
        self, line: Line, header: Header, groups: dict[str, str], open_: OpenReport | None
    ) -> None:
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
        new = OpenReport(
            header, line, groups, [*above, line], line.number, seen={header.kind}, ended=header.end is None
        )
        new.panicked = header.kind is Kind.PANIC or bool(follows.FATAL.match(line.text))
        if len(self._open) >= MOST_OPEN:
            self._close(next(iter(self._open)))
        self._open[line.caller] = new

    def _panics_over(self, line: Line, open_: OpenReport | None) -> OpenReport | None:
        """The report over which the kernel panics; a panic of its own has none."""
        if open_ is not None and not open_.kind.is_fact:
            return open_
        if follows.CONSEQUENCE.match(line.text.partition("not syncing: ")[2]):
            real = [one for one in self._open.values() if not one.kind.is_fact]
            return max(real, key=lambda one: one.at.number, default=None)
        return None

    def _on_body(self, line: Line, open_: OpenReport) -> None:
        _note_details(open_, line.text)
        header = open_.header
        if header.end is not None and header.end.match(line.text):
            open_.ended = True
            open_.keep(line)
        elif follows.BODY.match(line.text) and not follows.OPENER.match(line.text):
            open_.keep(line)
        else:
            open_.aside.append(line)
            if len(open_.aside) > _gap(open_):
                self._close(line.caller)

    def _on_other(self, line: Line) -> None:
        if follows.OPENER.match(line.text):
            if len(self._above) >= MOST_OPEN:
                self._above.pop(next(iter(self._above)))
            self._above[line.caller] = [line]
        elif (above := self._above.get(line.caller)) is not None:
            above.append(line)
            if len(above) > MOST_ABOVE:
                del self._above[line.caller]

    def _close(self, context: str) -> None:
        self._done.append(self._open.pop(context))


def _gap(open_: OpenReport) -> int:
    if open_.kind is Kind.OOM and not open_.ended:
        return MOST_LINES  # the state of all memory and all tasks stands between call and kill
    return GAP_ENDED if open_.ended else GAP_OPEN


def _note_details(open_: OpenReport, text: str) -> None:
    details = open_.header.details
    if details is not None and (match := details.match(text)):
        for name, value in _cells(match).items():
            open_.groups.setdefault(name, value)


def _find_follow(open_: OpenReport, header: Header, groups: dict[str, str], line: Line) -> Follow | None:
    for follow in follows.FOLLOWS:
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


def _had(open_: OpenReport, header: Header) -> bool:
    if header.kind is open_.kind:
        return open_.header is header or "twice" in open_.groups
    return header.kind in open_.seen


def _absorb(open_: OpenReport, follow: Follow, header: Header, groups: dict[str, str], line: Line) -> None:
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


def parse(text: bytes | str) -> list[Report]:
    """All reports of a whole log, in the order in which they begin. Facts (OOM) are among them."""
    parser = ConsoleParser()
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    reports = [*parser.feed(data), *parser.finish()]
    return sorted(reports, key=lambda report: report.line)
