# SPDX-License-Identifier: GPL-2.0-only
"""kmemleak in a guest: the objects that nothing points to any more (mm/kmemleak.c)."""

from __future__ import annotations

import time
from typing import Final

from harness.drive.guest import Guest
from harness.judge.witness import Leak, leaks_in_two_scans

KMEMLEAK: Final = "/sys/kernel/debug/kmemleak"
MIN_AGE_SECONDS: Final = 5.5
"""A scan does not report an object that was less than five seconds old when it began (MSECS_MIN_AGE)."""
SCAN_SECONDS: Final = 60.0


def forget_leaks(guest: Guest) -> None:
    """Have only what is lost from now on be found. One CPU is left.

    A scan reads each block under a lock that every allocation takes, with interrupts off. In emulation the
    CPUs that wait for it spin on the host's processors, and the one that scans goes without.
    """
    guest.one_cpu()
    guest.write(KMEMLEAK, "clear")


def lost(guest: Guest) -> list[Leak]:
    """The objects that were lost since :func:`forget_leaks` and before this call.

    Three scans: the first only takes down what is in an object (update_checksum(): one that changes is in
    use), the second reports it, and the third confirms it, as a pointer may be missed on its way.
    """
    began = time.monotonic()
    _scan(guest)
    guest.run(f"sleep {max(0.0, began + MIN_AGE_SECONDS - time.monotonic()):.1f}")
    return leaks_in_two_scans(_scan(guest), _scan(guest))


def _scan(guest: Guest) -> str:
    guest.run(f"echo scan > {KMEMLEAK}", seconds=SCAN_SECONDS)
    return guest.read(KMEMLEAK)
