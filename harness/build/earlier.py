# SPDX-License-Identifier: GPL-2.0-only
"""What a compilation can keep of earlier ones: of another kernel, and of its own that was interrupted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.build.store import Store


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier kernel: where it is, the tree it was made of, and what was asked of its configuration."""

    made: float
    path: Path
    tree: Path
    requests: str


def earlier_builds(store: Store, target: str, toolchain: str) -> list[Earlier]:
    """Finished kernels of ``target`` by the same toolchain, the newest first."""
    found = []
    for record in store.root.glob(f"kernel/{target}-*/kernel.json"):
        facts = json.loads(record.read_text(encoding="utf-8"))
        one = Earlier(record.stat().st_mtime, record.parent, Path(facts["tree"]), facts["requests"])
        if facts["target"] == target and facts["toolchain"] == toolchain and one.tree.is_dir():
            found.append(one)
    return sorted(found, key=lambda one: one.made, reverse=True)


def align_times(before: Path, after: Path) -> list[str]:
    """Let make see what changed from one tree to another; the files that did.

    make compares times only, and those of a tree say when it was unpacked or patched: going back to
    an older patch would compile nothing, and an unpacked git reference everything. So a file that is
    as it was before gets its time of before, and any other the time of now.
    """
    changed: list[str] = []
    for name in _names(after):
        old, new = before / name, after / name
        if _same_file(old, new):
            facts = old.lstat()
            times = (facts.st_atime_ns, facts.st_mtime_ns)
            if new.lstat().st_mtime_ns != facts.st_mtime_ns:
                os.utime(new, ns=times, follow_symlinks=False)
        else:
            os.utime(new, follow_symlinks=False)
            changed.append(name)
    return changed


def _names(tree: Path) -> Iterator[str]:
    """The files of a tree, relative to it."""
    base = os.fspath(tree)
    stack = [base]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    yield entry.path[len(base) + 1 :]


def _same_file(old: Path, new: Path) -> bool:
    try:
        one, two = old.lstat(), new.lstat()
        if (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino):
            return True
        if (one.st_mode, one.st_size) != (two.st_mode, two.st_size):
            return False
        if stat.S_ISLNK(one.st_mode):
            return os.readlink(old) == os.readlink(new)
        return old.read_bytes() == new.read_bytes()
    except FileNotFoundError:
        return False


def decides_options(name: str) -> bool:
    """Whether a file of a kernel's tree has a say in what a configuration becomes."""
    return Path(name).name.startswith("Kconfig") or name.startswith("scripts/") or name.endswith(".config")


def remove_half_written(output: Path) -> None:
    """Remove outputs that were being written again when an earlier make was killed.

    kbuild writes ``.NAME.cmd`` after NAME is complete (scripts/Kbuild.include, cmd_and_fixdep), so a
    file newer than its record may be cut short. One without a record is made again anyway.
    """
    for folder, _, names in os.walk(output):
        for name in names:
            if name.endswith(".cmd") and name.startswith("."):
                file = Path(folder, name[1:-4])
                with suppress(FileNotFoundError):
                    if file.stat().st_mtime_ns > Path(folder, name).stat().st_mtime_ns:
                        file.unlink()
