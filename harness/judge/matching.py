# SPDX-License-Identifier: GPL-2.0-only
"""What one line means to a report: does it begin one, belong to one, or end one?"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from harness.judge import follows, headers
from harness.judge.kinds import Follow, Header, Kind
from harness.judge.lines import Line
from harness.judge.prefilter import candidates
from harness.judge.reports import MOST_LINES, OpenReport, kept

GAP_OPEN: Final = 60
"""A report that has not come to its end is over after so many lines that do not look like one."""
GAP_ENDED: Final = 25
"""How far behind the end of a report its consequence (a panic) still belongs to it, in lines."""


def _cells(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if value}


def match_header(text: str, after_cut: bool) -> tuple[Header, dict[str, str]] | None:
    """The header that a line is, with its groups."""
    matched = _matched(text, after_cut)
    return None if matched is None else (matched[0], dict(matched[1]))


@lru_cache(maxsize=2048)
def _matched(text: str, after_cut: bool) -> tuple[Header, tuple[tuple[str, str], ...]] | None:
    for header in candidates(text):
        match = header.pattern.match(text)
        if match is not None and (after_cut or not header.needs_cut):
            return None if headers.SUPPRESSIONS.match(text) else (header, tuple(_cells(match).items()))
    return None


def gap(open_: OpenReport) -> int:
    """How many lines that do not look like a report this one may have in it before it is over."""
    if open_.kind is Kind.OOM and not open_.ended:
        return MOST_LINES  # the state of all memory and all tasks stands between call and kill
    return GAP_ENDED if open_.ended else GAP_OPEN


def note_details(open_: OpenReport, text: str) -> None:
    """Take what the header wants to know from a line below it."""
    details = open_.header.details
    if details is not None and (match := details.match(text.rstrip())):
        open_.detailed = True
        for name, value in _cells(match).items():
            open_.groups.setdefault(name, value)


def find_follow(open_: OpenReport, header: Header, groups: dict[str, str], line: Line) -> Follow | None:
    """Why a header belongs to the report that is open, if it does."""
    for follow in follows.FOLLOWS:
        if (
            follow.kind is header.kind
            and open_.kind in follow.within
            and (follow.after_end or not open_.ended)
            and not (follow.once and _had(open_, header))
            and not (follow.at_once and (open_.aside or open_.lines[-1][3] is not None))
            and (not follow.same or open_.groups.get(follow.same) == groups.get(follow.same))
            and (follow.pattern is None or follow.pattern.search(line.text))
        ):
            return follow
    return None


def _had(open_: OpenReport, header: Header) -> bool:
    if header.kind is open_.kind:
        return open_.header is header or "twice" in open_.groups
    return header.kind in open_.seen


def absorb(open_: OpenReport, follow: Follow, header: Header, groups: dict[str, str], line: Line) -> None:
    """Take a header into the report that is open."""
    open_.keep(kept(line))
    open_.seen.add(header.kind)
    open_.panicked |= follows.FATAL.match(line.text) is not None
    if header.kind is open_.kind:
        open_.groups["twice"] = "yes"
    if follow.upgrade:
        open_.header = header
        open_.detailed = header.details is None
        open_.groups = {**open_.groups, **groups}
    else:
        for name, value in groups.items():
            open_.groups.setdefault(name, value)
    open_.ended = header.end is None
