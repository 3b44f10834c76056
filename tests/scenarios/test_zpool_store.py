# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread: pages go to the Rust pool and come back.

Every scenario proves by the module's own counters that the back end did the work.
"""

from __future__ import annotations

from typing import Final

from harness.drive.guest import Guest
from harness.drive.pages import Pages
from harness.drive.scenario import scenario
from harness.drive.zpool import (
    DEFAULT,
    MODULE,
    PATCH,
    REVIEW,
    destroyed,
    filled,
    op,
    stored,
    under_zswap,
    wait_for,
    zswap_pool,
)

PRESSURE_STEP: Final = 384
"""Pages to take at a time."""
PRESSURE_START: Final = 1024
"""Pages still available when the steps begin."""
LOWMEM_RESERVE: Final = "/proc/sys/vm/lowmem_reserve_ratio"
HIGHMEM_PART: Final = "4 4 4"
"""Low memory kept from processes: high memory divided by this (one for each zone)."""
SWAP_QUIET: Final = """
before=
while now=$(grep -w zswpout /proc/vmstat) && [ "$now" != "$before" ]; do
    before=$now
    sleep 0.05
done
"""
"""Waits until kswapd has as much free memory as it wants."""


def press_out(guest: Guest, process: Pages, pages: int) -> None:
    """Take memory from everybody until at least ``pages`` of ``process`` are swapped out.

    The process has to have many more: kswapd takes thousands at a time, and when nothing is left to
    reclaim somebody is killed.
    """
    holder = Pages(guest, "pressure")
    page_size = guest.target.arch.page_size
    if guest.meminfo().get("HighTotal"):
        # Buckets have to be in low memory, which processes would otherwise fill to the brim as well.
        guest.write(LOWMEM_RESERVE, HIGHMEM_PART)
    holder.hold(guest.meminfo()["MemAvailable"] // page_size - PRESSURE_START)
    while process.swapped() < pages:
        holder.hold(PRESSURE_STEP)
    holder.exit()
    guest.run(SWAP_QUIET)


@scenario(
    "Z06",
    claim="Pages of random content go to the Rust pool under memory pressure and come back bit for bit",
    thread=PATCH,
    modules=(MODULE,),
    impossible={
        "7.3-x86_64-kasan": "with red zones and KASAN's quarantine storing a page takes more than it frees"
    },
)
def test_z06_integrity_under_pressure(guest: Guest) -> None:
    pages = 3072
    zswap = under_zswap(guest)
    process = filled(guest, "w", pages * 2, seed=6)
    before, vm_before = zswap.counters(), guest.vmstat()

    press_out(guest, process, pages)

    vm = guest.vmstat()
    by_reclaim = vm["pgsteal_kswapd"] + vm["pgsteal_direct"]
    by_reclaim -= vm_before["pgsteal_kswapd"] + vm_before["pgsteal_direct"]
    pressed = zswap_pool(guest)["mallocs"]
    seen = f"reclaim freed {by_reclaim} pages and had the module store {pressed}, of {pages} at least"
    guest.prove(min(by_reclaim, pressed) >= pages, seen)
    # One on which another CPU had its hand may be unmapped only: now all of them, to the page.
    process.push_out()
    swapped = process.mapped
    out, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(out.pswpout == out.pool_limit_hit == out.swpout_zero == 0, f"all of it is in the pool: {out}")
    callers = pool["malloc_kswapd"] + pool["malloc_direct"]
    guest.prove(callers == pool["mallocs"], f"reclaim called the module {callers} times: {pool}")
    numbers = {
        "zswpout": out.zswpout,
        "stored_pages": out.stored_pages,
        "mallocs": pool["mallocs"],
        "writes": pool["writes"],
        "live": pool["live"],
    }
    assert set(numbers.values()) == {swapped}, f"{swapped} pages are swapped out, and {numbers}"
    classes = [size for size, count in pool["classes"].items() if count]
    guest.prove(len(classes) >= 4, f"objects of several sizes were stored: {pool['classes']}")
    saved = 1 - out.pool_total_size / (swapped * guest.target.arch.page_size)
    guest.prove(saved > 0.2, f"memory was saved: {saved:.0%}")

    assert process.verify() == 0

    back, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(back.zswpin == swapped, f"the pages came from zswap: {back}")
    guest.prove(back.pswpin == back.decompress_fail == 0, f"and from nowhere else: {back}")
    assert (pool["reads_begun"], pool["reads_ended"], pool["frees"]) == (swapped, swapped, swapped)
    assert (pool["live"], pool["bytes"], back.stored_pages) == (0, 0, 0)

    process.spoil(pages // 2)
    guest.prove(process.verify() == 1, "one changed bit in one page is noticed")


@scenario(
    "Z32",
    claim="total_pages is what /proc/meminfo and zswap's pool_total_size show",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z32_total_pages(guest: Guest) -> None:
    page_size = guest.target.arch.page_size
    zswap = under_zswap(guest)
    seen = []
    processes: list[Pages] = []
    for change in ("none", "store", "store", "store", "forget", "forget", "forget"):
        if change == "store":
            processes.append(stored(guest, zswap, 300, seed=len(processes) + 1))
        elif change == "forget":
            processes.pop().unmap()
        asked = zswap_pool(guest)["totals"]
        shown = guest.meminfo()["Zswap"]
        pool_total_size = zswap.counters().pool_total_size
        pool = zswap_pool(guest)
        guest.prove(pool["totals"] > asked, "the module was asked")
        pages = -(-pool["bytes"] // page_size)
        assert pool["total_pages_last"] == pages, (
            f"{pool['bytes']} bytes are not {pool['total_pages_last']} pages"
        )
        assert shown == pool_total_size == pages * page_size
        seen.append(pages)
    grown, shrunk = seen[:4], seen[3:]
    guest.prove(grown[0] == 0 and grown == sorted(set(grown)), f"the pool grew from nothing: {grown} pages")
    guest.prove(shrunk == sorted(set(shrunk), reverse=True), f"the pool shrank: {shrunk} pages")
    assert shrunk[-1] == 0
    if op(guest, "counters")["knows_atomic"]:
        assert zswap_pool(guest)["free_atomic"] == 900, "forgotten pages are freed in atomic context"


@scenario(
    "Z35",
    claim="A pool stays within max_pool_percent, and what does not fit goes to the disk unharmed",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z35_limit(guest: Guest) -> None:
    pages = 2048
    page_size = guest.target.arch.page_size
    zswap = under_zswap(guest)
    zswap.limit(1)
    # As zswap_max_pages() has it.
    limit = guest.meminfo()["MemTotal"] // page_size // 100
    process = filled(guest, "w", pages, seed=35)
    before, free_before = zswap.counters(), guest.meminfo()["SwapFree"]

    process.push_out()

    out, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(pool["mallocs"] > 0, f"some pages were stored: {out}")
    assert out.pool_limit_hit > 0, f"{pool['bytes']} bytes went into a pool of {limit} pages"
    guest.prove(out.stored_pages < pages, f"not all pages were stored: {out}")
    # Stores that are under way when the limit is reached come on top, one on each CPU.
    most = limit + guest.target.arch.cpus
    assert pool["total_pages_max"] <= most, f"the pool had {pool['total_pages_max']} pages of {limit}"
    assert pool["bytes"] <= most * page_size, f"the pool has {pool['bytes']} bytes in {most} pages"
    assert out.pswpout >= pages - out.zswpout > 0
    assert guest.meminfo()["SwapFree"] <= free_before - pages * page_size
    assert process.verify() == 0


@scenario(
    "Z37",
    claim="Pages that do not compress are stored as they are, in objects of a page",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z37_incompressible(guest: Guest) -> None:
    pages = 256
    page_size = guest.target.arch.page_size
    zswap = under_zswap(guest)
    process = filled(guest, "w", pages, seed=37, random=(page_size, page_size))
    before = zswap.counters()
    process.push_out()
    out, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(out.pool_limit_hit == 0, f"there was room: {out}")
    assert out.zswpout == out.stored_pages == out.stored_incompressible_pages == pages, f"not stored: {out}"
    assert (pool["size_min"], pool["size_max"]) == (page_size, page_size)
    assert (pool["mallocs"], pool["classes"][str(page_size)]) == (pages, pages)
    assert pool["written_bytes"] == pages * page_size
    assert process.verify() == 0
    assert zswap.counters().since(before).zswpin == pages


@scenario(
    "Z38",
    claim="Pages of zeros do not reach the back end at all",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z38_zeros(guest: Guest) -> None:
    pages = 256
    zswap = under_zswap(guest)
    process = filled(guest, "w", pages, seed=38, random=(0, 0))
    before = zswap.counters()
    process.push_out()
    out, pool = zswap.counters().since(before), zswap_pool(guest)
    assert (out.swpout_zero, out.zswpout, pool["mallocs"]) == (pages, 0, 0)
    assert process.verify() == 0
    assert zswap.counters().since(before).swpin_zero == pages
    stored(guest, zswap, pages, seed=39)


@scenario(
    "Z53",
    claim="swapoff empties the Rust pool: every page comes back, and the pool can go",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z53_swapoff(guest: Guest) -> None:
    pages = 1024
    zswap = under_zswap(guest)
    process = stored(guest, zswap, pages)
    before = zswap.counters()
    guest.swap_off()
    back, pool = zswap.counters().since(before), zswap_pool(guest)
    assert (back.zswpin, back.pswpin, zswap.counters().stored_pages) == (pages, 0, 0)
    assert (pool["reads_ended"], pool["frees"], pool["live"], pool["bytes"]) == (pages, pages, 0, 0)
    guest.prove(process.where().present == pages, "the pages are back in memory")
    assert process.verify() == 0
    zswap.use(DEFAULT)
    assert wait_for(guest, lambda: destroyed(guest)), "the empty pool was not destroyed"
