# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the folio thread about ``kmap_local``: mappings have to end in the reverse order of their
beginning, and Rust drops values in whatever order its user likes.

Only a kernel with highmem needs mappings. There (ARMv7) pages are high, and all is as it would be for a
file system. A 64-bit kernel has none of it: on x86_64 the module calls the functions that a debug option
builds (see :meth:`harness.drive.folios.Folios.mapped_for_real`), on arm64 there is nothing to call.
"""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from string import ascii_lowercase
from typing import Final

from harness.drive.folios import MODULE, OPERATIONS, Folio, Folios
from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

ORDER: Final = "discussion of VFS series v1, 2023-10-18"
CHAIN: Final = "discussion of VFS series v1, 2023-10-19"
REVIEW: Final = "review of VFS series v1, 2023-10-18"

CLEAR_WARN_ONCE: Final = "/sys/kernel/debug/clear_warn_once"
PILE_MOST: Final = 15
"""The most that the module's guards have mapped at once (DEPTH in deferred.rs and kmap.rs)."""
PROGRAMS: Final = 24
PROGRAM_STEPS: Final = 60

NO_SLOTS: Final = {"arm64": "arm64 has no KMAP_LOCAL: kmap_local is page_address(), unmapping is nothing"}
HIGHMEM_ONLY: Final = NO_SLOTS | {
    "x86_64": "x86_64 has no highmem: kmap() and kmap_local() map nothing, and what the module can make "
    "them map is safe for one task at a time only"
}

LOST: Final = {"arm": "a", "x86_64": "b"}
"""What is gone when a is dropped beneath b. ARMv7 looks the page table entry up by a's address; x86_64
counts slots, and clears the topmost."""

LEAK_ORACLES: Final = {
    "arm": ("kmap_local_fork",),
    # Its way back to user space is the generic one, which looks, too.
    "x86_64": ("kmap_local_fork", "kmap_assert_nomap"),
}
WARNINGS: Final = {"arm": {"lowmem": 0, "user": 1}, "x86_64": {"lowmem": 1, "user": 1}}
"""What kunmap_local() says of an address that it never gave to anybody. Where mapping is forced, even a
lowmem page has an address in the slots, and any other is a mistake."""


