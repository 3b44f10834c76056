# SPDX-License-Identifier: GPL-2.0-only
"""What the tables of headers are written with: one function, and pieces of patterns they share."""

from __future__ import annotations

import re
from typing import Final

from harness.judge.kinds import Header, Kind

TRACE_END: Final = re.compile(r" </TASK>|---\[ end trace ")
CUT_END: Final = re.compile(r"---\[ end trace ")
BANNER_END: Final = re.compile(r"={20,}$")

IN: Final = r"(?: (?:in|at) (?P<frame>\S+))?"
WHERE: Final = r"(?P<where>\S+?:\d+)"
TASK: Final = r"(?P<task>.+?/\d+)"


def header(
    kind: Kind,
    needle: str,
    pattern: str,
    title: str,
    *,
    end: re.Pattern[str] | None = TRACE_END,
    details: str = "",
    framed: bool = True,
    needs_cut: bool = False,
    needs_stack: bool = False,
) -> Header:
    """One row of a table. ``needle`` holds words separated by ``|``, one of which is in every such line."""
    return Header(
        kind=kind,
        needles=tuple(needle.split("|")),
        pattern=re.compile(pattern),
        title=title,
        end=end,
        details=re.compile(details) if details else None,
        framed=framed,
        needs_cut=needs_cut,
        needs_stack=needs_stack,
    )
