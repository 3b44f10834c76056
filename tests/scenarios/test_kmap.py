# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios of the folio thread about ``kmap_local``: mappings have to end in the reverse order of their
beginning, and Rust drops values in whatever order its user likes.

Only a kernel with highmem needs mappings. There (ARMv7) pages are high, and all is as it would be for a
file system. A 64-bit kernel has none of it: on x86_64 the module calls the functions that a debug option
builds (see :meth:`harness.drive.folios.Folios.mapped_for_real`), on arm64 there is nothing to call.
"""

from __future__ import annotations

from typing import Final

from harness.drive.folios import MODULE, Folios
from harness.drive.guest import Guest
from harness.drive.scenario import scenario
from harness.judge.kinds import Kind

ORDER: Final = "discussion of VFS series v1, 2023-10-18"
CHAIN: Final = "discussion of VFS series v1, 2023-10-19"

NO_SLOTS: Final = {"arm64": "arm64 has no KMAP_LOCAL: kmap_local is page_address(), unmapping is nothing"}


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
    print(folios.play("local", [*make, "-a", "!a", "!b", "-b"]))
