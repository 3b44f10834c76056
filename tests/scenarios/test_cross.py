# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of all modules together."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass
from typing import Final

from harness.drive.guest import MODULES, Guest
from harness.drive.memory import free_bytes
from harness.drive.scenario import scenario

KIB: Final = 1 << 10

WORK: Final = {
    "rust_folio": ("alloc 0", "alloc 4", "write 1 4000 8000 7", "refs 1 100"),
    "rust_shrinker": ("populate 64", "register x02"),
    "rust_zpool": ("pool new", "malloc 100", "malloc 4000", "write 1 7"),
}
"""What each module is given to do between load and unload. All of it is still there at the unload:
17 pages, 64 pages and a shrinker, a pool with two objects."""

WARM_UP: Final = 10
"""Rounds after which the kernel's own caches are as full as they get."""
ROUNDS: Final = 100
MOST_PAGES: Final = 128 * KIB
"""What pages may be missing after all rounds: a third of a page for each. 80 KiB come and go."""
MOST_SLAB: Final = 64 * KIB
"""What slab may have grown by: 655 bytes for each round. 10 KiB come and go."""
MOST_VMALLOC: Final = 64 * KIB
"""What vmalloc may have grown by: stacks of processes. The text of a module takes more."""
SAMPLES: Final = 5
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


@dataclass(frozen=True, slots=True)
class Use:
    """What the kernel uses memory for, in bytes, as far as it does not come and go by itself."""

    pages: int
    """In no account: neither free nor in a CPU's list of free pages, nor slab, tables, stacks, files."""
    slab: int
    vmalloc: int

    @classmethod
    def of(cls, guest: Guest) -> Use:
        """What there is now, after caches were emptied as far as they can be."""
        guest.run(
            "for cache in /sys/kernel/slab/*/shrink; do echo 1 > $cache; done; "
            "echo 3 > /proc/sys/vm/drop_caches; cat /proc/sys/vm/stat_refresh"
        )
        free, info = free_bytes(guest), guest.meminfo()
        accounted = ("Slab", "PageTables", "KernelStack", "AnonPages", "Cached", "Buffers")
        known = free + sum(info[name] for name in accounted)
        return cls(info["MemTotal"] - known, info["Slab"], info["VmallocUsed"])

    @classmethod
    def least(cls, guest: Guest) -> Use:
        """The least of several looks: what is in use for a moment is not what stays."""
        seen = [cls.of(guest) for _ in range(SAMPLES)]
        return cls(
            min(use.pages for use in seen), min(use.slab for use in seen), min(use.vmalloc for use in seen)
        )

    def grown(self, before: Use) -> list[str]:
        """What grew by more than it may."""
        limits = {"pages": MOST_PAGES, "slab": MOST_SLAB, "vmalloc": MOST_VMALLOC}
        growth = {name: getattr(self, name) - getattr(before, name) for name in limits}
        return [f"{name} by {growth[name]} bytes" for name, most in limits.items() if growth[name] > most]


@scenario(
    "X02",
    claim="The three modules can be loaded, used and unloaded a hundred times, and leave nothing behind",
    thread="all",
    modules=tuple(WORK),
    seconds=120,
)
def test_x02_load_and_unload(guest: Guest) -> None:
    # To change its text the kernel interrupts all CPUs, and emulated ones are slow to answer: most of the
    # time would go there, and into waiting for grace periods.
    guest.run("for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do echo 0 > $cpu; done")
    guest.write("/sys/kernel/rcu_expedited", "1")
    run_rounds(guest, WARM_UP)
    before = Use.least(guest)
    run_rounds(guest, ROUNDS)
    assert not [name for name in WORK if guest.loaded(name)]
    assert guest.run("ls /sys/kernel/debug/shrinker").text.count("x02") == 0

    # What is freed after a grace period, or in a process that just ended, takes a moment.
    until = time.monotonic() + SETTLE_SECONDS
    while (grown := Use.of(guest).grown(before)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not grown, f"{ROUNDS} rounds made grow: {', '.join(grown)}"
