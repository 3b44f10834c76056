# SPDX-License-Identifier: GPL-2.0-only
"""The cache: what is in it is whole, whatever happened while it was made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.build.store import Store, digest, disk_bytes, human, need_space, write_atomically
from harness.errors import InfrastructureError

SLOW_BUILD = """
import sys, time
from pathlib import Path
from harness.build.store import Store

def build(directory):
    with open(sys.argv[2], "a") as log:
        log.write("built\\n")
    (directory / "half").write_text("half")
    time.sleep(float(sys.argv[3]))
    (directory / "whole").write_text("whole")

Store(Path(sys.argv[1])).make("thing", "key", build)
"""


def slow_build(cache: Path, log: Path, seconds: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(cache), str(log), str(seconds)])


def wait_for(path: Path) -> None:
    end = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def test_digest_sees_content_names_modes_and_borders(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "a"
    file.write_text("one")
    first = digest(folder)
    assert digest(folder) == first
    file.chmod(0o755)
    executable = digest(folder)
    file.chmod(0o644)
    file.write_text("two")
    changed = digest(folder)
    file.write_text("one")
    file.rename(folder / "b")
    renamed = digest(folder)
    assert len({first, executable, changed, renamed}) == 4
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") != digest("a", "")


def test_make_builds_once_and_finds_it_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.ready("thing", "key") is None

    def build(directory: Path) -> None:
        (directory / "file").write_text("content")

    made = store.make("thing", "key", build)
    assert (made / "file").read_text() == "content"

    def never(_: Path) -> None:
        pytest.fail("built a second time")

    assert store.make("thing", "key", never) == made
    assert store.ready("thing", "key") == made


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def build(directory: Path) -> None:
        (directory / "half").write_text("half")
        raise InfrastructureError("no")

    with pytest.raises(InfrastructureError):
        store.make("thing", "key", build)
    assert store.ready("thing", "key") is None
    assert list((tmp_path / "thing").iterdir()) == []


def test_a_killed_build_is_never_used_and_is_cleared_away(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cache = tmp_path / "cache"
    process = slow_build(cache, log, 60)
    wait_for(cache / "thing" / ".tmp-key" / "half")
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = Store(cache)
    assert store.ready("thing", "key") is None
    # The temporary of another key that was killed goes as well.
    made = store.make("thing", "other", lambda directory: None)
    assert [path.name for path in (cache / "thing").iterdir()] == [made.name]


def test_a_directory_that_is_not_finished_is_not_ready(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path("thing", "key").mkdir(parents=True)
    assert store.ready("thing", "key") is None
    assert store.make("thing", "key", lambda directory: None) == store.ready("thing", "key")


def test_two_processes_build_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cache = tmp_path / "cache"
    both = [slow_build(cache, log, 0.3) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert log.read_text().count("built") == 1
    assert (cache / "thing" / "key" / "whole").exists()


def test_scratch_stays_and_is_adopted(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def interrupted() -> None:
        with store.scratch("kernel", "key") as scratch:
            (scratch / "object").write_text("done")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with store.scratch("kernel", "key") as scratch:
        assert (scratch / "object").read_text() == "done"
        made = store.adopt(scratch, "kernel", "key")
    assert made == store.ready("kernel", "key")
    assert (made / "object").exists()


def test_sweep_spares_the_newest_and_those_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(4):
        with store.scratch("module", f"x-{number}") as path:
            os.utime(path, (1000 + number, 1000 + number))
    with store.scratch("module", "x-0"):
        os.utime(tmp_path / "scratch/module/x-0", (1000, 1000))
        store.sweep("module", "y-")
        store.sweep("module", "x-", keep=1)
        assert sorted(path.name for path in (tmp_path / "scratch/module").iterdir()) == ["x-0", "x-3"]


def test_forget_keeps_the_newest_and_what_is_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(4):
        path = store.make("thing", f"key{number}", lambda directory: None)
        past = time.time() - 10_000 + number
        os.utime(path / ".artefact.json", (past, past))
    store.touch("thing", "key0")
    store.forget("thing", keep=0, prefix="other")
    store.forget("thing", keep=2)
    assert sorted(path.name for path in (tmp_path / "thing").iterdir()) == ["key0", "key3"]
    store.forget("thing", keep=0)
    assert store.ready("thing", "key0") is not None, "it was used a moment ago"


def test_size_and_clean(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def build(directory: Path) -> None:
        (directory / "file").write_bytes(b"x" * 100_000)

    made = store.make("thing", "key", build)
    store.make("other", "key", lambda directory: None)
    (made / "file").chmod(0o400)
    made.chmod(0o500)
    sizes = store.size()
    assert set(sizes) == {"thing", "other"}
    assert sizes["thing"] >= 100_000
    assert store.clean(["thing", "unknown"]) == sizes["thing"]
    assert store.ready("thing", "key") is None
    assert store.ready("other", "key") is not None
    store.clean()
    assert store.size() == {}


def test_hard_links_count_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1_000_000)
    alone = disk_bytes(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert disk_bytes(tmp_path) == alone


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    def build(directory: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InfrastructureError, match="no space left"):
        Store(tmp_path).make("thing", "key", build)
    with pytest.raises(InfrastructureError, match=r"a kernel needs .* are free"):
        need_space(tmp_path / "not" / "there", 1 << 60, "a kernel")


def test_a_cache_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        Store(tmp_path / "file").make("thing", "key", lambda directory: None)


def test_write_atomically_leaves_no_temporary(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomically(file, "one")
    write_atomically(file, "two")
    assert file.read_text() == "two"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (12_345, "12 kB"), (2_100_000_000, "2.1 GB")]
)
def test_human(count: int, text: str) -> None:
    assert human(count) == text
