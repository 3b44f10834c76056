# SPDX-License-Identifier: GPL-2.0-only
"""All results of a run as JSON, for machines; described in docs/results.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from harness.judge.verdict import Result
from harness.report.files import harmless, write_atomically

SCHEMA_VERSION: Final = 1
MOST_REPORTS: Final = 100
"""Kernel reports given of one scenario; a guest that warns in a loop has shown enough by then."""


def as_json(results: Sequence[Result]) -> dict[str, object]:
    """The document as plain data."""
    return {"schema": SCHEMA_VERSION, "results": [_result(result) for result in results]}


def write(path: Path, results: Sequence[Result]) -> None:
    """Write the document to ``path``. Raises InfrastructureError when that is not possible."""
    write_atomically(path, json.dumps(as_json(results), indent=1, ensure_ascii=True) + "\n")


def schema() -> dict[str, object]:
    """The JSON schema (draft 2020-12) of the document."""
    text = resources.files("harness.report").joinpath("results.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


def _result(result: Result) -> dict[str, object]:
    return {
        "scenario": result.scenario,
        "target": result.target,
        "verdict": str(result.verdict),
        "reason": harmless(result.reason),
        "seconds": round(result.seconds, 3),
        "evidence": result.evidence,
        "reports": [_harmless_json(report.as_json()) for report in result.reports[:MOST_REPORTS]],
    }


def _harmless_json(value: object) -> object:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list):
        return [_harmless_json(one) for one in value]
    if isinstance(value, dict):
        return {name: _harmless_json(one) for name, one in value.items()}
    return value
