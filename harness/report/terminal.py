# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees at the end of a run: each failure told in full, then the table of verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.judge.dmesg import Report
from harness.judge.verdict import Result, Verdict
from harness.report.excerpt import lines_that_matter, main_report
from harness.report.files import harmless

STYLES: Final = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "red",
    Verdict.CRASHED: "bold red",
    Verdict.BROKEN: "yellow",
    Verdict.IMPOSSIBLE: "dim",
}
MOST_FRAMES: Final = 5
MOST_TOLD: Final = 20
"""Failures told in full; the table has them all."""

Decoder = Callable[[Report], Sequence[str]]
"""A report's frames with file and line, for a person."""


def show(
    results: Sequence[Result],
    evidence: Path | None = None,
    console: Console | None = None,
    *,
    seconds: float | None = None,
    decode: Decoder | None = None,
) -> None:
    """Print failures, the table and where the evidence is.

    ``seconds`` is what the whole run took; guests run side by side, so it is less than the sum.
    """
    console = console or make_console()
    if not console.is_terminal:
        with console.capture() as captured:
            _print(console, results, evidence, seconds, decode)
        lines = (line.rstrip() for line in captured.get().splitlines())
        console.file.write("".join(f"{line}\n" for line in lines))
        return
    _print(console, results, evidence, seconds, decode)


def _print(
    console: Console,
    results: Sequence[Result],
    evidence: Path | None,
    seconds: float | None,
    decode: Decoder | None,
) -> None:
    bad = [one for one in results if one.verdict not in (Verdict.PASSED, Verdict.IMPOSSIBLE)]
    for result in bad[:MOST_TOLD]:
        console.print(failure(result, decode, evidence))
    if len(bad) > MOST_TOLD:
        console.print(Text(f"... and {len(bad) - MOST_TOLD} more, see the table and the evidence\n"))
    console.print(table(results))
    console.print(summary(results, seconds))
    if evidence is not None:
        console.print(Text(f"evidence: {evidence}"), soft_wrap=True)


def make_console() -> Console:
    """Standard output; no colours and no cursor movement when it is not a terminal."""
    return Console(highlight=False, emoji=False)


def table(results: Sequence[Result]) -> Table:
    """One row a scenario; the target has a column when there are several."""
    targets = list(dict.fromkeys(result.target for result in results))
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=False, padding=(0, 1, 0, 0))
    if len(targets) == 1:
        grid.title = Text(harmless(targets[0]), style="bold")
        grid.title_justify = "left"
    grid.add_column("scenario", no_wrap=True)
    if len(targets) > 1:
        grid.add_column("target", no_wrap=True)
    grid.add_column("verdict", no_wrap=True)
    grid.add_column("time", no_wrap=True, justify="right")
    grid.add_column("")  # the only one that may shrink: its cells are cut, see below
    for result in results:
        cells = [Text(harmless(result.scenario))]
        if len(targets) > 1:
            cells.append(Text(harmless(result.target)))
        cells.append(Text(str(result.verdict), style=STYLES[result.verdict]))
        cells.append(Text(_time(result), style="dim"))
        style = "" if result.verdict in _BAD else "dim"
        cells.append(Text(_one_line(_remark(result)), style=style, no_wrap=True, overflow="ellipsis"))
        grid.add_row(*cells)
    return grid


_BAD: Final = (Verdict.FAILED, Verdict.CRASHED, Verdict.BROKEN)


def failure(result: Result, decode: Decoder | None = None, evidence: Path | None = None) -> RenderableType:
    """All that a person needs to begin: claim, expected and seen, the console, the way to repeat it."""
    style = STYLES[result.verdict]
    title = Text.assemble(
        (harmless(result.scenario), "bold"),
        " on ",
        harmless(result.target),
        ": ",
        (str(result.verdict), style),
    )
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    told = [("claim", result.claim), ("reason", result.reason), ("expected", result.expected)]
    told += [("seen", result.seen)]
    for name, value in told:
        if value:
            facts.add_row(name, Text(harmless(value)))
    if lines := lines_that_matter(result):
        facts.add_row("console", _block(lines))
    report = main_report(result)
    if report is not None and decode is not None and (frames := decode(report)):
        facts.add_row("stack", _block(frames[:MOST_FRAMES]))
    if result.evidence:
        folder = str(evidence / result.evidence) if evidence is not None else result.evidence
        facts.add_row("evidence", Text(harmless(folder)))
    facts.add_row("again", Text(repeat_command(result), style="bold"))
    return Group(Rule(title, align="left", style="dim"), Padding(facts, (0, 0, 1, 2)))


def repeat_command(result: Result) -> str:
    """The one command that runs this scenario again."""
    return f"harness run -t {harmless(result.target)} -k {harmless(result.scenario)}"


def summary(results: Sequence[Result], seconds: float | None = None) -> Text:
    """``12 passed, 1 crashed in 8.1 s``."""
    counts = Counter(result.verdict for result in results)
    text = Text()
    for verdict in Verdict:
        if counts[verdict]:
            text.append(", " if text else "")
            text.append(f"{counts[verdict]} {verdict}", style=STYLES[verdict])
    if not text:
        text.append("no scenario ran", style="yellow")
    if seconds is not None:
        text.append(f" in {seconds:.1f} s")
    return text


def _block(lines: Sequence[str]) -> Text:
    """Console lines as they are, cut rather than wrapped."""
    joined = "\n".join(harmless(line.expandtabs(), 400) for line in lines)
    return Text(joined, no_wrap=True, overflow="ellipsis")


def _remark(result: Result) -> str:
    return (result.reason or result.claim) if result.verdict in _BAD else (result.claim or result.reason)


def _one_line(text: str) -> str:
    return " ".join(harmless(text).split())


def _time(result: Result) -> str:
    return "" if result.verdict is Verdict.IMPOSSIBLE else f"{result.seconds:.1f} s"
