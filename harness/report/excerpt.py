# SPDX-License-Identifier: GPL-2.0-only
"""The few lines of a kernel report that a person reads first."""

from __future__ import annotations

import re
from typing import Final

from harness.judge.dmesg import Report
from harness.judge.follows import DUMP
from harness.judge.frames import frame_in, is_helper, plain_name
from harness.judge.lines import parse_line
from harness.judge.places import DecodedFrame
from harness.judge.verdict import Result

MOST_LINES: Final = 10
_OWN_MARK: Final = "harness: "
"""How the marks of marks.py begin: that they were seen is not news."""

# Registers, banners and what is the same in every report.
_DULL: Final = re.compile(
    r"$|RIP: 0033|Slab 0x|[=-]{5,}|8<--- cut here|CPU: \d|Hardware name|Modules linked in|Code: |Tainted: "
    r"| *</?[A-Z_#0-9]+>$"
    r"| +\? |R(?!IP)[A-Z0-9]{2}: |[FCDE]S: |CR\d: |PKRU|EFLAGS|x\d+ ?: |r\d+ ?: |[sp]p : |pstate|PGD |#PF: "
    r"|ESR|FSC|EC =|Kernel Offset|Rebooting in|---\[ end|Call [Tt]race:|raw: |flags: |[> ][0-9a-f]{8,16}: "
)
_RUST_NAME: Final = re.compile(r"\b_R[A-Za-z]\w+")


def main_report(result: Result) -> Report | None:
    """The report that decided the verdict: the one the reason names, else the first that is no fact."""
    for report in result.reports:
        if report.title in result.reason:
            return report
    return next((report for report in result.reports if not report.is_fact), None)


def lines_that_matter(result: Result, most: int = MOST_LINES, *, frames: bool = True) -> list[str]:
    """At most ``most`` console lines, without printk's prefixes; without ``frames`` no stack."""
    report = main_report(result)
    if report is None:
        return [line for line in result.lines if not line.startswith(_OWN_MARK)][-most:]
    return report_lines(report, most, frames=frames)


def report_lines(report: Report, most: int = MOST_LINES, *, frames: bool = True) -> list[str]:
    """What the report says, then its first frames that are not merely reporting it, half of each."""
    texts = [parse_line(1, raw.encode()).text for raw in report.raw]
    words: list[str] = []
    stack: list[str] = []
    for text in dict.fromkeys(_from_the_top(texts)):
        frame = frame_in(text)
        if frame is not None:
            if not is_helper(frame.function):
                stack.append(_RUST_NAME.sub(lambda name: plain_name(name[0]), text))
        elif not _DULL.match(text) and not DUMP.match(text):
            words.append(text)
    count = min(len(stack), max(most // 2, most - len(words))) if frames else 0
    return words[: most - count] + stack[:count]


def _from_the_top(texts: list[str]) -> list[str]:
    """Only the first trace: what follows it (who allocated, the panic's own stack) comes second."""
    for index, text in enumerate(texts):
        if text.strip() == "</TASK>" or text.startswith("---[ end trace"):
            return texts[:index] + [one for one in texts[index:] if one.startswith("Kernel panic")]
    return texts


def decoded_lines(result: Result, most: int) -> list[str]:
    """The top frames of the report that decided, with their places; frames that only report are left out."""
    report = main_report(result)
    if report is None:
        return []
    for index, one in enumerate(result.reports):
        if one is report and index < len(result.decoded):
            frames = result.decoded[index]
            if not any(frame.places for frame in frames):
                return []
            telling = [frame for frame in frames if not is_helper(frame.text.partition("+")[0])]
            return [line for frame in telling[:most] for line in frame_lines(frame)]
    return []


def frame_lines(frame: DecodedFrame) -> list[str]:
    """A frame for a person: where it is, and below it into what it was inlined."""
    if not frame.places:
        return [frame.text]
    first, *callers = frame.places
    return [str(first), *(f"  inlined into {caller}" for caller in callers)]
