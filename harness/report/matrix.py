# SPDX-License-Identifier: GPL-2.0-only
"""Results as a table: a row a scenario, a column a target. Shared by the page and the summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.judge.verdict import Result


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario; ``cells`` by target, a target on which it did not run is missing."""

    scenario: str
    claim: str
    cells: Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Targets and scenarios in the order in which the results have them."""

    targets: tuple[str, ...]
    rows: tuple[Row, ...]


def matrix(results: Sequence[Result]) -> Matrix:
    """The table of ``results``. The last one counts where a scenario has several on one target."""
    cells: dict[str, dict[str, Result]] = {}
    for result in results:
        cells.setdefault(result.scenario, {})[result.target] = result
    rows = (
        Row(scenario, next((one.claim for one in mine.values() if one.claim), ""), mine)
        for scenario, mine in cells.items()
    )
    return Matrix(tuple(dict.fromkeys(result.target for result in results)), tuple(rows))


def short_names(targets: Sequence[str]) -> list[str]:
    """Names of targets without what all of them begin with: ``7.3-`` says nothing in a table of 7.3."""
    if len(targets) < 2:
        return list(targets)
    heads = {target.partition("-")[0] for target in targets}
    return [target.partition("-")[2] or target if len(heads) == 1 else target for target in targets]
