# SPDX-License-Identifier: GPL-2.0-only
"""Everything a run stands on, made once and shared by its scenarios: artefacts and templates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.boot.payload import pack
from harness.boot.template import Template
from harness.build.artefacts import Artefacts, build_all, own_modules
from harness.build.modules import Module
from harness.build.store import Store
from harness.drive.guest import MODULES
from harness.drive.scenario import Scenario
from harness.errors import UserError
from harness.progress import Progress
from harness.targets import Target


def module_dirs(extra: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The directories of the project's modules; one of ``extra`` replaces its namesake."""
    found = {path.name: path for path in own_modules()}
    found |= {path.name: path for path in (given.absolute() for given in extra)}
    return tuple(found.values())


class Workbench:
    """Builds on first use; every process of a run has one of its own, over the same cache."""

    def __init__(self, modules: Sequence[Path], tree: str | None, progress: Progress) -> None:
        self._modules = module_dirs(modules)
        self._tree = tree
        self._progress = progress
        self._store = Store()
        self._artefacts: dict[str, Artefacts] = {}
        self._templates: dict[tuple[str, tuple[str, ...]], Template] = {}

    def artefacts(self, target: Target) -> Artefacts:
        """What is built for ``target``."""
        if target.name not in self._artefacts:
            self._artefacts[target.name] = build_all(
                target, modules=self._modules, tree=self._tree, progress=self._progress
            )
        return self._artefacts[target.name]

    def template(self, target: Target, cmdline: tuple[str, ...] = ()) -> Template:
        """A frozen guest of ``target``, booted with ``cmdline`` added."""
        key = target.name, cmdline
        if key not in self._templates:
            self._templates[key] = Template.ensure(
                self.artefacts(target), self._store, extra_cmdline=cmdline, progress=self._progress
            )
        return self._templates[key]

    def payload(self, target: Target, scenario: Scenario) -> Path:
        """The disk that carries a scenario's modules into its guest."""
        modules = self._modules_of(target, scenario)
        return pack({f"{MODULES[1:]}/{module.name}.ko": module.stripped for module in modules}, self._store)

    def build_ids(self, target: Target, scenario: Scenario) -> dict[str, str]:
        """What tells the builds of a scenario's modules apart, by their names."""
        return {module.name: module.build_id for module in self._modules_of(target, scenario)}

    def _modules_of(self, target: Target, scenario: Scenario) -> list[Module]:
        built = {module.name: module for module in self.artefacts(target).modules}
        missing = [name for name in scenario.modules if name not in built]
        if missing:
            raise UserError(
                f"scenario {scenario.id} needs the module {missing[0]}, which is not there",
                f"the modules are: {', '.join(built)}",
            )
        return [built[name] for name in scenario.modules]
