# SPDX-License-Identifier: GPL-2.0-only
"""``harness report``: everything again from results.json, and the reading of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from report_material import ALL, CRASHED, PASSED, make_run

from harness.commands.report import make_again
from harness.errors import UserError
from harness.report import every, results
from harness.report.results import Run

RUN = Run("2026-11-21T14:47:29+00:00", 123.4, "harness run -t all")
NAMES = ["junit.xml", "report.html", "results.json", "results.ktap", "summary.md"]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = [PASSED, CRASHED]
    results.write(tmp_path / "results.json", written, RUN)
    document = json.loads((tmp_path / "results.json").read_text())
    jsonschema.validate(document, results.schema())
    found, run = results.read(tmp_path / "results.json")
    assert (found, run) == (written, RUN)


def test_a_file_of_an_earlier_harness_is_read(tmp_path: Path) -> None:
    document = json.loads(json.dumps(results.as_json([CRASHED])))
    for name in ("claim", "thread", "expected", "seen", "lines"):
        del document["results"][0][name]
    for report in document["results"][0]["reports"]:
        for name in set(report) - {
            "kind",
            "title",
            "frame",
            "line",
            "context",
            "cpu",
            "task",
            "stack",
            "raw",
            "corrupted",
        }:
            del report[name]
    (tmp_path / "results.json").write_text(json.dumps(document))
    [found], run = results.read(tmp_path / "results.json")
    assert (found.verdict, found.reports[0].title) == (CRASHED.verdict, CRASHED.reports[0].title)
    assert run == Run()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"schema": 2, "results": []}', '{"schema": 1, "results": [{}]}', "[" * 100_000,
             "\x00", '{"schema": 1, "results": 5}', '{"schema": 1, "run": 7, "results": []}'],
)  # fmt: skip
def test_something_else_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match="is no results file") as caught:
        results.read(tmp_path / "results.json")
    assert "\n" not in str(caught.value)


def test_everything_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_EVIDENCE", str(tmp_path))
    folder = tmp_path / "20261121-144729.330"
    make_run(folder)
    (tmp_path / "latest").symlink_to(folder.name)
    every.tell(folder, ALL, RUN)
    before = {name: (folder / name).read_bytes() for name in NAMES}
    for name in set(NAMES) - {"results.json"}:
        (folder / name).unlink()
    written = make_again(None)
    assert sorted([*(path.name for path in written), "results.json"]) == NAMES
    assert {path.parent for path in written} == {folder}
    assert {name: (folder / name).read_bytes() for name in NAMES} == before


def test_no_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_EVIDENCE", str(tmp_path))
    with pytest.raises(UserError, match="there is no run yet"):
        make_again(None)
    with pytest.raises(UserError, match="is no folder"):
        make_again(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot read"):
        make_again(tmp_path)


def test_the_step_summary_is_written_only_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(every.STEP_SUMMARY, raising=False)
    every.tell(tmp_path, [PASSED])
    monkeypatch.setenv(every.STEP_SUMMARY, str(tmp_path / "step"))
    every.tell(tmp_path, [PASSED])
    assert (tmp_path / "step").read_text().count("## Passed") == 1
    make_again(tmp_path)
    assert (tmp_path / "step").read_text().count("## Passed") == 1, "nothing ran"
