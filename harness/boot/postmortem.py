# SPDX-License-Identifier: GPL-2.0-only
"""What can still be learned from a guest that does not answer, before it is killed.

The registers come from QEMU and need nothing of the guest. Blocked tasks, the back traces of all
processors and the stacks of all tasks come from the kernel, asked by magic system requests on the
console's serial line; a kernel that has interrupts off everywhere does not answer those.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from harness.boot.qmp import Qmp
from harness.boot.sysrq import SysRq
from harness.deadline import Deadline
from harness.errors import InfrastructureError

REPORT: Final = "hang.txt"
_KEYS: Final = "wlt"
_ANSWER_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.02


def save(qmp: Qmp, sysrq: SysRq, console: Path, what: str, slowdown: float) -> Path:
    """Write down all that can be learned, beside ``console``, the console's log; where.

    Never raises for a guest or QEMU that does not answer. ``slowdown`` is how often longer than on a fast
    machine this one takes for an answer. ``what`` did not happen in time.

    What the kernel says only because it was asked goes to the report and not to the console's log:
    there it would look like a crash.
    """
    parts = [f"time was up: {what}\n"]
    for command in ("info status", "info cpus", "info registers -a"):
        try:
            answer = qmp.monitor(command, deadline=Deadline.after(_ANSWER_SECONDS, command))
        except InfrastructureError as error:
            answer = str(error)
        parts.append(f"\n== {command}\n{answer}")
    parts.append(f"\n== sysrq {_KEYS}\n{_ask_kernel(sysrq, console, slowdown)}")
    report = console.parent / REPORT
    report.write_text("".join(parts).replace("\r", ""), encoding="utf-8", errors="replace")
    return report


def _ask_kernel(sysrq: SysRq, console: Path, slowdown: float) -> str:
    """What the kernel answers to the system requests, cut out of the console's log."""
    before = console.stat().st_size
    limit = Deadline.after(_ANSWER_SECONDS, "the kernel answers a sysrq", slowdown=slowdown)
    try:
        sysrq.send(_KEYS)
        size, since = before, time.monotonic()
        while not limit.expired and (size == before or time.monotonic() - since < _QUIET_SECONDS):
            time.sleep(_POLL_SECONDS)
            if (now := console.stat().st_size) != size:
                size, since = now, time.monotonic()
    except InfrastructureError as error:
        return str(error)
    with console.open("rb") as file:
        file.seek(before)
        said = file.read()
    with contextlib.suppress(OSError):
        os.truncate(console, before)
    return said.decode("utf-8", "replace") or "the kernel did not answer\n"
