# SPDX-License-Identifier: GPL-2.0-only
"""Known reports: what a rule lets pass, until when, and what a file of rules must have."""

from __future__ import annotations

from datetime import date

import pytest

from harness.errors import UserError
from harness.judge.dmesg import parse
from harness.judge.expect import Expectations
from harness.judge.known import overdue, own_rules, read_rules, sift
from harness.judge.verdict import Verdict, settle

LAST_DAY = date(2027, 6, 30)
NEXT_DAY = date(2027, 7, 1)
RULE = """
[[rule]]
kind = "warning"
title = 'WARNING at mm/a\\.c in fn_a'
reason = "the demo device has no interrupt"
link = "https://lore.kernel.org/demo"
until = 2027-06-30
"""
WARN = """\
[    1.000000][   T77] ------------[ cut here ]------------
[    1.000001][   T77] WARNING: mm/{file}.c:1 at fn_{file}+0x1/0x2, CPU#1: insmod/77
[    1.000002][   T77] Call Trace:
[    1.000003][   T77]  fn_b+0x1/0x2
[    1.000004][   T77] ---[ end trace 0000000000000000 ]---
"""
OOM = "[    1.000000][   T77] Out of memory: Killed process 41 (hog) total-vm:1kB\n"


def judged(log: str, today: date, rules: str = RULE) -> tuple[Verdict, str]:
    return settle(None, parse(log), Expectations(), True, rules=read_rules(rules), today=today)


def test_a_known_report_passes_and_is_named() -> None:
    verdict, reason = judged(WARN.format(file="a"), LAST_DAY)
    assert verdict is Verdict.PASSED
    assert "known: WARNING at mm/a.c in fn_a (the demo device has no interrupt, https://lore" in reason


def test_after_its_last_day_a_rule_lets_nothing_pass_and_says_so() -> None:
    verdict, reason = judged(WARN.format(file="a"), NEXT_DAY)
    assert verdict is Verdict.CRASHED
    assert "the rule for it expired on 2027-06-30 (https://lore.kernel.org/demo)" in reason


def test_a_rule_is_for_one_report_only() -> None:
    verdict, reason = judged(WARN.format(file="a") + WARN.format(file="c"), LAST_DAY)
    assert verdict is Verdict.CRASHED
    assert reason.startswith("WARNING at mm/c.c in fn_c;")
    assert "known: WARNING at mm/a.c" in reason


def test_a_report_that_is_expected_is_not_taken_away_by_a_rule() -> None:
    expectations = Expectations()
    expectations.expect_report("warning", at="fn_a")
    found = settle(
        None, parse(WARN.format(file="a")), expectations, True, rules=read_rules(RULE), today=LAST_DAY
    )
    assert found == (Verdict.PASSED, "caught as expected: WARNING at mm/a.c in fn_a")


def test_a_known_report_does_not_make_up_for_a_missing_end_mark() -> None:
    found = settle(
        None, parse(WARN.format(file="a")), Expectations(), False, rules=read_rules(RULE), today=LAST_DAY
    )
    assert found[0] is Verdict.BROKEN


def test_facts_are_the_scenarios_business() -> None:
    rule = RULE.replace('"warning"', '"oom"').replace(r"WARNING at mm/a\\.c in fn_a", "OOM kill of hog")
    rule = rule.replace(r"'WARNING at mm/a\.c in fn_a'", "'OOM kill of hog'")
    assert judged(OOM, LAST_DAY, rule)[0] is Verdict.FAILED


def test_overdue_rules_are_told_without_any_report() -> None:
    rules = read_rules(RULE)
    assert overdue(rules, LAST_DAY) == []
    [sentence] = overdue(rules, NEXT_DAY)
    assert "expired on 2027-06-30" in sentence


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (RULE.replace("reason", "why"), "'reason' is missing"),
        (RULE.replace("until = 2027-06-30", ""), "'until' is missing"),
        (RULE.replace("2027-06-30", '"soon"'), "'until' is missing or no date"),
        (RULE.replace("https://lore.kernel.org/demo", "somewhere"), "its link is none"),
        (RULE.replace(r"'WARNING at mm/a\.c in fn_a'", "'.*'"), "fits everything"),
        (RULE.replace(r"'WARNING at mm/a\.c in fn_a'", "'('"), "missing \\)"),
        (RULE.replace('"warning"', '"wrning"'), "wrning"),
        (RULE + 'extra = "1"\n', "unknown field 'extra'"),
        (RULE.replace("[[rule]]", "[[rules]]"), "unknown table 'rules'"),
        ("[[rule", "not TOML"),
    ],
)
def test_a_rule_that_is_not_whole_is_refused(broken: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read_rules(broken)


def test_no_rule_of_ours_is_overdue() -> None:
    assert overdue(own_rules(), date.today()) == []


def test_sifting_keeps_the_order() -> None:
    log = WARN.format(file="c") + WARN.format(file="a") + WARN.format(file="d")
    sifted = sift(parse(log), read_rules(RULE), LAST_DAY)
    assert [report.where for report in sifted.unknown] == ["mm/c.c:1", "mm/d.c:1"]
