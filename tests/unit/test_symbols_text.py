# SPDX-License-Identifier: GPL-2.0-only
"""Reading places in the code out of a console, and telling return addresses from program counters."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.symbols.text import Reader, Spot, spots, text_column

NAMES = st.one_of(
    st.from_regex(r"[a-z_][a-z0-9_]{0,20}(\.(isra|cold|constprop)\.?[0-9]?)?", fullmatch=True),
    st.sampled_from(
        ["_RNvNtCs2lKf6AS60Zg_4core9panicking9panic_fmt", "_ZN4core3fmt5write17h0123456789abcdefE"]
    ),
)
MODULES = st.one_of(st.just(""), st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True))
PREFIXES = st.sampled_from(
    ["", "<4>", "[    1.234567]", "[    1.234567][   T58] ", "<4>[   12.000001][   C0] ", "[12345.678901] "]
)
BUILD_IDS = st.one_of(st.just(""), st.text("0123456789abcdef", min_size=40, max_size=40))
# What stands before and after a place; whether it is exact there.
FORMS = st.sampled_from(
    [
        (" ", "", False),
        (" ? ", "", False),
        ("RIP: 0010:", "", True),
        ("EIP: ", "", True),
        ("pc : ", "", True),
        ("lr : ", "", False),
        ("PC is at ", "", True),
        ("LR is at ", "", False),
        (" ", " (P)", True),
        (" ", " (C)", False),
        (" ", " (L)", False),
        ("do_one_initcall from ", "", False),
        ("plant [plant] from ", "", False),
        ("__dabt_svc from ", "", True),
        ("[<c0101234>] (show_stack) from [<c0105678>] (", ")", False),
        (" [<ffffffff81012345>] ", "", False),
        ("BUG: KASAN: slab-use-after-free in ", "", False),
        ("BUG: KFENCE: out-of-bounds read in ", "", True),
        ("BUG: KFENCE: memory corruption in ", "", False),
        ("WARNING: CPU: 0 PID: 1 at mm/slub.c:1268 ", "", True),
        ("WARNING: mm/slub.c:1268 at ", ", CPU#0: rmmod/44", True),
        ("kmem_cache_destroy c: Slab cache still has objects when called from ", "", False),
        (" #0: ffff888003 (lock){....}-{2:2}, at: ", "", False),
    ]
)


@given(PREFIXES, FORMS, NAMES, st.integers(1, 1 << 20), st.integers(0, 1 << 20), MODULES, BUILD_IDS)
def test_a_place_is_read_as_it_was_printed(
    prefix: str, form: tuple[str, str, bool], name: str, offset: int, more: int, module: str, build_id: str
) -> None:
    before, after, exact = form
    size = offset + more
    inside = f" {build_id}" if build_id else ""
    where = f"{name}+{offset:#x}/{size:#x}" + (f" [{module}{inside}]" if module else "")
    line = prefix + before + where + after
    (spot,) = Reader().read(line)
    assert (spot.function, spot.offset, spot.size, spot.module) == (name, offset, size, module)
    assert spot.build_id == (build_id if module else "")
    assert spot.exact is exact
    assert line[spot.start : spot.end] == where
    assert spot.text == f"{name}+{offset:#x}/{size:#x}" + (f" [{module}]" if module else "")


@given(st.lists(st.text(string.printable + "é\x00\x1b+0x/[]<>()", max_size=80), max_size=5))
def test_no_text_is_too_strange(lines: list[str]) -> None:
    reader = Reader()
    for line in lines:
        for spot in reader.read(line):
            assert 0 <= spot.start < spot.end <= len(line)
        assert 0 <= text_column(line) <= len(line)


def exact(text: str, *, warns_by_trap: bool = True) -> list[bool]:
    return [spot.exact for spot in spots(text.splitlines(), warns_by_trap=warns_by_trap)]


def test_the_first_frame_of_a_trace_may_be_the_program_counter_again() -> None:
    # arm64 before 6.13: no mark, but the same place as "pc :".
    text = (
        "pc : a+0x8/0x20\nlr : b+0x10/0x20\nCall trace:\n a+0x8/0x20\n b+0x10/0x20\n---[ end trace 0 ]---\n"
    )
    assert exact(text) == [True, False, True, False]
    assert exact(text + " a+0x8/0x20") == [True, False, True, False, False]


def test_what_was_interrupted_was_not_called() -> None:
    saved = " asm_exc_page_fault+0x22/0x30\n f+0x8/0x20\n g+0x9/0x20\n"
    assert exact(saved) == [False, True, False]
    # Where registers are shown in between, the trace goes on with the caller of what was interrupted.
    assert exact(" asm_exc_page_fault+0x22/0x30\nRIP: 0010:f+0x8/0x20\nRAX: 0\n g+0x9/0x20\n") == [
        False,
        True,
        False,
    ]
    assert exact(" el1h_64_irq+0x6c/0x70\n f+0x8/0x20\n") == [False, True]
    assert exact(" asm_exc_page_fault+0x22/0x30\n</TASK>\n f+0x8/0x20\n") == [False, False]


def test_a_stack_below_a_fault_that_kfence_caught_begins_with_it() -> None:
    header = "BUG: KFENCE: use-after-free read in f+0x8/0x20\n\nUse-after-free read at 0x(ptrval):\n"
    assert exact(header + " f+0x8/0x20\n g+0x9/0x20\n") == [True, True, False]


def test_a_machine_that_warns_by_a_call_shows_its_return_address() -> None:
    assert exact("WARNING: a.c:1 at f+0x8/0x20, CPU#0: sh/1") == [True]
    assert exact("WARNING: a.c:1 at f+0x8/0x20, CPU#0: sh/1", warns_by_trap=False) == [False]


@pytest.mark.parametrize(
    ("line", "address", "exact"),
    [
        (" [<ffffffff81012345>]", 0xFFFFFFFF81012345, False),
        ("[    1.000000]  ? 0xffffffffc0001234", 0xFFFFFFFFC0001234, False),
        ("RIP: 0010:0xffffffffc0001234", 0xFFFFFFFFC0001234, True),
        ("Function entered at [<c0101234>] from [<c0105678>]", 0xC0105678, False),
    ],
)
def test_addresses_without_names_are_read(line: str, address: int, exact: bool) -> None:
    (spot,) = Reader().read(line)
    assert (spot.function, spot.address, spot.exact) == ("", address, exact)
    assert f"{address:x}" == line[spot.start : spot.end].removeprefix("0x")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "R10: ffffffff81723d18 R11: 0000000000000001",
        "pc : [<bf002010>]    lr : [<bf005068>]    psr: 60000013",
        "RIP: 0033:0x4ae3f7",
        "Stack: (0xe0a31e18 to 0xe0a32000)",
    ],
)
def test_lines_without_places_have_none(line: str) -> None:
    assert Reader().read(line) == ()


def test_the_kernel_says_how_far_it_was_moved() -> None:
    reader = Reader()
    reader.read("[   9.0] Kernel Offset: 0x12000000 from 0xffffffff81000000 (relocation range: ..)")
    assert reader.kernel_offset == 0x12000000


def test_two_places_on_a_line_are_read_from_left_to_right() -> None:
    assert [spot.function for spot in spots(["work: a+0x1/0x2 [m] then b+0x3/0x4"])] == ["a", "b"]
    assert next(spots(["a+0x1/0x2 [m]"])) == Spot("a", 1, 2, "m", start=0, end=13)
