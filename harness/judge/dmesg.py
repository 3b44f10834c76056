# SPDX-License-Identifier: GPL-2.0-only
"""The engine that reads a kernel console and finds the reports in it.

Text is fed in chunks while the guest runs; the result does not depend on where the chunks were cut.
With PRINTK_CALLER each task and each CPU is a context of its own, so reports that were printed at the
same time by two CPUs stay apart. What counts as a report is data, in headers.py, follows.py and body.py.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Final

from harness.judge import follows
from harness.judge.body import SHORT, Part, look, remembered
from harness.judge.kinds import Header, Kind
from harness.judge.lines import (
    HOST_BEHIND,
    NOTHING,
    REPLAY,
    USUAL,
    Line,
    Replay,
    WholeLines,
    begins_late,
    clean,
    first_stamped,
    is_bare,
    take_apart,
)
from harness.judge.marks import Mark, parse_mark
from harness.judge.matching import absorb, find_follow, gap, match_header, note_details
from harness.judge.prefilter import BLOCK, hot_lines
from harness.judge.reports import Kept, OpenReport, Report, judge, kept

__all__ = ["ConsoleParser", "Report", "parse"]

MOST_OPEN: Final = 64
"""Reports read at the same time, in different contexts."""
MOST_ABOVE: Final = 12
"""Lines between ``cut here`` and the header."""
MOST_MARKS: Final = 1000
SILENT: Final = 2000
"""A report is over when its context has said nothing for so many lines of the others."""
EXPIRE_EVERY: Final = 256
"""Lines between two looks for such reports."""
MOST_SAME: Final = 100
"""Reports of one bug that keep their lines; of the others only the first line is kept."""
MOST_REPORTS: Final = 10_000
"""Reports handed out; a log with more is only counted on."""
_PLAIN: Final = frozenset({Part.FRAME, Part.ARM_FRAME, Part.PLACE, Part.CPU, Part.DUMP, Part.TRACE})
"""Parts that are never the end of a report nor the beginning of the next."""
_ODD: Final = "-=SNr "
"""What other lines that need a closer look begin with."""
UNSTAMPED: Final = "?"
"""The context of lines without a time stamp in a log whose lines have them."""


class ConsoleParser:
    """Reads a console as it grows. ``marks``, ``dropped`` and ``beyond`` grow with it.

    ``mixed`` is for logs of machines that nobody knows: a report without time stamps counts there even
    when other lines have them, provided that a stack is below it. On a console that a shell shares, such
    text is what somebody printed.
    """

    def __init__(self, *, mixed: bool = False) -> None:
        self._mixed = mixed
        self._splitter = WholeLines()
        self._replay = Replay()
        self._open: dict[str, OpenReport] = {}
        self._joined: dict[str, str] = {}
        self._asking: str | None = None
        self._above: dict[str, list[Kept]] = {}
        self._done: list[OpenReport] = []
        self._times: Counter[str] = Counter()
        self._handed_out = 0
        self._stamped = False
        self._boots = 0
        self._announced = False
        self.lines = 0
        self.dropped = 0
        """Messages that printk says never reached this console."""
        self.beyond = 0
        """Reports that were found and not handed out because there were too many."""
        self.marks: list[Mark] = []

    def feed(self, chunk: bytes) -> list[Report]:
        """The reports that ``chunk`` brought to their end."""
        for start in range(0, len(chunk), BLOCK):
            if whole := self._splitter.feed(chunk[start : start + BLOCK]):
                self._block(clean(whole))
        return self._take_done()

    def finish(self) -> list[Report]:
        """The rest: reports that the end of the log cut short are judged as they are."""
        if last_line := self._splitter.finish():
            self._block(clean(last_line))
        if last := self._replay.release():
            self._line(last)
        for context in list(self._open):
            self._close(context)
        return self._take_done()

    def pending(self) -> list[Report]:
        """What has begun but not come to its end, as it would be judged now."""
        return [report for open_ in self._open.values() if (report := judge(open_))]

    def _take_done(self) -> list[Report]:
        done, self._done = self._done, []
        return [slim for open_ in done if (report := judge(open_)) and (slim := self._slimmed(report))]

    def _slimmed(self, report: Report) -> Report | None:
        """The report, without its lines when it is one of very many: memory must not grow with a flood."""
        known = report.fingerprint if len(self._times) < MOST_REPORTS else str(report.kind)
        self._times[known] += 1
        self._handed_out += 1
        if self._handed_out > MOST_REPORTS:
            self.beyond += 1
            return None
        if self._times[known] > MOST_SAME:
            return replace(report, raw=report.raw[:1], positions=report.positions[:1])
        return report

    def _block(self, text: str) -> None:
        """Whole lines. Between reports only hot lines are looked at, the others are counted."""
        hot = self._hot(text)
        hot.append(len(text))
        replays = REPLAY in text
        prefix = self._prefix_of(text)
        index, place, length = 0, 0, len(text)
        while place < length:
            while hot[index] < place:
                index += 1
            following = hot[index]
            if following > place and not self._replay.is_busy:
                if not self._open and not self._above:
                    self.lines += text.count("\n", place, following)
                    place = following
                    continue
                if prefix is not None and (after := self._bodies(text, place, following, prefix)) > place:
                    place = after
                    continue
            elif following > place and (last := self._replay.finish()):
                self._line(last)
                continue  # it may have begun a report
            end = text.index("\n", place)
            self.lines += 1
            line = take_apart(self.lines, text[place:end], following == place)
            place = end + 1
            if certain := self._replay.feed(line):
                self._line(certain)
            if not replays and place < length and (certain := self._replay.finish()):
                self._line(certain)

    def _prefix_of(self, text: str) -> re.Pattern[str] | None:
        """The prefix that the lines of ``text`` have, when it is one of the two that can be read fast."""
        if "kernel: " in text and HOST_BEHIND.search(text):
            return None
        if self._stamped:
            return USUAL
        return NOTHING if is_bare(text) else None

    def _bodies(self, text: str, place: int, end: int, prefix: re.Pattern[str]) -> int:
        """Read lines that are not hot, for as long as reports are open; returns where that ended.

        This is where a log full of reports spends its time, so a part of :meth:`_on_body` is here too. The
        last line is left to the caller: a note of printk may follow and take it back.
        """
        if self._above or self._joined or self._asking is not None:
            return place
        number, match, open_reports = self.lines, prefix.match, self._open
        for shown in text[place : end - 1].split("\n")[:-1]:
            before = match(shown)
            if before is None or not (number + 1) % EXPIRE_EVERY:
                break
            number += 1
            place += len(shown) + 1
            context = before[1] or ""
            open_ = open_reports.get(context)
            if open_ is not None:
                body = shown[before.end() :]
                found = remembered(body) if len(body) < SHORT else look(body)
                if (
                    found is not None
                    and open_.detailed
                    and (found.part in _PLAIN or (found.part is Part.OTHER and body[0] not in _ODD))
                ):
                    open_.latest = number
                    open_.keep((number, shown, body, found))
                    continue
                self._on_body(number, shown, body, context, open_)
                if not open_reports or self._asking is not None:
                    break
        self.lines = number
        return place

    def _hot(self, text: str) -> list[int]:
        hot = hot_lines(text)
        if not self._stamped and (first := first_stamped(text)) is not None:
            return sorted({first, *hot})
        return hot

    def _line(self, line: Line) -> None:
        if line.number % EXPIRE_EVERY == 0:
            self._expire(line.number)
        if line.dropped:
            self.dropped += line.dropped
            for hurt in self._open.values():
                hurt.dropped = True
        if line.from_user and not (line.hot and line.text.startswith("harness: ")):
            self._stamped = True
            return
        if not line.stamped:
            if self._stamped:
                # Once time stamps were seen, a line without one did not come from the kernel's printk.
                if not self._mixed:
                    return
                line = line._replace(caller=UNSTAMPED)
        elif not self._stamped:
            self._stamped = True
            self._boots += begins_late(line)
        if line.hot and self._on_note(line):
            return
        self._on_kernel_line(line)

    def _on_note(self, line: Line) -> bool:
        """Lines that are about the console or the machine, not about trouble."""
        if line.text.startswith("harness: ") and (mark := parse_mark(line.number, line.text)):
            if len(self.marks) < MOST_MARKS:
                self.marks.append(mark)
            return True
        if follows.ANNOUNCED.match(line.text) or line.text.startswith(("-- Boot", "-- Reboot")):
            self._announced = True
        return line.from_user

    def _on_kernel_line(self, line: Line) -> None:
        context = line.caller
        open_ = self._open.get(context)
        if open_ is not None:
            open_.latest = line.number
        if line.hot:
            found = match_header(line.text.strip(" \t"), self._is_cut(context, open_))
            if found is not None:
                if found[0].kind is not Kind.REBOOT:
                    self._on_header(line, found[0], found[1], open_)
                elif self._is_surprise(line):
                    self._begin(line, found[0], found[1], [])
                return
        if open_ is not None:
            self._on_body(line.number, line.raw, line.text, context, open_)
        else:
            self._on_other(line)

    def _expire(self, now: int) -> None:
        """Let go of reports whose context has been silent for long, and of openers without a header."""
        for context, open_ in list(self._open.items()):
            if now - open_.latest > SILENT:
                self._close(context)
        for context, above in list(self._above.items()):
            if now - above[-1][0] > SILENT:
                del self._above[context]

    def _is_cut(self, context: str, open_: OpenReport | None) -> bool:
        above = open_.aside if open_ is not None else self._above.get(context, ())
        return any("cut here" in text for _, _, text, _ in above)

    def _is_surprise(self, line: Line) -> bool:
        """A machine starts: whatever was open is over. The first time, and when told before, is no news."""
        died = any(open_.panicked for open_ in self._open.values())
        for context in list(self._open):
            self._close(context)
        self._above.clear()
        announced, self._announced = self._announced, False
        self._boots += 1
        return self._boots > 1 and not (announced or died or line.logged or line.caller == UNSTAMPED)

    def _on_header(
        self, line: Line, header: Header, groups: dict[str, str], open_: OpenReport | None
    ) -> None:
        if header.kind is Kind.PANIC and (host := self._panics_over(groups.get("what", ""), open_)):
            host.panicked = True
            host.keep(kept(line))
            return
        if open_ is None:
            self._begin(line, header, groups, self._above.pop(line.caller, []))
            return
        if open_.header is header and open_.is_said_again():
            open_.groups |= groups
            open_.latest_header = line.text
            open_.keep(kept(line))
            return
        if open_.kind is Kind.PANIC or open_.panicked:
            open_.keep(kept(line))  # a dying kernel says much
            return
        if self._replay.repeats(open_.at, line):
            # A message of several lines is replayed from its first: what is open is its torn half.
            del self._open[line.caller]
            self._begin(line, header, groups, open_.above())
            return
        if follow := find_follow(open_, header, groups, line):
            absorb(open_, follow, header, groups, line)
            return
        above = open_.from_opener()
        self._close(line.caller)
        self._begin(line, header, groups, above)

    def _begin(self, line: Line, header: Header, groups: dict[str, str], above: list[Kept]) -> None:
        new = OpenReport(header, line, groups, line.number, seen={header.kind}, ended=header.end is None)
        new.latest_header = line.text
        new.detailed = header.details is None
        for one in (*above, kept(line)):
            new.keep(one)
        new.panicked = header.kind is Kind.PANIC or bool(follows.FATAL.match(line.text))
        new.unstamped = line.caller == UNSTAMPED
        if len(self._open) >= MOST_OPEN:
            self._close(next(iter(self._open)))
        self._joined.pop(line.caller, None)
        self._open[line.caller] = new

    def _panics_over(self, reason: str, open_: OpenReport | None) -> OpenReport | None:
        """The report over which the kernel panics; a panic of its own has none."""
        is_consequence = follows.CONSEQUENCE.match(reason) is not None
        if open_ is not None and not open_.kind.is_fact and (is_consequence or not open_.ended):
            return open_
        if is_consequence:
            real = [one for one in self._open.values() if not one.kind.is_fact]
            return max(real, key=lambda one: one.at.number, default=None)
        return None

    def _on_body(self, number: int, raw: str, text: str, context: str, open_: OpenReport) -> None:
        open_.latest = number
        if not open_.detailed:
            note_details(open_, text)
        found = look(text)
        line = (number, raw, text, found)
        if open_.header.end is not None and open_.header.end.match(text):
            open_.ended = True
            open_.keep(line)
        elif found is not None and not (found.part is Part.OTHER and follows.OPENER.match(text)):
            open_.keep(line)
            if found.part is Part.OTHER and follows.NMI.match(text):
                self._asking = context
        else:
            open_.put_aside(line)
            if len(open_.aside) > gap(open_):
                self._close(context)

    def _on_other(self, line: Line) -> None:
        text = line.text
        if (host := self._joined.get(line.caller)) is not None:
            self._on_joined(line, self._open[host])
        elif self._asking in self._open and follows.NMI.match(text) and len(self._joined) < MOST_OPEN:
            self._joined[line.caller] = str(self._asking)
            self._on_joined(line, self._open[str(self._asking)])
        elif follows.OPENER.match(text):
            if len(self._above) >= MOST_OPEN:
                self._above.pop(next(iter(self._above)))
            self._above[line.caller] = [kept(line)]
        elif (above := self._above.get(line.caller)) is not None:
            above.append(kept(line))
            if len(above) > MOST_ABOVE:
                del self._above[line.caller]

    def _on_joined(self, line: Line, host: OpenReport) -> None:
        """Another CPU shows its stack because the report's CPU asked for it."""
        found = look(line.text)
        if found is None or follows.OPENER.match(line.text):
            del self._joined[line.caller]
        else:
            host.latest = line.number
            host.keep((line.number, line.raw, line.text, found))

    def _close(self, context: str) -> None:
        self._done.append(self._open.pop(context))
        if self._asking == context:
            self._asking = None
        for other in [one for one, host in self._joined.items() if host == context]:
            del self._joined[other]


def parse(text: bytes | str, *, mixed: bool = False) -> list[Report]:
    """All reports of a whole log, in the order in which they begin. Facts (OOM) are among them."""
    parser = ConsoleParser(mixed=mixed)
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    reports = [*parser.feed(data), *parser.finish()]
    return sorted(reports, key=lambda report: report.line)
