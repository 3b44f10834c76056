# SPDX-License-Identifier: GPL-2.0-only
"""From everything that is known about a scenario's run to one word, and why.

The order of :func:`settle` is the order of trust: what the kernel itself said comes before what the
scenario thought of it, and that before the harness's own troubles. Nothing passes by default: a run
that did not come to its end is ``broken`` at best.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from harness.errors import (
    EXIT_BROKEN,
    EXIT_FAILED,
    EXIT_PASSED,
    GuestLost,
    HarnessError,
    KernelCrashed,
    UserError,
)
from harness.judge.dmesg import Report
from harness.judge.expect import Expectations, Weighed
from harness.judge.known import Rule, own_rules, sift
from harness.judge.places import DecodedFrame


class Verdict(StrEnum):
    """The five words of design.md."""

    PASSED = "passed"
    FAILED = "failed"
    """The claim is false."""
    CRASHED = "crashed"
    """The kernel said so."""
    BROKEN = "broken"
    """The harness, the host or QEMU failed: says nothing about the kernel."""
    IMPOSSIBLE = "impossible"
    """This target cannot show it."""


DIED: Final = frozenset({"guest-panic", "guest-reset"})
"""QMP's reasons for a shutdown that a healthy guest does not give (qapi/run-state.json)."""


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario on one target: a row of every report. ``evidence`` is relative to the run's folder."""

    scenario: str
    target: str
    verdict: Verdict
    reason: str
    seconds: float
    evidence: str
    reports: tuple[Report, ...] = ()
    claim: str = ""
    expected: str = ""
    seen: str = ""
    lines: tuple[str, ...] = ()
    """The console lines that matter, at most ten, for a person."""
    thread: str = ""
    """Where the claim comes from."""
    decoded: tuple[tuple[DecodedFrame, ...], ...] = ()
    """The stack of each of ``reports`` with its places in the sources; shorter when not all were decoded."""


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 when all passed or were impossible; 1 if any failed or crashed; else 3."""
    found = set(verdicts)
    if found & {Verdict.FAILED, Verdict.CRASHED}:
        return EXIT_FAILED
    return EXIT_BROKEN if Verdict.BROKEN in found else EXIT_PASSED


def settle(
    outcome: BaseException | None,
    reports: Sequence[Report],
    expectations: Expectations,
    end_marker: bool,
    exit_reason: str = "",
    doubts: Sequence[str] = (),
    *,
    rules: Sequence[Rule] | None = None,
    today: date | None = None,
) -> tuple[Verdict, str]:
    """The verdict on one run and one sentence that says why.

    ``outcome`` is what the scenario raised, ``end_marker`` whether the guest came to the scenario's end,
    ``exit_reason`` QMP's reason for a shutdown, empty while the machine runs. ``doubts`` are reasons not
    to take a silent console for a silent kernel: lost messages, missing marks. An unexpected report that
    one of ``rules`` (those of known.toml) knows on the day does not count, and the sentence names it.
    """
    weighed = expectations.weigh(reports)
    sifted = sift(weighed.unexpected, own_rules() if rules is None else rules, today or date.today())
    if sifted.unknown:
        return Verdict.CRASHED, _joined(_crash(sifted.unknown, outcome), sifted.words())
    verdict, reason = _beyond_reports(outcome, weighed, end_marker, exit_reason, doubts)
    return verdict, _joined(reason, sifted.words())


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _beyond_reports(
    outcome: BaseException | None, weighed: Weighed, end_marker: bool, exit_reason: str, doubts: Sequence[str]
) -> tuple[Verdict, str]:
    """No report counts against the kernel."""
    if isinstance(outcome, GuestLost | KernelCrashed) and any(one.panicked for one in weighed.expected):
        outcome, end_marker, doubts = None, True, ()  # it died of what it was expected to die of
    if isinstance(outcome, KernelCrashed):
        return Verdict.CRASHED, str(outcome)
    if isinstance(outcome, GuestLost):
        return _lost(outcome, weighed, exit_reason)
    if weighed.oom:
        # The OOM killer is the kernel's policy at work, not its failure: what is false is that the load fits.
        killed = ", ".join(report.title for report in weighed.oom[:3])
        return Verdict.FAILED, f"{killed}: this scenario must not run out of memory"
    if outcome is not None:
        return _raised(outcome)
    return _quiet_end(weighed, end_marker, exit_reason, doubts)


def _quiet_end(
    weighed: Weighed, end_marker: bool, exit_reason: str, doubts: Sequence[str]
) -> tuple[Verdict, str]:
    """The scenario raised nothing; has what it expects happened, and did it come to its end?"""
    if weighed.missing:
        wanted = ", ".join(str(one) for one in weighed.missing)
        return Verdict.FAILED, f"the bug was not caught: expected {wanted}, the console does not show it"
    if weighed.missing_facts:
        return Verdict.FAILED, f"expected {' and '.join(weighed.missing_facts)}: there was none"
    if weighed.failed_allocations:
        return Verdict.FAILED, f"{weighed.failed_allocations[0].title}: no allocation may fail here"
    if not end_marker:
        why = f", the machine stopped with {exit_reason}" if exit_reason else ""
        return Verdict.BROKEN, f"the end mark is missing and the console is clean{why}"
    if doubts:
        return Verdict.BROKEN, "; ".join(doubts)
    caught = ", ".join(dict.fromkeys(report.title for report in weighed.expected))
    return Verdict.PASSED, f"caught as expected: {caught}" if caught else ""


def _crash(unexpected: Sequence[Report], outcome: BaseException | None) -> str:
    more = f" (and {len(unexpected) - 1} more)" if len(unexpected) > 1 else ""
    also = f"; the scenario also says: {_words(outcome)}" if is_claim_failure(outcome) else ""
    return f"{unexpected[0].title}{more}{also}"


def _lost(outcome: GuestLost, weighed: Weighed, exit_reason: str) -> tuple[Verdict, str]:
    if exit_reason in DIED:
        return Verdict.CRASHED, f"the machine went down ({exit_reason}) without a word on the console"
    if weighed.oom:
        return Verdict.FAILED, f"{weighed.oom[0].title}, and the guest was lost with it"
    why = f" ({exit_reason})" if exit_reason else ""
    return Verdict.BROKEN, f"{outcome}{why}"


def _raised(outcome: BaseException) -> tuple[Verdict, str]:
    if is_claim_failure(outcome):
        return Verdict.FAILED, _words(outcome)
    if isinstance(outcome, UserError):
        return Verdict.BROKEN, f"the scenario could not be run: {outcome}"
    if isinstance(outcome, HarnessError):
        return Verdict.BROKEN, str(outcome)
    return Verdict.BROKEN, f"the scenario itself is wrong: {type(outcome).__name__}: {_words(outcome)}"


def is_claim_failure(outcome: BaseException | None) -> bool:
    """An assertion, or pytest.fail() (recognised without importing pytest)."""
    return isinstance(outcome, AssertionError) or type(outcome).__qualname__ == "Failed"


def _words(outcome: BaseException | None) -> str:
    """The first line of what was raised, or its type when it says nothing."""
    text = str(outcome).strip()
    return text.splitlines()[0] if text else type(outcome).__name__
