# SPDX-License-Identifier: GPL-2.0-only
"""The moments of a run that its plots mark: what the scenario did, what the guest said, what broke.

All times are seconds of the guest's monotonic clock. printk's stamps are of the scheduler's clock, which
is a little apart from it; the scenario's begin mark, of which both are known, says by how much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.judge.operations import Operation
from harness.judge.verdict import Result
from harness.report.evidence import Evidence

MOST_MOMENTS: Final = 9
"""One digit each; the list of commands has all of them."""
LONGEST_WORDS: Final = 90
_STAMP: Final = re.compile(r"^(?:<\d{1,3}>)?\[ *(\d{1,9}\.\d{6})\]")
_BEGIN: Final = "harness: begin "
_MARK_WITHIN: Final = 50
"""Lines of a clone's console that come before the mark, at most."""
# What a reader looks for in a plot, the most telling first.
_TELLING: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^modctl load \S*/([\w-]+)\.ko", "load {0}"),
        (r"^modctl unload ([\w-]+)", "unload {0}"),
        (r"\bswapon\b", "swap on"),
        (r"\bswapoff\b", "swap off"),
        (r"^put /sys/module/zswap/parameters/zpool (\S+)", "zswap uses {0}"),
        (r"drop_caches", "drop caches"),
        (r"^pages ask (\S+) (pageout)", "{0}: {1}"),
        (r"^pages ask (\S+) (hold \d+|release)", "{0}: {1}"),
        (r"^pages ask (\S+) (verify|touch|unmap|exit)", "{0}: {1}"),
        (r"^pages ask (\S+) (map \d+|fill)", "{0}: {1}"),
        (r"^op /sys/kernel/debug/([\w-]+)/op (?!counters\b|reset\b|total\b)(.+)", "{0}: {1}"),
    )
)
_LEAST_TELLING: Final = len(_TELLING)


@dataclass(frozen=True, slots=True)
class Moment:
    """Something to mark. ``kind`` is ``report``, ``event`` or ``step``."""

    at: float
    words: str
    kind: str


def moments(result: Result, evidence: Evidence, most: int = MOST_MOMENTS) -> list[Moment]:
    """At most ``most`` moments in order: reports first, then events, then the most telling commands."""
    found = [*_reports(result, evidence, most), *_events(evidence)]
    steps = sorted(_steps(evidence.operations), key=lambda ranked: ranked[0])
    found += [step for _, step in steps]
    return sorted(found[:most], key=lambda moment: moment.at)


def stamp_of(raw: str) -> float | None:
    """printk's time stamp on a line, in seconds, if it has one."""
    match = _STAMP.match(raw)
    return float(match[1]) if match else None


def _apart(evidence: Evidence) -> float:
    """What to add to printk's stamps: the begin mark is the first thing that the first command does."""
    for raw in evidence.console[:_MARK_WITHIN]:
        line = raw.decode("utf-8", "replace")
        if _BEGIN in line and evidence.operations and (at := stamp_of(line)) is not None:
            first = evidence.operations[0]
            return first.at - at if _BEGIN in first.script else 0.0
    return 0.0


def _reports(result: Result, evidence: Evidence, most: int) -> Iterator[Moment]:
    apart = _apart(evidence)
    for report in result.reports[: max(1, most // 2)]:
        if report.raw and (at := stamp_of(report.raw[0])) is not None:
            yield Moment(at + apart, report.title, "report")


def _events(evidence: Evidence) -> Iterator[Moment]:
    for event in evidence.stream.events:
        if event.words != "seeded":  # before the scenario began
            yield Moment(event.at, event.words[:LONGEST_WORDS], "event")


def _steps(operations: Sequence[Operation]) -> Iterable[tuple[tuple[int, int], Moment]]:
    """Commands worth a mark, with their rank; of several alike in a row only the first."""
    before = ""
    for index, one in enumerate(operations):
        if one.status is None:
            yield (-1, index), Moment(one.at, f"no answer: {one.script}"[:LONGEST_WORDS], "report")
            continue
        rank, words = _told(one.script)
        if rank == _LEAST_TELLING:
            continue
        alike = f"{rank} {words.split(':')[0]}"
        if alike != before:
            yield (rank, index), Moment(one.at, words[:LONGEST_WORDS], "step")
        before = alike


def _told(script: str) -> tuple[int, str]:
    for rank, (pattern, words) in enumerate(_TELLING):
        if match := pattern.search(script):
            return rank, words.format(*(match.groups() or ("",)))
    return _LEAST_TELLING, ""
