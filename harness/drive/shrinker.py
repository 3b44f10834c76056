# SPDX-License-Identifier: GPL-2.0-only
"""The module ``rust_shrinker`` as scenarios use it: a cache of pages with a shrinker, and pressure on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from harness.drive.guest import SAMPLE_MS, Guest
from harness.drive.pages import Pages
from harness.errors import GuestLost

MODULE: Final = "rust_shrinker"
DEBUGFS: Final = "/sys/kernel/debug/shrinker"
CGROUPS: Final = "/sys/fs/cgroup"
DROP_CACHES: Final = "/proc/sys/vm/drop_caches"
BATCH: Final = 128
"""SHRINK_BATCH: how many objects the kernel asks a shrinker to scan at once."""

SPARE: Final = 96
"""Pages to be had without reclaim after each step: those who look at what it did allocate, too."""
MARGIN: Final = 32
"""Pages; less than what lies between the zones' watermarks ``min`` and ``low``."""
_ROUNDS: Final = 60
_ZONE: Final = re.compile(
    r"^ +pages free +(?P<free>\d+)\n(?:.*\n)*? +min +(?P<min>\d+)\n"
    r"(?:.*\n)*? +protection: \((?P<kept>[\d, ]+)\)",
    re.MULTILINE,
)


def op(guest: Guest, words: str) -> dict[str, Any]:
    """Have the module do something that must go well."""
    return guest.must(MODULE, words)


def counters(guest: Guest) -> dict[str, Any]:
    """What the callbacks saw since the last ``reset``."""
    return op(guest, "counters")


def load(guest: Guest, name: str = MODULE, *, objects: int = 0) -> str:
    """Load the module, register its shrinker as ``name``, fill the cache; the shrinker's debugfs folder."""
    guest.insmod(MODULE)
    op(guest, f"register {name}")
    refill(guest, objects)
    (folder,) = folders(guest, name)
    return folder


def refill(guest: Guest, objects: int) -> None:
    """Have exactly ``objects`` objects in the cache, and all counters at 0."""
    op(guest, "drain")
    op(guest, f"populate {objects}")
    op(guest, "reset")
    guest.prove(counters(guest)["objects"] == objects, f"the cache has {objects} objects to begin with")


def folders(guest: Guest, name: str) -> list[str]:
    """The debugfs folders of the shrinkers called ``name``: the kernel appends a number to it."""
    listed = guest.run(f"ls {DEBUGFS}").text.split()
    guest.prove(bool(listed), "the kernel lists shrinkers in debugfs")
    return [f"{DEBUGFS}/{folder}" for folder in listed if folder.rpartition("-")[0] == name]


def drop_slab(guest: Guest) -> None:
    """Have every shrinker shrink at priority 0, again while more than a little was freed."""
    guest.write(DROP_CACHES, "2")


def stalls(vmstat: Mapping[str, int]) -> int:
    """How often an allocation went into direct reclaim."""
    return sum(count for name, count in vmstat.items() if name.startswith("allocstall_"))


def press(guest: Guest, *, locked: bool = False) -> dict[str, Any]:
    """Have an operation go into direct reclaim, with the cache's lock held if ``locked``; its answer."""
    before = guest.vmstat()
    # Whoever asks for memory while there is none, and while the lock keeps the shrinker from giving any,
    # calls the OOM killer.
    guest.sample_every(0)
    answer = op(guest, "press_locked" if locked else "press")
    guest.sample_every(SAMPLE_MS)
    guest.prove(answer["took"] > 0, "the operation took all memory first")
    guest.prove(stalls(guest.vmstat()) > stalls(before), "the operation had to reclaim for itself")
    return answer


def usable_pages(zoneinfo: str) -> int:
    """The pages that user space can still have without anybody reclaiming, by /proc/zoneinfo.

    In each zone some stay free for those who cannot wait (``min``) and for those who cannot use a higher
    zone (``protection``, mm/page_alloc.c setup_per_zone_lowmem_reserve()).
    """
    zones = [match.groupdict() for match in _ZONE.finditer(zoneinfo)]
    kept = [int(zone["min"]) + int(zone["kept"].split(",")[-1]) for zone in zones]
    return sum(max(0, int(zone["free"]) - keep) for zone, keep in zip(zones, kept, strict=True))


def squeeze(guest: Guest, name: str, ballast: int, at_once: int) -> dict[str, Any]:
    """Have a process take memory and lock it until the cache is empty; give it back; the counters then.

    ``ballast``: how many pages are left to the process to take; the module keeps all others, because a
    process takes seconds for what the kernel does at once. ``at_once``: how many objects have to go for one
    step. With a batch kswapd has mostly freed it before the process needs it, with many batches the process
    is faster and reclaims for itself.
    """
    # What is freed has to be there for all. Else the pages of a third of the objects stay in the lists of
    # the CPU that freed them, memory that falls to pieces raises the watermarks by as much as all of them,
    # and the OOM killer comes when none is left.
    guest.write_all(
        {
            "/proc/sys/vm/percpu_pagelist_high_fraction": "100000",
            "/proc/sys/vm/watermark_boost_factor": "0",
        }
    )
    free = usable_pages(guest.read("/proc/zoneinfo"))
    guest.prove(free > 0, "the guest's zones can be read")
    op(guest, f"hoard {max(0, free - ballast)}")
    load = Pages(guest, name)
    # If it comes to that, a failure is a process killed and not a guest that panics for want of one.
    guest.run(f"echo 1000 > /proc/$(cat /run/{name}.pid)/oom_score_adj")
    seen = counters(guest)
    for _ in range(_ROUNDS):
        if not seen["objects"]:
            break
        # Half of what the objects could give back, for as long as there are many, and always a little less:
        # tables for the pages need room, and what one task just frees another does not see yet. More is
        # freed than the process asks for, so the last objects go all the same.
        free = usable_pages(guest.read("/proc/zoneinfo"))
        try:
            some = min(at_once, max(seen["objects"] // 2, min(BATCH, seen["objects"])))
            load.hold(max(SPARE + 1, free + some - MARGIN), SPARE)
        except GuestLost:
            raise AssertionError(f"out of memory with {counters(guest)['objects']} objects left") from None
        seen = counters(guest)
    load.exit()
    op(guest, "release")
    return seen
