# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel leaves behind besides its console: taint, kmemleak, slabs, owners of pages."""

from __future__ import annotations

import pytest

from harness.judge import witness

LEAK = """\
unreferenced object{what} {address} (size {size}):
  comm "insmod", pid 77, jiffies 4294667309
  hex dump (first 8 bytes):
    6b 6b 6b 6b 6b 6b 6b a5                          kkkkkkk.
  backtrace (crc 5a8c1b4e):
    __kmalloc_cache_noprof+0x2a4/0x3b0
    demo_new+0x1d/0x40 [demo]
    do_one_initcall+0x58/0x270
"""
SLABS = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit>
demo_cache            {demo}     64     64   64    1 : tunables    0    0    0 : slabdata      1      1      0
kmalloc-64          1280   1280     64   64    1 : tunables    0    0    0 : slabdata     20     20      0
"""
PAGE = """\
Page allocated via order {order}, mask 0xcc0(GFP_KERNEL), pid 77, tgid 77 (insmod), ts 1234567890 ns
PFN 0x3b0a0 type Unmovable Block 29 type Unmovable Flags 0x4000000000000000(zone=1)
 get_page_from_freelist+0x1310/0x1480
 __alloc_frozen_pages_noprof+0x18e/0x3a0
 demo_pages+0x1d/0x40 [demo]
 do_one_initcall+0x58/0x270

"""


def leak(address: int, size: int = 64, what: str = "") -> str:
    return LEAK.format(address=f"0x{address:016x}", size=size, what=what)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (0, 0, []),
        (0, 1 << 12 | 1 << 13 | 1 << 18, []),
        (1 << 9, 1 << 9 | 1 << 12, []),
        (0, 1 << 9, ["taint W: a warning was issued"]),
        (
            1 << 12,
            1 << 12 | 1 << 7 | 1 << 5,
            ["taint B: a bad page was found", "taint D: the kernel died: an oops or a BUG"],
        ),
        (0, 1 << 25, ["taint bit 25"]),
        (1 << 9, 0, []),
    ],
)
def test_taint(before: int, after: int, says: list[str]) -> None:
    assert witness.taint_delta(before, after) == says


def test_taint_of_a_module_counts_when_it_is_asked_for() -> None:
    assert witness.taint_delta(0, 1 << 12, mask=0) == ["taint O: an out-of-tree module was loaded"]


def test_the_letters_are_the_kernels() -> None:
    assert "".join(letter for letter, _ in witness.TAINTS) == "PFSRMBUDAWCIOELKXTNJ"


def test_kmemleak_is_read() -> None:
    first, second = witness.kmemleak(leak(0x1000) + leak(0x2000, 4096, " percpu"))
    assert str(first) == "64 bytes allocated in demo_new by insmod"
    assert (second.address, second.size) == ("0x0000000000002000", 4096)
    assert first.stack[1] == "demo_new+0x1d/0x40 [demo]"


def test_only_what_two_scans_agree_on_is_a_leak() -> None:
    found = witness.leaks_in_two_scans(leak(0x1000) + leak(0x2000), leak(0x2000) + leak(0x3000))
    assert [one.address for one in found] == ["0x0000000000002000"]


def test_what_leaked_before_is_not_new() -> None:
    both = leak(0x1000) + leak(0x2000)
    found = witness.leaks_in_two_scans(both, both, before=leak(0x1000))
    assert [one.address for one in found] == ["0x0000000000002000"]
    assert witness.leaks_in_two_scans("", "") == []


def test_slabs_that_grew() -> None:
    before, after = SLABS.format(demo=12), SLABS.format(demo=15)
    assert witness.slab_growth(before, after) == ["slab cache demo_cache grew from 12 to 15 objects"]
    assert witness.slab_growth(before, after, ["kmalloc-64"]) == []
    assert witness.slab_growth(before, after, slack=3) == []
    assert witness.slab_growth("", after, ["demo_cache"]) == [
        "slab cache demo_cache grew from 0 to 15 objects"
    ]
    assert witness.slab_growth(after, before) == []


def test_pages_by_owner() -> None:
    before, after = PAGE.format(order=0), PAGE.format(order=0) + PAGE.format(order=3)
    assert witness.page_owners(after) == {"demo_pages": 9}
    assert witness.page_growth(before, after) == ["demo_pages owns 8 pages more than before"]
    assert witness.page_growth(before, after, ["zpool"]) == []
    assert witness.page_growth(before, after, ["demo"], slack=8) == []
    assert witness.page_growth(after, before) == []
