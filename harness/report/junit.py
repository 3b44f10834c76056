# SPDX-License-Identifier: GPL-2.0-only
"""JUnit XML for CI: one suite a target, one case a scenario.

``failed`` and ``crashed`` are failures, ``broken`` is an error, ``impossible`` is skipped with its
reason. The first kernel report goes into ``system-err``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from harness.judge.verdict import Result, Verdict
from harness.report.files import harmless, write_atomically

MOST_LINES: Final = 60
"""Console lines given of a failed case."""


def as_xml(results: Sequence[Result]) -> str:
    """The document as text."""
    document = JUnitXml("harness")
    for target in dict.fromkeys(result.target for result in results):
        suite = TestSuite(harmless(target))
        for result in results:
            if result.target == target:
                suite.add_testcase(_case(result))
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    stream = io.BytesIO()
    document.write(stream)
    return stream.getvalue().decode("utf-8")


def write(path: Path, results: Sequence[Result]) -> None:
    """Write the document to ``path``. Raises InfrastructureError when that is not possible."""
    write_atomically(path, as_xml(results))


def _case(result: Result) -> TestCase:
    case = TestCase(
        harmless(result.scenario), classname=harmless(result.target), time=round(result.seconds, 3)
    )
    reason = harmless(result.reason)
    match result.verdict:
        case Verdict.FAILED | Verdict.CRASHED:
            case.result = [_with_text(Failure(reason, str(result.verdict)), result)]
        case Verdict.BROKEN:
            case.result = [_with_text(Error(reason, str(result.verdict)), result)]
        case Verdict.IMPOSSIBLE:
            case.result = [Skipped(reason, str(result.verdict))]
        case Verdict.PASSED:
            pass
    if result.verdict not in (Verdict.PASSED, Verdict.IMPOSSIBLE):
        lines = result.reports[0].raw if result.reports else result.lines
        if lines:
            case.system_err = "\n".join(harmless(line) for line in lines[:MOST_LINES])
    return case


def _with_text(element: Failure | Error, result: Result) -> Failure | Error:
    parts = [("claim", result.claim), ("expected", result.expected), ("seen", result.seen)]
    parts += [("evidence", result.evidence)]
    element.text = "\n".join(f"{name}: {harmless(value)}" for name, value in parts if value)
    return element
