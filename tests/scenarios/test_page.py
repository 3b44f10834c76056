# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios about the kernel's own ``Page``, which the thread about borrowing pages is about."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any, Final

from harness.drive.guest import Guest
from harness.drive.memory import HIGHMEM, free_bytes
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

MODULE: Final = "rust_page"
PAGES: Final = 64
THREAD: Final = "struct page borrowing, 2025-02-02"


def each(guest: Guest, operations: Iterable[str]) -> list[dict[str, Any]]:
    """The answers to many operations, all of which have to go well, in one run."""
    given = list(operations)
    steps = [f"op /sys/kernel/debug/{MODULE}/op {words}" for words in given]
    text = guest.run(shlex.join(["replay", "1", *steps]), check=False, seconds=30).text
    answers: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    guest.prove(len(answers) == len(given), "every operation was answered")
    for words, answer in zip(given, answers, strict=True):
        assert answer["ok"], f"{words}: {answer.get('errno')}"
    return answers


@scenario(
    "P16",
    claim="A Page of __GFP_HIGHMEM has no address in the kernel, and is written and read all the same",
    thread=THREAD,
    modules=(MODULE,),
    impossible={
        "x86_64": "a 64-bit kernel maps all memory: no page is highmem",
        "arm64": "a 64-bit kernel maps all memory: no page is highmem",
    },
)
def test_p16_highmem_page(guest: Guest) -> None:
    guest.insmod(MODULE)
    info = guest.must(MODULE, "info")
    guest.prove(info["highmem"] and guest.meminfo().get("HighTotal", 0) > 0, "there is highmem")
    size, before = info["page_size"], free_bytes(guest, HIGHMEM)

    low = each(guest, ["alloc"] * PAGES)
    assert not any(page["highmem"] for page in low), "GFP_KERNEL gave highmem"
    assert all(page["has_address"] for page in low)
    guest.prove(abs(before - free_bytes(guest, HIGHMEM)) < PAGES * size // 2, "lowmem is not highmem")

    high = each(guest, ["alloc highmem"] * PAGES)
    assert all(page["highmem"] for page in high), "__GFP_HIGHMEM gave lowmem"
    assert not any(page["has_address"] for page in high), "a page of highmem has an address"
    assert min(page["pfn"] for page in high) > max(page["pfn"] for page in low)

    for pages in (low, high):
        write_and_read(guest, [page["slot"] for page in pages], size)
    each(guest, (f"free {page['slot']}" for page in (*low, *high)))
    counted = guest.must(MODULE, "counters")
    assert (counted["allocs"], counted["frees"], counted["live"]) == (2 * PAGES, 2 * PAGES, 0)

    without_a_mapping(guest, size)


def write_and_read(guest: Guest, slots: list[int], size: int) -> None:
    """Whole pages, then a part of each; nothing but that part changes."""
    offset, length = size // 2 - 3, 11
    each(guest, (f"check {slot} 0 {size} zero" for slot in slots))
    each(guest, (f"write {slot} 0 {size} {slot}" for slot in slots))
    each(guest, (f"zero {slot} {offset} {length}" for slot in slots))
    parts = ((0, offset, None), (offset, length, "zero"), (offset + length, size - offset - length, None))
    for at, count, what in parts:
        seen = each(guest, (f"check {slot} {at} {count} {what or slot}" for slot in slots))
        assert not any(answer["differing"] for answer in seen), f"{count} bytes at {at} are not as written"
    wrong = each(guest, (f"check {slot} 0 {size} {slot + 1}" for slot in slots))
    guest.prove(min(answer["differing"] for answer in wrong) > size // 2, "other content is noticed")


def without_a_mapping(guest: Guest, size: int) -> None:
    """The wrong twins: one gives lowmem for highmem, and one writes to page_address().

    On ARMv7 the kernel has no access to what is at address zero while a user has that memory: what would
    be a NULL pointer elsewhere is a domain fault.
    """
    low, high = each(guest, ["alloc", "alloc highmem"])
    (_, other) = each(guest, ["variant never_highmem", "alloc highmem"])
    guest.prove(other["has_address"] and not other["highmem"], "lowmem does not pass for highmem")
    guest.must(MODULE, "variant no_mapping")
    each(guest, [f"write {low['slot']} 0 {size} 7", f"check {low['slot']} 0 {size} 7"])
    assert guest.reports() == []

    # Its memcpy() is what copies for Rust, too.
    guest.expect_report(Kind.OOPS, at="mmiocpy", count=1)
    command = f"op /sys/kernel/debug/{MODULE}/op write {high['slot']} 0 {size} 7"
    output = guest.run(command, check=False, seconds=30)
    assert output.status != 0, f"a page without an address was written: {output.text}"
