# SPDX-License-Identifier: GPL-2.0-only
"""A pytest session that a command begins: tests by name, and a result for each that was asked for."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import pytest_plugin
from harness.drive import schedule
from harness.errors import InfrastructureError
from harness.judge.verdict import Result, Verdict
from harness.progress import Progress
from harness.report.results import Run
from harness.settings import PROJECT
from harness.targets import Target


class Wanted(NamedTuple):
    """A result that the session owes."""

    id: str
    target: str
    claim: str


@dataclass(frozen=True, slots=True)
class Session:
    """What is to run, and where its evidence goes."""

    name: str
    """What the tests are, in a word or two: for the progress and for errors."""
    nodes: Sequence[str]
    """The tests, as pytest names them."""
    wanted: Sequence[Wanted]
    """The results, in the order to show them in."""
    targets: Sequence[Target]
    evidence: Path
    words: Sequence[str] = ()
    """More of pytest's options."""
    jobs: int = 0
    """Guests at once, at most; 0: as many as this process may use processors."""

    def run(self, progress: Progress) -> tuple[list[Result], bool]:
        """A result for each that is wanted, and whether the session was interrupted.

        Raises:
            InfrastructureError: a file with tests cannot be read.
        """
        with progress.step(self.name, len(self.wanted)) as step:

            def on_result(result: Result) -> None:
                step.update(done=step.done + 1, note=f"{result.scenario} {result.verdict}")

            collector = pytest_plugin.Collector(on_result)
            code = pytest.main([*self._options(), *self.nodes], plugins=[_Named(collector)])
        if collector.problems:
            raise InfrastructureError(f"{self.name} cannot be read: {collector.problems[0][-800:]}")
        return complete(collector.results, self.wanted, code), code == pytest.ExitCode.INTERRUPTED

    def _options(self) -> list[str]:
        jobs = min(schedule.guests_at_once(self.targets, self.jobs), len(self.wanted))
        words = ["-c", str(PROJECT / "pyproject.toml"), "-p", "no:terminal", "--evidence", str(self.evidence)]
        words += [f"--target={target.name}" for target in self.targets]
        words += ["-n", str(jobs), "--maxschedchunk", "1"] if jobs > 1 else []
        return [*words, *self.words]


def complete(found: Sequence[Result], wanted: Sequence[Wanted], code: int) -> list[Result]:
    """The results in the order of ``wanted``; what did not get its turn is broken, not forgotten.

    ``code`` is what pytest ended with.
    """
    have = {(result.target, result.scenario): result for result in found}
    why = "interrupted" if code == pytest.ExitCode.INTERRUPTED else f"pytest ended with {int(code)}"
    why = f"did not run to its end: {why}"
    return [
        have.get((one.target, one.id))
        or Result(one.id, one.target, Verdict.BROKEN, why, 0.0, "", claim=one.claim)
        for one in wanted
    ]


@dataclass(frozen=True, slots=True)
class Begun:
    """When a command began; made first thing."""

    at: datetime = field(default_factory=lambda: datetime.now().astimezone())
    clock: float = field(default_factory=time.monotonic)

    def ended(self) -> Run:
        """The command line, with the program's name in place of where it is, and the time until now."""
        typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return Run(self.at.isoformat(timespec="seconds"), round(time.monotonic() - self.clock, 1), typed)


class _Named:
    """Registers a collector under its name before the plugin would make one of its own."""

    def __init__(self, collector: pytest_plugin.Collector) -> None:
        self._collector = collector

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(self._collector, pytest_plugin.COLLECTOR)
