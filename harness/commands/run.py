# SPDX-License-Identifier: GPL-2.0-only
"""``harness run``: build what is missing, run scenarios, show the verdicts."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from harness import pytest_plugin
from harness.commands.evidence import new_evidence_dir
from harness.drive import schedule
from harness.drive.catalogue import Entry, select
from harness.drive.workbench import Workbench
from harness.errors import InfrastructureError
from harness.judge.verdict import Result, Verdict, exit_code
from harness.progress import Progress
from harness.report import every, terminal
from harness.report import results as results_file
from harness.settings import PROJECT
from harness.targets import Target


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked to run."""

    targets: Sequence[Target]
    scenarios: Sequence[str] = ()
    modules: Sequence[Path] = ()
    tree: str | None = None
    json: Path | None = None
    cold: bool = False
    """Boot each scenario's guest instead of cloning it."""
    jobs: int = 0
    """Guests at once, at most; 0: as many as this process may use processors."""


def run_scenarios(order: Order) -> int:
    """Build what is missing, run the scenarios, print the verdicts; returns the exit code."""
    entries = select(order.scenarios)
    evidence = new_evidence_dir()
    started, began = time.monotonic(), datetime.now().astimezone()
    with Progress() as progress:
        bench = Workbench(order.modules, order.tree, progress)
        for target in order.targets:
            bench.templates(target, (entry.scenario for entry in entries))
        found, stopped = _run_pytest(order, entries, evidence, progress)
    results = _with_missing(found, entries, order.targets, stopped)
    seconds = time.monotonic() - started
    run = results_file.Run(began.isoformat(timespec="seconds"), round(seconds, 1), _typed())
    results = every.tell(evidence, results, run)
    if order.json is not None:
        results_file.write(order.json, results, run)
    terminal.show(results, evidence=evidence, seconds=seconds)
    if stopped == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return exit_code(result.verdict for result in results)


def _typed() -> str:
    """The command line, with the program's name in place of where it is."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _run_pytest(
    order: Order, entries: Sequence[Entry], evidence: Path, progress: Progress
) -> tuple[list[Result], int]:
    total = len(entries) * len(order.targets)
    jobs = min(schedule.guests_at_once(order.targets, order.jobs), total)
    words = ["-c", str(PROJECT / "pyproject.toml"), "-p", "no:terminal", "--evidence", str(evidence)]
    words += [f"--target={target.name}" for target in order.targets]
    words += [f"--module={module}" for module in order.modules]
    words += [f"--tree={order.tree}"] if order.tree else []
    words += ["--cold"] if order.cold else []
    words += ["-n", str(jobs), "--maxschedchunk", "1"] if jobs > 1 else []
    with progress.step("scenarios", total) as step:

        def on_result(result: Result) -> None:
            step.update(done=step.done + 1, note=f"{result.scenario} {result.verdict}")

        collector = pytest_plugin.Collector(on_result)
        code = pytest.main([*words, *(entry.node for entry in entries)], plugins=[_Named(collector)])
    if collector.problems:
        raise InfrastructureError(f"a scenario's file cannot be read: {collector.problems[0][-800:]}")
    return collector.results, int(code)


def _with_missing(
    found: Sequence[Result], entries: Iterable[Entry], chosen: Sequence[Target], stopped: int
) -> list[Result]:
    """The results in the order of targets and ids; what did not get its turn is broken, not forgotten."""
    have = {(result.target, result.scenario): result for result in found}
    why = "interrupted" if stopped == pytest.ExitCode.INTERRUPTED else f"pytest ended with {stopped}"
    return [
        have.get((target.name, entry.scenario.id))
        or Result(
            entry.scenario.id,
            target.name,
            Verdict.BROKEN,
            f"did not run to its end: {why}",
            0.0,
            "",
            claim=entry.scenario.claim,
        )
        for target in chosen
        for entry in entries
    ]


class _Named:
    """Registers a collector under its name before the plugin would make one of its own."""

    def __init__(self, collector: pytest_plugin.Collector) -> None:
        self._collector = collector

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(self._collector, pytest_plugin.COLLECTOR)
