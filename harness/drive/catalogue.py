# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios there are: read from the test files, without running pytest."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from harness.drive.scenario import Scenario, scenario_of
from harness.errors import UserError
from harness.settings import PROJECT

SCENARIOS: Final = PROJECT / "tests" / "scenarios"


@dataclass(frozen=True, slots=True)
class Entry:
    """A scenario and the test function that drives it."""

    scenario: Scenario
    path: Path
    function: str

    @property
    def node(self) -> str:
        """How pytest calls it."""
        return f"{self.path}::{self.function}"


@cache
def catalogue() -> tuple[Entry, ...]:
    """Every scenario, in the order of the ids."""
    found: list[Entry] = []
    for path in sorted(SCENARIOS.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"harness_catalogue_{path.stem}", path)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, value in vars(module).items():
            if (scenario := scenario_of(value)) is not None:
                found.append(Entry(scenario, path, name))
    ids = [entry.scenario.id for entry in found]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise UserError(f"two scenarios are called {sorted(twice)[0]}", "give each its own id")
    return tuple(sorted(found, key=lambda entry: entry.scenario.sort_key))


def select(words: Sequence[str]) -> tuple[Entry, ...]:
    """The scenarios that ``words`` name: ids (``Z06``) or families (``Z``); all without a word.

    Raises :class:`UserError` for a word that names none.
    """
    if not words:
        return catalogue()
    chosen = {entry.scenario.id for word in words for entry in _named(word)}
    return tuple(entry for entry in catalogue() if entry.scenario.id in chosen)


def _named(word: str) -> Iterable[Entry]:
    wanted = word.lower()
    found = [
        entry for entry in catalogue() if wanted in (entry.scenario.id.lower(), entry.scenario.id[0].lower())
    ]
    if not found:
        known = " ".join(entry.scenario.id for entry in catalogue())
        raise UserError(f"there is no scenario {word!r}", f"the scenarios are: {known}")
    return found
