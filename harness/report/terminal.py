# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees at the end of a run: each failure told in full, then the table of verdicts."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.judge.verdict import Result, Verdict
from harness.report.excerpt import decoded_lines, lines_that_matter
from harness.report.files import harmless
from harness.report.matrix import matrix, short_names

STYLES: Final = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "red",
    Verdict.CRASHED: "bold red",
    Verdict.BROKEN: "yellow",
    Verdict.IMPOSSIBLE: "dim",
}
MOST_FRAMES: Final = 5
MOST_STACK: Final = 10
"""Lines of them: what is inlined has a line of its own."""
MOST_TOLD: Final = 20
"""Failures told in full; the table has them all."""


def show(
    results: Sequence[Result],
    evidence: Path | None = None,
    console: Console | None = None,
    *,
    seconds: float | None = None,
) -> None:
    """Print failures, the table and where the evidence is.

    ``seconds`` is what the whole run took; guests run side by side, so it is less than the sum.
    """
    console = console or make_console()
    if not console.is_terminal:
        with console.capture() as captured:
            _print(console, results, evidence, seconds)
        lines = (line.rstrip() for line in captured.get().splitlines())
        console.file.write("".join(f"{line}\n" for line in lines))
        return
    _print(console, results, evidence, seconds)


def _print(
    console: Console,
    results: Sequence[Result],
    evidence: Path | None,
    seconds: float | None,
) -> None:
    bad = [one for one in results if one.verdict not in (Verdict.PASSED, Verdict.IMPOSSIBLE)]
    for result in bad[:MOST_TOLD]:
        console.print(failure(result, evidence))
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
    """One target: a row a scenario with its time and claim. Several: the matrix of verdicts."""
    targets = list(dict.fromkeys(result.target for result in results))
    return _matrix(results) if len(targets) > 1 else _list(results, targets)


def _grid() -> Table:
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, expand=False, padding=(0, 1, 0, 0))


def _list(results: Sequence[Result], targets: Sequence[str]) -> Table:
    grid = _grid()
    if targets:
        grid.title = Text(harmless(targets[0]), style="bold")
        grid.title_justify = "left"
    grid.add_column("scenario", no_wrap=True)
    grid.add_column("verdict", no_wrap=True)
    grid.add_column("time", no_wrap=True, justify="right")
    grid.add_column("")  # the only one that may shrink: its cells are cut, see below
    for result in results:
        grid.add_row(
            Text(harmless(result.scenario)),
            Text(str(result.verdict), style=STYLES[result.verdict]),
            Text(_time(result), style="dim"),
            _remark(result.reason if result.verdict in _BAD else "", result.claim or result.reason),
        )
    return grid


def _matrix(results: Sequence[Result]) -> Table:
    """A column a target; what room is left is the claim's. Times are in the other reports."""
    grid, cells = _grid(), matrix(results)
    words = {verdict: str(verdict) for verdict in Verdict}
    if len(cells.targets) > _MOST_WIDE:
        words[Verdict.IMPOSSIBLE] = "-"
    width = max(map(len, words.values()))
    grid.add_column("scenario", no_wrap=True)
    for name in short_names(cells.targets):
        grid.add_column(Text(_folded(harmless(name), width)), min_width=width, max_width=width)
    if len(cells.targets) <= _MOST_WIDE:
        grid.add_column("", min_width=_LEAST_CLAIM)
    for row in cells.rows:
        found = [row.cells.get(target) for target in cells.targets]
        shown = (
            Text("") if one is None else Text(words[one.verdict], style=STYLES[one.verdict]) for one in found
        )
        claim = [_remark("", row.claim)] if len(cells.targets) <= _MOST_WIDE else []
        grid.add_row(Text(harmless(row.scenario)), *shown, *claim)
    return grid


def _folded(name: str, width: int) -> str:
    """A target's name in lines of ``width``, broken at its hyphens: ``x86_64-`` over ``kasan``."""
    lines = [""]
    for piece in re.findall(r"[^-]*-|[^-]+$", name) or [name]:
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def _remark(bad: str, usual: str) -> Text:
    style = "" if bad else "dim"
    return Text(_one_line(bad or usual), style=style, no_wrap=True, overflow="ellipsis")


_MOST_WIDE: Final = 5
"""Targets for which 80 columns have room for whole words and something of the claim."""
_LEAST_CLAIM: Final = 10
_BAD: Final = (Verdict.FAILED, Verdict.CRASHED, Verdict.BROKEN)


def failure(result: Result, evidence: Path | None = None) -> RenderableType:
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
    told = [("claim", result.claim), ("from", result.thread), ("reason", result.reason)]
    told += [("expected", result.expected), ("seen", result.seen)]
    for name, value in told:
        if value:
            facts.add_row(name, Text(harmless(value)))
    frames = decoded_lines(result, MOST_FRAMES)
    if lines := lines_that_matter(result, frames=not frames):
        facts.add_row("console", _block(lines))
    if frames:
        facts.add_row("stack", Text("\n".join(harmless(line, 400) for line in frames[:MOST_STACK])))
    if result.evidence:
        folder = str(evidence / result.evidence) if evidence is not None else result.evidence
        facts.add_row("evidence", Text(harmless(folder)))
    facts.add_row("again", Text(repeat_command(result), style="bold"))
    return Group(Rule(title, align="left", style="dim"), Padding(facts, (0, 0, 1, 2)))


def repeat_command(result: Result) -> str:
    """The one command that runs this again; a planted fault comes from no thread."""
    target, scenario = (shlex.quote(_one_line(name)) for name in (result.target, result.scenario))
    return f"harness {'run' if result.thread else 'selftest'} -t {target} -k {scenario}"


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


def _one_line(text: str) -> str:
    return " ".join(harmless(text).split())


def _time(result: Result) -> str:
    return "" if result.verdict is Verdict.IMPOSSIBLE else f"{result.seconds:.1f} s"
