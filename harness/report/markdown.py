# SPDX-License-Identifier: GPL-2.0-only
"""The summary of a run in GitHub's Markdown: for a job's page, a mail, a ticket.

Text that is not ours is escaped so that it can neither be markup nor break a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.errors import InfrastructureError
from harness.judge.verdict import Result, Verdict
from harness.report.excerpt import lines_that_matter
from harness.report.files import harmless, write_atomically
from harness.report.matrix import matrix
from harness.report.overview import duration, overview
from harness.report.results import Run
from harness.report.terminal import repeat_command

FILE: Final = "summary.md"
MOST_BYTES: Final = 1_000_000
"""GitHub takes 1 MiB a step and shows nothing at all of what is longer."""
MOST_TOLD: Final = 30
LONGEST_CELL: Final = 160
EMOJI: Final[Mapping[Verdict, str]] = {
    Verdict.PASSED: "✅",
    Verdict.FAILED: "❌",
    Verdict.CRASHED: "💥",
    Verdict.BROKEN: "❓",
    Verdict.IMPOSSIBLE: "➖",
}
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+!|~<>&$@:-])")


def as_markdown(results: Sequence[Result], run: Run | None = None) -> str:
    """The summary as text, at most :data:`MOST_BYTES` long."""
    parts: list[str] = []
    size = 0
    for part in _parts(results, run):
        size += len(part.encode()) + 2
        if size > MOST_BYTES - 100:
            parts.append("The rest is left out here: the summary would be too long.")
            break
        parts.append(part)
    return "\n\n".join(parts) + "\n"


def write(path: Path, results: Sequence[Result], run: Run | None = None) -> None:
    """Write the summary to ``path``. Raises InfrastructureError when that is not possible."""
    write_atomically(path, as_markdown(results, run))


def append(path: Path, results: Sequence[Result], run: Run | None = None) -> None:
    """Add the summary to a file that several steps write to ($GITHUB_STEP_SUMMARY)."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + as_markdown(results, run))
    except OSError as error:
        raise InfrastructureError(f"cannot write the step's summary {path}: {error.strerror}") from error


def escape(text: str, longest: int = LONGEST_CELL) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(harmless(text, longest).split()))


def _parts(results: Sequence[Result], run: Run | None) -> Iterator[str]:
    summary = overview(results, run)
    yield f"## {summary.headline.replace(chr(0xA0), ' ')}"
    counts = ", ".join(f"{EMOJI[verdict]} {count} {verdict}" for verdict, count in summary.counts)
    took = f" in {duration(summary.seconds)}" if summary.seconds is not None else ""
    if counts:
        yield f"{counts}{took}"
    if results:
        yield _table(results)
    for result in summary.bad[:MOST_TOLD]:
        yield _told(result)
    if len(summary.bad) > MOST_TOLD:
        yield f"... and {len(summary.bad) - MOST_TOLD} more."


def _table(results: Sequence[Result]) -> str:
    grid = matrix(results)
    lines = [
        f"| scenario | claim | {' | '.join(escape(target) for target in grid.targets)} |",
        f"|---|---|{'---|' * len(grid.targets)}",
    ]
    for row in grid.rows:
        cells = (_cell(row.cells.get(target)) for target in grid.targets)
        lines.append(f"| {escape(row.scenario)} | {escape(row.claim)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    words = f"{EMOJI[result.verdict]} {result.verdict}"
    return f"{words}: {escape(result.reason)}" if result.verdict is Verdict.IMPOSSIBLE else words


def _told(result: Result) -> str:
    lines = [
        f"<details><summary>{EMOJI[result.verdict]} <b>{_html(result.scenario)}</b> on "
        f"{_html(result.target)}: {result.verdict}</summary>",
        "",
    ]
    told = [("claim", result.claim), ("from", result.thread), ("reason", result.reason)]
    told += [("expected", result.expected), ("seen", result.seen)]
    lines += [f"- {name}: {escape(value, 1000)}" for name, value in told if value]
    if console := lines_that_matter(result):
        lines += ["", *_fenced([harmless(line.expandtabs(), 300) for line in console])]
    lines += ["", *_fenced([repeat_command(result)]), "", "</details>"]
    return "\n".join(lines)


def _fenced(lines: Sequence[str]) -> list[str]:
    """A block that nothing in ``lines`` can end: its fence is longer than any of theirs."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *(one for line in lines for one in line.split("\n")), fence]


def _html(text: str) -> str:
    return harmless(text, 200).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
