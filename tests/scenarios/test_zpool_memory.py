# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the zpool thread that misuse memory: what a kernel notices of a wrong driver or user.

Each runs the right way first, which nobody may complain about. Then it does the wrong thing, and two
detectors are there for it: KASAN, where the kernel has it, sees the access itself; SLUB's debugging, which
:data:`SLAB_DEBUG` switches on everywhere, sees what the access left behind.
"""

from __future__ import annotations

from typing import Final

from harness.drive.guest import Guest
from harness.drive.leaks import forget_leaks, lost
from harness.drive.scenario import scenario
from harness.drive.zpool import MODULE, PATCH, REVIEW, op, refused
from harness.judge.kinds import Kind
from harness.targets import Detector

SMALL, LARGE = 64, 4096
"""Sizes of buckets whose caches are watched: the smallest, and a page."""
SLAB_DEBUG: Final = (f"slab_debug=FZPU,kmalloc-{SMALL};FZ,kmalloc-{LARGE // 1024}k",)
"""Consistency checks and red zones, and for the small ones poison and who allocated what: Z11 writes over so
much behind a large one that it would hit these too. One template for all scenarios here."""
POISON: Final = "k"
"""What SLUB fills free memory with, 0x6b (poison.h)."""


def has_kasan(guest: Guest) -> bool:
    """Whether the guest's kernel is built with KASAN."""
    return Detector.KASAN in guest.target.profile.detectors


def private_pool(guest: Guest) -> None:
    """Load the module and make a pool that nobody else uses; SLUB watches its buckets."""
    for cache in (f"kmalloc-{SMALL}", f"kmalloc-{LARGE // 1024}k"):
        flags = ("sanity_checks", "red_zone")
        shown = guest.run("cat " + " ".join(f"/sys/kernel/slab/{cache}/{flag}" for flag in flags)).text
        guest.prove(shown.split() == ["1"] * len(flags), f"SLUB watches {cache}: {shown.split()}")
    guest.insmod(MODULE)
    op(guest, "pool new")


def written(guest: Guest, size: int) -> int:
    """The slot of a new object that was used as it should be."""
    slot = op(guest, f"malloc {size}")["slot"]
    op(guest, f"write {slot} 1")
    assert op(guest, f"read {slot} 1")["equal"], "the object lost its content"
    assert guest.reports() == [], "the right way was reported"
    return int(slot)


def expect_damage(guest: Guest, kasan: str, slub: str | None) -> None:
    """Expect KASAN's report, or else SLUB's, if the damage is one that SLUB reports."""
    if has_kasan(guest):
        guest.expect_report(Kind.KASAN, at=kasan)
        if slub is not None:
            guest.allow_report(Kind.SLUB, at=slub, reason="SLUB sees the same damage later")
    elif slub is not None:
        guest.expect_report(Kind.SLUB, at=slub, count=1)


@scenario(
    "Z11",
    claim="The review's shortened size computation lets objects run over their buckets; ours refuses them",
    thread=REVIEW,
    modules=(MODULE,),
    cmdline=SLAB_DEBUG,
)
def test_z11_clamp(guest: Guest) -> None:
    page_size = guest.target.arch.page_size
    too_large = page_size + 904
    guest.prove(page_size == LARGE, "SLUB watches what follows a page's bucket")
    private_pool(guest)
    assert refused(guest, f"malloc {too_large}") == "EINVAL"
    op(guest, f"free {written(guest, page_size)}")

    op(guest, "variant clamp")
    wrong = op(guest, f"malloc {too_large}")
    guest.prove(wrong["bucket"] == page_size, f"the wrong twin gives {too_large} bytes a page: {wrong}")
    expect_damage(guest, "slab-out-of-bounds Write", "kmalloc-4k: Right Redzone overwritten")
    op(guest, f"write {wrong['slot']} 1")
    op(guest, f"free {wrong['slot']}")


@scenario(
    "Z17a",
    claim="A pool that keeps its caller's name and no copy reads freed memory; ours, with a copy, does not",
    thread=REVIEW,
    modules=(MODULE,),
    cmdline=SLAB_DEBUG,
)
def test_z17a_kept_name(guest: Guest) -> None:
    name = "a_pool_with_a_name_of_its_own"
    private_pool(guest)
    op(guest, "pool drop")
    assert op(guest, f"pool new {name}")["name"] == name
    op(guest, "pool drop")
    assert guest.reports() == [], "the right twin was reported"

    op(guest, "variant kept_name")
    expect_damage(guest, "slab-use-after-free Read", None)
    seen = op(guest, f"pool new {name}")["name"]
    if not has_kasan(guest):  # which keeps freed memory as it is for a while
        assert seen == POISON * len(seen) != "", f"freed memory was read, and was {seen!r}"
    kept = [pool["name_retained"] for pool in op(guest, "counters")["pools"].values() if not pool["gone"]]
    guest.prove(kept == [True], "the wrong twin kept the pointer")


