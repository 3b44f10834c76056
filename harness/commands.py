# SPDX-License-Identifier: GPL-2.0-only
"""What the commands do; the command line only reads their words."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import pytest_plugin, targets
from harness.boot import accel
from harness.boot.payload import pack, unpack_script
from harness.build import doctor
from harness.build.artefacts import cached_kinds, find_all
from harness.build.doctor import Finding
from harness.build.store import Store, human
from harness.deadline import Deadline
from harness.drive.catalogue import Entry, catalogue, select
from harness.drive.guest import MODULES
from harness.drive.workbench import Workbench
from harness.errors import EXIT_BROKEN, EXIT_PASSED, InfrastructureError, UserError
from harness.judge.verdict import Result, Verdict, exit_code
from harness.progress import Progress
from harness.report import results as results_file
from harness.report import terminal
from harness.settings import PROJECT, evidence_dir
from harness.targets import DEFAULT_TARGET, Target

SHELL_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked to run."""

    targets: Sequence[Target]
    scenarios: Sequence[str] = ()
    modules: Sequence[Path] = ()
    tree: str | None = None
    json: Path | None = None
    jobs: int = 0
    """Guests at once; 0: as many as this process may use processors."""


def run_scenarios(order: Order) -> int:
    """Build what is missing, run the scenarios, print the verdicts; returns the exit code."""
    entries = select(order.scenarios)
    evidence = new_evidence_dir()
    started = time.monotonic()
    with Progress() as progress:
        bench = Workbench(order.modules, order.tree, progress)
        for target in order.targets:
            for cmdline in dict.fromkeys(entry.scenario.cmdline for entry in entries):
                bench.template(target, cmdline)
        found, stopped = _run_pytest(order, entries, evidence, progress)
    results = _with_missing(found, entries, order.targets, stopped)
    if order.json is not None:
        results_file.write(order.json, results)
    terminal.show(results, evidence=evidence, seconds=time.monotonic() - started)
    if stopped == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return exit_code(result.verdict for result in results)


def new_evidence_dir() -> Path:
    """A new folder for a run, and ``latest`` pointing to it."""
    root = evidence_dir()
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S.%f")[:-3]
    folder = root / stamp
    try:
        folder.mkdir(parents=True)
        latest = root / f".latest.{os.getpid()}"
        latest.symlink_to(stamp)
        latest.replace(root / "latest")
    except OSError as error:
        raise InfrastructureError(
            f"cannot write evidence to {folder}: {error.strerror}", "name a folder with HARNESS_EVIDENCE"
        ) from error
    return folder


def _run_pytest(
    order: Order, entries: Sequence[Entry], evidence: Path, progress: Progress
) -> tuple[list[Result], int]:
    total = len(entries) * len(order.targets)
    jobs = min(order.jobs or len(os.sched_getaffinity(0)), total)
    words = ["-c", str(PROJECT / "pyproject.toml"), "-p", "no:terminal", "--evidence", str(evidence)]
    words += [f"--target={target.name}" for target in order.targets]
    words += [f"--module={module}" for module in order.modules]
    words += [f"--tree={order.tree}"] if order.tree else []
    words += ["-n", str(jobs), "--dist", "worksteal"] if jobs > 1 else []
    with progress.step("scenarios", total) as step:

        def on_result(result: Result) -> None:
            step.update(done=step.done + 1, note=f"{result.scenario} {result.verdict}")

        collector = pytest_plugin.Collector(on_result)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
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


def open_shell(target: Target, modules: Sequence[Path], tree: str | None) -> None:
    """A clone with every module in ``/modules``, and this terminal on its shell."""
    with Progress() as progress:
        bench = Workbench(modules, tree, progress)
        template = bench.template(target)
        built = bench.artefacts(target).modules
        payload = pack({f"{MODULES[1:]}/{module.name}.ko": module.stripped for module in built}, Store())
    evidence = new_evidence_dir()
    deadline = Deadline.after(SHELL_SECONDS, "a clone of the guest answers", slowdown=template.slowdown)
    machine = template.clone(evidence, payload, deadline)
    try:
        machine.shell.run(unpack_script(payload), deadline=deadline)
        names = " ".join(module.name for module in built)
        sys.stderr.write(f"{target.name}; /modules has {names}; the console is in {machine.console}\n")
        sys.stderr.write("load one with: modctl load /modules/NAME.ko; leave with exit or Ctrl-]\n")
        machine.shell.interact()
    finally:
        machine.stop()


def show_list(console: Console) -> None:
    """Targets and scenarios, a row each, and what of them is cached."""
    store = Store()
    grid = Table("target", "what", "cached", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for target in targets.targets().values():
        what = f"Linux {target.tree.version.partition('-')[0]}, {target.arch.name}, {target.profile.name}"
        grid.add_row(target.name, what, ", ".join(cached_kinds(target, store)) or "nothing yet")
    console.print(grid)
    console.print()
    grid = Table("scenario", "modules", "claim", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for entry in catalogue():
        scenario = entry.scenario
        grid.add_row(scenario.id, " ".join(scenario.modules), scenario.claim)
    console.print(grid)


def show_doctor(console: Console) -> int:
    """What this machine can do, a line each; returns the exit code."""
    with Progress() as progress:
        findings = doctor.examine(progress=progress, prove_kvm=lambda: _prove_kvm(progress))
    marks = {True: "[green]ok[/]", False: "[red]no[/]", None: "[dim]--[/]"}
    grid = Table.grid(padding=(0, 1))
    for finding in findings:
        says = escape(finding.says) + (f"\n[dim]{escape(finding.todo)}[/]" if finding.todo else "")
        grid.add_row(marks[finding.ok], finding.name, says)
    console.print(grid)
    return EXIT_BROKEN if any(finding.ok is False for finding in findings) else EXIT_PASSED


def _prove_kvm(progress: Progress) -> Finding:
    """A boot is the only proof; it takes a kernel that is built already."""
    store = Store()
    artefacts = find_all(targets.target(DEFAULT_TARGET), store)
    if artefacts is None:
        return Finding(
            "KVM", None, "/dev/kvm can be opened; a boot will tell", "harness build, then ask again"
        )
    why = accel.proved(artefacts, store, progress)
    if why is None:
        return Finding("KVM", True, "a kernel boots under it")
    return Finding("KVM", None, f"no kernel boots under it: {why}", "guests are emulated, which is enough")


def clean_cache(kinds: Sequence[str]) -> None:
    """Remove what the cache holds, or some kinds of it, and say how much that was."""
    store = Store()
    known = store.size()
    for kind in kinds:
        if kind not in known:
            raise UserError(f"the cache holds no {kind!r}", f"it holds: {', '.join(known) or 'nothing'}")
    print(f"{human(store.clean(kinds or None))} given back")
