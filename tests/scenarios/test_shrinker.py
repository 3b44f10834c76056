# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the shrinker thread (Alice Ryhl's patch, Simona Vetter's review), driven in a guest.

The arithmetic they refer to is ``do_shrink_slab()`` in the kernel's ``mm/shrinker.c``.
"""

from __future__ import annotations

from typing import Final

from harness.drive.guest import Guest
from harness.drive.memory import free_bytes
from harness.drive.pages import Pages
from harness.drive.scenario import scenario
from harness.drive.shrinker import (
    BATCH,
    CGROUPS,
    MODULE,
    counters,
    drop_slab,
    folders,
    load,
    op,
    refill,
    squeeze,
    stalls,
)
from harness.drive.zswap import Zswap

TURNS: Final = 20
"""Most times to put on pressure until both ways of reclaim were seen."""
OBJECTS: Final = 300
"""More than two batches; few, because a sanitizer takes a millisecond to come and to go for each."""

PATCH: Final = "shrinker v1, 2024-09-12"
REVIEW: Final = "review of shrinker v1, 2024-09-13"


@scenario(
    "S01",
    claim="A registered shrinker is in debugfs under its own name, and gone when it is unregistered",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s01_register(guest: Guest) -> None:
    name = "s01%d%s"
    guest.insmod(MODULE)
    guest.prove(folders(guest, name) == [], "no shrinker has the name yet")

    op(guest, f"register {name}")
    found = folders(guest, name)
    assert len(found) == 1, f"shrinkers called {name}: {found}"
    assert guest.run(f"ls '{found[0]}'").text.split() == ["count", "scan"]
    assert guest.op(MODULE, "register twice")["errno"] == "EBUSY"

    op(guest, "populate 100")
    drop_slab(guest)
    before = counters(guest)
    guest.prove(before["scan_calls"] > 0, "the callbacks run while the shrinker is registered")

    op(guest, "unregister")
    assert folders(guest, name) == []
    op(guest, "populate 100")
    drop_slab(guest)
    after = counters(guest)
    assert after["count_calls"] == before["count_calls"], "a callback ran after the end of the registration"
    assert after["objects"] == 100

    op(guest, f"register {name}")
    guest.rmmod(MODULE)
    assert folders(guest, name) == [], "unloading the module leaves the shrinker registered"


def small_objects(guest: Guest) -> int:
    """The objects in use in kmalloc's caches of up to 256 bytes, after each gave back its stock."""
    guest.run("for cache in /sys/kernel/slab/kmalloc-[0-9]*/shrink; do echo 1 > $cache; done")
    lines = [
        line.split() for line in guest.read("/proc/slabinfo").splitlines() if line.startswith("kmalloc-")
    ]
    used = [int(active) for name, active, *_ in lines if name[8:].isdigit() and int(name[8:]) <= 256]
    guest.prove(bool(used), "the kernel counts the objects of its kmalloc caches")
    return sum(used)


