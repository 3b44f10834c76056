# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread about where a driver must not sleep.

zswap frees objects with spinlocks held and asks for the size of a pool under RCU; both of the review's and
the reply's suggestions break one of these rules. DEBUG_ATOMIC_SLEEP, which the plain kernels do not have,
says so; each scenario shows first that it says nothing of the right driver.
"""

from __future__ import annotations

import re
from typing import Final

from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.drive.zpool import MODULE, PATCH, REPLY, REVIEW, op, stored, under_zswap, zswap_pool
from harness.judge.kinds import Kind

DETECTORS: Final = ("atomic_sleep", "lockdep")


def expect_sleep(guest: Guest, at: str, *, mutex: bool = False) -> None:
    """Expect what is said of a function at ``at`` that sleeps under RCU, and in the case of a mutex more."""
    on = re.search(r"debug_locks:\s+1$", guest.read("/proc/lockdep_stats"), re.MULTILINE)
    guest.prove(on is not None, "lockdep is still on")
    guest.expect_report(Kind.ATOMIC_SLEEP, at=at)
    # "Illegal context switch in RCU read-side critical section!"
    guest.expect_report(Kind.LOCKDEP, at="suspicious RCU usage", count=1)
    if mutex:
        guest.expect_report(Kind.LOCKDEP, at="Invalid wait context", count=1)


@scenario(
    "Z14b",
    claim="Objects in vmalloc's memory, as the review suggests, cannot be freed where zswap frees them",
    thread=REVIEW,
    modules=(MODULE,),
    relies_on=DETECTORS,
)
def test_z14b_boxes(guest: Guest) -> None:
    pages = 64
    zswap = under_zswap(guest)
    stored(guest, zswap, pages, seed=1).unmap()
    pool = zswap_pool(guest)
    guest.prove(pool["free_atomic"] == pool["frees"] == pages, "objects were freed in atomic context")
    assert guest.reports() == [], "the right twin was reported"

    op(guest, "variant vbox")
    wrong = stored(guest, zswap, pages, seed=2)
    guest.prove(zswap_pool(guest)["classes"]["4096"] >= pages, "each object has a page of its own")
    expect_sleep(guest, "mm/vmalloc.c")
    wrong.unmap()
    assert zswap_pool(guest)["free_atomic"] == 2 * pages


@scenario(
    "Z25",
    claim="A driver that does not pass the caller's flags on sleeps with a spinlock held",
    thread="zpool v6, 2025-09-23",
    modules=(MODULE,),
    relies_on=("atomic_sleep",),
)
def test_z25_ignored_gfp(guest: Guest) -> None:
    guest.insmod(MODULE)
    op(guest, "pool new")
    op(guest, "malloc_locked 64")
    assert guest.reports() == [], "the right twin was reported"

    op(guest, "variant gfp")
    guest.expect_report(Kind.ATOMIC_SLEEP, at="malloc_locked")
    op(guest, "malloc_locked 64")
    pool = op(guest, "counters")["pools"]["private"]
    assert (pool["mallocs"], pool["malloc_atomic"]) == (2, 2)


@scenario(
    "Z55",
    claim="A total_pages that takes a mutex sleeps under RCU",
    thread=PATCH,
    modules=(MODULE,),
    relies_on=DETECTORS,
)
def test_z55_total_pages_sleeps(guest: Guest) -> None:
    zswap = under_zswap(guest)
    guest.sample_every(0)  # which asks as well, also between one counter's reading and the next's
    assert guest.meminfo()["Zswap"] == 0
    asked = zswap_pool(guest)
    guest.prove(asked["total_atomic"] == asked["totals"] > 0, f"zswap asked under RCU: {asked}")
    stored(guest, zswap, 64)
    assert guest.reports() == [], "the right twin was reported"

    expect_sleep(guest, "zswap_total_pages", mutex=True)
    op(guest, "variant total_mutex")
    assert guest.meminfo()["Zswap"] > 0
    assert zswap_pool(guest)["totals"] > asked["totals"]


@scenario(
    "Z56",
    claim="A free that takes a mutex sleeps with zswap's callers' spinlocks held",
    thread=REPLY,
    modules=(MODULE,),
    relies_on=DETECTORS,
)
def test_z56_free_sleeps(guest: Guest) -> None:
    pages = 64
    zswap = under_zswap(guest)
    stored(guest, zswap, pages, seed=1).unmap()
    pool = zswap_pool(guest)
    guest.prove(pool["free_atomic"] == pool["frees"] == pages, "objects were freed in atomic context")
    assert guest.reports() == [], "the right twin was reported"

    wrong = stored(guest, zswap, pages, seed=2)
    op(guest, "variant free_mutex")
    expect_sleep(guest, "kernel/locking/mutex.c", mutex=True)
    wrong.unmap()
    assert zswap_pool(guest)["free_atomic"] == 2 * pages
