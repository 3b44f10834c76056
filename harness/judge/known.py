# SPDX-License-Identifier: GPL-2.0-only
"""Known reports: rules that let one pass for a while, each with a reason, a link and a last day.

The rules are data, in known.toml beside this file. A rule is for a report that somebody else has to mend
and that says nothing about the module under test. After its last day it lets nothing pass, and says so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Final

from harness.errors import UserError
from harness.judge.dmesg import Report
from harness.judge.kinds import Kind

FILE: Final = Path(__file__).with_name("known.toml")
_FIELDS: Final = {"kind": str, "title": str, "reason": str, "link": str, "until": date}


@dataclass(frozen=True, slots=True)
class Rule:
    """Lets reports of ``kind`` pass whose title matches ``title`` as a whole, up to and on ``until``."""

    kind: Kind
    title: re.Pattern[str]
    reason: str
    link: str
    until: date

    def fits(self, report: Report) -> bool:
        """Whether the report is the one meant, whatever the day."""
        return report.kind is self.kind and self.title.fullmatch(report.title) is not None

    def __str__(self) -> str:
        return f"{self.kind} {self.title.pattern!r} ({self.reason}; {self.link})"


@dataclass(frozen=True, slots=True)
class Sifted:
    """Reports held against the rules."""

    unknown: tuple[Report, ...]
    known: tuple[tuple[Report, Rule], ...] = ()
    """What a rule lets pass."""
    expired: tuple[tuple[Report, Rule], ...] = ()
    """What a rule would let pass if its last day were not over: it counts (it is in ``unknown`` too)."""

    def words(self) -> str:
        """What a person must be told; empty when no rule was touched."""
        passed = [f"known: {report.title} ({rule.reason}, {rule.link})" for report, rule in self.known]
        late = [f"the rule for it expired on {rule.until} ({rule.link})" for _, rule in self.expired]
        return "; ".join(dict.fromkeys([*passed, *late]))


def sift(reports: Sequence[Report], rules: Sequence[Rule], today: date) -> Sifted:
    """Take out what is known. A fact (OOM) is never sifted: the scenario speaks for it."""
    unknown: list[Report] = []
    known: list[tuple[Report, Rule]] = []
    expired: list[tuple[Report, Rule]] = []
    for report in reports:
        rule = next((rule for rule in rules if rule.fits(report)), None)
        if rule is None or report.is_fact:
            unknown.append(report)
        elif today > rule.until:
            unknown.append(report)
            expired.append((report, rule))
        else:
            known.append((report, rule))
    return Sifted(tuple(unknown), tuple(known), tuple(expired))


def overdue(rules: Iterable[Rule], today: date) -> list[str]:
    """A sentence for each rule whose last day is over: it must be renewed with a reason, or go."""
    return [
        f"known.toml: the rule for {rule} expired on {rule.until}: mend the cause or renew it"
        for rule in rules
        if today > rule.until
    ]


def read_rules(text: str, source: str = "known.toml") -> tuple[Rule, ...]:
    """The rules of a file: an array of tables ``rule``.

    Raises:
        UserError: not TOML, a field is missing, unknown or of the wrong type, or a rule is for all titles.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source} is not TOML: {error}") from error
    if unknown := document.keys() - {"rule"}:
        raise UserError(f"{source}: unknown table {min(unknown)!r}", "rules stand in [[rule]]")
    return tuple(
        _rule(table, f"{source}: rule {place}") for place, table in enumerate(document.get("rule", []), 1)
    )


def _rule(table: dict[str, object], place: str) -> Rule:
    for name, kind in _FIELDS.items():
        value = table.get(name)
        if not isinstance(value, kind) or value == "":
            raise UserError(f"{place}: {name!r} is missing or no {kind.__name__}")
    if unknown := table.keys() - _FIELDS.keys():
        raise UserError(f"{place}: unknown field {min(unknown)!r}")
    try:
        kind_ = Kind(str(table["kind"]))
        title = re.compile(str(table["title"]))
    except (ValueError, re.error) as error:
        raise UserError(f"{place}: {error}") from error
    if title.fullmatch("") or title.fullmatch("some title that no kernel prints"):
        raise UserError(f"{place}: its title fits everything", "name the function or the file")
    if not str(table["link"]).startswith(("https://", "http://")):
        raise UserError(f"{place}: its link is none")
    until = table["until"]
    assert isinstance(until, date)
    return Rule(kind_, title, str(table["reason"]), str(table["link"]), until)


@lru_cache(maxsize=1)
def own_rules() -> tuple[Rule, ...]:
    """The rules of known.toml."""
    return read_rules(FILE.read_text(encoding="utf-8"))
