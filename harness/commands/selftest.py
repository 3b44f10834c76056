# SPDX-License-Identifier: GPL-2.0-only
"""``harness selftest``: plant every fault, show what the judge made of it, and keep that if asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.boot.machine import CONSOLE
from harness.boot.template import BOOT_LOG
from harness.commands.evidence import new_evidence_dir
from harness.commands.session import Begun, Session, Wanted
from harness.drive import golden, selftest
from harness.drive.fault import Fault
from harness.drive.workbench import Workbench
from harness.judge.verdict import Result, Verdict, exit_code
from harness.progress import Progress
from harness.report import every
from harness.report.files import harmless
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
    evidence, begun = new_evidence_dir(), Begun()
    with Progress() as progress:
        bench = Workbench((), None, progress)
        for target in order.targets:
            bench.templates(target, (selftest.scenario_for(fault, target) for fault in faults))
            bench.module(target, selftest.MODULE)
        results, interrupted = _session(order, faults, evidence).run(progress)
        if order.update and not interrupted:
            _update(order, results, bench, evidence)
    run = begun.ended()
    results = every.tell(evidence, results, run)
    console = make_console()
    for result in results:
        if result.verdict not in (Verdict.PASSED, Verdict.IMPOSSIBLE):
            console.print(failure(result, evidence))
    _show(console, results)
    console.print(summary(results, run.seconds))
    console.print(Text(f"evidence: {evidence}"), soft_wrap=True)
    if interrupted:
        raise KeyboardInterrupt
    return exit_code(result.verdict for result in results)


def _session(order: Order, faults: Sequence[Fault], evidence: Path) -> Session:
    wanted = [Wanted(fault.id, target.name, fault.claim) for target in order.targets for fault in faults]
    return Session(
        name="planted faults",
        nodes=[f"{TESTS}::test_fault[{one.id}-{one.target}]" for one in wanted],
        wanted=wanted,
        targets=order.targets,
        evidence=evidence,
        jobs=order.jobs,
    )


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
