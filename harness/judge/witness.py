# SPDX-License-Identifier: GPL-2.0-only
"""Second witnesses: what the kernel leaves behind besides its console. Text in, problems out.

A console can be silent for the wrong reasons. The taint, kmemleak, the slabs and the owners of pages speak
for themselves: each function here takes what was read before and after, and says what must not have
changed. The numbers are from the files of one guest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.judge.body import Part, look
from harness.judge.dmesg import Report
from harness.judge.frames import first_stack, guilty

# kernel/panic.c taint_flags[], bit 0 first; Documentation/admin-guide/tainted-kernels.rst
TAINTS: Final = (
    ("P", "a proprietary module was loaded"),
    ("F", "a module was force loaded"),
    ("S", "the hardware is out of specification"),
    ("R", "a module was force unloaded"),
    ("M", "the processor reported a machine check"),
    ("B", "a bad page was found"),
    ("U", "user space asked for it"),
    ("D", "the kernel died: an oops or a BUG"),
    ("A", "an ACPI table was overridden"),
    ("W", "a warning was issued"),
    ("C", "a staging driver was loaded"),
    ("I", "the firmware has a bug"),
    ("O", "an out-of-tree module was loaded"),
    ("E", "an unsigned module was loaded"),
    ("L", "a soft lockup happened"),
    ("K", "the kernel was live patched"),
    ("X", "the distribution's own"),
    ("T", "the kernel's structures were randomised"),
    ("N", "a test was run in the kernel"),
    ("J", "user space used a firmware's debug interface"),
)
EXPECTED_TAINT: Final = 1 << 12 | 1 << 13 | 1 << 18
"""What testing an out-of-tree module always brings: O, E and N."""


@dataclass(frozen=True, slots=True)
class Leak:
    """An object that kmemleak found no reference to."""

    address: str
    size: int
    """Bytes."""
    comm: str
    frame: str | None
    """The function that allocated it."""
    stack: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.size} bytes allocated in {self.frame or 'an unknown place'} by {self.comm or 'unknown'}"
        )


def taint_delta(before: int, after: int, mask: int = EXPECTED_TAINT) -> list[str]:
    """What was added to /proc/sys/kernel/tainted, in words, without the bits of ``mask``."""
    added = after & ~before & ~mask
    return [f"taint {letter}: {words}" for bit, (letter, words) in enumerate(TAINTS) if added >> bit & 1] + [
        f"taint bit {bit}" for bit in range(len(TAINTS), added.bit_length()) if added >> bit & 1
    ]


def silence_doubts(objects: Iterable[Mapping[str, Any]], reports: Iterable[Report]) -> list[str]:
    """Why not to believe a console, by what the guest's kernel says of itself besides (guests/sample.c).

    ``objects`` are what came over the results channel, ``reports`` what the console shows. Any report
    explains a taint; without one the kernel noticed something that nobody was shown.
    """
    said = [one["witness"] for one in objects if isinstance(one.get("witness"), dict)]
    if len(said) < 2:
        return ["the guest did not say at the end what its kernel thinks of itself"]
    last = said[-1]
    doubts = []
    if all(report.kind.is_fact for report in reports):
        added = taint_delta(last["was"], last["tainted"])
        doubts += [f"{taint}, and the console shows no report" for taint in added]
    if last["lost"]:
        doubts.append(f"{last['lost']} of {last['messages']} kernel messages were overwritten unread")
    return doubts


_OBJECT: Final = re.compile(r"unreferenced object(?: \(\w+\)| percpu)? (0x[0-9a-f]+) \(size (\d+)\):")
_COMM: Final = re.compile(r'  comm "([^"]*)"')


def kmemleak(text: str) -> list[Leak]:
    """The objects in /sys/kernel/debug/kmemleak (mm/kmemleak.c print_unreferenced())."""
    leaks = []
    for part in re.split(r"(?m)^(?=unreferenced object)", text):
        match = _OBJECT.match(part)
        if match is None:
            continue
        lines = part.splitlines()[1:]
        comm = next((found[1] for line in lines if (found := _COMM.match(line))), "")
        stack = first_stack(look(line) for line in lines)
        leaks.append(Leak(match[1], int(match[2]), comm, guilty(stack, None), tuple(map(str, stack))))
    return leaks


def leaks_in_two_scans(first: str, second: str, before: str = "") -> list[Leak]:
    """Objects without a reference in both scans, and not yet in ``before``.

    One scan can miss a reference that was in a register or moved under it; an object younger than five
    seconds is not reported at all. So scan, wait, scan.
    """
    old = {leak.address for leak in kmemleak(before)}
    again = {leak.address for leak in kmemleak(second)}
    return [leak for leak in kmemleak(first) if leak.address in again and leak.address not in old]


def slabinfo(text: str) -> dict[str, int]:
    """Active objects by cache, of /proc/slabinfo (``name active total size ...``)."""
    counts = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[1].isdigit() and not line.startswith(("#", "slabinfo")):
            counts[fields[0]] = int(fields[1])
    return counts


def slab_growth(before: str, after: str, caches: Iterable[str] = (), *, slack: int = 0) -> list[str]:
    """Caches with more than ``slack`` objects more than before; ``caches`` are all that count, if given.

    SLUB counts the objects of a CPU's own slab as active, so without ``slab_nomerge`` and a shrink of the
    cache the number is too high by some.
    """
    old, new = slabinfo(before), slabinfo(after)
    wanted = set(caches) or new.keys()
    return [
        f"slab cache {name} grew from {old.get(name, 0)} to {count} objects"
        for name, count in sorted(new.items())
        if name in wanted and count - old.get(name, 0) > slack
    ]


_PAGES: Final = re.compile(r"Page allocated via order (\d+), ")


def page_owners(text: str) -> Counter[str]:
    """Pages by the function that allocated them, of /sys/kernel/debug/page_owner (mm/page_owner.c)."""
    pages: Counter[str] = Counter()
    for part in re.split(r"(?m)^(?=Page allocated via order )", text):
        if match := _PAGES.match(part):
            found = [look(line) for line in part.splitlines()]
            stack = first_stack(one for one in found if one is not None and one.part is Part.FRAME)
            pages[guilty(stack, None) or "unknown"] += 1 << int(match[1])
    return pages


def page_growth(before: str, after: str, functions: Iterable[str] = (), *, slack: int = 0) -> list[str]:
    """Functions that own more than ``slack`` pages more; ``functions`` are parts of names, all when empty."""
    old, new, wanted = page_owners(before), page_owners(after), tuple(functions)
    return [
        f"{name} owns {count - old[name]} pages more than before"
        for name, count in sorted(new.items())
        if count - old[name] > slack and (not wanted or any(word in name for word in wanted))
    ]
