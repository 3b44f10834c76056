# SPDX-License-Identifier: GPL-2.0-only
"""Canary lines: proof that the console saw the whole of a scenario.

A guest writes ``<6>harness: begin Z06`` into /dev/kmsg before a scenario and ``<6>harness: end Z06``
after it. If both reached the console, in order, with nothing dropped between, then silence between
them means that the kernel was silent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Edge(StrEnum):
    """Which end of a scenario a mark stands for."""

    BEGIN = "begin"
    END = "end"


@dataclass(frozen=True, slots=True)
class Mark:
    """One canary line."""

    edge: Edge
    scenario: str
    line: int


_MARK: Final = re.compile(r"harness: (begin|end) (\S+)\s*$")


def mark_text(edge: Edge, scenario: str) -> str:
    """What the guest writes into /dev/kmsg."""
    return f"<6>harness: {edge} {scenario}"


def parse_mark(number: int, text: str) -> Mark | None:
    """The mark on a line (without printk's prefixes), if it is one."""
    match = _MARK.match(text)
    return Mark(Edge(match[1]), match[2], number) if match else None


def missing_marks(marks: Sequence[Mark], scenario: str) -> list[str]:
    """What is wrong with the marks of ``scenario``; nothing when the console saw all of it."""
    begin = [mark.line for mark in marks if mark.scenario == scenario and mark.edge is Edge.BEGIN]
    end = [mark.line for mark in marks if mark.scenario == scenario and mark.edge is Edge.END]
    problems = []
    if not begin:
        problems.append(f"the console does not show the begin mark of {scenario}")
    if not end:
        problems.append(f"the console does not show the end mark of {scenario}")
    if begin and end and end[-1] < begin[0]:
        problems.append(f"the console shows the end mark of {scenario} before its begin mark")
    return problems


def console_doubts(marks: Sequence[Mark], dropped: int, scenario: str) -> list[str]:
    """Reasons not to take this console's silence for the kernel's; ``dropped`` is the parser's count."""
    lost = [f"the console lost {dropped} kernel messages"] if dropped else []
    return [*missing_marks(marks, scenario), *lost]
