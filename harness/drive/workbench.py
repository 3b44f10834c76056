# SPDX-License-Identifier: GPL-2.0-only
"""Everything a run stands on, made once and shared by its scenarios: artefacts and templates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from harness.boot.machine import Machine, boot
from harness.boot.payload import pack
from harness.boot.template import BOOT_SECONDS, Template
from harness.build.artefacts import Artefacts, build_all, own_modules
from harness.build.modules import Module, build_module, check_directory
from harness.build.store import Store
from harness.deadline import Deadline
from harness.drive.guest import MODULES
from harness.drive.scenario import Scenario
from harness.errors import UserError
from harness.progress import Progress
from harness.targets import Target

CLONE_SECONDS: Final = 20.0


def module_dirs(extra: Sequence[Path] = ()) -> dict[str, Path]:
    """The directories of the project's modules by their names; one of ``extra`` replaces its namesake.

    Raises :class:`UserError` for a directory of the user's that holds no module, or a name given twice.
    """
    given = [check_directory(path) for path in extra]
    if len({path.name for path in given}) != len(given):
        raise UserError("two modules have the same name", "give each module once")
    return {path.name: path for path in (*own_modules(), *given)}


class Workbench:
    """Builds on first use; every process of a run has one of its own, over the same cache."""

    def __init__(
        self, modules: Sequence[Path], tree: str | None, progress: Progress, *, cold: bool = False
    ) -> None:
        """``cold``: guests are booted, not cloned (:meth:`machine`)."""
        # What the user gave is looked at before anything that takes minutes.
        self._directories = module_dirs(modules)
        self._tree = tree
        self._cold = cold
        self._progress = progress
        self._store = Store()
        self._artefacts: dict[str, Artefacts] = {}
        self._templates: dict[tuple[str, tuple[str, ...]], Template] = {}
        self._modules: dict[tuple[str, str], Module] = {}

    def artefacts(self, target: Target) -> Artefacts:
        """What is built for ``target``."""
        if target.name not in self._artefacts:
            self._artefacts[target.name] = build_all(target, tree=self._tree, progress=self._progress)
        return self._artefacts[target.name]

    def template(self, target: Target, cmdline: tuple[str, ...] = ()) -> Template:
        """A frozen guest of ``target``, booted with ``cmdline`` added."""
        key = target.name, cmdline
        if key not in self._templates:
            self._templates[key] = Template.ensure(
                self.artefacts(target), self._store, extra_cmdline=cmdline, progress=self._progress
            )
        return self._templates[key]

    def templates(self, target: Target, scenarios: Iterable[Scenario]) -> None:
        """Make the templates that ``scenarios`` run in on ``target``, before any of them does."""
        for scenario in scenarios:
            if scenario.why_impossible(target) is None:
                self.template(target, scenario.cmdline_on(target))

    def machine(self, template: Template, evidence: Path, payload: Path, deadline: Deadline) -> Machine:
        """A running guest for one scenario: a clone of ``template``, or one that is booted like it.

        Raises what :func:`harness.boot.machine.await_guest` raises.
        """
        if not self._cold:
            return template.clone(
                evidence, payload, deadline.within(CLONE_SECONDS, "a clone of the guest answers")
            )
        machine = boot(
            self.artefacts(template.parts.target),
            evidence,
            deadline.within(BOOT_SECONDS, "the guest boots"),
            extra_cmdline=template.parts.cmdline,
            accel=template.parts.accel,
            payload=payload,
        )
        machine.slowdown = template.slowdown
        return machine

    @property
    def module_names(self) -> tuple[str, ...]:
        """Every module there is."""
        return tuple(self._directories)

    def module(self, target: Target, name: str) -> Module:
        """One module, built for ``target``. Raises :class:`UserError` when there is none of that name."""
        key = target.name, name
        if key not in self._modules:
            if name not in self._directories:
                raise UserError(
                    f"there is no module {name!r}", f"the modules are: {', '.join(self._directories)}"
                )
            built = self.artefacts(target)
            self._modules[key] = build_module(
                self._directories[name], built.kernel, self._store, built.root, self._progress
            )
        return self._modules[key]

    def payload(self, target: Target, names: Sequence[str]) -> Path:
        """The disk that carries modules into a guest."""
        modules = [self.module(target, name) for name in names]
        return pack({f"{MODULES[1:]}/{module.name}.ko": module.stripped for module in modules}, self._store)

    def build_ids(self, target: Target, names: Sequence[str]) -> dict[str, str]:
        """What tells the builds of modules apart, by their names."""
        return {name: self.module(target, name).build_id for name in names}
