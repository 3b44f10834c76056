# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread (Vitaly Wool's patch, Danilo Krummrich's review), driven in a guest.

The back end is ``modules/rust_zpool``; zswap's side of it is the kernel's ``mm/zswap.c`` with the
project's patch. Every scenario proves by the module's own counters that the back end did the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from harness.drive.guest import Guest
from harness.drive.pages import Pages
from harness.drive.scenario import scenario
from harness.drive.zswap import PARAMETERS, Zswap
from harness.judge.kinds import Kind

MODULE: Final = "rust_zpool"
DEFAULT: Final = "zsmalloc"
ZPOOL: Final = f"{PARAMETERS}/zpool"
DYNAMIC_DEBUG: Final = "/sys/kernel/debug/dynamic_debug/control"

PATCH: Final = "zpool v4, 2025-08-23"
REVIEW: Final = "review of zpool v4, 2025-08-26"
REPLY: Final = "reply to the review of zpool v4, 2025-08-27"

MIXED: Final = (100, 3000)
"""Random bytes a page, least and most: compressed objects of many sizes, some of which save memory."""
WAIT_SECONDS: Final = 5.0


def op(guest: Guest, words: str) -> dict[str, Any]:
    """Have the module do something that must go well."""
    return guest.must(MODULE, words)


def refused(guest: Guest, words: str) -> str | None:
    """The name of the error that the module refuses an operation with, or None when it takes it."""
    answer = guest.op(MODULE, words)
    return None if answer["ok"] else str(answer["errno"])


def zswap_pools(guest: Guest) -> list[dict[str, Any]]:
    """What the module counted in each pool that zswap made, the oldest first."""
    pools: dict[str, dict[str, Any]] = op(guest, "counters")["pools"]
    return [pool for name, pool in pools.items() if name.startswith("zswap")]


def zswap_pool(guest: Guest) -> dict[str, Any]:
    """What the module counted in the one pool that zswap made."""
    pools = zswap_pools(guest)
    guest.prove(len(pools) == 1, f"zswap made one pool of the module's, and not {len(pools)}")
    return pools[0]


def under_zswap(guest: Guest) -> Zswap:
    """Load the module, have zswap store in it and in nothing else, and switch swap on."""
    guest.insmod(MODULE)
    zswap = Zswap(guest)
    zswap.use(MODULE)
    zswap.enable()
    guest.prove(zswap.backend() == MODULE, "zswap uses the module now that it is on")
    guest.prove(not zswap_pool(guest)["gone"], "zswap made a pool")
    guest.swap_on()
    return zswap


def filled(guest: Guest, name: str, pages: int, seed: int, random: tuple[int, int] = MIXED) -> Pages:
    """A process with ``pages`` pages of random content."""
    process = guest.pages(name)
    process.map(pages)
    process.fill(seed, *random)
    return process


def stored(guest: Guest, zswap: Zswap, pages: int, seed: int = 1) -> Pages:
    """A process whose pages are all in the module's pool, and shown to be there."""
    before, pool_before = zswap.counters(), zswap_pool(guest)
    process = filled(guest, f"w{seed}", pages, seed)
    process.push_out()
    now, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(now.pool_limit_hit == now.written_back_pages == 0, f"no page had to go to the disk: {now}")
    assert now.zswpout == now.stored_pages == pages, f"{pages} pages went out, and zswap counts {now}"
    live = pool["live"] - pool_before["live"]
    assert live == pages, f"{pages} pages are stored in {live} objects of the module's"
    return process


