# SPDX-License-Identifier: GPL-2.0-only
"""``harness list``, ``doctor`` and ``clean``: what there is, what works, what can go."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import targets
from harness.boot import accel
from harness.build import doctor
from harness.build.artefacts import cached_kinds, find_all
from harness.build.doctor import Finding
from harness.build.store import Store, human
from harness.drive.catalogue import catalogue
from harness.errors import EXIT_BROKEN, EXIT_PASSED, UserError
from harness.progress import Progress
from harness.targets import DEFAULT_TARGET


def show_list(console: Console) -> None:
    """Targets and scenarios, a row each, and what of them is cached."""
    store = Store()
    grid = Table("target", "what", "cached", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for target in targets.targets().values():
        what = f"Linux {target.tree.version.partition('-')[0]}, {target.arch.name}, {target.profile.name}"
        grid.add_row(target.name, what, ", ".join(cached_kinds(target, store)) or "nothing yet")
    console.print(grid)
    console.print()
    _show_matrix(console)


def _show_matrix(console: Console) -> None:
    """Scenario x target: a dot where it runs, a number where it is impossible, and why below."""
    every = list(targets.targets().values())
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    grid.add_column("scenario")
    for target in every:
        # The tree's version is the same for all and in the table above.
        grid.add_column(target.name.partition("-")[2], justify="center")
    grid.add_column("claim")
    reasons: dict[str, int] = {}
    for entry in catalogue():
        found = [entry.scenario.why_impossible(target) for target in every]
        cells = [
            "•" if why is None else f"[dim]{reasons.setdefault(why, len(reasons) + 1)}[/]" for why in found
        ]
        grid.add_row(entry.scenario.id, *cells, escape(entry.scenario.claim))
    console.print(grid)
    if reasons:
        console.print("\n• runs there; a number: impossible there, because")
        notes = Table.grid(padding=(0, 1))
        for why, number in reasons.items():
            notes.add_row(f"[dim]{number:>2}[/]", escape(why))
        console.print(notes)


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
