# SPDX-License-Identifier: GPL-2.0-only
"""``report.html``: one file that needs no other and no script, for a person.

What is shown is prepared here as plain data and drawn by the templates, which escape everything. Text
of a guest has a longest length, lists have a greatest number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2

from harness.judge.dmesg import Report
from harness.judge.frames import is_helper
from harness.judge.lines import parse_line
from harness.judge.operations import Operation
from harness.judge.places import DecodedFrame
from harness.judge.verdict import Result, Verdict
from harness.report import evidence as evidences
from harness.report.evidence import Evidence
from harness.report.excerpt import main_report
from harness.report.files import harmless, write_atomically
from harness.report.matrix import Matrix, matrix
from harness.report.moments import moments
from harness.report.overview import SYMBOLS, Overview, duration, overview
from harness.report.plots import Plots, draw
from harness.report.results import Run
from harness.report.terminal import repeat_command

FILE: Final = "report.html"
MOST_REPORTS: Final = 5
"""Kernel reports shown of one scenario; the others are named."""
MOST_OPERATIONS: Final = 120
MOST_CONSOLE: Final = 60
AROUND: Final = 8
"""Console lines shown before and after a kernel report."""
LONGEST_LINE: Final = 300
MOST_PLOTTED: Final = 1000
"""Scenarios whose evidence is read; a page with more would be of no use to anybody."""


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A line of the console. ``ours``: part of the report that is shown."""

    number: int
    text: str
    ours: bool


@dataclass(frozen=True, slots=True)
class ReportView:
    """A kernel report as the page shows it."""

    report: Report
    frames: Sequence[DecodedFrame]
    raw: Sequence[str]

    @property
    def blamed(self) -> int:
        """The first frame, from 1, that does more than report; those above it are of little interest."""
        names = (frame.text.partition("+")[0].partition(" ")[0] for frame in self.frames)
        return next((number for number, name in enumerate(names, 1) if not is_helper(name)), 0)


@dataclass(frozen=True, slots=True)
class Card:
    """One scenario on one target."""

    anchor: str
    result: Result
    plots: Plots | None
    reports: Sequence[ReportView]
    more_reports: Sequence[str]
    console: Sequence[ConsoleLine]
    operations: Sequence[Operation]
    more_operations: int
    began: float
    """The guest's clock when it was sampled first: times are told from here on."""
    facts: Sequence[tuple[str, str]]
    again: str
    files: Sequence[str]

    @property
    def is_open(self) -> bool:
        """Whether all of it is unfolded at first: a reader comes for what went wrong."""
        return self.result.verdict in (Verdict.FAILED, Verdict.CRASHED, Verdict.BROKEN)


@dataclass(frozen=True, slots=True)
class Section:
    """One scenario on all its targets."""

    scenario: str
    claim: str
    thread: str
    cards: Sequence[Card]


def render(results: Sequence[Result], run_dir: Path, run: Run | None = None) -> str:
    """The page as text. ``run_dir`` is where the evidence is; what is missing of it is left out."""
    template = _environment().get_template("report.html.j2")
    summary: Overview = overview(results, run)
    grid: Matrix = matrix(results)
    return template.render(overview=summary, matrix=grid, sections=list(_sections(results, run_dir)))


def write(path: Path, results: Sequence[Result], run: Run | None = None) -> None:
    """Write the page to ``path``, beside the evidence. Raises InfrastructureError."""
    write_atomically(path, render(results, path.parent, run))


def anchor(scenario: str, target: str = "") -> str:
    """A name for a place in the page, whatever the ids are."""
    words = f"{scenario}--{target}" if target else scenario
    kept = (one if one.isascii() and (one.isalnum() or one in "-_.") else f"~{ord(one):x}" for one in words)
    return "s-" + "".join(kept)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"safe_text": harmless, "duration": duration, "since": _since}
    environment.globals.update(anchor=anchor, symbols=SYMBOLS, Verdict=Verdict)
    return environment


def _since(seconds: float) -> str:
    return f"{round(seconds, 2) + 0.0:.2f} s"  # adding makes a negative zero a positive one


