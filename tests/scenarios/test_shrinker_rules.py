# SPDX-License-Identifier: GPL-2.0-only
"""What somebody who writes a shrinker must not do, and what the kernel says about it.

The review of the thread's first version corrected "may be called from atomic context": reclaim may
block, but inside of the pseudo lock ``fs_reclaim``, and that is a rule about locks (S28, S29). The others
are about who lives longest: the shrinker, its data (S31), or the code of its callbacks (S32).
"""

from __future__ import annotations

import re
from typing import Final

from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.drive.shrinker import (
    CGROUPS,
    DROP_CACHES,
    MODULE,
    counters,
    folders,
    load,
    op,
    press,
    refill,
)
from harness.judge.kinds import Kind

PATCH: Final = "shrinker v1, 2024-09-12"
REVIEW: Final = "review of shrinker v1, 2024-09-13"
LOCK: Final = "rust_shrinker::objects"
OBJECTS: Final = 512
PRESSES: Final = 3
"""Somebody else who reclaims just then may spare the operation its own reclaim."""


def lockdep_is_on(guest: Guest) -> bool:
    """Whether lockdep still looks: it stops with its first report."""
    found = re.search(r"debug_locks: +(\d)", guest.read("/proc/lockdep_stats"))
    guest.prove(found is not None, "the kernel has lockdep")
    return found is not None and found[1] == "1"


@scenario(
    "S28",
    claim="A scan that waits for a lock under which others allocate is a deadlock, and lockdep says so",
    thread=REVIEW,
    modules=(MODULE,),
    relies_on=("lockdep",),
)
def test_s28_lock_in_reclaim(guest: Guest) -> None:
    load(guest)
    guest.prove(lockdep_is_on(guest), "lockdep is on to begin with")
    op(guest, "variant scan_waits")
    # The one half: an allocation under the lock. Nothing is wrong with it as such.
    op(guest, "populate_locked 64")

    # The scans of drop_caches and of a cgroup's reclaim take the lock, too, but not in fs_reclaim.
    for path, value in ((DROP_CACHES, "2"), (f"{CGROUPS}/memory.reclaim", "8M")):
        refill(guest, OBJECTS)
        guest.try_write(path, value)
        guest.prove(counters(guest)["freed"] > 0, f"{path} had the shrinker take the lock")
        assert guest.reports() == [], f"{path} is annotated with fs_reclaim after all"
    guest.prove(lockdep_is_on(guest), "lockdep is still on")

    refill(guest, OBJECTS)
    guest.expect_report(Kind.LOCKDEP, at="possible circular locking dependency detected", count=1)
    press(guest)
    guest.prove(counters(guest)["direct"]["scans"] > 0, "direct reclaim scanned")
    assert not lockdep_is_on(guest)
    # The two locks are named in the report, in either order.
    report = guest.console().partition("possible circular locking dependency detected")[2]
    assert "fs_reclaim" in report
    assert LOCK in report


def scan_under_lock(guest: Guest) -> None:
    """Direct reclaim of a task that holds the lock, and of one that does not, with a scan that tries it."""
    load(guest)
    op(guest, "populate_locked 64")
    refill(guest, OBJECTS)

    for _ in range(PRESSES):
        press(guest, locked=True)
        seen = counters(guest)
        if own := seen["callers"].get("op"):
            break
    guest.prove(own is not None and own["scans"] > 0, "direct reclaim scanned while its task held the lock")
    assert (own["stops"], own["freed"]) == (own["scans"], 0), "a scan got a lock that its own task holds"
    # Whoever else allocates while there is nothing reclaims, too, and may find the lock free.
    assert seen["freed"] + seen["objects"] == OBJECTS

    refill(guest, OBJECTS)
    press(guest)
    seen = counters(guest)
    guest.prove(seen["direct"]["scans"] > 0, "direct reclaim scanned while nobody held the lock")
    assert seen["freed"] > 0
    assert seen["freed"] + seen["objects"] == OBJECTS
    assert seen["atomic"] == 0


