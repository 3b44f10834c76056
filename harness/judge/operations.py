# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario had its guest do, and when: evidence beside the samples, on the same clock.

What a module answered (one JSON object an operation) gives series too: its own counters at the moments
at which the scenario asked for them, without a read that the module would count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.judge.meminfo import Track, Unit

FILE: Final = "operations.json"
MOST_OPERATIONS: Final = 2000
LONGEST_SCRIPT: Final = 1000
LONGEST_OUTPUT: Final = 4000
_DEEPEST: Final = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """One command in the guest's shell."""

    at: float
    """When it was sent: seconds of the guest's monotonic clock, or of the host's before it is converted."""
    seconds: float
    """How long its answer took, on the host."""
    script: str
    status: int | None
    """The shell's; None when the guest did not answer."""
    output: str


def as_document(operations: Sequence[Operation], offset: float) -> list[dict[str, object]]:
    """Plain data for the evidence; ``offset`` (seconds) takes the host's clock to the guest's.

    The first ones and the last are kept when there are too many.
    """
    half = MOST_OPERATIONS // 2
    kept = operations if len(operations) <= 2 * half else [*operations[:half], *operations[-half:]]
    return [
        {
            "at": round(one.at + offset, 4),
            "seconds": round(one.seconds, 4),
            "script": one.script[:LONGEST_SCRIPT],
            "status": one.status,
            "output": one.output[-LONGEST_OUTPUT:],
        }
        for one in kept
    ]


def from_document(text: str) -> list[Operation]:
    """What :func:`as_document` made; nothing when it is something else."""
    try:
        document = json.loads(text)
        return [
            Operation(
                float(one["at"]),
                float(one["seconds"]),
                str(one["script"]),
                None if one["status"] is None else int(one["status"]),
                str(one["output"]),
            )
            for one in document[:MOST_OPERATIONS]
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def clock_offset(arrivals: Iterable[tuple[float, bytes]]) -> float | None:
    """What to add to the host's clock to have the guest's: the results port's lines and their arrivals.

    A line can only be late, so the least delay tells. None without a sample.
    """
    delays = [
        at - int(text[8:]) / 1e9
        for at, text in arrivals
        if text.startswith(b"@sample ") and text[8:].isdigit()
    ]
    return -min(delays) if delays else None


def answers(operations: Sequence[Operation], word: str) -> list[tuple[float, Mapping[str, int]]]:
    """What operations with ``word`` in their command answered: when, and each number by its dotted name."""
    found: list[tuple[float, Mapping[str, int]]] = []
    for one in operations:
        if word in one.script and one.output.lstrip().startswith("{"):
            try:
                answer = json.loads(one.output)
            except (ValueError, RecursionError):
                continue
            numbers: dict[str, int] = {}
            _flatten("", answer, numbers, 0)
            found.append((one.at + one.seconds, numbers))
    return found


def answer_track(operations: Sequence[Operation], word: str, name: str) -> Track:
    """One number of a module's answers over time. Raises KeyError when none has it."""
    points = tuple((at, numbers[name]) for at, numbers in answers(operations, word) if name in numbers)
    return Track(name, Unit.COUNT, points)


def _flatten(prefix: str, value: object, into: dict[str, int], depth: int) -> None:
    if isinstance(value, dict) and depth < _DEEPEST:
        for name, one in value.items():
            _flatten(f"{prefix}.{name}" if prefix else str(name), one, into, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool):
        into[prefix] = value
