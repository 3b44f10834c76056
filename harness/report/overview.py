# SPDX-License-Identifier: GPL-2.0-only
"""The run in a few words: how many of which verdict, when, how long, what needs a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from harness.judge.verdict import Result, Verdict
from harness.report.results import Run

SYMBOLS: Final[Mapping[Verdict, str]] = {
    Verdict.PASSED: "\N{CHECK MARK}",
    Verdict.FAILED: "\N{BALLOT X}",
    Verdict.CRASHED: "!",
    Verdict.BROKEN: "?",
    Verdict.IMPOSSIBLE: "\N{EN DASH}",
}
"""Beside the word, never without it: no verdict is told by its colour alone."""
BAD: Final = (Verdict.CRASHED, Verdict.FAILED, Verdict.BROKEN)
"""What needs a person, the gravest first."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What stands at the top of the page and of the summary."""

    headline: str
    counts: tuple[tuple[Verdict, int], ...]
    total: int
    when: str
    seconds: float | None
    command: str
    bad: tuple[Result, ...]


def overview(results: Sequence[Result], run: Run | None = None) -> Overview:
    """The overview of ``results``."""
    counts = Counter(result.verdict for result in results)
    bad = [result for result in results if result.verdict in BAD]
    run = run or Run()
    return Overview(
        headline=_headline(counts),
        counts=tuple((verdict, counts[verdict]) for verdict in Verdict if counts[verdict]),
        total=len(results),
        when=_date(run.started),
        seconds=run.seconds,
        command=run.command,
        bad=tuple(sorted(bad, key=lambda result: BAD.index(result.verdict))),
    )


def duration(seconds: float) -> str:
    """``4.0 s``, ``2 min 3 s``, ``1 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _headline(counts: Mapping[Verdict, int]) -> str:
    told = [f"{counts[verdict]}\N{NO-BREAK SPACE}{verdict}" for verdict in BAD if counts.get(verdict)]
    if told:
        return ", ".join(told)
    if passed := counts.get(Verdict.PASSED):
        return "All passed" if passed > 1 else "Passed"
    return "Nothing could be shown here" if counts else "No scenario ran"


def _date(started: str) -> str:
    try:
        return f"{datetime.fromisoformat(started):%d %B %Y, %H:%M %Z}".rstrip().lstrip("0")
    except ValueError:
        return ""
