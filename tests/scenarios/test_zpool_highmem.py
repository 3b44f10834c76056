# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread that 32 bits and high memory make different.

``rust_zpool`` with ``folios=1`` keeps each object in a page that may be high memory, and maps it with
``kmap_local_page`` for as long as it is read. The other architectures run what they can as a control.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from harness.build.modules import build_module
from harness.build.store import Store
from harness.drive.guest import Guest
from harness.drive.memory import HIGHMEM, free_bytes
from harness.drive.scenario import scenario
from harness.drive.workbench import Workbench
from harness.drive.zpool import MODULE, PATCH, REPLY, op, stored, under_zswap, zswap_pool
from harness.errors import GuestLost, UserError
from harness.judge.kinds import Kind
from harness.progress import quiet

FOLIOS: Final = "folios=1"
"""The module's parameter that chooses the driver with a page for each object."""
SLOTS: Final = 16
"""Mappings that a task can have: KM_MAX_IDX is 33 with DEBUG_KMAP_LOCAL, and each takes two (kmap_size.h)."""
SLACK: Final = 128
"""Pages of high memory that go for other reasons: about 50, to the process itself and the sampler."""
NOT_MAPPED: Final = "kmap_local_page() maps nothing here, so a missing kunmap_local() leaves nothing behind"


@scenario(
    "Z22",
    claim="A read_end that does not unmap kills the reader when its task has no slot of kmap_local left",
    thread=REPLY,
    modules=(MODULE,),
    impossible={"x86_64": NOT_MAPPED, "arm64": NOT_MAPPED},
)
def test_z22_read_without_end(guest: Guest) -> None:
    pages = 2 * SLOTS
    zswap = under_zswap(guest, FOLIOS)
    right = stored(guest, zswap, pages, seed=1)
    assert right.verify() == 0
    pool = zswap_pool(guest)
    guest.prove(pool["reads_mapped"] == pages, f"each read was a mapping of its own: {pool}")
    assert guest.reports() == [], "the right twin was reported"

    wrong = stored(guest, zswap, pages, seed=2)
    op(guest, "reset")
    op(guest, "variant kept_map")
    # One for the read, and one more when the dead task's page tables, in high memory too, are taken down.
    guest.expect_report(Kind.BUG, at="mm/highmem.c")
    guest.allow_report(
        Kind.WARNING, at="__kmap_local_sched_", reason="the dead task's last slot was never filled"
    )
    with pytest.raises(GuestLost):
        wrong.touch()
    pool = zswap_pool(guest)
    # The last slot goes to the back end; the decompressor, which has to map where it writes to, gets none.
    # A reader that maps nothing else dies one read later.
    assert (pool["reads_mapped"], pool["reads_ended"]) == (SLOTS, SLOTS - 1)
    assert "scomp_acomp_comp_decomp" in guest.console()


@scenario(
    "Z23",
    claim="A pool in high memory keeps pages and gives them back; without any, it uses what there is",
    thread=REPLY,
    modules=(MODULE,),
)
def test_z23_highmem_pool(guest: Guest) -> None:
    pages, page_size = 1024, guest.target.arch.page_size
    zswap = under_zswap(guest, FOLIOS)
    highmem = guest.meminfo().get("HighTotal", 0) > 0
    guest.prove(highmem is (guest.target.profile.name == "highmem"), "high memory is where it should be")
    free_before, before = free_bytes(guest, HIGHMEM), zswap.counters()

    process = stored(guest, zswap, pages)

    pool, taken = zswap_pool(guest), (free_before - free_bytes(guest, HIGHMEM)) // page_size
    assert pool["highmem"] == (pages if highmem else 0), f"{pool['highmem']} of {pages} objects are high"
    if highmem:
        assert abs(taken - pages) <= SLACK, f"{pages} objects took {taken} pages of high memory"
    assert zswap.counters().pool_total_size == pages * page_size
    assert process.verify() == 0
    out, pool = zswap.counters().since(before), zswap_pool(guest)
    guest.prove(out.zswpin == pages and out.pswpin == 0, f"the pages came from the pool: {out}")
    assert pool["reads_begun"] == pool["reads_ended"] == pages
    assert pool["reads_mapped"] == (pages if highmem else 0), f"{pool['reads_mapped']} reads mapped a page"
    assert (pool["live"], pool["bytes"], pool["total_pages_last"]) == (0, 0, 0)


NO_DIVISION: Final = frozenset({"arm"})
"""Architectures on which a u64 is divided by a function of the compiler's, which kernels do not have."""


@scenario(
    "Z50",
    claim="Printing a u64 of 10000 or more, as total_pages() may be, divides it: that kills on ARMv7",
    thread=PATCH,
    modules=(MODULE,),
)
def test_z50_print_u64(guest: Guest) -> None:
    guest.insmod(MODULE)
    op(guest, "print 9999")
    assert "rust_zpool: 9999 pages" in guest.run("dmesg").text
    assert guest.reports() == [], "a small number was reported"

    large = guest.run(f"op /sys/kernel/debug/{MODULE}/op print 10000", check=False)
    if guest.target.arch.name in NO_DIVISION:
        # What stands in for the function says panic!, but becomes a bare trap: no panic in the crate
        # compiler_builtins may call core. Nor has the trap a name of its own: all of them are one.
        guest.expect_report(Kind.OOPS, at="undefined instruction in __rust__", count=1)
        assert re.search(r"LR is at \S*4core3fmt3num", guest.console()), "it was not a number being printed"
        assert large.status != 0, "the task that divided went on"
        assert "rust_zpool: 10000 pages" not in guest.run("dmesg").text
    else:
        assert (large.status, large.text.strip()) == (0, '{"ok":true}')
        assert "rust_zpool: 10000 pages" in guest.run("dmesg").text


DIVIDES: Final = """\
// SPDX-License-Identifier: GPL-2.0-only

//! Divides two numbers of 64 bits.

use kernel::prelude::*;

module! {
    type: Divides,
    name: "rust_divides",
    authors: ["The harness's authors"],
    description: "Divides two numbers of 64 bits",
    license: "GPL",
}

struct Divides;

impl kernel::Module for Divides {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (pages, percent) = core::hint::black_box((1000u64, 20u64));
        core::hint::black_box(pages / percent);
        Ok(Self)
    }
}
"""


@scenario(
    "Z51",
    claim="A module that divides a u64 does not link on ARMv7; one that multiplies it does",
    thread=PATCH,
)
def test_z51_divide_u64(guest: Guest, workbench: Workbench, tmp_path: Path) -> None:
    target = guest.target
    kernel, root, store = workbench.artefacts(target).kernel, workbench.artefacts(target).root, Store()
    module = tmp_path / "rust_divides"
    module.mkdir()
    (module / "Kbuild").write_text("obj-m := rust_divides.o\n", encoding="utf-8")

    def build(source: str) -> str:
        (module / "rust_divides.rs").write_text(source, encoding="utf-8")
        return build_module(module, kernel, store, root, quiet()).name

    twin = DIVIDES.replace("pages / percent", "pages * percent")
    guest.prove(twin != DIVIDES, "the twin differs")
    assert build(twin) == "rust_divides", "what does not divide must build"
    if target.arch.name not in NO_DIVISION:
        assert build(DIVIDES) == "rust_divides"
        return
    with pytest.raises(UserError) as refused:
        build(DIVIDES)
    assert "modpost: rust_divides.ko: symbol '__aeabi_uldivmod' undefined!" in str(refused.value)
