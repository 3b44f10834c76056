# SPDX-License-Identifier: GPL-2.0-only
"""Everything that a machine needs, built or found: the one call the other rooms make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.build import kernel as kernels
from harness.build import tree as trees
from harness.build import userspace as userspaces
from harness.build.kernel import Kernel, build_kernel
from harness.build.modules import find as find_module
from harness.build.root import BuildRoot
from harness.build.store import Store
from harness.build.tree import prepare
from harness.build.userspace import Userspace, build_userspace
from harness.progress import Progress
from harness.settings import PROJECT
from harness.targets import Target

MODULES: Final = PROJECT / "modules"
_NOT_MODULES: Final = frozenset({"common"})


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What was built for one target. Its modules are built as they are needed."""

    target: Target
    root: BuildRoot
    kernel: Kernel
    userspace: Userspace


def own_modules(folder: Path = MODULES) -> list[Path]:
    """The directories of the project's own modules."""
    return sorted(
        path for path in folder.iterdir() if (path / "Kbuild").is_file() and path.name not in _NOT_MODULES
    )


def build_all(
    target: Target, *, tree: str | None, progress: Progress, store: Store | None = None
) -> Artefacts:
    """Build what is missing and find the rest. Raises a HarnessError that says what to do."""
    cache = store or Store()
    root = BuildRoot.ensure(cache, progress)
    source = prepare(target, cache, root, progress, tree=tree)
    kernel = build_kernel(target, source, cache, root, progress)
    userspace = build_userspace(target, source, cache, root, progress)
    return Artefacts(target, root, kernel, userspace)


def find_all(target: Target, store: Store) -> Artefacts | None:
    """The artefacts of the pinned tree, if they are all in the cache."""
    if (root := BuildRoot.find(store)) is None or (source := trees.find(target, store)) is None:
        return None
    kernel = kernels.find(target, source, store, root)
    userspace = userspaces.find(target, source, store, root)
    if kernel is None or userspace is None:
        return None
    return Artefacts(target, root, kernel, userspace)


def cached_kinds(target: Target, store: Store) -> list[str]:
    """What of a target is built already, in words."""
    root = BuildRoot.find(store)
    if root is None:
        return []
    source = trees.find(target, store)
    if source is None:
        return ["build root"]
    found = ["build root", "source"]
    kernel = kernels.find(target, source, store, root)
    if kernel is not None:
        found.append("kernel")
    if userspaces.find(target, source, store, root) is not None:
        found.append("user space")
    if kernel is not None:
        found += [path.name for path in own_modules() if find_module(path, kernel, store) is not None]
    return found
