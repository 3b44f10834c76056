# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread: a back end is chosen, fails, is switched and unloaded.

Every scenario proves by the module's own counters that the back end did the work.
"""

from __future__ import annotations

from typing import Final

from harness.drive.guest import Guest
from harness.drive.pages import Pages
from harness.drive.scenario import scenario
from harness.drive.zpool import (
    DEFAULT,
    MIXED,
    MODULE,
    PATCH,
    REVIEW,
    ZPOOL,
    destroyed,
    filled,
    op,
    stored,
    under_zswap,
    wait_for,
    zswap_pool,
)
from harness.drive.zswap import Zswap
from harness.judge.kinds import Kind
from harness.targets import Detector

DYNAMIC_DEBUG: Final = "/sys/kernel/debug/dynamic_debug/control"


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


@scenario(
    "Z12",
    claim="The errno of a malloc that fails tells zswap what to count, and the page goes to the disk",
    thread=REVIEW,
    modules=(MODULE,),
)
def test_z12_malloc_fails(guest: Guest) -> None:
    pages = 256
    zswap = under_zswap(guest)
    process = Pages(guest, "w")
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


ADDRESS_ZERO: Final = {
    "7.3-x86_64": Kind.NULL_DEREF,
    "7.3-arm64": Kind.NULL_DEREF,
    # The page belongs to processes, whose memory the kernel has locked away from itself.
    "7.3-arm-highmem": Kind.OOPS,
    # Rust checks what is said to be no null pointer before anybody writes there.
    "7.3-x86_64-kasan": Kind.RUST_PANIC,
}
"""How a write to address 0 shows on each target."""


def let_it_die(guest: Guest) -> None:
    """Have the guest end with the first report.

    What a task leaves behind that is killed in the middle of reclaim leads to more, at random. The sampler
    stops: it asks for /proc/meminfo, and so zswap for its size.
    """
    guest.write("/proc/sys/kernel/panic_on_oops", "1")
    guest.sample_every(0)


@scenario(
    "Z26",
    claim="A malloc that returns 0 when it fails has zswap write to address 0",
    thread="zpool v6, 2025-09-23",
    modules=(MODULE,),
)
def test_z26_error_as_handle(guest: Guest) -> None:
    pages = 64
    zswap = under_zswap(guest)
    process = stored(guest, zswap, pages)
    op(guest, "variant fail ENOMEM")
    second = filled(guest, "w2", pages, seed=2)
    second.push_out()
    assert (zswap_pool(guest)["live"], second.verify(), process.verify()) == (pages, 0, 0)
    assert guest.reports() == [], "an error that is one was reported"

    op(guest, "variant zero")
    third = filled(guest, "w3", pages, seed=3)
    guest.expect_report(ADDRESS_ZERO[guest.target.name], at="zswap_store", count=1)
    let_it_die(guest)
    third.push_out()
    raise AssertionError("the guest lives")


@scenario(
    "Z28",
    claim="Without an owner, a back end in use can be unloaded, and zswap uses what is gone",
    thread="zpool v4 and v5: the driver's owner is not set",
    modules=(MODULE,),
)
def test_z28_unload_in_use(guest: Guest) -> None:
    pages = 64
    zswap = under_zswap(guest, "owner=0")
    stored(guest, zswap, pages, seed=1)
    process = filled(guest, "w2", pages, seed=2)
    guest.prove(zswap.backend() == MODULE and not zswap_pool(guest)["gone"], "the pool is in use")
    let_it_die(guest)
    assert guest.try_rmmod(MODULE) is None, "Z29 shows how this is refused with an owner"
    guest.prove(not guest.loaded(MODULE) and zswap.backend() == MODULE, "the module is gone, the pool is not")

    # Not yet a call: the table of operations is gone as well, and is read first.
    guest.expect_report(Kind.PAGE_FAULT, at="zswap_store", count=1)
    if Detector.KASAN in guest.target.profile.detectors:
        guest.expect_report(Kind.KASAN, at="slab-use-after-free Read in zswap_total_pages", count=1)
        guest.expect_report(Kind.KASAN, at="vmalloc-out-of-bounds Read in zswap_total_pages", count=1)
    process.push_out()
    raise AssertionError("the guest lives")
