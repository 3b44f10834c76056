# SPDX-License-Identifier: GPL-2.0-only
"""Results for a person, for CI and for machines."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import jsonschema
import pytest
from junitparser import JUnitXml, TestSuite
from rich.console import Console

from harness.errors import InfrastructureError
from harness.judge.dmesg import parse
from harness.judge.places import DecodedFrame, Place
from harness.judge.verdict import Result, Verdict
from harness.report import excerpt, files, junit, results, terminal

LOGS = Path(__file__).parent / "logs"
REPORTS = tuple(parse((LOGS / "x86_64-7.3-kasan.log").read_bytes().partition(b"\n\n")[2]))
NASTY = '\x1b[2J\x00 <b>&"]]> [bold red]x[/] \udcff \x85 é \u202e'

PASSED = Result(
    "Z06", "7.3-x86_64", Verdict.PASSED, "", 1.234, "7.3-x86_64/Z06", claim="pages come back as they were"
)
CRASHED = Result(
    "Z07",
    "7.3-x86_64",
    Verdict.CRASHED,
    REPORTS[0].title,
    0.8,
    "7.3-x86_64/Z07",
    REPORTS,
    "no crash",
    thread="zpool v4, 2025-08-23",
)
FAILED = Result(
    "Z38",
    "7.3-x86_64",
    Verdict.FAILED,
    NASTY,
    0.8,
    "7.3-x86_64/Z38",
    claim="all",
    expected="6144",
    seen="6143",
)
BROKEN = Result(
    "S01", "7.3-arm64", Verdict.BROKEN, "the end mark is missing", 30.0, "x", lines=("one", NASTY)
)
IMPOSSIBLE = Result("F22", "7.3-arm64", Verdict.IMPOSSIBLE, "no highmem here", 0.0, "")
ALL = [PASSED, CRASHED, FAILED, BROKEN, IMPOSSIBLE]


def shown(some: list[Result], width: int = 80, colour: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, highlight=False, emoji=False)
    terminal.show(some, Path("evidence/one"), console, seconds=3.21)
    return stream.getvalue()


def test_json_is_exactly_what_the_schema_says() -> None:
    document = results.as_json(ALL)
    jsonschema.Draft202012Validator.check_schema(results.schema())
    jsonschema.validate(document, results.schema())
    assert json.loads(json.dumps(document))["results"][0] == {
        "scenario": "Z06",
        "target": "7.3-x86_64",
        "verdict": "passed",
        "reason": "",
        "seconds": 1.234,
        "evidence": "7.3-x86_64/Z06",
        "claim": "pages come back as they were",
        "thread": "",
        "expected": "",
        "seen": "",
        "lines": [],
        "reports": [],
    }


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
def test_every_report_fits_the_schema(path: Path) -> None:
    reports = tuple(parse(path.read_bytes().partition(b"\n\n")[2]))
    result = dataclasses.replace(CRASHED, reports=reports)
    jsonschema.validate(results.as_json([result]), results.schema())


@pytest.mark.parametrize(
    "change", [{"verdict": "fine"}, {"seconds": -1}, {"extra": 1}, {"reason": "", "verdict": "failed"}]
)
def test_the_schema_refuses_other_documents(change: dict[str, object]) -> None:
    document = json.loads(json.dumps(results.as_json([CRASHED])))
    document["results"][0] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, results.schema())


def test_a_flood_of_reports_is_cut() -> None:
    flood = dataclasses.replace(CRASHED, reports=REPORTS * 500)
    document = json.loads(json.dumps(results.as_json([flood])))
    jsonschema.validate(document, results.schema())
    assert len(document["results"][0]["reports"]) == results.MOST_REPORTS


def test_junit_sorts_the_verdicts(tmp_path: Path) -> None:
    junit.write(tmp_path / "junit.xml", ALL)
    document = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (document.tests, document.failures, document.errors, document.skipped) == (5, 2, 1, 1)
    suites = [suite for suite in document if isinstance(suite, TestSuite)]
    assert [suite.name for suite in suites] == ["7.3-x86_64", "7.3-arm64"]
    cases = {case.name: case for suite in suites for case in suite}
    assert not cases["Z06"].result
    assert cases["Z07"].result[0].message == REPORTS[0].title
    assert "BUG: KASAN" in str(cases["Z07"].system_err)
    assert cases["F22"].result[0].message == "no highmem here"


def test_junit_survives_any_text(tmp_path: Path) -> None:
    junit.write(tmp_path / "junit.xml", [dataclasses.replace(FAILED, scenario=NASTY, claim=NASTY)])
    [suite] = list(JUnitXml.fromfile(str(tmp_path / "junit.xml")))
    assert "\\x1b[2J\\x00" in next(iter(suite)).name


def test_terminal_tells_a_failure_in_full() -> None:
    text = shown(ALL)
    assert "harness run -t 7.3-x86_64 -k Z07" in text
    assert "harness selftest -t 7.3-x86_64 -k Z38" in text  # it comes from no thread
    assert "BUG: KASAN: slab-use-after-free in bucket_free" in text
    assert "expected  6144" in text
    assert "1 passed, 1 failed, 1 crashed, 1 broken, 1 impossible in 3.2 s" in text
    assert text.rstrip().endswith("evidence: evidence/one")


def test_terminal_is_plain_when_piped_and_fits() -> None:
    text = shown(ALL)
    assert "\x1b" not in text
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())


def test_terminal_has_colours_on_a_terminal_and_no_text_of_the_guest_can_add_any() -> None:
    assert "\x1b[" in shown(ALL, colour=True)
    assert "\x1b[2J" not in shown(ALL, colour=True)
    assert "[bold red]x[/]" in shown([FAILED])


def test_the_table_shows_every_row_whole_at_80_columns() -> None:
    wordy = dataclasses.replace(PASSED, claim="pages come back as they were " * 5)
    text = shown([wordy] * 3)
    assert text.count("Z06       passed   1.2 s  pages come back as they were") == 3
    row = next(line for line in shown([wordy, IMPOSSIBLE]).splitlines() if line.startswith("Z06"))
    assert row.split()[:4] == ["Z06", "passed", "pages", "come"]
    assert len(row) == 80


@pytest.mark.parametrize("count", [2, 4, 5, 6, 8])
def test_the_matrix_of_many_targets_fits_80_columns(count: int) -> None:
    targets = [f"7.3-x86_64-kasan{number}" for number in range(count)]
    verdicts = [*Verdict, *Verdict]
    some = [
        dataclasses.replace(PASSED, target=target, verdict=verdict, reason="because")
        for target, verdict in zip(targets, verdicts, strict=False)
    ]
    lines = shown(some).splitlines()
    assert all(len(line) <= 80 for line in lines)
    row = next(line for line in lines if line.startswith("Z06  "))
    words = row.split()[1 : count + 1]
    assert words[:4] == ["passed", "failed", "crashed", "broken"][:count]
    assert words[4:5] in ([], ["impossible"], ["-"])
    heading = "".join(lines[lines.index(row) - 4 : lines.index(row) - 1])
    assert all(f"kasan{number}" in heading for number in range(count)), "names are broken, not cut"


def test_no_results_is_said() -> None:
    assert "no scenario ran" in shown([])


def test_decoded_frames_are_shown_when_there_are_any() -> None:
    inlined = DecodedFrame(
        "bucket_free+0x41/0x90 [rust_zpool]", (Place("get", "a.rs", 7), Place("free", "b.rs", 41))
    )
    helper = DecodedFrame("kasan_report+0xce/0x100", (Place("kasan_report", "mm/kasan/report.c", 600),))
    text = shown([dataclasses.replace(CRASHED, decoded=((helper, inlined),))])
    assert "stack     get at a.rs:7\n" in text
    assert "inlined into free at b.rs:41\n" in text
    assert "mm/kasan/report.c" not in text, "a frame that only reports"
    assert "stack  " not in shown([CRASHED])


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
def test_the_lines_that_matter(path: Path) -> None:
    for report in parse(path.read_bytes().partition(b"\n\n")[2]):
        lines = excerpt.report_lines(report)
        assert 1 <= len(lines) <= 10
        assert not any(
            line.startswith(("[", "=====", "Modules linked", "R1")) and "]:" in line for line in lines
        )


def test_the_lines_that_matter_leave_out_helpers_and_dumps() -> None:
    log = (LOGS / "x86_64-7.3-slub-redzone.log").read_bytes().partition(b"\n\n")[2]
    lines = excerpt.report_lines(parse(log)[0])
    assert lines[0].startswith("[Right Redzone overwritten]")
    assert any(line.startswith(" init_module+") for line in lines)
    assert not any("kmem_cache_free" in line or line.startswith("Object   ") for line in lines)


def test_rust_names_are_readable_in_the_lines_that_matter() -> None:
    log = (LOGS / "x86_64-7.3-rust-panic.log").read_bytes().partition(b"\n\n")[2]
    lines = excerpt.report_lines(parse(log)[0])
    assert any(line.startswith(" plantrs::deep::<(u8, &str)>+0x") for line in lines)


def test_a_failure_names_its_evidence_folder() -> None:
    assert "evidence  evidence/one/7.3-x86_64/Z07" in shown([CRASHED])


def test_the_report_that_the_reason_names_is_shown() -> None:
    other = dataclasses.replace(REPORTS[0], title="another")
    assert excerpt.main_report(dataclasses.replace(CRASHED, reports=(other, *REPORTS))) == REPORTS[0]


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "results.json"
    results.write(path, ALL)
    before = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(InfrastructureError, match="No space left on device"):
        results.write(path, [])
    assert path.read_text() == before
    assert [one.name for one in path.parent.iterdir()] == ["results.json"]


def test_harmless() -> None:
    assert files.harmless("a\x1bb\x85\u202e\n\tc") == "a\\x1bb\\x85\\u202e\n\tc"
    assert len(files.harmless("x" * 10_000)) == files.LONGEST_TEXT
