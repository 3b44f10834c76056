# SPDX-License-Identifier: GPL-2.0-only
"""Trees of the user's, and patches, with the host's own tar and patch inside bubblewrap."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from harness import targets
from harness.build import host, patches, tree
from harness.build.root import BuildRoot
from harness.build.store import Store
from harness.errors import UserError
from harness.progress import quiet
from harness.targets import Target

MAKEFILE = (
    "# SPDX-License-Identifier: GPL-2.0\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION = -rc1\n"
)
CODE = "".join(f"line {number}\n" for number in range(1, 21))
PATCH = """\
Subject: change a line

--- a/mm/code.c
+++ b/mm/code.c
@@ -9,3 +9,3 @@
 line 9
-line 10
+line ten
 line 11
--- /dev/null
+++ b/mm/new.c
@@ -0,0 +1 @@
+new
"""

needs_bwrap = pytest.mark.skipif(
    host.namespace_trouble() is not None or shutil.which("patch") is None,
    reason="bubblewrap and patch are needed on this host",
)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """The least that passes for a kernel's source."""
    folder = tmp_path / "linux"
    (folder / "mm").mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "Kconfig").write_text("")
    (folder / "mm" / "code.c").write_text(CODE)
    return folder


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose series of patches is below ``tmp_path``."""
    monkeypatch.setattr(patches, "SERIES", tmp_path / "patches")
    monkeypatch.setattr(patches.series, "__defaults__", (tmp_path / "patches",))
    (tmp_path / "patches" / "own").mkdir(parents=True)
    plain = targets.target("7.3-x86_64")
    return dataclasses.replace(plain, tree=dataclasses.replace(plain.tree, patches="own"))


@pytest.fixture
def root() -> BuildRoot:
    return BuildRoot(Path("/"), "host")


def prepare(target: Target, tmp_path: Path, root: BuildRoot, name: str) -> tree.Source:
    return tree.prepare(target, Store(tmp_path / "cache"), root, quiet(), tree=name)


def test_version(kernel: Path, tmp_path: Path) -> None:
    assert tree.kernel_version(kernel) == "7.3.4-rc1"
    (kernel / "Kconfig").unlink()
    with pytest.raises(UserError, match="not the source of a Linux kernel"):
        tree.kernel_version(kernel)
    with pytest.raises(UserError, match="not the source"):
        tree.kernel_version(tmp_path / "nowhere")


@needs_bwrap
def test_a_directory_is_copied_patched_and_left_alone(
    kernel: Path, target: Target, tmp_path: Path, root: BuildRoot
) -> None:
    (tmp_path / "patches/own/0001.patch").write_text(PATCH)
    (kernel / ".git").mkdir()
    source = prepare(target, tmp_path, root, str(kernel))
    assert source.release_hint == "7.3.4-rc1"
    assert "line ten" in (source.path / "mm/code.c").read_text()
    assert (source.path / "mm/new.c").read_text() == "new\n"
    assert (kernel / "mm/code.c").read_text() == CODE
    assert not (source.path / ".git").exists()
    assert prepare(target, tmp_path, root, str(kernel)).key == source.key


@needs_bwrap
def test_of_an_edited_directory_the_last_two_generations_stay(
    kernel: Path, target: Target, tmp_path: Path, root: BuildRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_EDIT_SECONDS", -1.0)
    keys = []
    for generation in range(4):
        (kernel / "mm/code.c").write_text(CODE + f"more {generation}\n")
        keys.append(prepare(target, tmp_path, root, str(kernel)).key)
        time.sleep(0.01)
    assert len(set(keys)) == 4
    left = [path.name for path in (tmp_path / "cache/tree").iterdir()]
    assert sorted(left) == sorted(keys[2:])


@needs_bwrap
def test_patches_do_not_reach_what_was_unpacked(
    kernel: Path, target: Target, tmp_path: Path, root: BuildRoot
) -> None:
    (tmp_path / "patches/own/0001.patch").write_text(PATCH)
    archive = tmp_path / "linux.tar"
    with tarfile.open(archive, "w") as file:
        file.add(kernel, "linux-7.3")
    source = prepare(target, tmp_path, root, str(archive))
    assert "line ten" in (source.path / "mm/code.c").read_text()
    [pristine] = (tmp_path / "cache/source").glob("*/linux")
    assert (pristine / "mm/code.c").read_text() == CODE, "the patch went through a hard link"
    assert os.stat(pristine / "Makefile").st_ino == os.stat(source.path / "Makefile").st_ino


@needs_bwrap
def test_a_tarball_and_a_git_reference_give_the_same_files(
    kernel: Path, target: Target, tmp_path: Path, root: BuildRoot
) -> None:
    archive = tmp_path / "linux.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(kernel, "linux-7.3")
    from_tar = prepare(target, tmp_path, root, str(archive))
    git = ["git", "-C", str(kernel), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    subprocess.run([*git, "tag", "v7.3"], check=True)
    (kernel / "mm/code.c").write_text("not committed")
    from_git = prepare(target, tmp_path, root, f"{kernel}@v7.3")
    from_bare = prepare(target, tmp_path, root, str(kernel / ".git"))
    for source in (from_tar, from_git, from_bare):
        assert (source.path / "mm/code.c").read_text() == CODE
    assert from_bare.key == from_git.key
    with pytest.raises(UserError, match="has no 'v9'"):
        prepare(target, tmp_path, root, f"{kernel}@v9")


@needs_bwrap
def test_what_is_no_kernel_is_said(target: Target, tmp_path: Path, root: BuildRoot) -> None:
    with pytest.raises(UserError, match="there is no tree"):
        prepare(target, tmp_path, root, str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not the source of a Linux kernel"):
        prepare(target, tmp_path, root, str(tmp_path / "empty"))
    text = tmp_path / "text"
    text.write_text("not a tarball")
    with pytest.raises(UserError, match="cannot be unpacked"):
        prepare(target, tmp_path, root, str(text))
    archive = tmp_path / "other.tar"
    with tarfile.open(archive, "w") as file:
        file.add(text, "other/text")
    with pytest.raises(UserError, match=r"other\.tar is not the source of a Linux kernel"):
        prepare(target, tmp_path, root, str(archive))
    assert not list((tmp_path / "cache").glob("*/*/linux"))


@needs_bwrap
def test_a_patch_that_does_not_apply_is_named(
    kernel: Path, target: Target, tmp_path: Path, root: BuildRoot
) -> None:
    bad = tmp_path / "patches/own/0002-bad.patch"
    bad.write_text(PATCH.replace("-line 10", "-line X"))
    with pytest.raises(UserError) as caught:
        prepare(target, tmp_path, root, str(kernel))
    assert f"{bad} does not apply" in caught.value.what
    assert "mm/code.c, hunk 1 (line 9)" in caught.value.what
    bad.write_text(PATCH.replace("mm/code.c", "mm/gone.c"))
    with pytest.raises(UserError, match=r"mm/gone\.c, which this tree does not have"):
        prepare(target, tmp_path, root, str(kernel))
    bad.write_text("no patch at all\n")
    with pytest.raises(UserError, match="does not apply"):
        prepare(target, tmp_path, root, str(kernel))


@needs_bwrap
def test_a_tree_that_holds_the_patch_already_is_fine(
    kernel: Path, target: Target, tmp_path: Path, root: BuildRoot
) -> None:
    (tmp_path / "patches/own/0001.patch").write_text(PATCH)
    (kernel / "mm/code.c").write_text(CODE.replace("line 10\n", "line ten\n"))
    (kernel / "mm/new.c").write_text("new\n")
    source = prepare(target, tmp_path, root, str(kernel))
    assert (source.path / "mm/new.c").read_text() == "new\n"


@needs_bwrap
def test_a_patch_cannot_leave_the_tree(tmp_path: Path, root: BuildRoot) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (tmp_path / "outside").write_text("a\n")
    evil = tmp_path / "evil.patch"
    evil.write_text("--- a/../outside\n+++ b/../outside\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(UserError, match="does not apply"):
        patches.apply((evil,), folder, root)
    assert (tmp_path / "outside").read_text() == "a\n"
