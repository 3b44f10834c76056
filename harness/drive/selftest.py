# SPDX-License-Identifier: GPL-2.0-only
"""Plant one fault in a guest, and see what the judge makes of it.

A fault is run like a scenario: in a clone of its own, with the reports that it must cause as its
expectations. On top of that the report has to blame the right function, and has to be whole.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.boot.machine import CONSOLE, Machine, await_guest, shell_answers
from harness.deadline import Deadline
from harness.drive.fault import Fault, Sought
from harness.drive.faults import FAULTS, INNOCENTS
from harness.drive.guest import Guest
from harness.drive.scenario import Scenario
from harness.errors import GuestLost, HarnessError, KernelCrashed, UserError, Vacuous
from harness.judge.dmesg import Report, parse
from harness.judge.expect import Expectations, Fate
from harness.judge.kinds import Kind
from harness.judge.verdict import Result, settle

if TYPE_CHECKING:
    from harness.drive.workbench import Workbench
    from harness.targets import Target

MODULE: Final = "rust_fault"
FAULT_SECONDS: Final = 60.0
BOOT_SECONDS: Final = 60.0
_PRELUDE: Final = (
    f"OP=/sys/kernel/debug/{MODULE}/op; export OP; "
    'lkdtm() { echo "$1" > /sys/kernel/debug/provoke-crash/DIRECT; }; '
)


def select(words: Sequence[str]) -> tuple[Fault, ...]:
    """The faults whose ids contain one of ``words``; all without a word.

    Raises :class:`UserError` for a word that is in none.
    """
    every = (*FAULTS, *INNOCENTS)
    for word in words:
        if not any(word in fault.id for fault in every):
            raise UserError(
                f"there is no planted fault {word!r}", f"they are: {' '.join(fault.id for fault in every)}"
            )
    return tuple(fault for fault in every if not words or any(word in fault.id for word in words))


def scenario_for(fault: Fault, target: Target) -> Scenario:
    """``fault`` as a scenario of ``target``."""
    why = fault.why_impossible(target)
    return Scenario(
        fault.id,
        fault.claim,
        "",
        modules=(MODULE,),
        impossible={} if why is None else {target.name: why},
        uses=() if fault.needs is None else (fault.needs,),
        seconds=FAULT_SECONDS,
    )


def expect(expectations: Expectations, fault: Fault, target: Target) -> None:
    """Say what the kernel must report; but for the aftermath, it may report nothing else."""
    for one in fault.sought(target):
        if one.kind is Kind.OOM:
            expectations.oom = Fate.EXPECTED
        elif one.kind is Kind.ALLOC_FAILURE:
            expectations.allocation_failure = Fate.EXPECTED
        else:
            expectations.expect_report(one.kind, at=one.frame)
    for one in fault.allowed(target):
        expectations.allow_report(one.kind, at=one.frame, reason="a consequence of the fault")


def check(reports: Sequence[Report], sought: Sequence[Sought]) -> None:
    """Raise AssertionError unless each of ``sought`` is there, whole, and blames whom it should."""
    for one in sought:
        same = [report for report in reports if report.kind is one.kind]
        assert same, f"expected {one}, the judge found {_named(reports)}"
        blamed = [report for report in same if one.frame is None or one.frame in (report.frame or "")]
        assert blamed, f"expected {one}, the judge blames {' and '.join(str(seen.frame) for seen in same)}"
        assert any(not report.corrupted for report in blamed), f"{one}: the judge takes it for cut short"


def _named(reports: Sequence[Report]) -> str:
    return ", ".join(f"{report.kind} in {report.frame}" for report in reports) or "nothing"


def plant(guest: Guest, fault: Fault) -> None:
    """Have the guest do what is wrong, and compare what the judge finds with what it must find."""
    sought = fault.sought(guest.target)
    expect(guest.expectations, fault, guest.target)
    guest.insmod(MODULE)
    if fault.settings:
        guest.write_all(fault.settings)
    lost: HarnessError | None = None
    try:
        output = guest.run(_PRELUDE + fault.script, check=not sought, seconds=FAULT_SECONDS / 2)
    except (GuestLost, KernelCrashed) as error:
        lost = error
    else:
        if '"errno":"' in output.text and sought:
            raise Vacuous(f"{fault.script!r} answered {output.text.strip()[-300:]}")
    if fault.proof not in guest.console():
        raise Vacuous(f"the console does not show {fault.proof!r}")
    check(guest.reports(), sought)
    if lost is not None:
        raise lost  # whether it was to be expected is for the verdict


def boot(fault: Fault, target: Target, bench: Workbench, root: Path) -> Result:
    """Boot a machine that must not come up, and judge that; evidence goes to a folder below ``root``."""
    evidence = root / target.name / fault.id
    evidence.mkdir(parents=True, exist_ok=True)
    template = bench.template(target)
    sought = fault.sought(target)
    expectations = Expectations()
    expect(expectations, fault, target)
    started = time.monotonic()
    outcome: BaseException | None = None
    machine = Machine(dataclasses.replace(template.parts, cmdline=fault.boot), template.root, evidence)
    try:
        await_guest(machine, Deadline.after(BOOT_SECONDS, "the guest boots"), shell_answers(machine))
    except HarnessError as error:
        outcome = error
    finally:
        machine.stop()
    reports = parse((evidence / CONSOLE).read_bytes())
    try:
        check(reports, sought)
    except AssertionError as error:
        outcome = error
    verdict, reason = settle(
        outcome, reports, expectations, end_marker=False, exit_reason=machine.exit_reason
    )
    return Result(
        scenario=fault.id,
        target=target.name,
        verdict=verdict,
        reason=reason,
        seconds=time.monotonic() - started,
        evidence=str(evidence.relative_to(root)),
        reports=tuple(reports),
        claim=fault.claim,
    )
