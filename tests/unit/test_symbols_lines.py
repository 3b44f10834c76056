# SPDX-License-Identifier: GPL-2.0-only
"""Line tables that C compilers seldom write: long gaps, code without a line, assembly out of order, Thumb."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.build.root import BuildRoot
from harness.build.store import Store
from harness.deadline import Deadline
from harness.judge.symbols.image import APPROXIMATE, Image
from harness.judge.symbols.lines import LineTable
from harness.judge.symbols.units import Units
from harness.progress import quiet

GAPS = (1, 2, 3, 16, 17, 18, 33, 34, 40, 120, 300, 5000)
"""Bytes between rows: some fit an opcode with the line, some need DW_LNS_const_add_pc or _advance_pc."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines")


def assembled(folder: Path, name: str, text: str, target: str = "x86_64-linux-gnu", words: str = "") -> Image:
    """The linked file with one function, ``name``, that is the assembly in ``text``."""
    body = "".join(f'\t\t"{line}\\n"\n' for line in text.splitlines())
    source = f"__attribute__((naked)) void {name}(void)\n{{\n\tasm volatile(\n{body}\t);\n}}\n"
    (folder / f"{name}.c").write_text(source, encoding="utf-8")
    script = (
        f"cd {folder} && clang --target={target} {words} -O2 -gdwarf-5 -c {name}.c -o {name}.o"
        f" && ld.lld -e 0 {name}.o -o {name}.elf"
    )
    root = BuildRoot.ensure(Store(), quiet())
    root.run(["bash", "-c", script], writable=[folder], deadline=Deadline.after(60, "clang"))
    return Image(folder / f"{name}.elf")


def lines_of(image: Image, name: str, offsets: list[int]) -> list[int | None]:
    """The line of each instruction of a function."""
    (symbol,) = image.elf.named(name)
    return [image.at(symbol.address + offset).places[-1].line for offset in offsets]


def test_any_gap_between_rows_is_counted(folder: Path) -> None:
    chance = random.Random(1)
    rows, place, line, text = [], 0, 1000, ""
    for gap in GAPS * 3:
        line = max(1, line + chance.choice((-900, -6, -1, 0, 1, 5, 9, 10, 300)))
        text += f".loc 0 {line}\nnop\n.skip {gap - 1}, 0x90\n"
        rows.append((place, place + gap - 1, line))
        place += gap
    image = assembled(folder, "gaps", text)
    for first, last, expected in rows:
        assert lines_of(image, "gaps", [first, last]) == [expected, expected]


def test_code_without_a_line_is_near_the_code_before_it(folder: Path) -> None:
    image = assembled(folder, "none", "".join(f".loc 0 {line}\nnop\n" for line in (7, 0, 0, 9)))
    assert lines_of(image, "none", [0, 1, 2, 3]) == [7, 7, 7, 9]
    (symbol,) = image.elf.named("none")
    notes = [image.at(symbol.address + offset).note for offset in range(4)]
    assert notes == ["", APPROXIMATE, APPROXIMATE, ""]


def test_assembly_that_jumps_between_places_is_put_in_order(folder: Path) -> None:
    # As the kernel's vectors and their handlers are written; the table goes backwards.
    text = (
        ".loc 0 10\nnop\n.subsection 1\n.loc 0 50\nnop\n.loc 0 51\nnop\n"
        ".previous\n.loc 0 11\nnop\n.loc 0 12\nnop\n.subsection 1\n.loc 0 52\nnop\n"
    )
    image = assembled(folder, "order", text)
    (symbol,) = image.elf.named("order")
    table = LineTable(Units(image.elf).units[0])
    rows = [table.at(symbol.address + offset) for offset in range(symbol.room)]
    assert [row and row[1] for row in rows] == [10, 11, 12, 50, 51, 52]


def test_a_thumb_function_begins_at_an_even_address(folder: Path) -> None:
    text = "".join(f".loc 0 {line}\nnop\n" for line in (3, 4, 5))
    image = assembled(folder, "thumb", text, "armv7-linux-gnueabihf", "-mthumb")
    (symbol,) = image.elf.named("thumb")
    assert symbol.address % 2 == 0
    assert lines_of(image, "thumb", [0, 2, 4]) == [3, 4, 5]
    found = image.find("thumb", 2, symbol.room, exact=False)
    assert found.places[-1].line == 3
