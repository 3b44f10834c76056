# SPDX-License-Identifier: GPL-2.0-only
"""What a command makes of the results of its pytest session."""

from __future__ import annotations

import pytest

from harness.commands.session import Wanted, complete
from harness.judge.verdict import Result, Verdict

FIRST = Wanted("Z06", "7.3-arm64", "pages reach the pool")
SECOND = Wanted("Z03", "7.3-arm64", "an unknown back end is refused")
PASSED = Result("Z03", "7.3-arm64", Verdict.PASSED, "", 1.0, "7.3-arm64/Z03")


def test_results_are_in_the_order_asked_for() -> None:
    other = Result("Z06", "7.3-arm64", Verdict.CRASHED, "an oops", 2.0, "7.3-arm64/Z06")
    assert complete([PASSED, other], [FIRST, SECOND], 0) == [other, PASSED]


@pytest.mark.parametrize(
    ("code", "why"),
    [(pytest.ExitCode.INTERRUPTED, "interrupted"), (pytest.ExitCode.INTERNAL_ERROR, "pytest ended with 3")],
)
def test_what_did_not_run_is_broken_and_says_why(code: int, why: str) -> None:
    missing, found = complete([PASSED], [FIRST, SECOND], code)
    assert found == PASSED
    assert (missing.scenario, missing.target, missing.claim) == FIRST
    assert missing.verdict is Verdict.BROKEN
    assert missing.reason == f"did not run to its end: {why}"


def test_a_result_of_another_target_is_not_this_ones() -> None:
    elsewhere = Result("Z06", "7.3-x86_64", Verdict.PASSED, "", 1.0, "7.3-x86_64/Z06")
    (missing,) = complete([elsewhere], [FIRST], 0)
    assert missing.verdict is Verdict.BROKEN
