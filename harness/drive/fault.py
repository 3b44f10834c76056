# SPDX-License-Identifier: GPL-2.0-only
"""A planted fault as data: what is done to the kernel, and what the judge must make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from harness.judge.kinds import Kind
from harness.targets import Detector, Target


@dataclass(frozen=True, slots=True)
class Sought:
    """A report that must be found. ``frame`` is part of the function to blame; None: anybody."""

    kind: Kind
    frame: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} in {self.frame}" if self.frame else str(self.kind)


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted fault: a script for the guest's shell, and what its console must hold afterwards.

    One that finds nothing is innocent: what it makes the kernel, or the console, say must not be taken
    for a bug. ``settings`` are files of the guest's and what is written to them first. ``elsewhere`` and
    ``impossible`` are keyed by a target's, a profile's or an architecture's name, tried in that order.
    ``needs`` is the detector without which nobody would notice. ``aftermath`` is what the kernel may say
    besides, as a consequence. ``proof`` is text that the console must show: without it, nothing was
    planted. ``boot`` is a kernel command line, for a fault that needs a boot rather than a clone.
    """

    id: str
    claim: str
    script: str
    finds: tuple[Sought, ...] = ()
    needs: Detector | None = None
    elsewhere: Mapping[str, tuple[Sought, ...]] = field(default_factory=dict)
    impossible: Mapping[str, str] = field(default_factory=dict)
    aftermath: Mapping[str, tuple[Sought, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    proof: str = ""
    boot: tuple[str, ...] = ()

    def sought(self, target: Target) -> tuple[Sought, ...]:
        """What the judge must find on ``target``."""
        return _first(self.elsewhere, target) or self.finds

    def allowed(self, target: Target) -> tuple[Sought, ...]:
        """What the judge may find besides."""
        return _first(self.aftermath, target) or ()

    def why_impossible(self, target: Target) -> str | None:
        """Why ``target`` cannot have the fault, or cannot notice it; None when it can."""
        if self.needs is not None and self.needs not in target.profile.detectors:
            return f"needs {self.needs}, which the profile {target.profile.name} does not have"
        return _first(self.impossible, target)


Value = TypeVar("Value")


def _first(table: Mapping[str, Value], target: Target) -> Value | None:
    """What ``table`` says of the target, else of its profile, else of its architecture."""
    names = (target.name, target.profile.name, target.arch.name)
    return next((table[name] for name in names if name in table), None)
