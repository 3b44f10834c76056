# SPDX-License-Identifier: GPL-2.0-only
"""What the harness and its scripts take for granted of a guest's user space.

The files of a payload arrive as they were (guests/unpack.c reads what tarfile wrote), and time passes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness import targets
from harness.boot.payload import SIZE, UNPACK, pack
from harness.build.store import Store
from harness.deadline import Deadline
from harness.drive.workbench import Workbench

SIZES = (0, 1, 511, 512, 513, 65024, 65535, 65536, 65537, 300_001)
"""Around a block of the archive, and around what the program reads at a time."""
NOT_THE_END = b"x" * 512
SLEEP = "cut -d ' ' -f 1 /proc/uptime; sleep 1; cut -d ' ' -f 1 /proc/uptime"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [target.name for target in targets.named(metafunc.config.option.target)]
    metafunc.parametrize("name", names)


def test_files_arrive(name: str, workbench: Workbench, tmp_path: Path) -> None:
    files = {}
    for size in SIZES:
        files[f"a/{'b' * 40}/{size}"] = file = tmp_path / str(size)
        file.write_bytes(bytes((size + place * 7) % 251 for place in range(size)))
    files["a/program"] = program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho I ran\n", encoding="ascii")
    program.chmod(0o755)
    target = targets.target(name)
    template, image = workbench.template(target), pack(files, Store(tmp_path / "store"))
    deadline = Deadline.after(30, "a guest unpacks", slowdown=template.slowdown)
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    with template.clone(evidence, image, deadline) as machine:
        assert machine.shell.run(UNPACK, deadline=deadline).text == '{"ok":true}\n'
        sums = machine.shell.run("cd / && sha256sum a/b*/* && a/program", deadline=deadline).text.splitlines()
    expected = {
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {path}"
        for path, file in files.items()
        if file is not program
    }
    assert {*sums} == {*expected, "I ran"}


def test_what_is_no_archive_is_refused(name: str, workbench: Workbench, tmp_path: Path) -> None:
    target = targets.target(name)
    image = tmp_path / "noise"
    image.write_bytes(NOT_THE_END * (SIZE // len(NOT_THE_END)))
    template = workbench.template(target)
    deadline = Deadline.after(30, "a guest refuses", slowdown=template.slowdown)
    with template.clone(tmp_path, image, deadline) as machine:
        said = machine.shell.run(UNPACK, deadline=deadline, check=False)
    assert (said.status, said.text) == (1, '{"ok":false,"errno":22}\n')


def test_time_passes(name: str, workbench: Workbench, tmp_path: Path) -> None:
    """busybox does not look at what the kernel answers when it asks to sleep."""
    target = targets.target(name)
    template = workbench.template(target)
    deadline = Deadline.after(30, "a guest sleeps", slowdown=template.slowdown)
    with template.clone(tmp_path, workbench.payload(target, ()), deadline) as machine:
        before, after = map(float, machine.shell.run(SLEEP, deadline=deadline).text.split())
        in_time = machine.shell.run("timeout 5 sleep 0.2", deadline=deadline, check=False)
    assert after - before >= 1
    assert in_time.status == 0
