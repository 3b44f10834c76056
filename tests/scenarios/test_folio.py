# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the folio thread (Wedson Almeida Filho's patch, Matthew Wilcox's review).

Those about the order of mappings are in test_kmap.py. What one mapping shows of a folio is a matter of
the architecture, see :data:`harness.drive.folios.MEMORY`.
"""

from __future__ import annotations

from typing import Any, Final

from harness.drive.folios import MODULE, Folio, Folios
from harness.drive.guest import Guest
from harness.drive.memory import HIGHMEM, free_bytes
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

MIB: Final = 1 << 20

PATCH: Final = "VFS series v1, 2023-10-18"
REVIEW: Final = "review of VFS series v1, 2023-10-18"
MAP_BY_BYTES: Final = "review of VFS series v1, 2023-10-20"
SECOND: Final = "VFS series v2, 2024-05-14"


def content(seed: int, offset: int, length: int) -> bytes:
    """What ``write`` writes (the module's content.rs)."""
    numbers = range(seed + offset, seed + offset + length)
    return bytes((number * 0x9E3779B1 & 0xFFFFFFFF) >> 24 | 1 for number in numbers)


@scenario(
    "F01",
    claim="A folio of order N has PAGE_SIZE << N bytes; one more than MAX_PAGE_ORDER is EDOM, unasked",
    thread=PATCH,
    modules=(MODULE,),
)
def test_f01_orders(guest: Guest) -> None:
    folios = Folios(guest)
    largest = folios.info["max_order"]
    before = free_bytes(guest)
    held = [folios.alloc(order) for order in range(largest + 1)]
    taken, size = before - free_bytes(guest), sum(folio.size for folio in held)
    guest.prove(taken >= size * 7 // 8, f"{size} bytes of folios take memory: {taken}")
    folios.free(held)
    done = folios.since()
    guest.prove(done["allocs"] == done["puts"] == largest + 1, "each folio came from folio_alloc()")

    folios.refused("EDOM", (f"alloc {order}" for order in (largest + 1, 31, 32, 63, 2**32 - 1)))
    assert folios.since()["allocs"] == 0
    folios.at_rest()


@scenario(
    "F02",
    claim="Without the check of the order, the page allocator warns; with it, it is not asked",
    thread=PATCH,
    modules=(MODULE,),
)
def test_f02_no_order_check(guest: Guest) -> None:
    folios = Folios(guest)
    too_large = folios.info["max_order"] + 1
    folios.refused("EDOM", [f"alloc {too_large}"])
    assert guest.reports() == []

    guest.expect_report(Kind.WARNING, at="mm/page_alloc.c", count=1)
    folios.must("variant no_order_check")
    folios.refused("ENOMEM", [f"alloc {too_large}"])
    assert folios.since()["allocs"] == 0
    folios.alloc(0)
    guest.prove(folios.since()["allocs"] == 1, "the variant does allocate what there is")


@scenario(
    "F03",
    claim="A page index at or past the folio's end is EDOM, even one whose offset is no number",
    thread=PATCH,
    modules=(MODULE,),
)
def test_f03_index_past_end(guest: Guest) -> None:
    folios = Folios(guest)
    page_size, bits = folios.info["page_size"], folios.info["bits"]
    wraps = 2**bits // page_size
    for order in (0, 1, 4):
        pages = 1 << order
        for folio in folios.each_kind(order):
            folios.since()
            last = folios.must(f"map_index {folio.slot} {pages - 1}")
            assert last["len"] == page_size
            guest.prove(folios.since()["maps"] == 1, "the last page was mapped")
            # An index that wraps would be page 0 again if it were multiplied first.
            past = (pages, pages + 1, 2 * pages, wraps, wraps + pages - 1, 2**bits - 1)
            folios.refused("EDOM", (f"map_index {folio.slot} {index}" for index in past))
            assert folios.since()["maps"] == 0, "something past the end was mapped"
    folios.at_rest()


@scenario(
    "F04",
    claim="A mapping shows lowmem to the folio's end, and highmem to the page's end",
    thread=MAP_BY_BYTES,
    modules=(MODULE,),
)
def test_f04_map_length(guest: Guest) -> None:
    folios = Folios(guest)
    kinds = set()
    for order in (0, 1, 3):
        for folio in folios.each_kind(order):
            kinds.add(folio.highmem)
            folios.since()
            for offset, seen in map_everywhere(folios, folio).items():
                assert seen["len"] == folio.mappable(offset), f"mapped at {offset} of {folio}"
                assert seen["end_in_folio"]
                assert seen["direct"] == folio.direct
                assert seen["fixmap"] != folio.direct
            folios.refused("EDOM", [f"map {folio.slot} {folio.size}"])
            done = folios.since()
            guest.prove(
                done["maps"] == done["unmaps"] == len(folio.offsets()), "each was mapped and unmapped"
            )
            look_through(guest, folios, folio)
    guest.prove(kinds == ({False, True} if folios.memory.highmem else {False}), folios.memory.shows)
    folios.at_rest()


def map_everywhere(folios: Folios, folio: Folio) -> dict[int, dict[str, Any]]:
    """What the module says of mappings of ``folio``, by offset."""
    offsets = folio.offsets()
    return dict(zip(offsets, folios.must_each(f"map {folio.slot} {at}" for at in offsets), strict=True))


def look_through(guest: Guest, folios: Folios, folio: Folio) -> None:
    """What is mapped is the folio: content that was written under the lock is seen, in its place."""
    folios.must(f"write {folio.slot} 0 {folio.size} 4")
    folios.check(folio, [(0, folio.size, "4")])
    wrong = folios.must(f"check {folio.slot} 0 {folio.size} 5")
    guest.prove(wrong["differing"] > folio.size // 2, "the comparison sees differences")


@scenario(
    "F05",
    claim="Version 2's length of a lowmem mapping runs past the folio from the second page on; ours does not",
    thread=SECOND,
    modules=(MODULE,),
)
def test_f05_length_of_version_2(guest: Guest) -> None:
    folios = Folios(guest)
    for order in (0, 1, 3):
        folio = folios.alloc(order)
        guest.prove(not folio.highmem, "the folio is in lowmem, where the length differed")
        assert past_end(folios, folio) == {}

        assert folios.must("variant v2_map_len")["variant"] == "v2_map_len"
        # The pages before the offset are not taken off: by so much it is too long.
        pages = {offset: offset - offset % folio.page_size for offset in folio.offsets()}
        assert past_end(folios, folio) == {offset: excess for offset, excess in pages.items() if excess}

        folios.must("variant none")
        assert past_end(folios, folio) == {}
    done = folios.since()
    guest.prove(done["maps"] == done["unmaps"] > 0, "the right twin really mapped")
    folios.at_rest()


def past_end(folios: Folios, folio: Folio) -> dict[int, int]:
    """The offsets at which a mapping would run past the folio's end, and by how many bytes."""
    excess = {}
    for offset, seen in map_everywhere(folios, folio).items():
        end = offset + seen["len"]
        assert seen["end_in_folio"] == (end <= folio.size)
        if end > folio.size:
            excess[offset] = end - folio.size
    return excess


@scenario(
    "F06",
    claim="write and zero_out cross pages; an end that is no number is EDOM, one past the folio's EINVAL",
    thread=PATCH,
    modules=(MODULE,),
)
def test_f06_write_and_zero(guest: Guest) -> None:
    folios = Folios(guest)
    page = folios.info["page_size"]
    spans = ((0, 1), (page - 1, 2), (page - 7, 2 * page + 14), (0, 4 * page))
    written = 0
    for folio in folios.each_kind(2):
        for seed, (offset, length) in enumerate(spans, start=1):
            written += write_and_zero(folios, folio, seed, offset, length)
        written += refuse_what_does_not_fit(folios, folio)
    done = folios.since()
    guest.prove(done["bytes_written"] == written, "as many bytes as asked for were written")
    guest.prove(done["locks"] == done["unlocks"] > 0, "the folio lock was taken for it")
    folios.at_rest()


def write_and_zero(folios: Folios, folio: Folio, seed: int, offset: int, length: int) -> int:
    """Write, look, zero the middle third, look; all else stays zero. How many bytes that wrote."""
    folios.must(f"zero_out {folio.slot} 0 {folio.size}")
    folios.check(folio, [(0, folio.size, "zero")])
    before, _, after = folios.must_each(
        ["counters", f"write {folio.slot} {offset} {length} {seed}", "counters"]
    )
    assert after["maps"] - before["maps"] == folio.mappings(offset, length)

    end, what = offset + length, str(seed)
    folios.check(folio, [(0, offset, "zero"), (offset, length, what), (end, folio.size - end, "zero")])
    # The same bytes, not as the module judges them but as they are.
    first = min(length, 64)
    seen = bytes.fromhex(folios.must(f"read {folio.slot} {offset} {first}")["hex"])
    assert seen == content(seed, offset, first)

    third = length // 3
    zeroes, rest = offset + third, offset + 2 * third
    folios.must(f"zero_out {folio.slot} {zeroes} {third}")
    folios.check(folio, [(offset, third, what), (zeroes, third, "zero"), (rest, end - rest, what)])
    return folio.size + length + third


def refuse_what_does_not_fit(folios: Folios, folio: Folio) -> int:
    """Not a byte may be written then. How many bytes were written to see that."""
    size, last = folio.size, 2 ** folios.info["bits"] - 1
    folios.must(f"write {folio.slot} 0 {size} 9")
    before = folios.counters()
    no_number = ((last, 1), (last - 1, 2), (last - 7, size))
    past_end = ((size, 1), (size - 1, 2), (1, size), (size + 1, 0), (last - 16, 16))
    for errno, spans in (("EDOM", no_number), ("EINVAL", past_end)):
        folios.refused(errno, (f"write {folio.slot} {offset} {length} 1" for offset, length in spans))
        folios.refused(errno, (f"zero_out {folio.slot} {offset} {length}" for offset, length in spans))
    folios.must(f"write {folio.slot} {size} 0 1")
    after = folios.counters()
    assert after["maps"] == before["maps"]
    assert after["bytes_written"] == before["bytes_written"]
    folios.check(folio, [(0, size, "9")])
    return size


@scenario(
    "F07",
    claim="A thousand clones of a reference are a thousand more in the count, and none when they are dropped",
    thread=PATCH,
    modules=(MODULE,),
)
def test_f07_references(guest: Guest) -> None:
    clones, number, order = 1000, 16, 9
    folios = Folios(guest)
    free = free_bytes(guest)
    held = folios.alloc_many(number, order)
    size = sum(folio.size for folio in held)
    taken = free - free_bytes(guest)
    guest.prove(taken >= size * 7 // 8, f"{size} bytes of folios take memory: {taken}")

    for folio in held:
        count_clones(guest, folios, folio, clones)
    folios.free(held)
    done = folios.since()
    guest.prove(done["gets"] >= clones * number, "each clone was a folio_get()")
    folios.at_rest()
    missing = free - free_bytes(guest)
    assert missing < held[0].size, f"{missing} bytes are missing: the folios were not all freed"


def count_clones(guest: Guest, folios: Folios, folio: Folio, clones: int) -> None:
    """The count goes up by as many clones and down again.

    Somebody else can have a reference for a moment (the review's "spurious references"), so one count
    that is off by a few proves nothing yet.
    """
    answers = []
    for _ in range(5):
        answer = folios.must(f"refs {folio.slot} {clones}")
        guest.prove(answer["clones"] == clones, "all clones were alive at once")
        if (answer["before"], answer["during"], answer["after"]) == (1, 1 + clones, 1):
            return
        answers.append(answer)
    raise AssertionError(f"the reference count is not what it should be: {answers}")


@scenario(
    "F27",
    claim="The patch's GFP_KERNEL folio is never highmem: what it shows of kmap, it shows of lowmem alone",
    thread=PATCH,
    modules=(MODULE,),
)
def test_f27_never_highmem(guest: Guest) -> None:
    folios = Folios(guest)
    assert folios.info["highmem"] == folios.memory.highmem

    number, order = 32, 4
    for highmem in (False, True):
        before = free_bytes(guest, HIGHMEM)
        held = folios.alloc_many(number, order, highmem=highmem)
        taken = before - free_bytes(guest, HIGHMEM)

        outside = number if highmem and folios.memory.highmem else 0
        assert sum(folio.highmem for folio in held) == outside
        expected = outside * held[0].size
        assert abs(taken - expected) < MIB // 2, f"high memory fell by {taken} for {expected} bytes"
        places = folios.must_each(f"map {folio.slot} 0" for folio in held)
        assert [seen["direct"] for seen in places] == [folio.direct for folio in held]
        folios.free(held)
    guest.prove(folios.since()["allocs"] == 2 * number, "all of them were allocated")
    folios.at_rest()


@scenario(
    "F39",
    claim="A walk that goes on behind what was mapped takes one mapping for lowmem, one a page for highmem",
    thread=MAP_BY_BYTES,
    modules=(MODULE,),
)
def test_f39_walk(guest: Guest) -> None:
    folios = Folios(guest)
    seen_kinds = set()
    for order in (0, 1, 3):
        for folio in folios.each_kind(order):
            folios.since()
            walked = folios.must(f"walk {folio.slot}")
            pages = folio.size // folio.page_size
            assert walked["walked"] == folio.size
            assert walked["mappings"] == (pages if folio.partial else 1)
            length = folio.page_size if folio.partial else folio.size
            assert (walked["shortest"], walked["longest"]) == (length, length)
            guest.prove(folios.since()["maps"] == walked["mappings"], "each mapping was counted")
            seen_kinds.add(folio.highmem)
    guest.prove(seen_kinds == ({False, True} if folios.memory.highmem else {False}), folios.memory.shows)
    folios.at_rest()


@scenario(
    "F40",
    claim="CONFIG_DEBUG_KMAP_LOCAL_FORCE_MAP is nothing to kmap_local_folio(); a module can have it map",
    thread=MAP_BY_BYTES,
    modules=(MODULE,),
    impossible={
        "arm64": "arm64 has no KMAP_LOCAL, so nothing can be forced to map",
        "arm": "ARMv7 has no DEBUG_KMAP_LOCAL_FORCE_MAP: highmem is mapped anyway, lowmem never",
    },
)
def test_f40_forced(guest: Guest) -> None:
    folios = Folios(guest)
    guest.prove(folios.info["force_map"] and not folios.info["highmem"], "the option is on")
    folio = folios.alloc(1)
    plain = folios.must(f"map {folio.slot} 0")
    assert (plain["direct"], plain["fixmap"], plain["kmap_depth"]) == (True, False, 0)
    look_through(guest, folios, folio)

    folios.must("force on")
    for page in range(2):
        forced = folios.must(f"map {folio.slot} {page * folio.page_size}")
        assert (forced["direct"], forced["fixmap"]) == (False, True)
        assert forced["kmap_depth"] == folios.slots_each
    # It is the same page: the content that was written through the direct mapping, and the other way.
    folios.check(folio, [(0, folio.size, "4")])
    folios.must(f"write {folio.slot} 0 {folio.size} 6")
    folios.check(folio, [(0, folio.size, "6")])
    folios.must("force off")
    folios.check(folio, [(0, folio.size, "6")])
    assert folios.must(f"map {folio.slot} 0")["direct"]
    folios.at_rest()


@scenario(
    "F41",
    claim="What is written through one mapping of a page is read through its others, local and global",
    thread=MAP_BY_BYTES,
    modules=(MODULE,),
    impossible={"arm64": "arm64 has one address for a page in the kernel: no second mapping can be had"},
)
def test_f41_aliases(guest: Guest) -> None:
    folios = Folios(guest)
    (folio,) = folios.mapped_for_real(1)
    first, second = folios.slot_numbers(2)
    spans = ((0, folio.size), (1, 1), (folio.size - 1, 1), (folio.size // 2 - 7, 15))
    for seed, (offset, length) in enumerate(spans, start=20):
        seen = folios.must(f"alias {folio.slot} {offset} {length} {seed}")
        guest.prove(seen["distinct"], "the three mappings are in three places")
        guest.prove(seen["slots"] == [first, second, 0], f"two are local, one is not: {seen}")
        assert (seen["local"], seen["global"]) == (0, 0)
        assert folios.must(f"check {folio.slot} {offset} {length} {seed}")["differing"] == 0
    wrong = folios.must(f"check {folio.slot} 0 {folio.size} 20")
    guest.prove(0 < wrong["differing"] <= 17, "the comparison sees differences")
    folios.at_rest()
