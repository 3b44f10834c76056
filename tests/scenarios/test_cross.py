# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of all modules together."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from dataclasses import dataclass
from statistics import median_low
from typing import Final

from harness.drive.guest import MODULES, Guest
from harness.drive.leaks import forget_leaks, lost
from harness.drive.memory import free_pages
from harness.drive.scenario import scenario
from harness.judge.meminfo import parse_meminfo

KIB: Final = 1 << 10

WORK: Final = {
    "rust_alloc": ("vec kvvec 3000 kernel", "cache x02", "take 50 kernel"),
    "rust_folio": ("alloc 0", "alloc 4", "write 1 4000 8000 7", "refs 1 100"),
    "rust_shrinker": ("populate 64", "register x02"),
    "rust_zpool": ("pool new", "malloc 100", "malloc 4000", "write 1 7"),
}
"""What each module is given to do between load and unload. All of it is still there at the unload:
a cache with 50 objects, 17 pages, 64 pages and a shrinker, a pool with two objects."""

WARM_UP: Final = 10
"""Rounds after which the kernel's own caches are as full as they get."""
ROUNDS: Final = 100
MOST_PAGES: Final = 128 * KIB
"""What pages may be missing after all rounds: a third of a page for each."""
MOST_SLAB: Final = 96 * KIB
"""What the objects of slab caches may have grown by: 983 bytes for each round."""
MOST_VMALLOC: Final = 64 * KIB
"""What vmalloc may have grown by: stacks of processes. The text of a module takes more."""
SAMPLES: Final = 5
"""Of an odd number."""
FEW_ROUNDS: Final = 3
SETTLE_SECONDS: Final = 10.0

STEPS: Final = (
    *(f"load {MODULES}/{name}.ko" for name in WORK),
    *(f"op /sys/kernel/debug/{name}/op {words}" for name, operations in WORK.items() for words in operations),
    *(f"unload {name}" for name in WORK),
)
"""One round. Nothing of a module may be used any more by anybody at its unload, or that is refused."""


def run_rounds(guest: Guest, rounds: int) -> None:
    """Load, work, unload. Each step has to go well, each time."""
    text = guest.run(shlex.join(["replay", str(rounds), *STEPS]), check=False, seconds=90).text
    answers = [json.loads(line) for line in text.splitlines()]
    guest.prove(len(answers) == len(STEPS) * rounds, f"{rounds} rounds of {len(STEPS)} steps were answered")
    for number, answer in enumerate(answers):
        said = f"round {number // len(STEPS)}, {STEPS[number % len(STEPS)]}: {answer}"
        assert answer["ok"], said


def slab_bytes(slabinfo: str, page_size: int) -> tuple[int, int]:
    """What the objects in use in all slab caches take, and what the caches' pages take, in bytes.

    Allocations of more than two pages are in no cache, though meminfo counts them as ``Slab``.
    """
    objects = pages = 0
    for line in slabinfo.splitlines()[2:]:
        words = line.split()
        objects += int(words[1]) * int(words[3])
        pages += int(words[-2]) * int(words[5])
    return objects, pages * page_size


@dataclass(frozen=True, slots=True)
class Use:
    """What the kernel uses memory for, in bytes, as far as it does not come and go by itself."""

    pages: int
    """In no account: neither free nor in a CPU's list of free pages, nor in slabs, tables, stacks, files."""
    slab: int
    """Objects of slab caches. Not the slabs, which are full or not as it happens."""
    vmalloc: int

    @classmethod
    def of(cls, guest: Guest) -> Use:
        """What there is now, after caches were emptied as far as they can be.

        All of it in one process, after each CPU has added what it had counted: it holds back up to a few
        dozen pages of each number (mm/vmstat.c).
        """
        guest.run(
            "echo 3 > /proc/sys/vm/drop_caches; "
            "for cache in /sys/kernel/slab/*/shrink; do echo 1 > $cache; done",
            seconds=30,
        )
        text = guest.run("cd /proc; cat sys/vm/stat_refresh zoneinfo meminfo slabinfo").text
        pages, _, slabinfo = text.partition("slabinfo - version")
        info = parse_meminfo(pages)
        page_size = guest.target.arch.page_size
        objects, slabs = slab_bytes(slabinfo, page_size)
        accounted = ("PageTables", "KernelStack", "AnonPages", "Cached", "Buffers")
        known = sum(info[name] for name in accounted) + slabs + free_pages(pages) * page_size
        return cls(info["MemTotal"] - known, objects, info["VmallocUsed"])

    @classmethod
    def settled(cls, guest: Guest) -> Use:
        """The medians of a few: what is in use, or on its way, for a moment is not what stays."""
        uses = [cls.of(guest) for _ in range(SAMPLES)]
        return cls(
            median_low(use.pages for use in uses),
            median_low(use.slab for use in uses),
            median_low(use.vmalloc for use in uses),
        )

    def grown(self, before: Use) -> list[str]:
        """What grew by more than it may."""
        limits = {"pages": MOST_PAGES, "slab": MOST_SLAB, "vmalloc": MOST_VMALLOC}
        growth = {name: getattr(self, name) - getattr(before, name) for name in limits}
        return [f"{name} by {growth[name]} bytes" for name, most in limits.items() if growth[name] > most]


@scenario(
    "X02",
    claim="The modules can be loaded, used and unloaded a hundred times, and leave nothing behind",
    thread="all",
    modules=tuple(WORK),
    impossible={
        "7.3-x86_64-kasan": "KASAN keeps what is freed, and the stacks of who freed it; X02b asks kmemleak"
    },
    seconds=120,
)
def test_x02_load_and_unload(guest: Guest) -> None:
    quicken(guest)
    run_rounds(guest, WARM_UP)
    before = Use.settled(guest)
    run_rounds(guest, ROUNDS)
    all_gone(guest)

    # What is freed after a grace period, or in a process that just ended, takes a moment.
    until = time.monotonic() + SETTLE_SECONDS
    while (grown := Use.settled(guest).grown(before)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not grown, f"{ROUNDS} rounds made grow: {', '.join(grown)}"


def quicken(guest: Guest) -> None:
    """Take one CPU where that is possible, and do not wait for grace periods.

    To change its text the kernel interrupts all CPUs, and emulated ones are slow to answer: most of the
    time would go there.
    """
    guest.one_cpu()
    guest.write("/sys/kernel/rcu_expedited", "1")


def all_gone(guest: Guest) -> None:
    """Neither a module is left, nor what it had registered."""
    assert not [name for name in WORK if guest.loaded(name)]
    assert guest.run("ls /sys/kernel/debug/shrinker").text.count("x02") == 0
    assert guest.run("test -e /sys/kernel/slab/x02", check=False).status != 0


@scenario(
    "X02b",
    claim="The modules can be loaded, used and unloaded, and KASAN, lockdep and kmemleak have nothing to say",
    thread="all",
    modules=tuple(WORK),
    relies_on=("kasan", "lockdep", "kmemleak"),
)
def test_x02b_nothing_to_say(guest: Guest) -> None:
    quicken(guest)
    forget_leaks(guest)
    run_rounds(guest, FEW_ROUNDS)
    all_gone(guest)
    leaks = Counter(map(str, lost(guest)))
    told = "; ".join(f"{count} times {leak}" for leak, count in leaks.most_common(5))
    assert not leaks, f"lost by {FEW_ROUNDS} rounds: {told}"