@scenario(
    "S29",
    claim="A scan that only tries the lock is right, and lockdep has nothing to say",
    thread=REVIEW,
    modules=(MODULE,),
    relies_on=("lockdep",),
)
def test_s29_trylock_in_reclaim(guest: Guest) -> None:
    scan_under_lock(guest)
    assert lockdep_is_on(guest), "lockdep gave up"


@scenario(
    "S29b",
    claim="A task may reclaim for itself while it holds the lock that the scan only tries",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_s29b_trylock_is_no_deadlock(guest: Guest) -> None:
    scan_under_lock(guest)


def count_without_data(guest: Guest) -> str:
    """Read the count of a shrinker whose private data is freed; what came of it."""
    folder = load(guest, objects=100)
    guest.prove(guest.read(f"{folder}/count").split()[1:] == ["100"], "the shrinker counts while it is whole")
    op(guest, "free_data")
    return guest.run(f"cat {folder}/count", check=False).text


@scenario(
    "S31",
    claim="Private data that is freed before the shrinker is unregistered is used after free by a callback",
    thread=PATCH,
    modules=(MODULE,),
    relies_on=("kasan",),
)
def test_s31_data_freed_first(guest: Guest) -> None:
    guest.expect_report(Kind.KASAN, at="PageShrinker as Shrinker>::count_objects")
    count_without_data(guest)
    assert any("slab-use-after-free Read" in report.title for report in guest.reports())
    guest.prove(counters(guest)["count_calls"] == 2, "the callback ran with its data gone")
    # Afterwards, the rest of the destructor; and in the right order there is nothing to report.
    op(guest, "unregister")
    reported = len(guest.reports())
    op(guest, "register again")
    (folder,) = folders(guest, "again")
    guest.read(f"{folder}/count")
    op(guest, "unregister")
    guest.rmmod(MODULE)
    assert len(guest.reports()) == reported


POISON_READ: Final = {
    "x86_64": Kind.GENERAL_PROTECTION,  # not canonical
    "arm64": Kind.PAGE_FAULT,  # between user and kernel addresses
    "arm": Kind.OOPS,  # not aligned, which ldrex does not forgive
}
"""What comes of a pointer that is made of SLUB's poison."""


@scenario(
    "S31b",
    claim="The same with slab_debug: poison is taken for a pointer, and the callback crashes",
    thread=PATCH,
    modules=(MODULE,),
    cmdline=("slab_debug=FZPU",),
    impossible={"7.3-x86_64-kasan": "KASAN keeps what is freed to itself, and SLUB does not poison it"},
)
def test_s31b_data_poisoned(guest: Guest) -> None:
    guest.expect_report(POISON_READ[guest.target.arch.name], at="count_objects", count=1)
    count_without_data(guest)
    (report,) = guest.reports()
    assert "6b6b6b" in guest.console().partition("harness: begin")[2], f"{report.title} not for the poison"


FAULT: Final = re.compile(
    r"(?:unable to handle page fault for address:|paging request at virtual address) ([0-9a-f]+)"
)


@scenario(
    "S32",
    claim="A registration that is leaked outlives its module: the next reclaim calls code that is gone",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s32_code_unloaded_first(guest: Guest) -> None:
    load(guest)
    op(guest, "leak")
    _, size, users, *_, base = guest.run(f"grep '^{MODULE} ' /proc/modules").text.split()[:6]
    guest.prove(users == "0", "nobody uses the module")
    guest.rmmod(MODULE)
    guest.prove(not guest.loaded(MODULE), "the module is gone")
    guest.prove(len(folders(guest, MODULE)) == 1, "its shrinker is not")

    # In the kernel, the callback is all there is of the module: the caller faults in calling it.
    guest.expect_report(Kind.PAGE_FAULT, at="shrink_slab", count=1)
    guest.run(f"put {DROP_CACHES} 2", check=False)
    fault = FAULT.search(guest.console())
    assert fault is not None, "calling what is gone went well"
    offset = int(fault[1], 16) - int(base, 16)
    assert 0 <= offset < int(size), f"the fault is {offset:#x} bytes after the module's text"
