# SPDX-License-Identifier: GPL-2.0-only
"""Folios in a guest, by way of ``modules/rust_folio``: allocate, map, look, and see where a mapping is.

What one mapping shows of a folio is a matter of the architecture: :data:`MEMORY` says for each what its
memory is like, and with that what a pass there shows.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.drive.guest import Guest

MODULE: Final = "rust_folio"
OPERATIONS: Final = f"/sys/kernel/debug/{MODULE}/op"


@dataclass(frozen=True, slots=True)
class Memory:
    """What an architecture has for who asks for highmem."""

    highmem: bool
    """Whether pages outside of the kernel's direct mapping exist."""
    shows: str


MEMORY: Final = {
    "x86_64": Memory(False, "lowmem only: a 64-bit kernel maps all memory, highmem is impossible"),
    "arm64": Memory(False, "lowmem only: a 64-bit kernel maps all memory, highmem is impossible"),
    "arm": Memory(True, "both: lowmem with GFP_KERNEL, highmem with __GFP_HIGHMEM"),
}

NO_SLOTS: Final = {"arm64": "arm64 has no KMAP_LOCAL: kmap_local is page_address(), unmapping is nothing"}
"""Why a target cannot show what ``kmap_local`` does, as a scenario's ``impossible``."""
ONE_TASK: Final = NO_SLOTS | {
    "x86_64": "x86_64 has no highmem, and what can be forced to map there is safe for one task at a time"
}
NO_KMAP: Final = dict.fromkeys(
    ("x86_64", "arm64"), "without highmem, kmap() is page_address(), and kunmap() nothing"
)


