# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the folio thread about ``kmap_local``: mappings have to end in the reverse order of their
beginning, and Rust drops values in whatever order its user likes.

Only a kernel with highmem needs mappings. There (ARMv7) pages are high, and all is as it would be for a
file system. A 64-bit kernel has none of it: on x86_64 the module calls the functions that a debug option
builds (see :meth:`harness.drive.folios.Folios.mapped_for_real`), on arm64 there is nothing to call.
"""

from __future__ import annotations

import json
import shlex
from typing import Final

from harness.drive.folios import MODULE, NO_SLOTS, ONE_TASK, OPERATIONS, Folios
from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

ORDER: Final = "discussion of VFS series v1, 2023-10-18"
CHAIN: Final = "discussion of VFS series v1, 2023-10-19"

CLEAR_WARN_ONCE: Final = "/sys/kernel/debug/clear_warn_once"

LOST: Final = {"arm": "a", "x86_64": "b"}
"""What is gone when a is dropped beneath b. ARMv7 looks the page table entry up by a's address; x86_64
counts slots, and clears the topmost."""

LEAK_ORACLES: Final = {
    "arm": ("kmap_local_fork",),
    # Its way back to user space is the generic one, which looks, too.
    "x86_64": ("kmap_local_fork", "kmap_assert_nomap"),
}
SEE_BOUNDS: Final = ("kasan",)
"""Profiles whose kernels have UBSAN_BOUNDS."""
WARNINGS: Final = {"arm": {"lowmem": 0, "user": 1}, "x86_64": {"lowmem": 1, "user": 1}}
"""What kunmap_local() says of an address that it never gave to anybody. Where mapping is forced, even a
lowmem page has an address in the slots, and any other is a mistake."""


@scenario(
    "F11",
    claim="Guards of kmap_local that are dropped in the order of their making mix up two mappings",
    thread=ORDER,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f11_first_made_first_dropped(guest: Guest) -> None:
    folios = Folios(guest)
    a, b = folios.mapped_for_real(2)
    make = [f"+a:{a.slot}", f"+b:{b.slot}"]
    right = folios.play("local", [*make, "-b", "?a:1", "-a"])
    guest.prove(right["slots"] == folios.slot_numbers(2), "both were mapped, one above the other")
    assert right["differing"] == [0]
    assert guest.reports() == []

    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=1)
    wrong = folios.play("local", [*make, "-a", "!a", "!b", "-b"])
    lost = LOST[guest.target.arch.name]
    assert wrong["readable"] == [lost != "a", lost != "b"]
    assert wrong["depths"][-1] == 0

    if lost == "a":
        # The warning is all: what is left of b shows what it should.
        still = folios.play("local", [*make, "-a", "?b:2", "-b"])
        assert still["differing"] == [0]
        folios.at_rest()
    else:
        guest.expect_report(Kind.PAGE_FAULT, at=MODULE, count=1)
        folios.dies(f"play local {' '.join(make)} -a ?b:2")


@scenario(
    "F12",
    claim="The chain a, b, drop a, a', drop b, ... ends in a BUG, or has one mapping show another's page",
    thread=CHAIN,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f12_chain(guest: Guest) -> None:
    folios = Folios(guest)
    a, b, c, d = folios.mapped_for_real(4)
    begun = [f"+a:{a.slot}", f"+b:{b.slot}", "-a", f"+c:{c.slot}"]
    right = folios.play("deferred", [*begun, "?b:2", "-b", f"+d:{d.slot}", "?c:3", "-c", "?d:4", "-d"])
    assert right["differing"] == [0, 0, 0]
    assert guest.reports() == []

    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=1)
    if LOST[guest.target.arch.name] == "a":
        # What is left in b's slot is found when the third is mapped there.
        guest.expect_report(Kind.BUG, at="__kmap_local_pfn_prot", count=1)
        dies_with_slots(guest)
        seen = folios.dies(f"play local {' '.join(begun)}")
        assert seen["slots"] == folios.slot_numbers(2)
    else:
        # The third is mapped over b, and nobody says a word about it.
        seen = folios.play("local", [*begun, "?b:2", "?b:3", "-b", "-c"])
        first, second = folios.slot_numbers(2)
        assert seen["slots"] == [first, second, second]
        assert seen["differing"][0] > 0, "b still shows its own page"
        assert seen["differing"][1] == 0, "b does not show the third page"


def dies_with_slots(guest: Guest) -> None:
    """The kernel warns of the slot that a task had taken without a page for it, when the task is put away
    for good; and when it comes back, if it has to wait for something on its way out."""
    guest.expect_report(Kind.WARNING, at="__kmap_local_sched_out", count=1)
    guest.allow_report(Kind.WARNING, at="__kmap_local_sched_in", reason="whether it waits is chance")


@scenario(
    "F13",
    claim="kunmap_local() of what is unmapped already warns, and kills the task",
    thread=ORDER,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f13_unmap_twice(guest: Guest) -> None:
    folios = Folios(guest)
    (a,) = folios.mapped_for_real(1)
    steps = [f"+a:{a.slot}", "-a"]
    assert folios.play("local", steps)["depths"] == [folios.slots_each, 0]
    folios.at_rest()
    assert guest.reports() == []

    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=1)
    guest.expect_report(Kind.BUG, at="kunmap_local_indexed", count=1)
    if guest.target.profile.name in SEE_BOUNDS:
        # The slot that is emptied is the one before the first.
        guest.expect_report(Kind.UBSAN, at="kunmap_local_indexed", count=1)
    folios.must("variant unmap_twice")
    folios.dies(f"play local {' '.join(steps)}")


@scenario(
    "F14",
    claim="A mapping that another task ends kills that task, and is left to the one that made it",
    thread=ORDER,
    modules=(MODULE,),
    impossible=ONE_TASK,
)
def test_f14_unmap_elsewhere(guest: Guest) -> None:
    folios = Folios(guest)
    (a,) = folios.mapped_for_real(1)
    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=1)
    guest.expect_report(Kind.BUG, at="kunmap_local_indexed", count=1)
    folios.must("variant unmap_elsewhere")
    leaked = folios.play("local", [f"+a:{a.slot}", "-a", "!a"])
    assert leaked["depths"] == [folios.slots_each] * 3, "the mapping did not stay with its task"
    assert leaked["readable"] == [1]
    bug = [one for one in guest.reports() if one.kind is Kind.BUG]
    guest.prove("rust_folio_task" in str(bug[0].task if bug else None), f"the other task died: {bug}")


@scenario(
    "F15",
    claim="A forgotten kmap_local guard is noticed by the next fork of its task",
    thread=ORDER,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f15_forget(guest: Guest) -> None:
    folios = Folios(guest)
    (a,) = folios.mapped_for_real(1)
    folios.must("variant forget")
    play = f"play local +a:{a.slot} -a"
    # A shell's echo is a task that goes on living after the operation, and forks when it likes.
    ask = f"exec 3<> {OPERATIONS}; echo '{play}' >&3; read -r answer <&3; echo \"$answer\""
    counters = 'echo counters >&3; read -r answer <&3; echo "$answer"'
    script = f"{ask}; {counters}; ({counters}); {counters}"

    for oracle in LEAK_ORACLES[guest.target.arch.name]:
        guest.expect_report(Kind.WARNING, at=oracle, count=1)
    inherited = "the child inherits that it must not migrate, and an idle CPU takes it all the same"
    guest.allow_report(Kind.WARNING, at="set_task_cpu", reason=inherited)
    text = guest.run(shlex.join(["sh", "-c", script])).text
    forgot, before, child, after = (json.loads(line) for line in text.splitlines())
    assert forgot["depths"] == [folios.slots_each] * 2
    assert before["kmap_depth"] == after["kmap_depth"] == folios.slots_each, "the slot was given back"
    assert child["kmap_depth"] == 0, "the child was given its parent's slot"


@scenario(
    "F18",
    claim="A task that sleeps with a mapping finds it again, on its CPU, whoever had the slot meanwhile",
    thread=ORDER,
    modules=(MODULE,),
    impossible=ONE_TASK,
)
def test_f18_sleep(guest: Guest) -> None:
    folios = Folios(guest)
    a, b = folios.mapped_for_real(2)
    rounds = 10
    seen = folios.must(f"beside {a.slot} 1 {b.slot} 2 {rounds}")
    here, there = seen["here"], seen["there"]
    guest.prove(seen["returned"] and there["checks"] == rounds, f"the other task mapped, too: {seen}")
    guest.prove(here["overlaps"] > 0, f"both had a mapping at the same time: {seen}")
    assert here["slot"] == there["slot"] == folios.slots_each
    assert here["differing"] == there["differing"] == 0
    assert here["moved"] == there["moved"] == 0
    wrong = folios.must(f"beside {a.slot} 2 {b.slot} 1 1")
    guest.prove(wrong["here"]["differing"] > 0 < wrong["there"]["differing"], "other content is noticed")
    folios.at_rest()


@scenario(
    "F19",
    claim="After guards were dropped in the wrong order and the task slept, somebody else pays for it",
    thread=ORDER,
    modules=(MODULE,),
    impossible=ONE_TASK,
)
def test_f19_sleep_in_disorder(guest: Guest) -> None:
    folios = Folios(guest)
    a, b, c = folios.mapped_for_real(3)
    make = [f"+a:{a.slot}", f"+b:{b.slot}"]
    right = folios.play("apart local", [*make, "-b", "~", f"^{c.slot}:2", "?a:1", "-a"])
    guest.prove(right["others"] == [1], f"another task can map two pages there: {right}")
    assert right["differing"] == [0]
    assert guest.reports() == []

    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=1)
    guest.expect_report(Kind.BUG, at="__kmap_local_pfn_prot", count=1)
    dies_with_slots(guest)
    folios.keep_apart()
    look = ["!a", "!b"]
    wrong = folios.play("apart local", [*make, "-a", *look, "~", *look, f"^{c.slot}:2", "-b", *look])
    assert not wrong["died"], "the task that was wrong is the one to pay"
    before, after, end = zip(wrong["readable"][::2], wrong["readable"][1::2], strict=True)
    assert before == (0, 1), "b should be all that is mapped"
    # The kernel had forgotten b's page, and remembers a's: that one is mapped again.
    assert after == (1, 1)
    # b's page stayed where it was, in the way of the next task that wants the slot.
    assert wrong["others"] == [0], "the other task got along with that"
    # All guards are dropped, the task holds no slot, and a's page is still there: for good.
    assert (end, wrong["depths"][-1]) == ((1, 0), 0)


@scenario(
    "F26",
    claim="kunmap_local() warns of a user's address; of one of lowmem only where lowmem is mapped, too",
    thread=ORDER,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f26_stray_address(guest: Guest) -> None:
    folios = Folios(guest)
    folios.mapped_for_real(1)
    lowmem = folios.alloc(0)
    warnings = WARNINGS[guest.target.arch.name]
    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=2 * sum(warnings.values()))
    for where, expected in warnings.items():
        for _ in range(2):
            guest.write(CLEAR_WARN_ONCE, "1")
            before = len(guest.reports())
            folios.must(f"unmap_stray {lowmem.slot if where == 'lowmem' else where}")
            assert len(guest.reports()) - before == expected, f"an address of {where}"
    # Nothing was unmapped by that.
    folios.must(f"write {lowmem.slot} 0 {lowmem.size} 26")
    folios.check(lowmem, [(0, lowmem.size, "26")])
