# SPDX-License-Identifier: GPL-2.0-only
"""Whole logs and what must be found in them: ``logs/*.log``.

A file is headers, an empty line and the console as it was. Headers: ``ORIGIN`` says where the text is
from; then for each report a ``REPORT`` with its title and ``KIND``, ``LINE``, ``FRAME``, ``CPU``,
``TASK``, ``WHERE``, ``STACK`` (number of frames) and ``FLAGS``. A file without ``REPORT`` is clean.
``python tests/unit/test_judge_golden.py --update`` writes the headers anew: read the difference
before you commit it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.judge.dmesg import Report, parse

LOGS = Path(__file__).parent / "logs"
FILES = sorted(LOGS.glob("*.log"))


@dataclass(frozen=True)
class Golden:
    origin: list[str]
    reports: list[list[str]]
    log: bytes


def read(path: Path) -> Golden:
    head, _, log = path.read_bytes().partition(b"\n\n")
    origin: list[str] = []
    reports: list[list[str]] = []
    for line in head.decode().splitlines():
        if line.startswith("REPORT: "):
            reports.append([])
        (reports[-1] if reports else origin).append(line)
    return Golden(origin, reports, log)


def describe(report: Report) -> list[str]:
    flags = [name for name in ("corrupted", "panicked", "is_fact") if getattr(report, name)]
    facts = {
        "REPORT": report.title,
        "KIND": report.kind,
        "LINE": report.line,
        "FRAME": report.frame,
        "CPU": report.cpu,
        "TASK": report.task,
        "WHERE": report.where,
        "STACK": len(report.stack),
        "FLAGS": " ".join(flags),
    }
    return [f"{name}: {value}" for name, value in facts.items() if value not in (None, "")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    golden = read(path)
    assert [describe(report) for report in parse(golden.log)] == golden.reports


def test_there_are_clean_logs_and_bad_ones() -> None:
    goldens = [read(path) for path in FILES]
    assert sum(1 for golden in goldens if golden.reports) >= 20
    assert sum(1 for golden in goldens if not golden.reports) >= 3


def update() -> None:
    for path in FILES:
        golden = read(path)
        lines = golden.origin + [line for report in parse(golden.log) for line in describe(report)]
        path.write_bytes("\n".join(lines).encode() + b"\n\n" + golden.log)


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python tests/unit/test_judge_golden.py --update")
    update()
