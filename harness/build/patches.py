# SPDX-License-Identifier: GPL-2.0-only
"""A series of patches, applied to a private copy of a tree."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.build.command import CommandFailed
from harness.build.root import BuildRoot
from harness.deadline import Deadline
from harness.errors import UserError
from harness.settings import PROJECT

SERIES: Final = PROJECT / "kernel-config" / "patches"
_APPLY_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a patch stopped: ``hunk`` counts from 1 in ``file`` and was looked for at ``line``."""

    file: str
    hunk: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.hunk is None:
            return self.file
        return f"{self.file}, hunk {self.hunk} (line {self.line})"


def series(name: str, folder: Path = SERIES) -> tuple[Path, ...]:
    """The patches of a series in the order in which they are applied; empty when there is none."""
    return tuple(sorted((folder / name).glob("*.patch")))


def find_failure(output: str) -> Failure | None:
    """Where ``patch`` says that it failed first."""
    file = ""
    for line in output.splitlines():
        if found := re.match(r"(?:patching|checking) file '?([^']+?)'?$", line):
            file = found.group(1)
        elif found := re.match(r"Hunk #(\d+) FAILED at (\d+)", line):
            return Failure(file, int(found.group(1)), int(found.group(2)))
        elif re.match(r"can't find file to patch", line):
            return Failure(_missing_file(output) or "a file that this tree does not have")
        elif re.match(r"Reversed \(or previously applied\)", line):
            return Failure(f"{file} (it looks as if a part of it were applied already)")
        elif re.search(r"Only garbage was found|malformed patch", line):
            return Failure(line.removeprefix("patch: ").strip("* "))
    return None


def _missing_file(output: str) -> str | None:
    found = re.search(r"^\|\+\+\+ (?:[ab]/)?(\S+)", output, re.MULTILINE)
    return f"{found.group(1)}, which this tree does not have" if found else None


def apply(patches: tuple[Path, ...], tree: Path, root: BuildRoot) -> None:
    """Apply ``patches`` in order to ``tree``. Raises :class:`UserError` for one that does not apply.

    patch(1) writes a new file and renames it, so a file that the tree shares by a hard link with
    another stays as it was there.
    """
    for patch in patches:
        try:
            _patch(patch, tree, root, "--forward")
        except CommandFailed as error:
            if _applied_already(patch, tree, root):
                continue
            where = find_failure(error.output)
            raise UserError(
                f"the patch {patch} does not apply to this tree: "
                + (str(where) if where else error.output.strip()),
                "rebase the patch on this tree, or use the tree that it was made for",
            ) from None


def _applied_already(patch: Path, tree: Path, root: BuildRoot) -> bool:
    """Whether the whole patch could be taken back: a user's tree may hold it."""
    try:
        _patch(patch, tree, root, "--reverse", "--force", "--dry-run")
    except CommandFailed:
        return False
    return True


def _patch(patch: Path, tree: Path, root: BuildRoot, *options: str) -> None:
    argv = [
        "patch",
        "-p1",
        "--batch",
        "--no-backup-if-mismatch",
        "--reject-file=-",
        *options,
        "-i",
        os.fspath(patch),
    ]
    root.run(
        argv,
        cwd=tree,
        writable=[tree],
        readable=[patch],
        deadline=Deadline.after(_APPLY_SECONDS, f"applying {patch.name}"),
    )
