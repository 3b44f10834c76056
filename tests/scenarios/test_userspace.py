# SPDX-License-Identifier: GPL-2.0-only
"""What scripts in a guest take for granted of its user space."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import targets
from harness.deadline import Deadline
from harness.drive.workbench import Workbench

SLEEP = "cut -d ' ' -f 1 /proc/uptime; sleep 1; cut -d ' ' -f 1 /proc/uptime"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [target.name for target in targets.named(metafunc.config.option.target)]
    metafunc.parametrize("name", names)


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
