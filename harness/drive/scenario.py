# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario says about itself, next to the function that drives it.

A scenario is a pytest test function with a :func:`scenario` in front. Its id is the one of the
catalogue (``Z06``): a family's letter and a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from harness.targets import Detector, Target

Function = TypeVar("Function", bound=Callable[..., None])

ATTRIBUTE: Final = "harness_scenario"
_ID: Final = re.compile(r"[A-Z]\d{2}[a-z]?")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One claim, objection, question or bug from the threads.

    ``claim`` is what a pass shows, ``thread`` where it comes from. ``modules`` are in the guest's
    ``/modules``, not loaded. ``cmdline`` is added to the kernel's: such a scenario gets a template of
    its own. ``impossible`` maps an architecture's or a target's name to why it cannot show the claim.
    ``relies_on`` are detectors that the claim needs: on a target without one it is impossible, and on the
    others each has to prove first that it is awake (:mod:`harness.drive.canary`). ``uses`` are detectors that
    it can do without, but which it asks where they are: they have to prove themselves, too.
    ``seconds`` is how long it may take on a guest that is not slowed down.
    """

    id: str
    claim: str
    thread: str
    modules: tuple[str, ...] = ()
    cmdline: tuple[str, ...] = ()
    impossible: Mapping[str, str] = field(default_factory=dict)
    relies_on: tuple[Detector, ...] = ()
    uses: tuple[Detector, ...] = ()
    seconds: float = 60.0

    def why_impossible(self, target: Target) -> str | None:
        """Why ``target`` cannot show the claim, or None when it can."""
        told = self.impossible.get(target.name) or self.impossible.get(target.arch.name)
        if told is not None:
            return told
        missing = [detector for detector in self.relies_on if detector not in target.profile.detectors]
        return f"it takes {missing[0]}, which this kernel is built without" if missing else None

    def detectors_on(self, target: Target) -> tuple[Detector, ...]:
        """What it needs awake on ``target``."""
        return (*self.relies_on, *(one for one in self.uses if one in target.profile.detectors))

    def cmdline_on(self, target: Target) -> tuple[str, ...]:
        """What is added to the kernel's command line on ``target``."""
        wakes = target.profile.wakes
        return (*(wakes[one] for one in self.detectors_on(target) if one in wakes), *self.cmdline)

    @property
    def sort_key(self) -> tuple[str, int, str]:
        return self.id[0], int(self.id[1:3]), self.id[3:]


def scenario(
    scenario_id: str,
    *,
    claim: str,
    thread: str,
    modules: tuple[str, ...] = (),
    cmdline: tuple[str, ...] = (),
    impossible: Mapping[str, str] | None = None,
    relies_on: Iterable[str] = (),
    uses: Iterable[str] = (),
    seconds: float = 60.0,
) -> Callable[[Function], Function]:
    """Mark a test function as the scenario ``scenario_id``; see :class:`Scenario`."""
    if not _ID.fullmatch(scenario_id):
        raise ValueError(
            f"{scenario_id!r} is no scenario id: a family's letter, two digits, perhaps a letter"
        )
    facts = Scenario(
        id=scenario_id,
        claim=claim,
        thread=thread,
        modules=modules,
        cmdline=cmdline,
        impossible=dict(impossible or {}),
        relies_on=tuple(Detector(name) for name in relies_on),
        uses=tuple(Detector(name) for name in uses),
        seconds=seconds,
    )

    def mark(function: Function) -> Function:
        setattr(function, ATTRIBUTE, facts)
        return function

    return mark


def scenario_of(function: Any) -> Scenario | None:
    """What ``function`` says about itself; None when it is an ordinary test."""
    found = getattr(function, ATTRIBUTE, None)
    return found if isinstance(found, Scenario) else None
