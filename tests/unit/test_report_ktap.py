# SPDX-License-Identifier: GPL-2.0-only
"""KTAP and Markdown, read again by strict readers of what they must be."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from report_material import ALL, CRASHED, FAILED, IMPOSSIBLE, NASTY, PASSED

from harness.errors import InfrastructureError
from harness.judge.verdict import Result, Verdict
from harness.report import ktap, markdown
from harness.report.results import Run

RESULT = re.compile(r"(?P<ok>ok|not ok) (?P<number>\d+) (?P<name>[^#\s]+)(?: # (?P<rest>.+))?")


def read(text: str) -> dict[str, dict[str, tuple[bool, str]]]:
    """The targets with their cases; an AssertionError for anything that ktap.rst does not allow."""
    assert text.endswith("\n")
    lines = text.splitlines()
    found: dict[str, dict[str, tuple[bool, str]]] = {}
    assert lines[0] == "KTAP version 1"
    plan, rest = _plan(lines[1]), lines[2:]
    for number in range(1, plan + 1):
        inner = []
        while rest and rest[0].startswith("  "):
            inner.append(rest.pop(0)[2:])
        assert inner[0] == "KTAP version 1"
        cases = _cases(inner[2:], _plan(inner[1]))
        match = RESULT.fullmatch(rest.pop(0))
        assert match
        assert int(match["number"]) == number
        assert (match["ok"] == "ok") == all(ok for ok, _ in cases.values())
        found[match["name"]] = cases
    assert rest == []
    return found


def _plan(line: str) -> int:
    match = re.fullmatch(r"1\.\.(\d+)", line)
    assert match, line
    return int(match[1])


def _cases(lines: list[str], plan: int) -> dict[str, tuple[bool, str]]:
    cases: dict[str, tuple[bool, str]] = {}
    for line in lines:
        if line.startswith("# "):
            continue
        match = RESULT.fullmatch(line)
        assert match, line
        assert int(match["number"]) == len(cases) + 1
        cases[match["name"]] = (match["ok"] == "ok", match["rest"] or "")
    assert len(cases) == plan
    return cases


def test_ktap_is_nested_and_numbered() -> None:
    found = read(ktap.as_ktap(ALL))
    assert list(found) == [result.target for result in (PASSED, IMPOSSIBLE, CRASHED)] + ["7.3-arm-highmem"]
    assert found[PASSED.target]["Z06"] == (True, "")
    assert found[IMPOSSIBLE.target]["Z06"] == (True, "SKIP no high memory here")
    assert found[CRASHED.target]["Z06"] == (False, f"crashed: {CRASHED.reason}")
    assert found["7.3-arm-highmem"]["S01"] == (False, "ERROR the end mark is missing")
    assert not found[FAILED.target]["Z38"][0]


def test_ktap_diagnostics_stand_before_their_result() -> None:
    lines = [line.strip() for line in ktap.as_ktap([PASSED, CRASHED]).splitlines()]
    result = next(i for i, line in enumerate(lines) if line.startswith("not ok 1 Z06"))
    above = lines[lines.index("1..1", 3) + 1 : result]
    assert "# Z06: claim: pages come back as they were" in above
    assert any(line.startswith("# Z06: console: BUG: KASAN") for line in above)
    assert above[-1] == "# Z06: again: harness run -t 7.3-x86_64-kasan -k Z06"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_ktap_survives_any_text(verdict: Verdict) -> None:
    nasty = Result(f"{NASTY}\nok 7 forged", NASTY, verdict, f"{NASTY}\nok 8 forged", 1.0, "")
    found = read(ktap.as_ktap([nasty, dataclasses.replace(nasty, scenario="second", lines=("ok 9 forged",))]))
    assert [len(cases) for cases in found.values()] == [2]


def test_ktap_of_nothing() -> None:
    assert read(ktap.as_ktap([])) == {}


def test_a_target_that_skips_everything_is_skipped() -> None:
    assert ktap.as_ktap([IMPOSSIBLE]).splitlines()[-1] == "ok 1 7.3-arm64 # SKIP"


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_markdown_is_a_table_and_what_went_wrong() -> None:
    text = markdown.as_markdown(ALL, Run("", 123.4, ""))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [len(cells(row)) for row in rows] == [6] * 5
    assert cells(rows[2])[2:] == ["✅ passed", "➖ impossible: no high memory here", "💥 crashed", ""]
    assert text.startswith("## 1 crashed, 1 failed, 1 broken\n")
    assert "in 2 min 3 s" in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert "harness run -t 7.3-x86_64-kasan -k Z06" in text


def test_markdown_of_the_guest_stays_text() -> None:
    text = markdown.as_markdown([dataclasses.replace(FAILED, scenario=NASTY, target=NASTY)])
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in re.sub(r"\\<", "", outside)
    assert "<img" not in re.sub(r"\\<", "", outside)
    assert "\x1b" not in text
    assert "````text" in text, "the fence is longer than any in the text"


def test_markdown_is_never_too_long_for_its_page() -> None:
    flood = [dataclasses.replace(FAILED, scenario=f"Z{i:05}") for i in range(20_000)]
    assert len(markdown.as_markdown(flood).encode()) <= 1_000_000


def test_the_step_summary_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("before\n")
    markdown.append(path, [PASSED])
    markdown.append(path, [PASSED])
    assert path.read_text().startswith("before\n")
    assert path.read_text().count("## Passed") == 2
    with pytest.raises(InfrastructureError, match="cannot write"):
        markdown.append(tmp_path, [PASSED])