def _sections(results: Sequence[Result], run_dir: Path) -> Iterator[Section]:
    by_scenario: dict[str, list[Result]] = {}
    for result in results:
        by_scenario.setdefault(result.scenario, []).append(result)
    plotted = 0
    for scenario, mine in by_scenario.items():
        cards = []
        for result in mine:
            plotted += 1
            found = evidences.load(run_dir, result) if plotted <= MOST_PLOTTED else Evidence()
            cards.append(_card(result, found))
        claim = next((one.claim for one in mine if one.claim), "")
        thread = next((one.thread for one in mine if one.thread), "")
        yield Section(scenario, claim, thread, cards)


def _card(result: Result, evidence: Evidence) -> Card:
    report = main_report(result)
    shown = sorted(result.reports, key=lambda one: one is not report)
    half = MOST_OPERATIONS // 2
    done = list(evidence.operations)
    kept = done if len(done) <= MOST_OPERATIONS else done[:half] + done[-half:]
    first = evidence.series.samples[0].at if evidence.series.samples else 0.0
    return Card(
        anchor=anchor(result.scenario, result.target),
        result=result,
        plots=draw(evidence.series, moments(result, evidence)),
        reports=[ReportView(one, _frames(result, one), _raw(one)) for one in shown[:MOST_REPORTS]],
        more_reports=[one.title for one in shown[MOST_REPORTS:]],
        console=_console(result, report, evidence),
        operations=kept,
        more_operations=len(done) - len(kept),
        began=first or (done[0].at if done else 0.0),
        facts=_facts(result, evidence),
        again=repeat_command(result),
        files=[f"{result.evidence}/{name}" for name in evidence.files],
    )


def _frames(result: Result, report: Report) -> Sequence[DecodedFrame]:
    """The decoded stack, or the frames as they were printed."""
    for index, one in enumerate(result.reports):
        if one is report and index < len(result.decoded) and result.decoded[index]:
            return result.decoded[index]
    return [DecodedFrame(frame) for frame in report.stack]


def _raw(report: Report) -> list[str]:
    return [parse_line(1, raw.encode("utf-8", "replace")).text[:LONGEST_LINE] for raw in report.raw]


def _console(result: Result, report: Report | None, evidence: Evidence) -> list[ConsoleLine]:
    """The console around the report that decided, or its last lines."""
    lines = evidence.console
    if lines and not lines[-1]:
        lines = lines[:-1]
    if report is None or not report.positions:
        begin, end, ours = max(0, len(lines) - MOST_CONSOLE), len(lines), frozenset[int]()
    else:
        ours = frozenset(report.positions)
        begin = max(0, report.positions[0] - 1 - AROUND)
        end = min(len(lines), report.positions[-1] + AROUND, begin + 4 * MOST_CONSOLE)
    return [
        ConsoleLine(number, parse_line(number, lines[number - 1]).raw[:LONGEST_LINE], number in ours)
        for number in range(begin + 1, end + 1)
    ]


def _facts(result: Result, evidence: Evidence) -> list[tuple[str, str]]:
    """What was in the machine, as far as it was written down."""
    kernel = evidence.about.get("kernel")
    kernel = kernel if isinstance(kernel, Mapping) else {}
    modules = evidence.about.get("modules")
    modules = modules if isinstance(modules, Mapping) else {}
    told: list[tuple[str, Any]] = [
        ("kernel", " ".join(str(kernel[name]) for name in ("release", "version") if kernel.get(name))),
        ("command line", evidence.machine.get("cmdline")),
        *((f"module {name}", f"build id {build}") for name, build in modules.items()),
        ("random seed", evidence.machine.get("seed")),
        ("samples", _sampling(evidence)),
    ]
    return [(name, harmless(str(value))) for name, value in told if value]


def _sampling(evidence: Evidence) -> str:
    count, seconds = len(evidence.series), evidence.series.seconds
    rate = f", {(count - 1) / seconds:.1f} a second" if seconds >= 1 else ""
    return f"{count} of the kernel's counters{rate}" if count else ""
