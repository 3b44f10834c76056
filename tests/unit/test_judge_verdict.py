# SPDX-License-Identifier: GPL-2.0-only
"""From what is known about a run to its verdict."""

from __future__ import annotations

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost, InfrastructureError, KernelCrashed, UserError, Vacuous
from harness.judge.dmesg import Report, parse
from harness.judge.expect import Expectations, Fate
from harness.judge.kinds import Kind
from harness.judge.marks import Edge, console_doubts, mark_text, missing_marks, parse_mark
from harness.judge.verdict import Verdict, exit_code, settle

PREFIX = "[    1.000000][   T77] "
WARN = (
    f"{PREFIX}------------[ cut here ]------------\n"
    f"{PREFIX}WARNING: mm/highmem.c:605 at kunmap_local_indexed+0x1d/0x40, CPU#1: insmod/77\n"
    f"{PREFIX}RIP: 0010:kunmap_local_indexed+0x1d/0x40\n"
    f"{PREFIX}Call Trace:\n{PREFIX} guard_drop+0x11/0x20 [rust_folio]\n"
    f"{PREFIX}---[ end trace 0000000000000000 ]---\n"
)
PANIC = f"{PREFIX}Kernel panic - not syncing: Fatal exception\n"
OOM = f"{PREFIX}Out of memory: Killed process 41 (hog) total-vm:1kB\n"
FAILURE = f"{PREFIX}sh: page allocation failure: order:4, mode:0x0\n"


def expecting(*kinds: Kind, at: str | None = None, count: int | None = None) -> Expectations:
    expectations = Expectations()
    for kind in kinds:
        expectations.expect_report(kind, at, count)
    return expectations


def judged(
    log: str = "",
    outcome: BaseException | None = None,
    expectations: Expectations | None = None,
    end_marker: bool = True,
    exit_reason: str = "",
) -> tuple[Verdict, str]:
    return settle(outcome, parse(log), expectations or Expectations(), end_marker, exit_reason)


def test_silence_and_an_end_mark_pass() -> None:
    assert judged() == (Verdict.PASSED, "")


def test_an_unexpected_report_crashes_with_its_title() -> None:
    assert judged(WARN) == (Verdict.CRASHED, "WARNING at mm/highmem.c in kunmap_local_indexed")


def test_an_unexpected_report_outweighs_everything_else() -> None:
    for outcome in (
        AssertionError("12 != 13"),
        DeadlineExpired("late"),
        Vacuous("nothing ran"),
        GuestLost("gone"),
    ):
        assert judged(WARN, outcome, end_marker=False)[0] is Verdict.CRASHED
    assert judged(WARN, AssertionError("12 != 13"))[1].endswith("the scenario also says: 12 != 13")


def test_a_false_claim_fails_with_its_first_line() -> None:
    assert judged(outcome=AssertionError("12 pages, not 13\nassert 12 == 13")) == (
        Verdict.FAILED,
        "12 pages, not 13",
    )


def test_pytest_fail_is_a_false_claim() -> None:
    with pytest.raises(BaseException, match="no") as caught:
        pytest.fail("no")
    assert judged(outcome=caught.value) == (Verdict.FAILED, "no")


def test_an_expected_report_passes() -> None:
    verdict, reason = judged(WARN, expectations=expecting(Kind.WARNING, at="kunmap_local_indexed"))
    assert verdict is Verdict.PASSED
    assert "caught as expected: WARNING at mm/highmem.c" in reason


@pytest.mark.parametrize("at", ["mm/highmem.c", "mm/highmem.c:605", "guard_drop", "[rust_folio]", None])
def test_where_an_expected_report_may_be_named(at: str | None) -> None:
    assert judged(WARN, expectations=expecting(Kind.WARNING, at=at))[0] is Verdict.PASSED


def test_an_expected_report_that_is_missing_fails() -> None:
    verdict, reason = judged(expectations=expecting(Kind.KASAN, at="zs_free"))
    assert (verdict, reason) == (
        Verdict.FAILED,
        "the bug was not caught: expected kasan at zs_free, the console does not show it",
    )


def test_the_right_kind_in_the_wrong_place_crashes() -> None:
    assert judged(WARN, expectations=expecting(Kind.WARNING, at="zs_free"))[0] is Verdict.CRASHED


def test_an_exact_count() -> None:
    twice = expecting(Kind.WARNING, count=2)
    assert judged(WARN, expectations=twice)[0] is Verdict.FAILED
    assert judged(WARN * 2, expectations=twice)[0] is Verdict.PASSED
    assert judged(WARN * 3, expectations=twice)[0] is Verdict.CRASHED


def test_an_allowed_report_may_come_or_not() -> None:
    expectations = Expectations()
    expectations.allow_report(Kind.WARNING, at="kunmap", reason="the thread says so")
    assert judged("", expectations=expectations)[0] is Verdict.PASSED
    assert judged(WARN, expectations=expectations)[0] is Verdict.PASSED


@pytest.mark.parametrize(
    "outcome", [DeadlineExpired("x"), Vacuous("x"), InfrastructureError("x"), UserError("x"), TypeError("x")]
)
def test_the_harness_in_trouble_is_broken(outcome: Exception) -> None:
    assert judged(outcome=outcome)[0] is Verdict.BROKEN


