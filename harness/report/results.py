# SPDX-License-Identifier: GPL-2.0-only
"""All results of a run as JSON, for machines; described in docs/results.md."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from harness.errors import UserError
from harness.judge.dmesg import Report
from harness.judge.kinds import Kind
from harness.judge.places import DecodedFrame, Place
from harness.judge.verdict import Result, Verdict
from harness.report.files import harmless, write_atomically

SCHEMA_VERSION: Final = 1
FILE: Final = "results.json"
MOST_REPORTS: Final = 100
"""Kernel reports given of one scenario; a guest that warns in a loop has shown enough by then."""
MOST_BYTES: Final = 512 << 20
"""A results file that is larger is none of ours."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """The run as a whole. ``started`` is ISO 8601 with the zone, ``seconds`` wall-clock."""

    started: str = ""
    seconds: float | None = None
    command: str = ""


def as_json(results: Sequence[Result], run: Run | None = None) -> dict[str, object]:
    """The document as plain data."""
    document: dict[str, object] = {"schema": SCHEMA_VERSION}
    if run is not None:
        document["run"] = {"started": run.started, "seconds": run.seconds, "command": harmless(run.command)}
    return document | {"results": [_result(result) for result in results]}


def write(path: Path, results: Sequence[Result], run: Run | None = None) -> None:
    """Write the document to ``path``. Raises InfrastructureError when that is not possible."""
    write_atomically(path, json.dumps(as_json(results, run), indent=1, ensure_ascii=True) + "\n")


def read(path: Path) -> tuple[list[Result], Run]:
    """What :func:`write` wrote. Raises UserError for a file that is missing or something else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA_VERSION:
            raise ValueError(f"it follows schema {document['schema']}, this harness knows {SCHEMA_VERSION}")
        run = document.get("run") or {}
        facts = Run(str(run.get("started", "")), run.get("seconds"), str(run.get("command", "")))
        return [_result_from(one) for one in document["results"]], facts
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "name the folder of a run") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no results file: {error}") from None


def schema() -> dict[str, object]:
    """The JSON schema (draft 2020-12) of the document."""
    text = resources.files("harness.report").joinpath("results.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


def _result(result: Result) -> dict[str, object]:
    decoded: Sequence[Sequence[DecodedFrame]] = result.decoded
    reports = []
    for index, report in enumerate(result.reports[:MOST_REPORTS]):
        one = {each.name: _plain(getattr(report, each.name)) for each in dataclasses.fields(report)}
        one |= report.as_json()
        if index < len(decoded) and decoded[index]:
            one["decoded"] = [_frame(frame) for frame in decoded[index]]
        reports.append(_harmless_json(one))
    return {
        "scenario": result.scenario,
        "target": result.target,
        "verdict": str(result.verdict),
        "reason": harmless(result.reason),
        "seconds": round(result.seconds, 3),
        "evidence": result.evidence,
        "claim": harmless(result.claim),
        "thread": harmless(result.thread),
        "expected": harmless(result.expected),
        "seen": harmless(result.seen),
        "lines": [harmless(line) for line in result.lines],
        "reports": reports,
    }


def _frame(frame: DecodedFrame) -> dict[str, object]:
    return {"text": frame.text, "places": [dataclasses.asdict(place) for place in frame.places]}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _harmless_json(value: object) -> object:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list):
        return [_harmless_json(one) for one in value]
    if isinstance(value, dict):
        return {name: _harmless_json(one) for name, one in value.items()}
    return value


def _result_from(one: Mapping[str, Any]) -> Result:
    reports = one["reports"]
    stacks = [tuple(_frame_from(frame) for frame in report.get("decoded", ())) for report in reports]
    while stacks and not stacks[-1]:
        stacks.pop()
    return Result(
        scenario=str(one["scenario"]),
        target=str(one["target"]),
        verdict=Verdict(one["verdict"]),
        reason=str(one["reason"]),
        seconds=float(one["seconds"]),
        evidence=str(one["evidence"]),
        reports=tuple(_report_from(report) for report in reports),
        claim=str(one.get("claim", "")),
        thread=str(one.get("thread", "")),
        expected=str(one.get("expected", "")),
        seen=str(one.get("seen", "")),
        lines=tuple(str(line) for line in one.get("lines", ())),
        decoded=tuple(stacks),
    )


def _report_from(document: Mapping[str, Any]) -> Report:
    """Fields that a later version added keep their defaults when the document lacks them."""
    values: dict[str, Any] = {}
    for each in dataclasses.fields(Report):
        if each.name in document:
            value = document[each.name]
            values[each.name] = tuple(value) if isinstance(value, list) else value
    values["kind"] = Kind(values["kind"])
    return Report(**values)


def _frame_from(document: Mapping[str, Any]) -> DecodedFrame:
    places = (Place(str(one["function"]), one.get("file"), one.get("line")) for one in document["places"])
    return DecodedFrame(str(document["text"]), tuple(places))
