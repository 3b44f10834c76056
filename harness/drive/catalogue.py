# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios there are: read from the test files, without running pytest."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
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
        for name, value in vars(_load(path)).items():
            if (scenario := scenario_of(value)) is not None:
                found.append(Entry(scenario, path, name))
    ids = [entry.scenario.id for entry in found]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise UserError(f"two scenarios are called {sorted(twice)[0]}", "give each its own id")
    return tuple(sorted(found, key=lambda entry: entry.scenario.sort_key))


def _load(path: Path) -> ModuleType:
    name = f"harness_catalogue_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return module


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
