# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel's compilation leaves behind, and what a next one may take over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.build import earlier, kernel
from harness.errors import InfrastructureError


def at(path: Path, seconds: int, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    return path


def test_half_written_objects_are_removed(tmp_path: Path) -> None:
    whole = at(tmp_path / "mm/whole.o", 100)
    at(tmp_path / "mm/.whole.o.cmd", 101)
    cut = at(tmp_path / "mm/cut.o", 102)
    at(tmp_path / "mm/.cut.o.cmd", 101)
    without = at(tmp_path / "rust/libkernel.rmeta", 100)
    at(tmp_path / "mm/.ghost.o.cmd", 101)
    earlier.remove_half_written(tmp_path)
    assert whole.exists()
    assert not cut.exists()
    assert without.exists(), "kbuild would not make it again"


def test_times_say_what_changed(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    at(before / "linked.c", 100)
    after.mkdir()
    os.link(before / "linked.c", after / "linked.c")
    at(before / "mm/unpacked_again.c", 200)
    at(after / "mm/unpacked_again.c", 300)
    at(before / "mm/patched.c", 200, "patched")
    at(after / "mm/patched.c", 100, "earlier")
    at(after / "mm/new.c", 100)
    at(before / "mm/gone.c", 100)
    (before / "link").symlink_to("linked.c")
    (after / "link").symlink_to("mm/patched.c")
    assert sorted(earlier.align_times(before, after)) == ["link", "mm/new.c", "mm/patched.c"]
    times = {path.relative_to(after).as_posix(): path.lstat().st_mtime for path in after.rglob("*")}
    assert times["linked.c"] == 100
    assert times["mm/unpacked_again.c"] == 200
    assert min(times["mm/patched.c"], times["mm/new.c"], times["link"]) > 1_000_000


def test_vermagic_comes_from_the_kernel_itself(tmp_path: Path) -> None:
    at(tmp_path / "include/config/kernel.release", 1, "7.3.4-harness\n")
    at(
        tmp_path / "vmlinux",
        1,
        "\0Linux version 7.3.4-harness (x) \0" + "\xff7.3.4-harness SMP preempt mod_unload \0rest\0",
    )
    assert kernel.find_vermagic(tmp_path) == "7.3.4-harness SMP preempt mod_unload "
    at(tmp_path / "vmlinux", 1, "nothing")
    with pytest.raises(InfrastructureError, match="vermagic"):
        kernel.find_vermagic(tmp_path)


def test_steps_announced_in_an_interrupted_build_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert kernel._announced(log) == set()
    log.write_text("make: Entering\n  CC      a.o\n  CC [M]  b.o\nwarning: x\n  CC      a.o\n")
    assert len(kernel._announced(log)) == 2


def test_what_decides_the_configuration() -> None:
    names = [
        "mm/Kconfig",
        "lib/Kconfig.debug",
        "scripts/cc-version.sh",
        "kernel/configs/tiny.config",
        "mm/zswap.c",
    ]
    assert [earlier.decides_options(name) for name in names] == [True, True, True, True, False]