@scenario(
    "S04",
    claim="A builder that is dropped leaves nothing: no folder, no memory, no callback",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s04_dropped_builder(guest: Guest) -> None:
    times = 2000
    guest.insmod(MODULE)
    op(guest, "populate 100")

    # Each has the shrinker, its name and its deferred counts. RCU is given time to free the last of them,
    # and SLUB keeps some hundreds at hand.
    before = small_objects(guest)
    op(guest, f"abandon ghost {times}")
    dropped = small_objects(guest) - before
    for _ in range(10):
        if dropped <= times // 4:
            break
        guest.run("sleep 0.1")
        dropped = small_objects(guest) - before
    assert dropped <= times // 4, f"{times} dropped builders left {dropped} objects behind"
    assert folders(guest, "ghost") == []
    drop_slab(guest)
    seen = counters(guest)
    assert (seen["count_calls"], seen["scan_calls"], seen["objects"]) == (0, 0, 100)

    op(guest, "register real")
    drop_slab(guest)
    guest.prove(counters(guest)["scan_calls"] > 0, "a registered shrinker is called by the same means")
    before = small_objects(guest)
    op(guest, f"forget ghost {times}")
    lost = small_objects(guest) - before
    guest.prove(lost >= 2 * times, f"{times} lost builders show in kmalloc's objects ({lost})")


@scenario(
    "S06",
    claim="debugfs' count asks the shrinker and shows what it says, for the root cgroup",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s06_debugfs_count(guest: Guest) -> None:
    folder = load(guest, objects=300)
    root = int(guest.run(f"stat -c %i {CGROUPS}").text)

    # What is shown is the cgroup's id (mem_cgroup_id()), 64 bits of which an inode's number has as many as
    # fit: on 32 bits the root cgroup is 4294967297 here and 1 there.
    ino_max = op(guest, "raw")["usize_max"]
    shown = [int(word) for word in guest.read(f"{folder}/count").split()]
    assert [shown[0] & ino_max, *shown[1:]] == [root, 300], f"count says {shown}; the root cgroup is {root}"
    seen = counters(guest)
    assert (seen["count_calls"], seen["scan_calls"]) == (1, 0)
    assert list(seen["callers"]) == ["cat"]

    # Nothing to free is no line at all: for the kernel EMPTY is 0 here.
    op(guest, "drain")
    assert guest.read(f"{folder}/count").split() == []
    assert counters(guest)["count_calls"] == 2


@scenario(
    "S07",
    claim="debugfs' scan has the shrinker scan the number written, and refuses a cgroup and a wrong node",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s07_debugfs_scan(guest: Guest) -> None:
    scan = load(guest, objects=300) + "/scan"

    guest.write(scan, "0 0 100")
    seen = counters(guest)
    assert (seen["scan_calls"], seen["count_calls"]) == (1, 0)
    assert (seen["min_nr_to_scan"], seen["max_nr_to_scan"]) == (100, 100)
    assert (seen["freed"], seen["objects"]) == (100, 200)

    # The count file shows the root cgroup's number; this one wants 0 of a shrinker that knows no cgroups.
    assert guest.try_write(scan, "1 0 100") == "EINVAL"
    assert guest.try_write(scan, "0 99 100") == "EINVAL"
    assert guest.try_write(scan, "0 -1 100") == "EINVAL"
    assert guest.try_write(scan, "0 0") == "EINVAL"
    guest.write(scan, "0 0 0")
    assert counters(guest)["scan_calls"] == 1, "a scan of nothing, or a refused one, reached the shrinker"

    guest.write(scan, "0 0 5000")
    seen = counters(guest)
    assert (seen["scan_calls"], seen["max_nr_to_scan"]) == (2, 5000)
    assert (seen["freed"], seen["objects"]) == (300, 0)


@scenario(
    "S08",
    claim="drop_caches frees all objects, in batches of 128, until twice their number was scanned",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s08_drop_caches(guest: Guest) -> None:
    load(guest, objects=1000)

    drop_slab(guest)
    seen = counters(guest)
    assert (seen["freed"], seen["objects"], seen["stops"]) == (1000, 0, 0)
    assert (seen["min_nr_to_scan"], seen["max_nr_to_scan"]) == (BATCH, BATCH)
    # At priority 0 with the default seeks, 2 * 1000 are to be scanned: 15 batches, and 80 are left over,
    # which is neither a batch nor as many as there are. What was freed calls for a second pass.
    assert seen["count_calls"] >= 2
    assert seen["scans_by_pass"] == [15] + [0] * (seen["count_calls"] - 1)
    alone = (seen["other"]["counts"], seen["other"]["scans"]) == (seen["count_calls"], 15)
    assert alone, "somebody else reclaimed, too"
    # A plain system call: everything is allowed, and nothing is atomic.
    assert (seen["fs_forbidden"], seen["atomic"]) == (0, 0)

    # The objects are memory: it goes when they come, and comes back when they are shrunk.
    objects, page = 2048, guest.target.arch.page_size
    empty = free_bytes(guest)
    refill(guest, objects)
    full = free_bytes(guest)
    guest.prove(
        empty - full > objects * page * 3 // 4, f"{objects} objects take memory ({empty - full} bytes)"
    )
    drop_slab(guest)
    back = free_bytes(guest) - full
    assert back > objects * page * 3 // 4, f"shrinking {objects} pages gave {back} bytes back"


@scenario(
    "S09",
    claim="Under real pressure kswapd and direct reclaim scan until no object is left, before any OOM kill",
    thread=PATCH,
    modules=(MODULE,),
    impossible={
        "7.3-x86_64-kasan": "reclaim is so slow there that the OOM killer can come while objects are freed"
    },
)
def test_s09_pressure(guest: Guest) -> None:
    load(guest)
    before = guest.vmstat()
    ways = {"kswapd": 0, "direct": 0}
    callers: set[str] = set()

    # First for kswapd: when it found too little for a while it does not try again.
    for turn in range(TURNS):
        refill(guest, 1024)
        seen = squeeze(guest, f"w{turn}", ballast=1024, at_once=1024 if ways["kswapd"] else BATCH)
        assert (seen["objects"], seen["freed"]) == (0, 1024)
        assert (seen["other"]["counts"], seen["other"]["scans"], seen["atomic"]) == (0, 0, 0)
        ways = {way: scans + seen[way]["scans"] for way, scans in ways.items()}
        callers |= seen["callers"].keys()
        if all(ways.values()):
            break

    after = guest.vmstat()
    guest.prove(stalls(after) > stalls(before), "an allocation had to reclaim for itself")
    assert all(ways.values()), f"scans by the way they came: {ways}"
    # Direct reclaim is whoever allocates: the process, or the module when it takes what it keeps.
    assert "kswapd0" in callers, f"the callbacks ran in {sorted(callers)}"
    assert len(callers) > 1, "the callbacks ran in kswapd alone"
    assert after["slabs_scanned"] > before["slabs_scanned"]
    assert after["oom_kill"] == before["oom_kill"]


@scenario(
    "S11",
    claim="Reclaim of a child cgroup does not call a shrinker that is not aware of cgroups",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_s11_child_cgroup(guest: Guest) -> None:
    load(guest, objects=300)
    # What is swapped goes to memory: a page on its way to a disk is not free yet, so reclaim goes on and
    # takes all of them where the disk is slow.
    Zswap(guest).enable()
    guest.swap_on()
    pages = Pages(guest, "w0")
    pages.map(4096)
    pages.fill(seed=11, low=512, high=512)
    guest.prove(pages.swapped() == 0, "the workload's pages are in memory")

    guest.write(f"{CGROUPS}/load/memory.reclaim", "4M")
    by_reclaim = pages.swapped()
    guest.prove(by_reclaim >= 512, f"the cgroup was reclaimed ({by_reclaim} pages)")
    guest.write(f"{CGROUPS}/load/memory.max", "6M")
    guest.prove(pages.swapped() >= by_reclaim + 512, "the cgroup was reclaimed for its limit, too")
    seen = counters(guest)
    assert (seen["count_calls"], seen["scan_calls"], seen["objects"]) == (0, 0, 300)

    # The same for the root cgroup. That it cannot get all that was asked for (EAGAIN) is no matter.
    guest.try_write(f"{CGROUPS}/memory.reclaim", "8M")
    seen = counters(guest)
    guest.prove(seen["count_calls"] > 0 and seen["scan_calls"] > 0, "reclaim of the root cgroup calls it")
    assert pages.verify() == 0


def drop_twice(guest: Guest, variant: str) -> list[bool]:
    """Fill the cache and drop caches, twice, with a new shrinker that answers like ``variant``.

    Whether the objects were freed, each time.
    """
    op(guest, "unregister")
    op(guest, "register")
    op(guest, f"variant {variant}")
    freed = []
    for _ in range(2):
        refill(guest, OBJECTS)
        drop_slab(guest)
        seen = counters(guest)
        guest.prove(seen["count_calls"] > 0 and seen["variant"] == variant, f"{variant} was asked to count")
        assert (seen["objects"] == 0) == (seen["scan_calls"] > 0), seen
        freed.append(seen["scan_calls"] > 0)
    return freed


@scenario(
    "S16",
    claim="A count of ULONG_MAX/2 is never scanned, ULONG_MAX/4 not after deferred work, ours always",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_s16_greatest_count(guest: Guest) -> None:
    load(guest, objects=OBJECTS)
    raw = op(guest, "raw")
    ulong_max = raw["usize_max"]
    assert raw["count_max"] == raw["count_of_usize_max"] == ulong_max // 2 // 8
    assert raw["scan_max"] == raw["scan_of_usize_max"] == raw["count_max"]

    for variant, claimed in (
        ("count_half_max", ulong_max // 2),
        ("count_quarter_max", ulong_max // 4),
        ("count_max", raw["count_max"]),
    ):
        op(guest, f"variant {variant}")
        (folder,) = folders(guest, MODULE)
        said = int(guest.read(f"{folder}/count").split()[1])
        guest.prove(said == claimed, f"{variant} says {claimed} ({said})")

    # 2 * LONG_MAX is -2, and so is what there is to scan.
    assert drop_twice(guest, "count_half_max") == [False, False]
    # Nor does any other priority help: reclaim begins at 12.
    guest.try_write(f"{CGROUPS}/memory.reclaim", "8M")
    seen = counters(guest)
    guest.prove(seen["direct"]["counts"] > 0, "reclaim asked for the count, too")
    assert (seen["scan_calls"], seen["objects"]) == (0, OBJECTS)

    # What the first pass defers, nearly LONG_MAX, and as much again for the second, is -4.
    assert drop_twice(guest, "count_quarter_max") == [True, False]
    assert drop_twice(guest, "count_max") == [True, True]
    assert drop_twice(guest, "none") == [True, True]


@scenario(
    "S20",
    claim="ScanObjects::STOP ends the pass: one scan for each count, and nothing is taken for freed",
    thread=PATCH,
    modules=(MODULE,),
)
def test_s20_stop(guest: Guest) -> None:
    load(guest, objects=OBJECTS)
    raw = op(guest, "raw")
    assert raw["scan_stop"] == raw["usize_max"], "STOP is not SHRINK_STOP"

    op(guest, "variant scan_stop")
    drop_slab(guest)
    seen = counters(guest)
    passes = seen["count_calls"]
    guest.prove(0 < passes <= 16, f"there were passes, and few enough to look at each ({passes})")
    assert seen["scans_by_pass"] == [1] * passes
    assert (seen["scan_calls"], seen["stops"]) == (passes, passes)
    assert (seen["freed"], seen["objects"]) == (0, OBJECTS)

    # What was put off is scanned when it goes again.
    op(guest, "variant none")
    op(guest, "reset")
    drop_slab(guest)
    seen = counters(guest)
    guest.prove(seen["scans_by_pass"][0] > 1, "without STOP a pass is more than one scan")
    assert (seen["freed"], seen["objects"], seen["stops"]) == (OBJECTS, 0, 0)
