# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own tools on the kernel code here: rustfmt and checkpatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import targets
from harness.build.artefacts import build_all
from harness.build.command import CommandFailed
from harness.build.root import BuildRoot
from harness.deadline import Deadline
from harness.progress import quiet
from harness.settings import PROJECT

MODULES = PROJECT / "modules"
PATCHES = PROJECT / "kernel-config" / "patches"
IGNORED = (
    "FILE_PATH_CHANGES",  # no MAINTAINERS of ours in the kernel's tree
    "NO_AUTHOR_SIGN_OFF",
    "MISSING_SIGN_OFF",
    "PREFER_DEFINED_ATTRIBUTE_MACRO",
    "AVOID_EXTERNS",  # what Rust calls has its prototype in the shim's header, or beside it
)


@pytest.fixture(scope="module")
def root_and_tree() -> tuple[BuildRoot, Path]:
    """The build root, and the kernel's source."""
    artefacts = build_all(targets.target(targets.DEFAULT_TARGET), tree=None, progress=quiet())
    return artefacts.root, artefacts.kernel.source.path


def run(root: BuildRoot, argv: list[str], *readable: Path) -> str:
    """The output of a tool that is content; fails with what it says otherwise."""
    try:
        return root.run(argv, readable=[PROJECT, *readable], deadline=Deadline.after(60, argv[0]))
    except CommandFailed as error:
        pytest.fail(f"{argv[0]}: {error.output}")


def test_rust_is_formatted_as_rustfmt_would(root_and_tree: tuple[BuildRoot, Path]) -> None:
    root, tree = root_and_tree
    files = sorted(str(path) for path in MODULES.glob("*/*.rs"))
    assert len(files) > 10
    run(root, ["rustfmt", "--check", "--config-path", str(tree / ".rustfmt.toml"), *files], tree)


def test_c_passes_checkpatch(root_and_tree: tuple[BuildRoot, Path]) -> None:
    root, tree = root_and_tree
    files = sorted(str(path) for path in MODULES.glob("*/*.[ch]"))
    assert len(files) > 3
    words = ["--no-tree", "--terse", "--no-summary", f"--ignore={','.join(IGNORED)}"]
    assert run(root, ["perl", str(tree / "scripts/checkpatch.pl"), *words, "-f", *files], tree) == ""


def test_patches_pass_checkpatch(root_and_tree: tuple[BuildRoot, Path]) -> None:
    root, tree = root_and_tree
    patches = sorted(str(path) for path in PATCHES.glob("*/*.patch"))
    assert patches
    words = ["--no-tree", "--terse", "--no-summary", f"--ignore={','.join(IGNORED)}"]
    assert run(root, ["perl", str(tree / "scripts/checkpatch.pl"), *words, *patches], tree) == ""