@dataclass(frozen=True, slots=True)
class Folio:
    """A folio in one of the module's slots."""

    slot: int
    size: int
    highmem: bool
    page_size: int
    partial: bool
    """Whether it can only be mapped page by page."""
    direct: bool
    """Whether it is mapped where the kernel has it anyway."""

    def mappable(self, offset: int) -> int:
        """How many bytes a mapping shows that begins at ``offset``, in Matthew Wilcox's words."""
        return self.page_size - offset % self.page_size if self.partial else self.size - offset

    def mappings(self, offset: int, length: int) -> int:
        """How many mappings ``length`` bytes from ``offset`` on take."""
        if length == 0:
            return 0
        last = offset + length - 1
        return last // self.page_size - offset // self.page_size + 1 if self.partial else 1

    def offsets(self) -> list[int]:
        """Offsets at which a wrong rule would go wrong: the begins and ends of pages."""
        near = (0, 1, self.page_size // 2, self.page_size - 1)
        return [page + at for page in range(0, self.size, self.page_size) for at in near]


class Folios:
    """The module in a guest, loaded."""

    def __init__(self, guest: Guest) -> None:
        guest.insmod(MODULE)
        self._guest = guest
        self.info = self.must("info")
        self.memory = MEMORY[guest.target.arch.name]
        guest.prove(
            self.info["page_size"] == guest.target.arch.page_size, "the guest has the page size it has"
        )
        guest.prove(self.info["variant"] == "none", "the module begins as the right one")
        total = guest.meminfo().get("HighTotal", 0)
        guest.prove((total > 0) == self.memory.highmem, f"{self.memory.shows}; HighTotal is {total}")
        self._forced = False
        self._begun = self.counters()

    def op(self, words: str) -> dict[str, Any]:
        return self._guest.op(MODULE, words)

    def must(self, words: str) -> dict[str, Any]:
        return self._guest.must(MODULE, words)

    def each(self, operations: Iterable[str]) -> list[dict[str, Any]]:
        """The answers to many operations, in one run: a process for each would be slow."""
        steps = [f"op {OPERATIONS} {words}" for words in operations]
        text = self._guest.run(shlex.join(["replay", "1", *steps]), check=False, seconds=30).text
        answers: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
        self._guest.prove(len(answers) == len(steps), "every operation was answered")
        return answers

    def must_each(self, operations: Iterable[str]) -> list[dict[str, Any]]:
        """Like :meth:`each`, for operations that have to go well."""
        given = list(operations)
        answers = self.each(given)
        for words, answer in zip(given, answers, strict=True):
            assert answer["ok"], f"{words}: {answer['errno']}"
        return answers

    def refused(self, errno: str, operations: Iterable[str]) -> None:
        """The operations must fail, and with this."""
        given = list(operations)
        for words, answer in zip(given, self.each(given), strict=True):
            assert answer.get("errno") == errno, f"{words}: {errno} expected, answered {answer}"

    def alloc(self, order: int, *, highmem: bool = False) -> Folio:
        """A new folio, which has to be of the kind that the architecture has."""
        (folio,) = self.alloc_many(1, order, highmem=highmem)
        return folio

    def alloc_many(self, number: int, order: int, *, highmem: bool = False) -> list[Folio]:
        """New folios, each of which has to be of the kind that the architecture has."""
        words = f"alloc {order} highmem" if highmem else f"alloc {order}"
        return [self._folio(answer, order, highmem) for answer in self.must_each([words] * number)]

    def free(self, folios: Iterable[Folio]) -> None:
        self.must_each(f"free {folio.slot}" for folio in folios)

    def _folio(self, answer: Mapping[str, Any], order: int, highmem: bool) -> Folio:
        expected = highmem and self.memory.highmem
        assert answer["highmem"] == expected, f"PageHighMem is {answer['highmem']}; {self.memory.shows}"
        assert answer["order"] == order
        assert answer["size"] == self.info["page_size"] << order
        partial = answer["highmem"] or self.info["force_map"]
        # Without highmem, kmap_local() has no slots even where mapping page by page is forced.
        direct = not (answer["highmem"] or self._forced)
        return Folio(
            answer["slot"], answer["size"], answer["highmem"], self.info["page_size"], partial, direct
        )

    def each_kind(self, order: int) -> Iterator[Folio]:
        """A folio of each kind of memory that there is, freed after use."""
        for highmem in (False, True) if self.memory.highmem else (False,):
            folio = self.alloc(order, highmem=highmem)
            yield folio
            self.free([folio])

    def check(self, folio: Folio, parts: Iterable[tuple[int, int, str]]) -> None:
        """Bytes must be what they should be, seen through as many mappings as it takes.

        A part is an offset, a length, and what the bytes are: ``zero``, or the seed of what was written.
        """
        given = list(parts)
        answers = self.must_each(f"check {folio.slot} {offset} {size} {what}" for offset, size, what in given)
        for (offset, size, what), answer in zip(given, answers, strict=True):
            differing = answer["differing"]
            assert differing == 0, f"{differing} of {size} bytes at {offset} of {folio} are not {what}"
            assert answer["mappings"] == folio.mappings(offset, size)

    def counters(self) -> dict[str, int]:
        return {name: value for name, value in self.must("counters").items() if name != "ok"}

    def since(self) -> dict[str, int]:
        """What was counted since the module was loaded, or since this was last asked."""
        before, self._begun = self._begun, self.counters()
        return {name: value - before[name] for name, value in self._begun.items()}

    def at_rest(self) -> None:
        """Everything that was begun has ended."""
        now = self.counters()
        assert now["maps"] == now["unmaps"], "a mapping was left behind"
        assert now["global_maps"] == now["global_unmaps"], "a mapping with kmap() was left behind"
        assert now["locks"] == now["unlocks"], "a lock was left behind"
        assert now["allocs"] + now["gets"] == now["puts"] + now["live"], "a reference was left behind"
        assert now["kmap_depth"] == 0, "the task still holds slots of kmap_local"

    # Mappings that are for real

    @property
    def slots_each(self) -> int:
        """How much of ``kmap_ctrl.idx`` a mapping takes: with DEBUG_KMAP_LOCAL, a guard page with it."""
        return 2 if self.info["kmap_debug"] else 1

    @property
    def deepest(self) -> int:
        """How many mappings a task can have at once: ``kmap_ctrl.idx`` has to stay below KM_MAX_IDX."""
        return (int(self.info["kmap_most"]) - 1) // self.slots_each

    def mapped_for_real(self, number: int, *, seed: int = 1) -> list[Folio]:
        """Folios of a page that ``kmap_local`` really maps, with the content of ``seed``, ``seed + 1``...

        Highmem where there is some. Elsewhere lowmem, with the module calling the functions itself that
        ``CONFIG_DEBUG_KMAP_LOCAL_FORCE_MAP`` builds and ``kmap_local_page()`` does not call. Shown for
        each: a mapping is in the slots of ``kmap_local`` and not in the direct mapping.
        """
        if not self.memory.highmem:
            self.must("force on")
            self._forced = True
        folios = self.alloc_many(number, 0, highmem=self.memory.highmem)
        size = self.info["page_size"]
        words = [f"write {one.slot} 0 {size} {seed + index}" for index, one in enumerate(folios)]
        self.must_each(words)
        for seen in self.must_each(f"map {one.slot} 0" for one in folios):
            self._guest.prove(seen["fixmap"] and not seen["direct"], f"it is really mapped: {seen}")
            self._guest.prove(seen["kmap_depth"] == self.slots_each, f"it took a slot: {seen}")
            self._guest.prove(seen["highmem"] == self.memory.highmem, self.memory.shows)
        return folios

    def slot_numbers(self, number: int) -> list[int]:
        """The slots of mappings above each other: downwards in memory, as ``kmap_ctrl.idx`` goes up."""
        return [self.slots_each * (index + 1) for index in range(number)]

    def play(self, guards: str, steps: Sequence[str]) -> dict[str, Any]:
        """What was seen while guards were made and dropped as ``steps`` say (the module's play.rs)."""
        seen = self.must(f"play {guards} {' '.join(steps)}")
        self._guest.prove(len(seen["depths"]) == len(steps), f"all {len(steps)} steps were made: {seen}")
        return seen

    def keep_apart(self) -> None:
        """Send all processes to CPU 0: what plays ``apart`` is on the last CPU, and leaves a mess there.

        The next task to map something there may pay for that, and this is any process that writes to a page
        which it shares with its parent, or that ends.
        """
        self._guest.prove(self._guest.target.arch.cpus > 1, "there is a second CPU")
        pin = 'for task in /proc/[0-9]*; do taskset -p 1 "${task#/proc/}"; done'
        self._guest.run(f"{pin} > /dev/null 2>&1; taskset -p 1 $$")

    def dies(self, words: str) -> dict[str, Any]:
        """Play or nest in a task of its own, which the kernel has to kill; what was seen until then.

        ``words`` are those of the operation, without ``apart``.
        """
        self.keep_apart()
        operation, rest = words.split(" ", 1)
        seen = self.must(f"{operation} apart {rest}")
        assert seen["died"], f"{words} came back: {seen}"
        return seen
