# SPDX-License-Identifier: GPL-2.0-only
"""A silent console is not believed when the kernel says otherwise elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import targets
from harness.drive.runner import ScenarioRun
from harness.drive.scenario import Scenario
from harness.drive.workbench import Workbench
from harness.judge.verdict import Verdict

NOTHING = "true"
WARNED = "echo 512 > /proc/sys/kernel/tainted"
OVERWRITTEN = """
echo 1 > /proc/sys/kernel/printk
echo on > /proc/sys/kernel/printk_devkmsg
sampler=$(pidof sample)
kill -STOP $sampler
line=$(printf '%0900d' 0)
i=0
while [ $i -lt 500 ]; do
    i=$((i + 1))
    echo "<6>$line"
done > /dev/kmsg
kill -CONT $sampler
echo 7 > /proc/sys/kernel/printk
"""
"""More than the kernel's buffer holds, while the sampler sleeps."""


@pytest.mark.parametrize(
    ("script", "verdict", "reason"),
    [
        (NOTHING, Verdict.PASSED, ""),
        (WARNED, Verdict.BROKEN, "taint W: a warning was issued, and the console shows no report"),
        (OVERWRITTEN, Verdict.BROKEN, "kernel messages were overwritten unread"),
    ],
    ids=["nothing", "warned", "overwritten"],
)
def test_witness(script: str, verdict: Verdict, reason: str, workbench: Workbench, tmp_path: Path) -> None:
    target = targets.target(targets.DEFAULT_TARGET)
    run = ScenarioRun(Scenario("X99", "the kernel is what it says", ""), target, workbench, tmp_path)
    try:
        run.start().run(script, seconds=30)
        result = run.settle(None)
    finally:
        run.stop()
    assert result.verdict is verdict, result.reason
    assert reason in result.reason
