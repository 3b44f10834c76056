# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios start first, and how many guests run at once.

The longest starts first: what is left for the end is short, and no processor waits for the one scenario
that began last. How long each took is remembered from run to run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Final

import psutil

from harness.build.store import Store, write_atomically
from harness.targets import Target

Durations = dict[str, float]
"""Seconds of each test that ran, by what pytest calls it."""

QEMU_MIB: Final = 160
"""What QEMU itself takes besides the guest's memory: translated code, its libraries, the devices."""
UNKNOWN_SECONDS: Final = 10.0
"""What needs a guest and never ran begins early: it may be a long one."""
WORTH_SECONDS: Final = 0.3
"""Shorter tests are not remembered: their order does not matter."""
_FILE: Final = "durations.json"
_MIB: Final = 1 << 20


def load(store: Store) -> Durations:
    """What is remembered; nothing when there is nothing, or nothing that can be read."""
    try:
        found = json.loads((store.root / _FILE).read_text(encoding="utf-8"))
        return {str(key): float(seconds) for key, seconds in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def remember(store: Store, taken: Durations) -> None:
    """Add how long tests took; one that was long and is no more is forgotten."""
    if taken and store.root.is_dir():
        with store.lock("durations", "file"):
            before = load(store)
            known = {**before, **{test: round(seconds, 2) for test, seconds in taken.items()}}
            known = {test: seconds for test, seconds in known.items() if seconds >= WORTH_SECONDS}
            if known != before:
                text = json.dumps(known, indent=1, sort_keys=True)
                write_atomically(store.root / _FILE, text + "\n")


def expected(known: Durations, test: str, *, guest: bool) -> float:
    """How long ``test`` will take, in seconds: as the last time. ``guest``: whether it needs one."""
    return known.get(test, UNKNOWN_SECONDS if guest else 0.0)


def guests_at_once(targets: Iterable[Target], wanted: int = 0, available: int | None = None) -> int:
    """As many guests as there are processors (or ``wanted``) and as memory that is free has room for.

    ``available`` is in bytes; by default what the host could give now without swapping. At least one.
    """
    each = max((target.memory_mib for target in targets), default=0) + QEMU_MIB
    free = psutil.virtual_memory().available if available is None else available
    room = free // (each * _MIB)
    return max(1, min(wanted or len(os.sched_getaffinity(0)), int(room)))
