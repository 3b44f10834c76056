# SPDX-License-Identifier: GPL-2.0-only
"""Entering a root: here the host's own, which is a root like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.build import host
from harness.build.command import CommandFailed
from harness.build.root import BuildRoot, RootConfig
from harness.build.store import Store
from harness.deadline import Deadline
from harness.errors import UserError
from harness.progress import quiet

needs_bwrap = pytest.mark.skipif(
    host.namespace_trouble() is not None, reason="bubblewrap is needed on this host"
)
ROOT = BuildRoot(Path("/"), "host")


def sh(script: str, **where: object) -> str:
    return ROOT.run(["sh", "-c", script], deadline=Deadline.after(20, "a test"), **where)  # type: ignore[arg-type]


@needs_bwrap
def test_only_what_was_asked_for_can_be_written(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("host")
    script = f"cat {tmp_path}/a/file; echo x > {inner}/made; echo x > {tmp_path}/a/no || echo refused"
    text = sh(script, readable=[tmp_path / "a"], writable=[inner])
    assert text.startswith("host")
    assert text.endswith("refused\n")
    assert (inner / "made").exists()
    assert "cannot" in sh("echo x > /usr/no 2>&1 || echo cannot")


@needs_bwrap
def test_a_directory_can_be_seen_at_another_path(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "out").mkdir()
    mounts = {"/build/linux": tmp_path / "source", "/build/out": tmp_path / "out"}
    script = "pwd; echo x > /build/out/made; echo x > /build/linux/no || echo refused"
    text = sh(script, cwd=Path("/build/out"), writable=[tmp_path / "out"], mounts=mounts)
    assert text.startswith("/build/out\n")
    assert text.endswith("refused\n")
    assert (tmp_path / "out/made").exists()


@needs_bwrap
def test_environment_network_and_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    assert sh("echo $SECRET-$OWN-$HOME", env={"OWN": "2"}) == "-2-/tmp\n"
    assert "eth" not in sh("cat /proc/net/dev")
    with pytest.raises(CommandFailed) as caught:
        sh("exit 5")
    assert caught.value.status == 5


def test_a_root_of_the_users_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"has no usr/bin/clang"):
        BuildRoot.ensure(Store(tmp_path / "cache"), quiet())
    with pytest.raises(UserError, match="is not a root"):
        BuildRoot(tmp_path, "key").command(["true"])


def test_the_key_depends_on_everything(tmp_path: Path) -> None:
    config = RootConfig.load()
    keys = {
        config.key("amd64"),
        config.key("arm64"),
        RootConfig("sid", config.packages, config.exclude).key("amd64"),
        RootConfig(config.suite, config.packages[1:], config.exclude).key("amd64"),
        RootConfig(config.suite, config.packages, config.exclude[1:]).key("amd64"),
    }
    assert len(keys) == 5
