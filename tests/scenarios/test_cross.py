# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of all modules together."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

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
21 pages, 64 pages and a shrinker, a pool with two objects."""

WARM_UP: Final = 10
"""Rounds after which the kernel's own caches are as full as they get."""
ROUNDS: Final = 100
MOST_PAGES: Final = 256 * KIB
"""What pages may be missing after all rounds: much less than a page for each."""
MOST_SLAB: Final = 256 * KIB
"""What slab may have grown by. Two executions differ by a fraction of that."""
MOST_VMALLOC: Final = 64 * KIB
"""What vmalloc may have grown by: kernel stacks of processes; a module's text is more than that."""
SETTLE_SECONDS: Final = 10.0


def each_module(command: str) -> str:
    """``command`` for all modules at once, and a wait for the last."""
    return "\n".join([*(f"{command.format(name)} &" for name in WORK), "wait"])


def work(name: str, operations: tuple[str, ...]) -> str:
    """Has a module do something, prints its answers, and who still uses it."""
    lines = [f'echo {words} >&3; read -r answer <&3; echo "$answer"' for words in operations]
    return "\n".join(
        [
            f"exec 3<> /sys/kernel/debug/{name}/op",
            *lines,
            "exec 3>&-",
            f'read -r users < /sys/module/{name}/refcnt; echo "{{\\"ok\\":true,\\"users\\":$users}}"',
        ]
    )


ROUND: Final = "\n".join(
    [
        each_module(f"modctl load {MODULES}/{{}}.ko"),
        *(work(name, operations) for name, operations in WORK.items()),
        each_module("modctl unload {}"),
    ]
)


def run_rounds(guest: Guest, rounds: int) -> list[dict[str, Any]]:
    """Load, work, unload; everything that was answered."""
    script = f"for round in $(seq {rounds}); do\n{ROUND}\ndone"
    return [json.loads(line) for line in guest.run(script, seconds=90).text.splitlines()]


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
    run_rounds(guest, WARM_UP)
    before = Use.of(guest)
    answers = run_rounds(guest, ROUNDS)

    refused = [answer for answer in answers if not answer["ok"]]
    assert not refused, f"{len(refused)} answers of {len(answers)} are no, the first: {refused[0]}"
    users = [answer["users"] for answer in answers if "users" in answer]
    assert users == [0] * len(WORK) * ROUNDS, "somebody still used a module before its unload"
    steps = 2 * len(WORK) + sum(len(operations) + 1 for operations in WORK.values())
    guest.prove(len(answers) == steps * ROUNDS, f"{ROUNDS} rounds of {steps} steps were answered")
    assert not [name for name in WORK if guest.loaded(name)]
    assert guest.run("ls /sys/kernel/debug/shrinker").text.count("x02") == 0

    # What is freed after a grace period, or in a process that just ended, takes a moment.
    until = time.monotonic() + SETTLE_SECONDS
    while (grown := Use.of(guest).grown(before)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not grown, f"{ROUNDS} rounds made grow: {', '.join(grown)}"
