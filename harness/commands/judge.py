# SPDX-License-Identifier: GPL-2.0-only
"""``harness judge``: read saved kernel logs and say what they report."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from io import BufferedReader
from pathlib import Path
from typing import IO, Final, cast

from rich.console import Console
from rich.markup import escape

from harness.errors import EXIT_FAILED, EXIT_PASSED, EXIT_USAGE
from harness.judge.dmesg import ConsoleParser, Report
from harness.judge.known import Rule, overdue, own_rules, sift

CHUNK: Final = 1 << 18
"""Bytes read at a time."""
STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Judged:
    """What one log says. Only ``reports`` count against it."""

    file: str
    reports: tuple[Report, ...]
    facts: tuple[Report, ...] = ()
    """Out of memory, failed allocations: a working kernel says so too."""
    known: tuple[tuple[Report, Rule], ...] = ()
    lines: int = 0
    dropped: int = 0
    beyond: int = 0

    def as_json(self) -> dict[str, object]:
        """One line of ``--json``."""
        return {
            "file": self.file,
            "reports": [_brief(report) for report in self.reports],
            "facts": [_brief(report) for report in self.facts],
            "known": [
                _brief(report) | {"reason": rule.reason, "link": rule.link} for report, rule in self.known
            ],
            "lines": self.lines,
            "dropped": self.dropped,
            "beyond": self.beyond,
        }


def judge_files(files: Sequence[str], as_json: bool, rules: Sequence[Rule] | None = None) -> int:
    """Judge each log in the order given; returns the exit code.

    0: none has a report; 1: some have; 2: a file could not be read, whatever the others say.
    """
    rules = own_rules() if rules is None else rules
    today = date.today()
    out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)
    for sentence in overdue(rules, today):
        err.print(f"[yellow]harness:[/] {escape(sentence)}")
    code = EXIT_PASSED
    for file in files:
        try:
            judged = judge_file(file, rules, today)
        except (OSError, EOFError, zlib.error) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            err.print(f"[bold red]harness:[/] {escape(file)} cannot be read: {escape(why)}")
            code = EXIT_USAGE
            continue
        if as_json:
            sys.stdout.write(json.dumps(judged.as_json()) + "\n")
            sys.stdout.flush()
        else:
            _show(judged, out)
        if judged.reports and code == EXIT_PASSED:
            code = EXIT_FAILED
    return code


def judge_file(file: str, rules: Sequence[Rule], today: date) -> Judged:
    """Read one log, plain or gzipped, piece by piece.

    Raises:
        OSError, EOFError, zlib.error: it cannot be read to its end.
    """
    parser = ConsoleParser(mixed=True)
    found: list[Report] = []
    with _opened(file) as stream:
        while chunk := stream.read(CHUNK):
            found += parser.feed(chunk)
    found += parser.finish()
    found.sort(key=lambda report: report.line)
    sifted = sift(found, rules, today)
    return Judged(
        file,
        tuple(report for report in sifted.unknown if not report.is_fact),
        tuple(report for report in sifted.unknown if report.is_fact),
        sifted.known,
        parser.lines,
        parser.dropped,
        parser.beyond,
    )


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        raw = sys.stdin.buffer if file == STDIN else stack.enter_context(Path(file).open("rb"))
        assert isinstance(raw, BufferedReader)
        packed = raw.peek(len(_GZIP)).startswith(_GZIP)
        yield cast("IO[bytes]", stack.enter_context(gzip.open(raw))) if packed else raw


def _brief(report: Report) -> dict[str, object]:
    return {
        "kind": str(report.kind),
        "title": report.title,
        "frame": report.frame,
        "corrupted": report.corrupted,
        "corrupted_why": report.corrupted_why,
        "line": report.line,
        "fingerprint": report.fingerprint,
        "where": report.where,
        "cpu": report.cpu,
        "task": report.task,
        "taint": report.taint,
        "context": report.context,
        "panicked": report.panicked,
        "stack": list(report.stack),
    }


def _show(judged: Judged, out: Console) -> None:
    """A headline for the file, then a line or two for each thing found, facts apart from reports."""
    name = "standard input" if judged.file == STDIN else judged.file
    many = (
        f"{len(judged.reports)} report{'s' if len(judged.reports) != 1 else ''}"
        if judged.reports
        else "clean"
    )
    colour = "red" if judged.reports else "green"
    out.print(f"[bold]{escape(name)}[/]: [{colour}]{many}[/] in {judged.lines} lines")
    for report in judged.reports:
        _show_one(report, "red", out)
    for report, rule in judged.known:
        _show_one(report, "yellow", out)
        out.print(f"       known until {rule.until}: {escape(rule.reason)}, {escape(rule.link)}")
    if judged.facts:
        out.print("  no bug by itself:")
        for report in judged.facts:
            _show_one(report, "cyan", out)
    if judged.dropped:
        out.print(f"  {judged.dropped} messages of the kernel never reached this log")
    if judged.beyond:
        out.print(f"  and {judged.beyond} reports more")


def _show_one(report: Report, colour: str, out: Console) -> None:
    out.print(f"  line {report.line}: [{colour}]{report.kind}[/] [bold]{escape(report.title)}[/]")
    facts = [
        f"at {report.where}" if report.where else "",
        f"frame {report.frame}" if report.frame and report.frame not in report.title else "",
        f"task {report.task}" if report.task else "",
        f"CPU {report.cpu}" if report.cpu is not None else "",
        "the kernel panicked over it" if report.panicked else "",
    ]
    said = ", ".join(fact for fact in facts if fact)
    if said:
        out.print(f"       {escape(said)}")
    if report.corrupted:
        out.print(f"       [yellow]not to be trusted:[/] {escape(report.corrupted_why)}")