@scenario(
    "Z43",
    claim="A write that is longer than the object damages what follows its bucket, and is noticed",
    thread=PATCH,
    modules=(MODULE,),
    cmdline=SLAB_DEBUG,
)
def test_z43_overrun(guest: Guest) -> None:
    private_pool(guest)
    op(guest, f"overrun {written(guest, SMALL - 20)} {SMALL}")
    assert guest.reports() == [], "what still fits into the bucket was reported"

    expect_damage(guest, "slab-out-of-bounds Write", f"kmalloc-{SMALL}: Right Redzone overwritten")
    op(guest, f"overrun {written(guest, SMALL)} {SMALL + 1}")
    pool = op(guest, "counters")["pools"]["private"]
    assert pool["written_bytes"] == SMALL - 20 + SMALL + SMALL + SMALL + 1


@scenario(
    "Z44",
    claim="An object that is freed twice is noticed",
    thread=PATCH,
    modules=(MODULE,),
    cmdline=SLAB_DEBUG,
)
def test_z44_double_free(guest: Guest) -> None:
    private_pool(guest)
    op(guest, f"free {written(guest, SMALL)}")
    assert guest.reports() == [], "an object that was freed once was reported"

    expect_damage(guest, "double-free", f"kmalloc-{SMALL}: ")
    op(guest, f"free_twice {written(guest, SMALL)}")
    pool = op(guest, "counters")["pools"]["private"]
    assert (pool["mallocs"], pool["frees"]) == (2, 3)


@scenario(
    "Z45",
    claim="An object that is read after it was freed is noticed, or has nothing left of its content",
    thread=PATCH,
    modules=(MODULE,),
    cmdline=SLAB_DEBUG,
)
def test_z45_use_after_free(guest: Guest) -> None:
    private_pool(guest)
    slot = written(guest, SMALL)
    expect_damage(guest, "slab-use-after-free Read", None)
    seen = op(guest, f"read_freed {slot}")
    if not has_kasan(guest):  # which keeps freed memory as it is for a while
        assert seen["poisoned"] == seen["looked_at"] > 0, f"freed memory is not poisoned: {seen}"
    pool = op(guest, "counters")["pools"]["private"]
    assert (pool["reads_begun"], pool["frees"]) == (2, 1)


LEAKED: Final = 16
SEEN_LEAKED: Final = LEAKED // 2
"""What kmemleak has to find of them: to the last ones SLUB itself may still point."""
TRACES: Final = f"/sys/kernel/debug/slab/kmalloc-{SMALL}/alloc_traces"
ALLOCATES: Final = "fill_bucket"
"""Part of the name of the Rust function that every bucket comes from."""


def still_allocated(guest: Guest) -> int:
    """Live objects of the watched small cache that are buckets, as SLUB has it."""
    traces = guest.read(TRACES).split("\n\n")
    return sum(int(trace.split()[0]) for trace in traces if ALLOCATES in trace)


def unreferenced(guest: Guest) -> int:
    """Buckets that nobody points to, as kmemleak has it."""
    return sum(1 for leak in lost(guest) if any(ALLOCATES in frame for frame in leak.stack))


def dropped_with_objects(guest: Guest) -> int:
    """Bytes of the private pool that were left when it was destroyed with objects in it."""
    op(guest, "pool new")
    for _ in range(LEAKED):
        op(guest, f"malloc {SMALL}")
    op(guest, "pool drop")
    return int(op(guest, "counters")["bytes_left"])


@scenario(
    "Z31",
    claim="A pool is empty when it is destroyed; what a wrong driver leaves behind is found",
    thread=PATCH,
    modules=(MODULE,),
    cmdline=SLAB_DEBUG,
    uses=("kmemleak",),
    seconds=120,
)
def test_z31_leak(guest: Guest) -> None:
    # SLUB's list of who allocated what, read where kmemleak and lockdep watch, makes lockdep complain of
    # slab_debug_trace_open(): it allocates with a list_lock held, and kmemleak another object for that.
    has_kmemleak = Detector.KMEMLEAK in guest.target.profile.detectors
    shown = guest.read(f"/sys/kernel/slab/kmalloc-{SMALL}/store_user").strip()
    guest.prove(shown == "1", "SLUB remembers who allocated what")
    guest.insmod(MODULE)
    if has_kmemleak:
        forget_leaks(guest)
    assert dropped_with_objects(guest) == 0
    if not has_kmemleak:
        assert still_allocated(guest) == 0, "the right twin left something behind"

    op(guest, "variant leak")
    assert dropped_with_objects(guest) == LEAKED * SMALL
    if has_kmemleak:
        guest.expect_report(Kind.MEMORY_LEAK)
        assert SEEN_LEAKED <= unreferenced(guest) <= LEAKED, "what one of the two twins left behind"
    else:
        assert still_allocated(guest) == LEAKED, "what the wrong twin left behind is not known"
