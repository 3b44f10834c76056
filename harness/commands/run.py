# SPDX-License-Identifier: GPL-2.0-only
"""``harness run``: build what is missing, run scenarios, show the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.commands.evidence import new_evidence_dir
from harness.commands.session import Begun, Session, Wanted
from harness.drive.catalogue import Entry, select
from harness.drive.workbench import Workbench
from harness.judge.verdict import exit_code
from harness.progress import Progress
from harness.report import every, terminal
from harness.report import results as results_file
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
    evidence, begun = new_evidence_dir(), Begun()
    with Progress() as progress:
        bench = Workbench(order.modules, order.tree, progress)
        for target in order.targets:
            bench.templates(target, (entry.scenario for entry in entries))
        results, interrupted = _session(order, entries, evidence).run(progress)
    run = begun.ended()
    results = every.tell(evidence, results, run)
    if order.json is not None:
        results_file.write(order.json, results, run)
    terminal.show(results, evidence=evidence, seconds=run.seconds)
    if interrupted:
        raise KeyboardInterrupt
    return exit_code(result.verdict for result in results)


def _session(order: Order, entries: Sequence[Entry], evidence: Path) -> Session:
    words = [f"--module={module}" for module in order.modules]
    words += [f"--tree={order.tree}"] if order.tree else []
    words += ["--cold"] if order.cold else []
    return Session(
        name="scenarios",
        nodes=[entry.node for entry in entries],
        wanted=[
            Wanted(entry.scenario.id, target.name, entry.scenario.claim)
            for target in order.targets
            for entry in entries
        ],
        targets=order.targets,
        evidence=evidence,
        words=words,
        jobs=order.jobs,
    )
