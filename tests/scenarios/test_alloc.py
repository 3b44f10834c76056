# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the allocation APIs' thread (Benno Lossin, Danilo Krummrich): flags on every call, and
caches of objects, ``KMemCache<T>::alloc(&self, value: T, flags: Flags) -> Result<KMemObj<'_, T>>``.
"""

from __future__ import annotations

from typing import Any, Final

from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

MODULE: Final = "rust_alloc"
SLAB: Final = "/sys/kernel/slab"
THREAD: Final = "Allocation APIs v3, 2024-04-25"
ITEM_BYTES: Final = 100
ONE_WARNING_EACH: Final = 1.2
"""Seconds: the kernel warns of sleeping in atomic once in each (kernel/sched/core.c, __might_resched())."""


def op(guest: Guest, words: str) -> dict[str, Any]:
    """Have the module do something that must go well."""
    return guest.must(MODULE, words)


def prove_atomic(guest: Guest, answer: dict[str, Any], context: str) -> None:
    """The allocation was made where nobody may sleep, by what the shim read there."""
    if context == "irq":
        guest.prove(answer["irqs_disabled"], "interrupts were disabled")
    elif answer["counts_locks"]:
        guest.prove(answer["preempt_count"] > 0, "preemption was disabled")


def fill_atomically(guest: Guest, contexts: tuple[str, ...]) -> None:
    """Fill vectors and boxes in ``contexts`` with flags that do not sleep."""
    for context in contexts:
        for flags in ("atomic", "nowait"):
            answer = op(guest, f"vec kvec 2000 {flags} {context}")
            prove_atomic(guest, answer, context)
            guest.prove(answer["grown"] > 5, "the vector was allocated several times")
            assert (answer["len"], answer["wrong"], answer["vmalloc"]) == (2000, 0, False)
            answer = op(guest, f"box kbox {flags} {context}")
            prove_atomic(guest, answer, context)
            assert answer["right"]


@scenario(
    "K01",
    claim="Boxes and vectors of kmalloc, vmalloc and either take flags with each call, and honour them",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k01_flags(guest: Guest) -> None:
    guest.insmod(MODULE)
    for kind, from_vmalloc in (("k", False), ("v", True), ("kv", False)):
        for flags in ("kernel", "nowait", "atomic", "account", "zero"):
            answer = op(guest, f"vec {kind}vec 3000 {flags}")
            assert (answer["len"], answer["wrong"], answer["vmalloc"]) == (3000, 0, from_vmalloc), answer
            assert (answer["preempt_count"], answer["irqs_disabled"]) == (0, False)
            answer = op(guest, f"box {kind}box {flags}")
            assert (answer["right"], answer["vmalloc"]) == (True, from_vmalloc), answer
            assert answer["zeroed"] == (flags == "zero")


@scenario(
    "K02",
    claim="A push that may sleep, under a spinlock, is caught: the flags are really passed on",
    thread=THREAD,
    modules=(MODULE,),
    relies_on=("atomic_sleep",),
)
def test_k02_sleep_under_spinlock(guest: Guest) -> None:
    guest.insmod(MODULE)
    op(guest, "vec kvec 2000 kernel task")
    assert guest.reports() == []

    guest.expect_report(Kind.ATOMIC_SLEEP, at="rust_alloc")
    for context in ("spinlock", "irq"):
        guest.run(f"sleep {ONE_WARNING_EACH}")
        before = len(guest.reports())
        answer = op(guest, f"vec kvec 1 kernel {context}")
        prove_atomic(guest, answer, context)
        assert (answer["len"], answer["wrong"]) == (1, 0)
        assert len(guest.reports()) > before, f"nobody noticed in context {context}"


@scenario(
    "K03",
    claim="A push with GFP_ATOMIC under a spinlock is right, and the detector has nothing to say",
    thread=THREAD,
    modules=(MODULE,),
    relies_on=("atomic_sleep",),
)
def test_k03_atomic_under_spinlock(guest: Guest) -> None:
    guest.insmod(MODULE)
    answer = op(guest, "vec kvec 1 atomic spinlock")
    guest.prove(answer["counts_locks"], "the kernel counts spinlocks")
    fill_atomically(guest, ("spinlock", "irq"))


@scenario(
    "K03b",
    claim="Memory can be allocated with interrupts disabled, and it is right",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k03b_atomic_with_interrupts_disabled(guest: Guest) -> None:
    guest.insmod(MODULE)
    fill_atomically(guest, ("spinlock", "irq"))


def in_use(guest: Guest, cache: str) -> int:
    """The objects of a cache that are in use, after it gave back what it had in stock."""
    guest.write(f"{SLAB}/{cache}/shrink", "1")
    return int(guest.read(f"{SLAB}/{cache}/objects").split()[0])


def open_cache(guest: Guest, name: str) -> None:
    """Make a cache of its own."""
    op(guest, f"cache {name}")
    guest.prove(guest.run(f"test -L {SLAB}/{name}", check=False).status != 0, "the cache is not merged")
    guest.prove(in_use(guest, name) == 0, "the cache is empty to begin with")


@scenario(
    "K04",
    claim="A KMemCache is a cache of the kernel's, which counts its objects, and goes when it is dropped",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k04_cache(guest: Guest) -> None:
    guest.insmod(MODULE)
    guest.prove(guest.run(f"test -e {SLAB}/k04", check=False).status != 0, "there is no such cache yet")
    open_cache(guest, "k04")
    assert guest.read(f"{SLAB}/k04/object_size").strip() == str(ITEM_BYTES)

    op(guest, "take 500 kernel")
    assert in_use(guest, "k04") == 500
    name, active, total, *_ = guest.run("grep '^k04 ' /proc/slabinfo").text.split()
    assert (name, int(active)) == ("k04", 500)
    assert int(total) >= 500
    items = op(guest, "items")
    assert (items["live"], items["wrong"]) == (500, 0)

    op(guest, "give 200")
    assert in_use(guest, "k04") == 300
    op(guest, "close")
    assert guest.run(f"test -e {SLAB}/k04", check=False).status != 0, "the cache is still there"
    op(guest, "cache k04")
    guest.rmmod(MODULE)
    assert guest.run(f"test -e {SLAB}/k04", check=False).status != 0, "the cache outlived the module"


@scenario(
    "K05",
    claim="One cache takes other flags with each allocation",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k05_flags_of_one_cache(guest: Guest) -> None:
    guest.insmod(MODULE)
    open_cache(guest, "k05")
    # Memory that was in use, so that zeros do not come by themselves.
    op(guest, "take 400 kernel")
    op(guest, "give 400")

    for context in ("spinlock", "irq"):
        answer = op(guest, f"take 100 atomic {context}")
        prove_atomic(guest, answer, context)
    assert op(guest, "take 100 kernel")["zeroed"] == 0
    assert op(guest, "take 100 zero")["zeroed"] == 100
    items = op(guest, "items")
    assert (items["live"], items["wrong"]) == (400, 0)


@scenario(
    "K05b",
    claim="An allocation of a cache that may sleep, under a spinlock, is caught like any other",
    thread=THREAD,
    modules=(MODULE,),
    relies_on=("atomic_sleep",),
)
def test_k05b_sleep_under_spinlock(guest: Guest) -> None:
    guest.insmod(MODULE)
    open_cache(guest, "k05b")
    op(guest, "take 10 atomic spinlock")
    assert guest.reports() == []
    guest.expect_report(Kind.ATOMIC_SLEEP, at="rust_alloc")
    answer = op(guest, "take 1 kernel spinlock")
    prove_atomic(guest, answer, "spinlock")


@scenario(
    "K06",
    claim="Dropping a KMemObj drops its value exactly once, and frees it to its cache",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k06_drop(guest: Guest) -> None:
    guest.insmod(MODULE)
    open_cache(guest, "k06")
    made = dropped = 0
    for count, give in ((300, 300), (200, 50), (1, 1), (99, 249)):
        op(guest, f"take {count} kernel")
        op(guest, f"give {give}")
        made, dropped = made + count, dropped + give
        items = op(guest, "items")
        assert (items["made"], items["dropped"], items["live"]) == (made, dropped, made - dropped)
        assert in_use(guest, "k06") == made - dropped
    assert guest.op(MODULE, "give 1")["errno"] == "ENOENT"

    # The rest goes with the cache.
    op(guest, "take 77 kernel")
    op(guest, "close")
    items = op(guest, "items")
    assert items["made"] == items["dropped"] == made + 77


@scenario(
    "K08",
    claim="A cache that is destroyed with a leaked object: the kernel warns, names it, and frees nothing",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k08_object_left(guest: Guest) -> None:
    guest.insmod(MODULE)
    # All given back: nothing to say.
    open_cache(guest, "k08_good")
    op(guest, "take 100 kernel")
    op(guest, "give 100")
    op(guest, "close")
    assert guest.reports() == []

    open_cache(guest, "k08_bad")
    op(guest, "take 100 kernel")
    op(guest, "lose 1")
    guest.prove(in_use(guest, "k08_bad") == 100, "an object is lost")
    guest.expect_report(Kind.SLAB_LEFTOVER, at="k08_bad")
    op(guest, "close")
    items = op(guest, "items")
    assert (items["made"], items["dropped"]) == (200, 199)
    guest.rmmod(MODULE)
    assert "Slab cache still has objects when called from" in guest.console()


@scenario(
    "K10",
    claim="An object leaked in a merged cache is noticed too late, and in the name of another cache",
    thread=THREAD,
    modules=(MODULE,),
    impossible={"7.3-x86_64-kasan": "KASAN lays out the objects of each cache, so it has none merged"},
)
def test_k10_merged(guest: Guest) -> None:
    guest.insmod(MODULE)
    op(guest, "twin k10_other")
    op(guest, "cache k10 merge")
    aliases = int(guest.read(f"{SLAB}/k10/aliases"))
    guest.prove(aliases == 1, f"the cache is merged with the other ({aliases} aliases)")
    op(guest, "take 100 kernel")
    op(guest, "lose 1")
    op(guest, "close")
    items = op(guest, "items")
    guest.prove((items["made"], items["dropped"]) == (100, 99), "an object is lost")
    assert guest.reports() == [], "the kernel noticed"

    # Its own cache was destroyed without a word. Now the other one is, which has lost nothing.
    guest.expect_report(Kind.SLAB_LEFTOVER, at="k10_other")
    op(guest, "untwin")


@scenario(
    "K12",
    claim="Objects are at multiples of the alignment asked for, also when their size is none",
    thread=THREAD,
    modules=(MODULE,),
)
def test_k12_alignment(guest: Guest) -> None:
    guest.insmod(MODULE)
    for align in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        assert op(guest, f"align {align} 100")["aligned"] == [100] * 4, f"alignment {align}"
    assert guest.op(MODULE, "align 24 1")["errno"] == "EINVAL"
    assert guest.op(MODULE, "align 0 1")["errno"] == "EINVAL"
