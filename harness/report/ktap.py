# SPDX-License-Identifier: GPL-2.0-only
"""KTAP, the kernel's form of TAP (Documentation/dev-tools/ktap.rst): targets with their scenarios in them.

``impossible`` is ok with SKIP, as KUnit has it; ``broken`` is not ok with ERROR. A target is not ok when
one of its scenarios is not, and skipped when all of them are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from harness.judge.verdict import Result, Verdict
from harness.report.excerpt import lines_that_matter
from harness.report.files import harmless, write_atomically
from harness.report.terminal import repeat_command

FILE: Final = "results.ktap"
VERSION: Final = "KTAP version 1"
_INDENT: Final = "  "
_GOOD: Final = (Verdict.PASSED, Verdict.IMPOSSIBLE)


def as_ktap(results: Sequence[Result]) -> str:
    """The document as text."""
    targets = list(dict.fromkeys(result.target for result in results))
    lines = [VERSION, f"1..{len(targets)}"]
    for number, target in enumerate(targets, 1):
        mine = [result for result in results if result.target == target]
        lines += [f"{_INDENT}{line}" for line in (VERSION, f"1..{len(mine)}", *_cases(mine))]
        ok = all(result.verdict in _GOOD for result in mine)
        skip = " # SKIP" if all(result.verdict is Verdict.IMPOSSIBLE for result in mine) else ""
        lines.append(f"{'ok' if ok else 'not ok'} {number} {_name(target)}{skip}")
    return "".join(f"{line}\n" for line in lines)


def write(path: Path, results: Sequence[Result]) -> None:
    """Write the document to ``path``. Raises InfrastructureError when that is not possible."""
    write_atomically(path, as_ktap(results))


def _cases(results: Sequence[Result]) -> Iterator[str]:
    for number, result in enumerate(results, 1):
        name = _name(result.scenario)
        if result.verdict not in _GOOD:
            yield from (f"# {line}" for line in _diagnostics(result))
        reason = _text(result.reason)
        match result.verdict:
            case Verdict.PASSED:
                yield f"ok {number} {name}"
            case Verdict.IMPOSSIBLE:
                yield f"ok {number} {name} # SKIP {reason}".rstrip()
            case Verdict.BROKEN:
                yield f"not ok {number} {name} # ERROR {reason}".rstrip()
            case Verdict.FAILED | Verdict.CRASHED:
                yield f"not ok {number} {name} # {result.verdict}: {reason}"


def _diagnostics(result: Result) -> Iterator[str]:
    told = [("claim", result.claim), ("from", result.thread), ("expected", result.expected)]
    told += [("seen", result.seen), ("evidence", result.evidence)]
    scenario = _name(result.scenario)
    yield from (f"{scenario}: {name}: {_text(value)}" for name, value in told if value)
    yield from (f"{scenario}: console: {_text(line)}" for line in lines_that_matter(result))
    yield f"{scenario}: again: {repeat_command(result)}"


def _name(text: str) -> str:
    """A description may hold anything but ``#`` and line ends; ours have no blanks either."""
    return "_".join(harmless(text).replace("#", "_").split()) or "unnamed"


def _text(text: str) -> str:
    """One line: the console's indentation means nothing to a reader of KTAP."""
    return " ".join(harmless(text).split())