def wait_for(guest: Guest, condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` comes true soon: pools are destroyed by a worker."""
    end = time.monotonic() + WAIT_SECONDS
    while not (true := condition()) and time.monotonic() < end:
        guest.run("sleep 0.05")
    return true


@scenario(
    "Z01",
    claim="A driver in Rust registers under its name, and zswap makes a pool of it when told to",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z01_select(guest: Guest) -> None:
    guest.write(DYNAMIC_DEBUG, "file mm/zswap.c +p")
    guest.insmod(MODULE)
    assert op(guest, "counters")["creates"] == 0, "a pool was made before anybody asked for one"

    zswap = Zswap(guest)
    zswap.use(MODULE)
    zswap.enable()
    assert zswap.backend() == MODULE
    counted = op(guest, "counters")
    assert (counted["creates"], counted["create_failures"], counted["destroys"]) == (1, 0, 0)
    assert zswap_pool(guest)["name_retained"] is False, "the pool points to the name on its caller's stack"
    log = guest.run("dmesg").text
    assert f"zswap: using {MODULE} zpool" in log
    assert "using default" not in log


@scenario(
    "Z03",
    claim="An unknown zpool is refused with ENOENT, and the one in use stays",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z03_unknown_zpool(guest: Guest) -> None:
    zswap = under_zswap(guest)
    assert guest.try_write(ZPOOL, "nosuch") == "ENOENT"
    assert "zswap: zpool nosuch not available" in guest.run("dmesg").text
    assert zswap.backend() == MODULE

    pages = stored(guest, zswap, 64)
    pool = zswap_pool(guest)
    assert (pool["mallocs"], pool["gone"]) == (64, False)
    assert pages.verify() == 0


PRESSURE_STEP: Final = 768
"""Pages to take at a time."""
PRESSURE_START: Final = 1024
"""Pages still available when the steps begin."""
SWAP_QUIET: Final = """
before=
while now=$(grep -w zswpout /proc/vmstat) && [ "$now" != "$before" ]; do
    before=$now
    sleep 0.05
done
"""
"""Waits until kswapd has as much free memory as it wants."""


def press_out(guest: Guest, process: Pages, pages: int) -> int:
    """Take memory from everybody until at least ``pages`` of ``process`` are swapped out; how many are.

    The process has more, so that there is always something to reclaim and nobody is killed.
    """
    holder = guest.pages("pressure")
    page_size = guest.target.arch.page_size
    holder.hold(guest.meminfo()["MemAvailable"] // page_size - PRESSURE_START)
    while process.swapped() < pages:
        holder.hold(PRESSURE_STEP)
    holder.exit()
    guest.run(SWAP_QUIET)
    return process.swapped()


@scenario(
    "Z06",
    claim="Pages of random content go to the Rust pool under memory pressure and come back bit for bit",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z06_integrity_under_pressure(guest: Guest) -> None:
    pages = 3072
    zswap = under_zswap(guest)
    process = filled(guest, "w", pages * 3 // 2, seed=6)
    before, vm_before = zswap.counters(), guest.vmstat()

    swapped = press_out(guest, process, pages)

    out, vm, pool = zswap.counters().since(before), guest.vmstat(), zswap_pool(guest)
    by_reclaim = vm["pgsteal_kswapd"] + vm["pgsteal_direct"]
    by_reclaim -= vm_before["pgsteal_kswapd"] + vm_before["pgsteal_direct"]
    guest.prove(by_reclaim >= swapped >= pages, f"reclaim took the pages: {by_reclaim} of {swapped}")
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
    "Z07",
    claim="Objects of every size to a page have a bucket and keep their content; larger ones are refused",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z07_sizes(guest: Guest) -> None:
    page_size = guest.target.arch.page_size
    guest.insmod(MODULE)
    op(guest, "pool new")
    buckets = {0: 64, 1: 64, 64: 64, 65: 128, 2049: 4096, page_size - 1: page_size, page_size: page_size}
    for size, bucket in buckets.items():
        answer = op(guest, f"malloc {size}")
        assert answer["bucket"] == bucket, f"an object of {size} bytes has a bucket of {answer['bucket']}"
        slot = answer["slot"]
        op(guest, f"write {slot} {size}")
        assert op(guest, f"read {slot} {size}")["equal"], f"an object of {size} bytes was not kept"
        if size:
            other = op(guest, f"read {slot} {size + 1}")
            guest.prove(not other["equal"], "other content does not pass for the same")
        op(guest, f"free {slot}")
    assert refused(guest, f"malloc {page_size + 1}") == "EINVAL"

    op(guest, "reset")
    swept = op(guest, f"sweep 0 {page_size + 1}")
    assert (swept["stored"], swept["refused"], swept["wrong"]) == (page_size + 1, 1, 0)
    pool = op(guest, "counters")["pools"]["private"]
    expected = {size: int(size) // 2 for size in pool["classes"]} | {"64": 65}
    assert pool["classes"] == expected, "sizes are in other buckets than the smallest that hold them"
    assert pool["mallocs"] == pool["writes"] == pool["reads_ended"] == pool["frees"] == page_size + 1
    assert (pool["live"], pool["bytes"], pool["failures"]["EINVAL"]) == (0, 0, 1)
    total = op(guest, "total")
    assert (total["pages"], total["bytes"], pool["bad_align"]) == (0, 0, 0)


@scenario(
    "Z11",
    claim="The review's shortened size computation lets objects run over their buckets; ours refuses them",
    thread=REVIEW,
    modules=(MODULE,),
    cmdline=("slab_debug=FZ,kmalloc-4k",),
)
def test_z11_clamp(guest: Guest) -> None:
    page_size = guest.target.arch.page_size
    too_large = page_size + 904
    red_zone = guest.read("/sys/kernel/slab/kmalloc-4k/red_zone").strip()
    guest.prove(red_zone == "1" and page_size == 4096, "SLUB watches what follows a page's bucket")
    guest.insmod(MODULE)
    op(guest, "pool new")

    assert refused(guest, f"malloc {too_large}") == "EINVAL"
    slot = op(guest, f"malloc {page_size}")["slot"]
    op(guest, f"write {slot} 1")
    op(guest, f"free {slot}")
    assert guest.reports() == [], "the right twin was reported"

    op(guest, "variant clamp")
    wrong = op(guest, f"malloc {too_large}")
    guest.prove(wrong["bucket"] == page_size, f"the wrong twin gives {too_large} bytes a page: {wrong}")
    op(guest, f"write {wrong['slot']} 1")
    op(guest, f"free {wrong['slot']}")
    guest.expect_report(Kind.SLUB, at="kmalloc-4k", count=1)
    assert "[Right Redzone overwritten]" in guest.console()


@scenario(
    "Z12",
    claim="The errno of a malloc that fails tells zswap what to count, and the page goes to the disk",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z12_malloc_fails(guest: Guest) -> None:
    pages = 256
    zswap = under_zswap(guest)
    process = guest.pages("w")
    process.map(pages)
    for seed, (errno, counter) in enumerate(
        (
            ("ENOSPC", "reject_compress_poor"),
            ("ENOMEM", "reject_alloc_fail"),
            ("EINVAL", "reject_alloc_fail"),
        )
    ):
        op(guest, "reset")
        op(guest, f"variant fail {errno}")
        process.fill(seed, *MIXED)
        before = zswap.counters()
        process.push_out()
        out, pool = zswap.counters().since(before), zswap_pool(guest)
        failed = pool["failures"][errno]
        guest.prove(failed >= pages, f"malloc failed with {errno} for each page: {pool}")
        assert (pool["mallocs"], pool["last_error"]) == (0, errno)
        rejected = {
            name: getattr(out, name)
            for name in ("reject_compress_poor", "reject_compress_fail", "reject_alloc_fail")
        }
        assert {name for name, count in rejected.items() if count} == {counter}, f"{errno}: {rejected}"
        assert rejected[counter] == failed
        assert (out.pswpout, out.stored_pages) == (pages, 0)
        assert process.verify() == 0

    op(guest, "variant none")
    process.fill(9, *MIXED)
    process.push_out()
    assert zswap_pool(guest)["live"] == pages, "the back end does not work again"
    assert process.verify() == 0


@scenario(
    "Z20",
    claim="malloc takes a shared reference: tasks in parallel lose no object and no count",
    thread=REPLY,
    modules=(MODULE,),
)
def test_z20_parallel(guest: Guest) -> None:
    tasks, rounds = 4, 1000
    guest.insmod(MODULE)
    op(guest, "pool new")
    op(guest, "window 2000")
    file = f"/sys/kernel/debug/{MODULE}/op"
    largest = guest.target.arch.page_size
    commands = (f"op {file} stress {task} {rounds} {largest} > /run/s{task} &" for task in range(tasks))
    guest.run(f"{' '.join(commands)} wait", seconds=30)
    for task in range(tasks):
        answer = guest.json(f"cat /run/s{task}")
        assert (answer["ok"], answer.get("stored"), answer.get("wrong")) == (True, rounds, 0), answer

    pool = op(guest, "counters")["pools"]["private"]
    inside = pool["mallocs_inside_max"]
    guest.prove(inside > 1, f"several tasks were in malloc at the same time: {inside}")
    assert pool["mallocs"] == pool["frees"] == pool["writes"] == tasks * rounds
    assert pool["reads_begun"] == pool["reads_ended"] == tasks * rounds
    assert (pool["live"], pool["bytes"]) == (0, 0)
    assert op(guest, "total")["bytes"] == 0, "the back end lost count of its bytes"


def destroyed(guest: Guest) -> bool:
    return bool(op(guest, "counters")["destroys"])


@scenario(
    "Z29",
    claim="A back end in use cannot be unloaded; once nothing is left in it, it can",
    thread="zpool v4 and v5: the driver's owner is not set",
    modules=(MODULE,),
)
def test_z29_unload(guest: Guest) -> None:
    zswap = under_zswap(guest)
    process = stored(guest, zswap, 256)
    assert guest.try_rmmod(MODULE) == "EAGAIN"
    guest.prove(guest.loaded(MODULE), "the module is still there")

    zswap.use(DEFAULT)
    assert guest.try_rmmod(MODULE) == "EAGAIN", "a pool with pages in it lost its module"
    assert (zswap_pool(guest)["live"], destroyed(guest)) == (256, False)

    guest.swap_off()
    assert wait_for(guest, lambda: destroyed(guest)), "the empty pool was not destroyed"
    assert wait_for(guest, lambda: guest.try_rmmod(MODULE) is None), "the unused module cannot be unloaded"
    assert not guest.loaded(MODULE)
    assert guest.try_write(ZPOOL, MODULE) == "ENOENT"
    assert process.verify() == 0


@scenario(
    "Z30",
    claim="A pool that is no longer current keeps its pages readable, and goes with the last of them",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z30_switch(guest: Guest) -> None:
    pages = 256
    zswap = under_zswap(guest)
    first, second = (stored(guest, zswap, pages, seed) for seed in (1, 2))
    zswap.use(DEFAULT)

    before = zswap.counters()
    third = filled(guest, "w3", pages, seed=3)
    third.push_out()
    guest.prove(zswap.counters().since(before).stored_pages == pages, "new pages are stored")
    assert zswap_pool(guest)["mallocs"] == 2 * pages, "they went to the old pool"

    before = zswap.counters()
    assert first.verify() == 0
    guest.prove(zswap.counters().since(before).zswpin == pages, "the old pages came from zswap")
    pool = zswap_pool(guest)
    assert (pool["reads_ended"], pool["live"], pool["destroys"]) == (pages, pages, 0)

    assert second.verify() == 0
    assert wait_for(guest, lambda: destroyed(guest)), "the last page is gone, the pool is not"
    pool = zswap_pool(guest)
    assert (pool["reads_ended"], pool["live"], pool["destroys"]) == (2 * pages, 0, 1)
    assert third.verify() == 0


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
