# SPDX-License-Identifier: GPL-2.0-only
"""The payload disk: what is in it, that it is always the same, and what is refused."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from harness.boot.payload import SIZE, pack
from harness.build.store import Store
from harness.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "some.ko"
    path.write_bytes(b"\x7fELF" + bytes(1000))
    return path


def test_files_arrive_under_their_names(store: Store, module: Path) -> None:
    script = module.with_name("run.sh")
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    disk = pack({"modules/rust_zpool.ko": module, "run.sh": script}, store)
    assert disk.stat().st_size == SIZE
    with tarfile.open(disk, "r:") as tar:
        assert tar.getnames() == ["modules", "modules/rust_zpool.ko", "run.sh"]
        found = tar.extractfile("modules/rust_zpool.ko")
        assert found is not None
        assert found.read() == module.read_bytes()
        assert tar.getmember("run.sh").mode == 0o755
        assert tar.getmember("modules/rust_zpool.ko").mode == 0o644


def test_the_same_files_are_the_same_disk(store: Store, module: Path) -> None:
    first = pack({"a": module, "b": module}, store)
    assert pack({"b": module, "a": module}, store) == first
    module.write_bytes(b"changed")
    assert pack({"a": module, "b": module}, store) != first


def test_no_files_are_an_empty_disk(store: Store) -> None:
    with tarfile.open(pack({}, store), "r:") as tar:
        assert tar.getnames() == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", ""])
def test_a_name_outside_the_guest_is_refused(store: Store, module: Path, name: str) -> None:
    with pytest.raises(UserError, match="no name for a file"):
        pack({name: module}, store)


def test_what_does_not_fit_is_refused_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    big = tmp_path / "big.ko"
    with big.open("wb") as file:
        file.truncate(SIZE)
    with pytest.raises(UserError, match=r"16\.8 MB|17 MB"):
        pack({"big.ko": big}, store)
    assert list((tmp_path / "cache" / "payload").iterdir()) == []