def test_a_deadline_is_broken_on_a_clean_console() -> None:
    with pytest.raises(DeadlineExpired) as caught:
        Deadline.after(0, "the guest answers").check()
    assert judged(outcome=caught.value) == (Verdict.BROKEN, "time is up: the guest answers")


def test_a_missing_end_mark_is_never_a_pass() -> None:
    assert judged(end_marker=False)[0] is Verdict.BROKEN
    assert "guest-shutdown" in judged(end_marker=False, exit_reason="guest-shutdown")[1]


def test_doubts_about_the_console_are_never_a_pass() -> None:
    verdict, reason = settle(None, [], Expectations(), True, doubts=["the console lost 3 kernel messages"])
    assert (verdict, reason) == (Verdict.BROKEN, "the console lost 3 kernel messages")


def test_a_lost_guest() -> None:
    assert judged(WARN + PANIC, GuestLost("gone"))[0] is Verdict.CRASHED
    assert judged("", GuestLost("gone"))[0] is Verdict.BROKEN
    assert judged("", GuestLost("gone"), exit_reason="host-signal")[0] is Verdict.BROKEN
    assert judged("", GuestLost("gone"), exit_reason="guest-panic")[0] is Verdict.CRASHED
    assert judged("", GuestLost("gone"), exit_reason="guest-reset")[0] is Verdict.CRASHED


@pytest.mark.parametrize("outcome", [GuestLost("gone"), KernelCrashed("gone")])
def test_a_guest_that_dies_of_what_was_expected_passes(outcome: Exception) -> None:
    assert judged(WARN + PANIC, outcome, expecting(Kind.WARNING), end_marker=False)[0] is Verdict.PASSED
    # but not of something else that merely followed
    assert judged(WARN, outcome, expecting(Kind.WARNING), end_marker=False)[0] is not Verdict.PASSED


def test_a_kernel_that_crashed_at_boot() -> None:
    assert judged("", KernelCrashed("the kernel panicked at boot"))[0] is Verdict.CRASHED


def test_oom_by_fate() -> None:
    verdict, reason = judged(OOM)
    assert (verdict, reason) == (Verdict.FAILED, "OOM kill of hog: this scenario must not run out of memory")
    assert judged(OOM, GuestLost("gone"))[0] is Verdict.FAILED
    assert judged(OOM, expectations=Expectations(oom=Fate.ALLOWED))[0] is Verdict.PASSED
    assert judged(OOM, expectations=Expectations(oom=Fate.EXPECTED))[0] is Verdict.PASSED
    assert judged("", expectations=Expectations(oom=Fate.EXPECTED)) == (
        Verdict.FAILED,
        "expected an OOM kill: there was none",
    )


def test_failed_allocations_by_fate() -> None:
    assert judged(FAILURE)[0] is Verdict.PASSED
    forbidden = Expectations(allocation_failure=Fate.FORBIDDEN)
    assert judged(FAILURE, expectations=forbidden)[0] is Verdict.FAILED
    assert judged("", expectations=Expectations(allocation_failure=Fate.EXPECTED))[0] is Verdict.FAILED


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([Verdict.PASSED, Verdict.IMPOSSIBLE], 0),
        ([Verdict.PASSED, Verdict.FAILED, Verdict.BROKEN], 1),
        ([Verdict.CRASHED], 1),
        ([Verdict.BROKEN, Verdict.PASSED], 3),
    ],
)
def test_exit_codes(verdicts: list[Verdict], code: int) -> None:
    assert exit_code(verdicts) == code


def test_marks_are_read_back() -> None:
    line = mark_text(Edge.BEGIN, "Z06").removeprefix("<6>")
    mark = parse_mark(3, line)
    assert mark is not None
    assert (mark.edge, mark.scenario, mark.line) == (Edge.BEGIN, "Z06", 3)
    assert parse_mark(3, "harness: began Z06") is None


def test_missing_marks() -> None:
    begin, end = parse_mark(1, "harness: begin Z06"), parse_mark(9, "harness: end Z06")
    assert begin is not None
    assert end is not None
    assert missing_marks([begin, end], "Z06") == []
    assert missing_marks([begin], "Z06") == ["the console does not show the end mark of Z06"]
    assert missing_marks([end], "Z06") == ["the console does not show the begin mark of Z06"]
    assert len(missing_marks([begin, end], "Z07")) == 2
    early = parse_mark(0, "harness: end Z06")
    assert early is not None
    assert missing_marks([early, begin], "Z06") == [
        "the console shows the end mark of Z06 before its begin mark"
    ]
    assert console_doubts([begin, end], 4, "Z06") == ["the console lost 4 kernel messages"]


def test_a_report_counts_for_the_first_expectation_with_room() -> None:
    expectations = expecting(Kind.WARNING, count=1)
    expectations.expect_report(Kind.WARNING, at="guard_drop")
    weighed = expectations.weigh(parse(WARN * 2))
    assert (len(weighed.expected), weighed.unexpected, weighed.missing) == (2, (), ())
    one: list[Report] = parse(WARN)
    assert [str(missing) for missing in expectations.weigh(one).missing] == ["warning at guard_drop"]
