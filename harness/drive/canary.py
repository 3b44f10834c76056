# SPDX-License-Identifier: GPL-2.0-only
"""Proof that a detector is awake: a small planted fault that it has to find.

A scenario that waits for KASAN to speak says nothing when KASAN is not there, was switched off by a
boot parameter, or does not see Rust. So before a scenario that relies on a detector counts, the
detector's canary has to fire, in a clone of the very template that the scenario runs in. A template does
not change any more, so once is enough for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.build.store import Store, digest
from harness.drive.folios import Folios
from harness.drive.guest import Guest
from harness.drive.leaks import forget_leaks, lost
from harness.drive.runner import ScenarioRun
from harness.drive.scenario import Scenario
from harness.errors import InfrastructureError
from harness.judge.kinds import Kind
from harness.judge.verdict import Verdict
from harness.targets import Detector

if TYPE_CHECKING:
    from harness.drive.workbench import Workbench
    from harness.targets import Target

_KEEP: Final = 64
_OUTCOME: Final = "outcome.json"


@dataclass(frozen=True, slots=True)
class Canary:
    """``sing`` has the guest do what the detector must find, and expects the report."""

    module: str
    sing: Callable[[Guest], None]


def _planted(fault: str, kind: Kind) -> Callable[[Guest], None]:
    def sing(guest: Guest) -> None:
        guest.insmod("rust_fault")
        guest.expect_report(kind, at="rust_fault", count=1)
        guest.op("rust_fault", fault)

    return sing


def _leak(guest: Guest) -> None:
    guest.insmod("rust_fault")
    # What is there already is not ours: only what is found from now on counts.
    forget_leaks(guest)
    guest.must("rust_fault", "leak")
    guest.expect_report(Kind.MEMORY_LEAK)
    found = [leak for leak in lost(guest) if any("rust_fault" in frame for frame in leak.stack)]
    guest.prove(bool(found), "kmemleak names the module that leaks")


def _highmem(guest: Guest) -> None:
    """HighTotal, a page that is PageHighMem, and a mapping in the fixmap; what is mapped reads as written."""
    folios = Folios(guest)
    (folio,) = folios.mapped_for_real(1)
    seen = folios.must(f"nest closures 1 {folio.slot}")
    guest.prove(seen["direct"] == 0, f"kmap_local maps high memory: {seen}")
    assert seen["slots"] == folios.slot_numbers(1)
    assert not any(seen["differing"])


CANARIES: Final[dict[Detector, Canary]] = {
    Detector.KASAN: Canary("rust_fault", _planted("slab_out_of_bounds", Kind.KASAN)),
    Detector.LOCKDEP: Canary("rust_fault", _planted("lock_inversion", Kind.LOCKDEP)),
    Detector.ATOMIC_SLEEP: Canary("rust_fault", _planted("sleep_in_atomic", Kind.ATOMIC_SLEEP)),
    Detector.KMEMLEAK: Canary("rust_fault", _leak),
    Detector.HIGHMEM: Canary("rust_folio", _highmem),
}


def needed(scenario: Scenario, target: Target) -> tuple[Detector, ...]:
    """What has to prove itself before ``scenario`` counts on ``target``.

    On a machine with high memory that is part of every scenario: nothing there may pass without it.
    """
    always = target.profile.detectors & {Detector.HIGHMEM}
    return tuple(dict.fromkeys((*scenario.detectors_on(target), *sorted(always))))


def prove(detector: Detector, scenario: Scenario, target: Target, bench: Workbench, root: Path) -> None:
    """Have the canary of ``detector`` fire in a clone of the template that ``scenario`` runs in.

    ``root`` is the run's evidence. Raises :class:`InfrastructureError` when it does not.
    """
    canary = CANARIES[detector]
    template = bench.template(target, scenario.cmdline_on(target))
    facts = (template.path.name, bench.module(target, canary.module).key)
    store = Store()

    def fire(directory: Path) -> None:
        outcome = _fire(detector, scenario, target, bench, root)
        (directory / _OUTCOME).write_text(json.dumps(outcome) + "\n")

    store.make("canary", digest("canary 3", detector, *facts), fire)
    store.forget("canary", keep=_KEEP)


def _fire(
    detector: Detector, scenario: Scenario, target: Target, bench: Workbench, root: Path
) -> dict[str, str]:
    canary = CANARIES[detector]
    claim = f"{detector} finds a fault that was planted for it"
    planted = Scenario(
        f"canary-{detector}", claim, "", modules=(canary.module,), cmdline=scenario.cmdline_on(target)
    )
    run = ScenarioRun(planted, target, bench, root)
    error: BaseException | None = None
    try:
        canary.sing(run.start())
    except Exception as caught:
        error = caught
    try:
        result = run.settle(error)
    finally:
        run.stop()
    if result.verdict is not Verdict.PASSED:
        raise InfrastructureError(
            f"{detector} did not find what was planted for it ({result.verdict}: {result.reason})",
            "what relies on it says nothing",
            run.evidence,
        )
    return {"target": target.name, "cmdline": " ".join(planted.cmdline), "reason": result.reason}
