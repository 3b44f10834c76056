# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario expects the kernel to say. Everything else that it says counts against it.

A scenario that shows a bug says which report must appear; an OOM kill or a failed allocation is no bug
by itself, so a scenario says whether it is forbidden, allowed or expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.judge.dmesg import Report
from harness.judge.frames import plain_name
from harness.judge.kinds import Kind


class Fate(StrEnum):
    """Whether something may happen in a scenario."""

    FORBIDDEN = "forbidden"
    ALLOWED = "allowed"
    EXPECTED = "expected"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A report that must appear (``required``) or may appear."""

    kind: Kind
    at: str | None = None
    """Text in the report's title, ``file:line`` or one of its frames."""
    count: int | None = None
    """Exactly so many; None: one or more (or any number, when not required)."""
    required: bool = True
    reason: str = ""

    def fits(self, report: Report) -> bool:
        """Whether ``report`` is one of those meant."""
        if report.kind is not self.kind:
            return False
        if self.at is None:
            return True
        functions = (plain_name(frame.partition("+")[0]) for frame in report.stack)
        return any(
            self.at in place for place in (report.title, report.where or "", *report.stack, *functions)
        )

    def __str__(self) -> str:
        many = f"{self.count} x " if self.count is not None else ""
        return f"{many}{self.kind}" + (f" at {self.at}" if self.at else "")


@dataclass(frozen=True, slots=True)
class Weighed:
    """Reports held against expectations."""

    unexpected: tuple[Report, ...]
    """Bugs nobody asked for, and bugs beyond the number expected."""
    missing: tuple[Expectation, ...]
    """What had to appear and did not (often enough)."""
    expected: tuple[Report, ...]
    oom: tuple[Report, ...]
    """OOM kills that were forbidden."""
    failed_allocations: tuple[Report, ...]
    """Allocation failures that were forbidden."""
    missing_facts: tuple[str, ...]
    """Facts that had to happen: words for each that did not."""


@dataclass(slots=True)
class Expectations:
    """Filled in by a scenario, weighed at its end."""

    expectations: list[Expectation] = field(default_factory=list)
    oom: Fate = Fate.FORBIDDEN
    allocation_failure: Fate = Fate.ALLOWED
    """An order-0 failure under pressure is daily business for callers that can do without."""

    def expect_report(self, kind: Kind | str, at: str | None = None, count: int | None = None) -> None:
        """The kernel must say this, or the scenario has failed: the bug was not caught."""
        self.expectations.append(Expectation(Kind(kind), at, count))

    def allow_report(self, kind: Kind | str, at: str | None = None, *, reason: str) -> None:
        """The kernel may say this; ``reason`` says why that is all right."""
        self.expectations.append(Expectation(Kind(kind), at, required=False, reason=reason))

    def weigh(self, reports: Sequence[Report]) -> Weighed:
        """Sort the reports. Each counts for the first expectation that it fits and that has room."""
        counts = [0] * len(self.expectations)
        unexpected: list[Report] = []
        expected: list[Report] = []
        for report in reports:
            if report.is_fact:
                continue
            slot = self._slot(report, counts)
            if slot is None:
                unexpected.append(report)
            else:
                counts[slot] += 1
                expected.append(report)
        missing = tuple(
            one
            for one, seen in zip(self.expectations, counts, strict=True)
            if one.required and seen < (1 if one.count is None else one.count)
        )
        kills = tuple(report for report in reports if report.kind is Kind.OOM)
        failures = tuple(report for report in reports if report.kind is Kind.ALLOC_FAILURE)
        facts = ((self.oom, kills, "an OOM kill"), (self.allocation_failure, failures, "a failed allocation"))
        return Weighed(
            unexpected=tuple(unexpected),
            missing=missing,
            expected=tuple(expected),
            oom=kills if self.oom is Fate.FORBIDDEN else (),
            failed_allocations=failures if self.allocation_failure is Fate.FORBIDDEN else (),
            missing_facts=tuple(words for fate, found, words in facts if fate is Fate.EXPECTED and not found),
        )

    def _slot(self, report: Report, counts: Sequence[int]) -> int | None:
        for index, one in enumerate(self.expectations):
            if one.fits(report) and (one.count is None or counts[index] < one.count):
                return index
        return None
