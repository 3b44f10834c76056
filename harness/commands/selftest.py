# SPDX-License-Identifier: GPL-2.0-only
"""``harness selftest``: plant every fault, show what the judge made of it, and keep that if asked to."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import pytest_plugin
from harness.boot.machine import CONSOLE
from harness.boot.template import BOOT_LOG
from harness.commands.evidence import new_evidence_dir
from harness.drive import golden, schedule, selftest
from harness.drive.fault import Fault
from harness.drive.workbench import Workbench
from harness.errors import InfrastructureError
from harness.judge.verdict import Result, Verdict, exit_code
from harness.progress import Progress
from harness.report import every
from harness.report.files import harmless
from harness.report.results import Run
from harness.report.terminal import STYLES, failure, make_console, summary
from harness.settings import PROJECT
from harness.targets import Target

TESTS: Final = PROJECT / "tests" / "scenarios" / "test_selftest.py"


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for."""

    targets: Sequence[Target]
    faults: Sequence[str] = ()
    """Words, each a part of some faults' ids; none: every fault."""
    update: bool = False
    """Write the consoles and what was found in them into the corpus."""
    jobs: int = 0


def run_selftest(order: Order) -> int:
    """Plant faults in guests and show a row for each; returns the exit code."""
    faults = selftest.select(order.faults)
    evidence = new_evidence_dir()
    started, began = time.monotonic(), datetime.now().astimezone()
    with Progress() as progress:
        bench = Workbench((), None, progress)
        for target in order.targets:
            bench.templates(target, (selftest.scenario_for(fault, target) for fault in faults))
            bench.module(target, selftest.MODULE)
        results = _in_order(_run(order, faults, evidence, progress), faults, order.targets)
        if order.update:
            _update(order, results, bench, evidence)
    seconds = time.monotonic() - started
    typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    results = every.tell(
        evidence, results, Run(began.isoformat(timespec="seconds"), round(seconds, 1), typed)
    )
    console = make_console()
    for result in results:
        if result.verdict not in (Verdict.PASSED, Verdict.IMPOSSIBLE):
            console.print(failure(result, evidence))
    _show(console, results)
    console.print(summary(results, seconds))
    console.print(Text(f"evidence: {evidence}"), soft_wrap=True)
    return exit_code(result.verdict for result in results)


def _run(order: Order, faults: Sequence[Fault], evidence: Path, progress: Progress) -> list[Result]:
    nodes = [f"{TESTS}::test_fault[{fault.id}-{target.name}]" for target in order.targets for fault in faults]
    jobs = min(schedule.guests_at_once(order.targets, order.jobs), len(nodes))
    words = ["-c", str(PROJECT / "pyproject.toml"), "-p", "no:terminal", "--evidence", str(evidence)]
    words += [f"--target={target.name}" for target in order.targets]
    words += ["-n", str(jobs), "--maxschedchunk", "1"] if jobs > 1 else []
    with progress.step("planted faults", len(nodes)) as step:

        def on_result(result: Result) -> None:
            step.update(done=step.done + 1, note=f"{result.scenario} {result.verdict}")

        collector = pytest_plugin.Collector(on_result)
        code = pytest.main([*words, *nodes], plugins=[_Named(collector)])
    if collector.problems:
        raise InfrastructureError(f"{TESTS} cannot be read: {collector.problems[0][-800:]}")
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return collector.results


class _Named:
    """Registers a collector under its name before the plugin would make one of its own."""

    def __init__(self, collector: pytest_plugin.Collector) -> None:
        self._collector = collector

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(self._collector, pytest_plugin.COLLECTOR)


def _in_order(found: Sequence[Result], faults: Sequence[Fault], chosen: Sequence[Target]) -> list[Result]:
    """A result for each fault on each target; what got none is broken, not forgotten."""
    have = {(result.target, result.scenario): result for result in found}
    missing = "did not run to its end"
    return [
        have.get((target.name, fault.id))
        or Result(fault.id, target.name, Verdict.BROKEN, missing, 0.0, "", claim=fault.claim)
        for target in chosen
        for fault in faults
    ]


def _show(console: Console, results: Sequence[Result]) -> None:
    """A table a target, and in it a row a fault: what the judge found."""
    for target in dict.fromkeys(result.target for result in results):
        grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
        grid.title, grid.title_justify = Text(target, style="bold"), "left"
        rows = [result for result in results if result.target == target]
        grid.add_column("fault", no_wrap=True, width=max(len(result.scenario) for result in rows))
        grid.add_column("verdict", no_wrap=True, width=len(Verdict.IMPOSSIBLE))
        grid.add_column("time", no_wrap=True, width=6, justify="right")
        grid.add_column("found", no_wrap=True, ratio=1)  # the only one that may shrink
        for result in rows:
            grid.add_row(
                result.scenario,
                Text(str(result.verdict), style=STYLES[result.verdict]),
                f"{result.seconds:.1f} s" if result.seconds else "",
                Text(harmless(_found(result)), no_wrap=True, overflow="ellipsis"),
            )
        console.print(grid)
        console.print()


def _found(result: Result) -> str:
    if result.verdict is Verdict.IMPOSSIBLE:
        return result.reason
    found = dict.fromkeys(
        f"{one.kind} in {_last(one.frame)}" if one.frame else str(one.kind) for one in result.reports
    )
    return ", ".join(found) or "nothing"


def _last(frame: str) -> str:
    """``memory::oom`` of ``rust_fault_main::memory::oom``: there is little room."""
    return frame if "<" in frame else "::".join(frame.split("::")[-2:])


def _update(order: Order, results: Sequence[Result], bench: Workbench, evidence: Path) -> None:
    """Put into the corpus what passed; what did not would teach the wrong lesson."""
    for target in order.targets:
        release = bench.artefacts(target).kernel.release
        for result in results:
            if result.target == target.name and result.verdict is Verdict.PASSED:
                console = (evidence / result.evidence / CONSOLE).read_bytes()
                text = golden.excerpt(console, result.scenario)
                golden.Golden.judged(result.scenario, target.name, release, text).write()
        if not order.faults:
            boot = (bench.template(target).path / BOOT_LOG).read_bytes()
            golden.Golden.judged(golden.BOOT, target.name, release, boot).write()
