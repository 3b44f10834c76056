# SPDX-License-Identifier: GPL-2.0-only
"""The few lines of a kernel report that a person reads first."""

from __future__ import annotations

import re
from typing import Final

from harness.judge.dmesg import Report
from harness.judge.follows import DUMP
from harness.judge.frames import frame_in, is_helper, plain_name
from harness.judge.lines import parse_line
from harness.judge.verdict import Result

MOST_LINES: Final = 10

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


def lines_that_matter(result: Result, most: int = MOST_LINES) -> list[str]:
    """At most ``most`` console lines, without printk's prefixes."""
    report = main_report(result)
    if report is None:
        return list(result.lines[-most:])
    return report_lines(report, most)


def report_lines(report: Report, most: int = MOST_LINES) -> list[str]:
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
    frames = min(len(stack), max(most // 2, most - len(words)))
    return words[: most - frames] + stack[:frames]


def _from_the_top(texts: list[str]) -> list[str]:
    """Only the first trace: what follows it (who allocated, the panic's own stack) comes second."""
    for index, text in enumerate(texts):
        if text.strip() == "</TASK>" or text.startswith("---[ end trace"):
            return texts[:index] + [one for one in texts[index:] if one.startswith("Kernel panic")]
    return texts