@scenario(
    "F10",
    claim="Nested closures, and guards that borrow one another, end mappings in the right order",
    thread=ORDER,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f10_nested(guest: Guest) -> None:
    folios = Folios(guest)
    held = folios.mapped_for_real(3, seed=10)
    numbers = " ".join(str(one.slot) for one in held)
    folios.since()
    for form in ("closures", "guards"):
        seen = folios.must(f"nest {form} 10 {numbers}")
        guest.prove(seen["direct"] == 0, f"nothing was mapped where it is anyway: {seen}")
        assert seen["slots"] == seen["depths"] == folios.slot_numbers(3)
        # Each was looked at when it was mapped, and when what was above it had ended.
        assert seen["differing"] == [0] * 6
        assert seen["kmap_depth"] == 0
        wrong = folios.must(f"nest {form} 11 {numbers}")
        guest.prove(min(wrong["differing"]) > 0, "other content is noticed")
    done = folios.since()
    guest.prove(done["maps"] == done["unmaps"] == 12, "three mappings at a time")
    folios.at_rest()


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
    folios.must("variant unmap_twice")
    folios.dies(f"play local {' '.join(steps)}")


@scenario(
    "F14",
    claim="A mapping that another task ends kills that task, and is left to the one that made it",
    thread=ORDER,
    modules=(MODULE,),
    impossible=HIGHMEM_ONLY,
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
    text = guest.run(shlex.join(["sh", "-c", script])).text
    forgot, before, child, after = (json.loads(line) for line in text.splitlines())
    assert forgot["depths"] == [folios.slots_each] * 2
    assert before["kmap_depth"] == after["kmap_depth"] == folios.slots_each, "the slot was given back"
    assert child["kmap_depth"] == 0, "the child was given its parent's slot"


@scenario(
    "F17",
    claim="A task can hold sixteen mappings with DEBUG_KMAP_LOCAL; guards refuse the next, C is a BUG",
    thread=ORDER,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f17_depth(guest: Guest) -> None:
    folios = Folios(guest)
    deepest = folios.deepest
    guest.prove(deepest == 16, f"the kernel has the slots that were read about: {folios.info}")
    numbers = [str(one.slot) for one in folios.mapped_for_real(deepest + 1)]
    nested = folios.must(f"nest closures 1 {' '.join(numbers[:deepest])}")
    assert nested["slots"] == nested["depths"] == folios.slot_numbers(deepest)
    assert nested["differing"] == [0] * (2 * deepest)

    # As many as there are in a kernel without the guard pages.
    at_most = deepest - 1
    guarded = folios.must(f"nest guards 1 {' '.join(numbers[:at_most])}")
    assert guarded["slots"] == folios.slot_numbers(at_most)
    refused = folios.op(f"nest guards 1 {' '.join(numbers[:deepest])}")
    assert (refused.get("errno"), refused["maps"], refused["kmap_depth"]) == ("ENOSPC", at_most, 0)
    folios.at_rest()
    assert guest.reports() == []

    guest.expect_report(Kind.BUG, at="__kmap_local_pfn_prot", count=1)
    dies_with_slots(guest)
    folios.dies(f"nest closures 1 {' '.join(numbers)}")


@scenario(
    "F18",
    claim="A task that sleeps with a mapping finds it again, on its CPU, whoever had the slot meanwhile",
    thread=ORDER,
    modules=(MODULE,),
    impossible=HIGHMEM_ONLY,
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
    impossible=HIGHMEM_ONLY,
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
    "F21",
    claim="Guards that are unmapped when all above them are done can be dropped in any order",
    thread=CHAIN,
    modules=(MODULE,),
    impossible=NO_SLOTS,
)
def test_f21_deferred(guest: Guest) -> None:
    folios = Folios(guest)
    held = folios.mapped_for_real(6)
    programs = [random_order(random.Random(seed), folios, held) for seed in range(PROGRAMS)]
    guest.prove(sum(one.deferred for one in programs) > PROGRAMS, "guards were dropped in any order")
    folios.since()
    seen = folios.must_each(f"play deferred {' '.join(one.steps)}" for one in programs)
    for program, played in zip(programs, seen, strict=True):
        assert played["depths"] == program.depths
        assert len(played["differing"]) == program.looks
        assert not any(played["differing"])
    done = folios.since()
    guest.prove(done["maps"] == done["unmaps"] == sum(one.maps for one in programs), "all of it was mapped")

    chain_ends_with_an_error(folios, held)
    folios.at_rest()
    assert guest.reports() == []

    guest.expect_report(Kind.WARNING, at="kunmap_local_indexed", count=1)
    folios.play("local", [f"+a:{held[0].slot}", f"+b:{held[1].slot}", "-a", "-b"])


@dataclass(frozen=True, slots=True)
class Program:
    """Steps that end with nothing mapped, and what has to be seen of them."""

    steps: tuple[str, ...]
    depths: list[int]
    """``kmap_ctrl.idx`` after each step."""
    maps: int
    looks: int
    deferred: int
    """How many guards were dropped while something above them was not done."""


def random_order(rng: random.Random, folios: Folios, held: Sequence[Folio]) -> Program:
    """Guards made, looked at and dropped in any order; folio N has the content of seed N + 1."""
    pile: list[tuple[str, bool]] = []
    content: dict[str, int] = {}
    steps: list[str] = []
    depths: list[int] = []
    maps = looks = deferred = 0
    naps = set(rng.sample(range(PROGRAM_STEPS), 2))
    while len(steps) < PROGRAM_STEPS or content:
        making = len(steps) < PROGRAM_STEPS and len(pile) < PILE_MOST
        kind = rng.choice("+?-") if content else "+"
        if len(steps) in naps:
            steps.append("~")
        elif kind == "?":
            name = rng.choice(sorted(content))
            steps.append(f"?{name}:{content[name]}")
            looks += 1
        elif kind == "+" and making:
            name = rng.choice(sorted(set(ascii_lowercase) - set(content)))
            index = rng.randrange(len(held))
            steps.append(f"+{name}:{held[index].slot}")
            content[name] = index + 1
            pile.append((name, False))
            maps += 1
        else:
            name = rng.choice(sorted(content))
            steps.append(f"-{name}")
            del content[name]
            at = pile.index((name, False))
            pile[at] = (name, True)
            deferred += at < len(pile) - 1
            while pile and pile[-1][1]:
                pile.pop()
        depths.append(folios.slots_each * len(pile))
    return Program(tuple(steps), depths, maps, looks, deferred)


def chain_ends_with_an_error(folios: Folios, held: Sequence[Folio]) -> None:
    """Who always maps the next before dropping the last gives no slot back, and is refused in the end."""
    chain = [f"+a:{held[0].slot}"]
    for index in range(1, PILE_MOST + 1):
        new, old = ascii_lowercase[index], ascii_lowercase[index - 1]
        chain += [f"+{new}:{held[index % len(held)].slot}", f"-{old}"]
    seen = folios.op(f"play deferred {' '.join(chain)}")
    assert seen.get("errno") == "ENOSPC"
    assert seen["slots"] == folios.slot_numbers(PILE_MOST)
    assert max(seen["depths"]) == folios.slots_each * PILE_MOST


@scenario(
    "F22",
    claim="Guards of kmap() can be dropped in any order, and take no slot of kmap_local",
    thread=REVIEW,
    modules=(MODULE,),
    impossible=HIGHMEM_ONLY,
)
def test_f22_kmap(guest: Guest) -> None:
    folios = Folios(guest)
    held = folios.mapped_for_real(3)
    names = "abc"
    make = [f"+{name}:{folio.slot}" for name, folio in zip(names, held, strict=True)]
    for order in permutations(names):
        steps, left = list(make), set(names)
        for name in order:
            steps.append(f"-{name}")
            left.remove(name)
            steps += [f"?{other}:{names.index(other) + 1}" for other in sorted(left)]
        seen = folios.play("global", steps)
        guest.prove(seen["global"] == seen["highmem"] == 3, f"kmap() mapped highmem pages: {seen}")
        assert seen["differing"] == [0] * 3
        assert set(seen["depths"]) == {0}
    wrong = folios.play("global", [make[0], "?a:2", "-a"])
    guest.prove(wrong["differing"][0] > 0, "other content is noticed")
    folios.at_rest()


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
