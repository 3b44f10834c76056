# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the folio thread about ways to map that are right, or refuse what is not: closures, guards
that borrow one another, guards whose unmapping waits for its turn, and ``kmap()``.

What goes wrong otherwise is in test_kmap.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from string import ascii_lowercase
from typing import Final

from harness.drive.folios import MODULE, NO_KMAP, NO_SLOTS, Folio, Folios
from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

ORDER: Final = "discussion of VFS series v1, 2023-10-18"
CHAIN: Final = "discussion of VFS series v1, 2023-10-19"
REVIEW: Final = "review of VFS series v1, 2023-10-18"

PILE_MOST: Final = 15
"""The most that the module's guards have mapped at once (DEPTH in deferred.rs and kmap.rs)."""
PROGRAMS: Final = 24
PROGRAM_STEPS: Final = 60


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
    # The task dies with one slot more than there are. To be put away it reads the next, which is what
    # comes behind in struct task_struct: zeroes, of which the kernel warns, or not.
    past_end = "it depends on the configuration what comes behind the slots"
    guest.allow_report(Kind.WARNING, at="__kmap_local_sched_out", reason=past_end)
    guest.allow_report(Kind.WARNING, at="__kmap_local_sched_in", reason=past_end)
    guest.allow_report(Kind.UBSAN, at="__kmap_local_sched_out", reason=past_end)
    folios.dies(f"nest closures 1 {' '.join(numbers)}")


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
    impossible=NO_KMAP,
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
