# SPDX-License-Identifier: GPL-2.0-only
"""The compilation units of a file: from an address to a function and the calls inlined into it.

The first entry of every unit is read at once; the rest of a unit when an address falls into it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from harness.errors import UserError
from harness.judge.symbols import forms
from harness.judge.symbols.elf import Elf
from harness.judge.symbols.forms import Abbrev, DwarfError, Shape, read_form, skip, text_at, uleb

_INLINED: Final = 0x1D
_SUBPROGRAM: Final = 0x2E
_SKELETON: Final = 0x4A
_SPLIT_COMPILE: Final = 0x05

_NAME: Final = 0x03
_STMT_LIST: Final = 0x10
_LOW_PC: Final = 0x11
_HIGH_PC: Final = 0x12
_COMP_DIR: Final = 0x1B
_ABSTRACT_ORIGIN: Final = 0x31
_SPECIFICATION: Final = 0x47
_RANGES: Final = 0x55
_CALL_FILE: Final = 0x58
_CALL_LINE: Final = 0x59
_LINKAGE_NAME: Final = 0x6E
_STR_OFFSETS_BASE: Final = 0x72
_ADDR_BASE: Final = 0x73
_RNGLISTS_BASE: Final = 0x74
_DWO_NAMES: Final = frozenset({0x76, 0x2130})
_REFERENCES: Final = 8
"""An inlined call names its function through so many references at most (origin, specification)."""

Attributes = dict[int, tuple[int, int]]
"""By name: (form, number); what stands in the entry itself is a position in .debug_info."""
Ranges = tuple[tuple[int, int], ...]
"""Addresses [low, high)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the compiler inlined: the name of the function called, and where it is called."""

    function: str
    file: int
    line: int


class Sections:
    """The sections of one file that make up its debug information, each got when it is first needed."""

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self.order: Literal["little", "big"] = "little" if elf.order == "<" else "big"
        self.abbrevs: dict[tuple[int, Shape], dict[int, Abbrev]] = {}
        self._content: dict[str, memoryview] = {}

    def __getitem__(self, name: str) -> memoryview:
        if name not in self._content:
            self._content[name] = self.elf.debug(f".debug_{name}")
        return self._content[name]

    def number(self, name: str, at: int, size: int) -> int:
        """The unsigned number of ``size`` bytes at ``at`` in the section."""
        content = self[name]
        if at + size > len(content):
            raise DwarfError(f".debug_{name} ends before {at:#x}")
        return int.from_bytes(content[at : at + size], self.order)


class Unit:
    """One source file and what it includes. Raises :class:`DwarfError` for what it cannot read."""

    def __init__(self, sections: Sections, start: int) -> None:
        """Read the header and the first entry of the unit at ``start`` in .debug_info."""
        self.sections = sections
        self.start = start
        number = sections.number
        length, at, offset_size = number("info", start, 4), start + 4, 4
        if length == 0xFFFFFFFF:
            length, at, offset_size = number("info", at, 8), at + 8, 8
        self.end = at + length
        version, at = number("info", at, 2), at + 2
        if version == 5:
            kind, address_size, at = number("info", at, 1), number("info", at + 1, 1), at + 2
            self._abbrev_offset, at = number("info", at, offset_size), at + offset_size
            # Skeleton and split units have an id of 8 bytes, type units a signature and an offset.
            at += {2: 8 + offset_size, 4: 8, 5: 8, 6: 8 + offset_size}.get(kind, 0)
        elif 2 <= version <= 4:
            self._abbrev_offset, at = number("info", at, offset_size), at + offset_size
            address_size, at = number("info", at, 1), at + 1
        else:
            raise DwarfError(f"DWARF {version} is not known")
        self.shape = Shape(version, address_size, offset_size, sections.order)
        self._first = at
        self.top = self._attributes(at)

    @cached_property
    def _abbrevs(self) -> dict[int, Abbrev]:
        key = (self._abbrev_offset, self.shape)
        known = self.sections.abbrevs.get(key)
        if known is None:
            known = dict(forms.read_abbrevs(self.sections["abbrev"], self._abbrev_offset, self.shape))
            self.sections.abbrevs[key] = known
        return known

    @cached_property
    def _top_abbrev(self) -> Abbrev:
        """The first entry's; most units are never looked at further, and their table is long."""
        code, _ = uleb(self.sections["info"], self._first)
        for known, abbrev in forms.read_abbrevs(self.sections["abbrev"], self._abbrev_offset, self.shape):
            if known == code:
                return abbrev
        raise DwarfError(f"the unit at {self.start:#x} has no abbreviation {code}")

    def _attributes(self, at: int) -> Attributes:
        """The attributes of the entry at ``at`` in .debug_info."""
        info = self.sections["info"]
        code, after = uleb(info, at)
        abbrev = self._top_abbrev if at == self._first else self._abbrevs.get(code)
        if abbrev is None:
            raise DwarfError(f"there is no entry at {at:#x}")
        found = {}
        for name, form, constant in abbrev.attributes:
            while form == forms.INDIRECT:
                form, after = uleb(info, after)
            value, after = read_form(info, after, form, self.shape)
            if form in (forms.IMPLICIT_CONST, forms.FLAG_PRESENT):
                value = constant if form == forms.IMPLICIT_CONST else 1
            found[name] = (form, value)
        return found

    # What attributes say

    def text(self, attributes: Attributes, name: int) -> str:
        """An attribute that is a text; empty without it."""
        if name not in attributes:
            return ""
        return self.text_of(*attributes[name])

    def text_of(self, form: int, value: int) -> str:
        """What a number of ``form`` stands for, when it stands for a text."""
        if form == forms.STRING:
            return text_at(self.sections["info"], value)
        if form == forms.LINE_STRP:
            return text_at(self.sections["line_str"], value)
        if form in forms.STRINGS_BY_INDEX:
            base = self.top.get(_STR_OFFSETS_BASE, (0, 0))[1]
            size = self.shape.offset_size
            value = self.sections.number("str_offsets", base + value * size, size)
        return text_at(self.sections["str"], value)

    def _address(self, form: int, value: int) -> int:
        if form not in forms.ADDRESSES_BY_INDEX:
            return value
        base = self.top.get(_ADDR_BASE, (0, 0))[1]
        return self.sections.number("addr", base + value * self.shape.address_size, self.shape.address_size)

    def ranges_of(self, attributes: Attributes) -> Ranges:
        """The addresses of an entry's code; nothing when it has none."""
        if _RANGES in attributes:
            form, value = attributes[_RANGES]
            found = self._rnglist(form, value) if self.shape.version >= 5 else self._range_list(value)
            return tuple((low, high) for low, high in found if low < high)
        if _LOW_PC not in attributes or _HIGH_PC not in attributes:
            return ()
        low = self._address(*attributes[_LOW_PC])
        form, high = attributes[_HIGH_PC]
        if form == forms.ADDR or form in forms.ADDRESSES_BY_INDEX:
            high = self._address(form, high)
        else:
            high += low  # a size
        return ((low, high),) if low < high else ()

    @cached_property
    def _base_address(self) -> int:
        return self._address(*self.top[_LOW_PC]) if _LOW_PC in self.top else 0

    def _rnglist(self, form: int, value: int) -> Iterator[tuple[int, int]]:
        """A list of .debug_rnglists (DWARF 5, 2.17.3)."""
        sections, size = self.sections, self.shape.address_size
        if form == forms.RNGLISTX:
            start = self.top.get(_RNGLISTS_BASE, (0, 0))[1]
            offset = self.shape.offset_size
            value = start + sections.number("rnglists", start + value * offset, offset)
        data, at, base = sections["rnglists"], value, self._base_address
        while True:
            kind, at = data[at], at + 1
            if kind == 0:
                return
            if kind in (5, 6, 7):  # base_address, start_end, start_length
                low, at = sections.number("rnglists", at, size), at + size
            else:
                low, at = uleb(data, at)
                low = self._address(forms.ADDRX, low) if kind in (1, 2, 3) else low
            if kind in (1, 5):
                base = low
                continue
            if kind == 6:
                high, at = sections.number("rnglists", at, size), at + size
            else:
                high, at = uleb(data, at)
            if kind == 2:  # startx_endx
                yield low, self._address(forms.ADDRX, high)
            elif kind == 4:  # offset_pair
                yield base + low, base + high
            elif kind in (3, 7):
                yield low, low + high
            elif kind == 6:
                yield low, high
            else:
                raise DwarfError(f"a list of ranges has an entry of kind {kind}")

    def _range_list(self, at: int) -> Iterator[tuple[int, int]]:
        """A list of .debug_ranges (DWARF 4, 2.17.3)."""
        size, base = self.shape.address_size, self._base_address
        while True:
            low = self.sections.number("ranges", at, size)
            high = self.sections.number("ranges", at + size, size)
            at += 2 * size
            if low == high == 0:
                return
            if low == (1 << 8 * size) - 1:
                base = high
            else:
                yield base + low, base + high

    # Names

    @cached_property
    def name(self) -> str:
        """The source file, as the compiler was given it."""
        return self.text(self.top, _NAME)

    @cached_property
    def directory(self) -> str:
        """Where the compiler ran."""
        return self.text(self.top, _COMP_DIR)

    @cached_property
    def line_table(self) -> int | None:
        """Where the unit's line table is in .debug_line."""
        return self.top[_STMT_LIST][1] if _STMT_LIST in self.top else None

    @property
    def is_split(self) -> bool:
        """Whether all but the first entry is in another file (``.dwo``)."""
        return not _DWO_NAMES.isdisjoint(self.top)

    def function_name(self, attributes: Attributes) -> str:
        """The name of the function that an entry is about; mangled where the language does so."""
        unit: Unit = self
        for _ in range(_REFERENCES):
            for name in (_LINKAGE_NAME, _NAME):
                if text := unit.text(attributes, name):
                    return text
            link = attributes.get(_ABSTRACT_ORIGIN) or attributes.get(_SPECIFICATION)
            if link is None:
                break
            form, value = link
            if form in forms.UNIT_REFERENCES:
                attributes = unit._attributes(unit.start + value)
            elif form == forms.REF_ADDR:
                unit = Unit(self.sections, unit_start(self.sections, value))
                attributes = unit._attributes(value)
            else:
                break
        return ""

    # Functions and calls

    @cached_property
    def functions(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Where ranges of code begin, ascending; at the same index where each ends, and its entry."""
        info, base = bytes(self.sections["info"][self.start : self.end]), self.start
        abbrevs, shape = self._abbrevs, self.shape
        at, end = self._first - base, self.end - base
        found = []
        while at < end:
            entry = at
            code, at = (info[at], at + 1) if info[at] < 0x80 else uleb(info, at)
            if code == 0:
                continue
            abbrev = abbrevs[code]
            if abbrev.tag == _SUBPROGRAM and abbrev.has_code:
                for low, high in self.ranges_of(self._attributes(base + entry)):
                    found.append((low, high, base + entry))
            at = at + abbrev.fixed if abbrev.fixed >= 0 else skip(info, at, abbrev.steps, shape)
        found.sort()
        return [low for low, _, _ in found], [(high, entry) for _, high, entry in found]

    def function_at(self, address: int) -> int | None:
        """The entry of the function whose code holds ``address``; None for assembly."""
        starts, ends = self.functions
        index = bisect.bisect_right(starts, address) - 1
        if index < 0 or address >= ends[index][0]:
            return None
        return ends[index][1]

    def calls_at(self, address: int, entry: int) -> list[Call]:
        """The inlined calls that ``address`` is in, outermost first, of the function at ``entry``."""
        info, abbrevs, shape = self.sections["info"], self._abbrevs, self.shape
        at, depth, calls = entry, 0, []
        while at < self.end:
            start = at
            code, at = uleb(info, at)
            if code == 0:
                depth -= 1
            else:
                abbrev = abbrevs[code]
                at = at + abbrev.fixed if abbrev.fixed >= 0 else skip(info, at, abbrev.steps, shape)
                if abbrev.tag == _INLINED:
                    attributes = self._attributes(start)
                    if any(low <= address < high for low, high in self.ranges_of(attributes)):
                        file, line = attributes.get(_CALL_FILE), attributes.get(_CALL_LINE)
                        name = self.function_name(attributes)
                        calls.append(Call(name, file[1] if file else 0, line[1] if line else 0))
                depth += abbrev.children
            if depth <= 0:
                break
        return calls


def unit_start(sections: Sections, position: int) -> int:
    """Where the unit begins that ``position`` in .debug_info lies in."""
    for start, end in unit_bounds(sections):
        if start <= position < end:
            return start
    raise DwarfError(f"there is no unit at {position:#x}")


def unit_bounds(sections: Sections) -> Iterator[tuple[int, int]]:
    """Where each unit begins and ends in .debug_info."""
    at, size = 0, len(sections["info"])
    while at < size:
        length, header = sections.number("info", at, 4), 4
        if length == 0xFFFFFFFF:
            length, header = sections.number("info", at + 4, 8), 12
        yield at, at + header + length
        at += header + length


class Units:
    """The units of a file, by address."""

    def __init__(self, elf: Elf) -> None:
        """Raises :class:`UserError` when there is no debug information, or it is in other files."""
        self.elf = elf
        if not elf.has(".debug_info") or not elf.has(".debug_abbrev"):
            raise UserError(
                f"{elf.path} has no debug information (DWARF)",
                "build it with CONFIG_DEBUG_INFO_DWARF5=y, and give the file that was not stripped",
            )
        self.sections = Sections(elf)
        self.units: list[Unit] = []
        ranges = []
        for start, _ in unit_bounds(self.sections):
            unit = Unit(self.sections, start)
            if unit.is_split:
                raise UserError(
                    f"{elf.path} has its debug information in other files (.dwo)",
                    "build it with CONFIG_DEBUG_INFO_SPLIT=n",
                )
            ranges += [(low, high, len(self.units)) for low, high in unit.ranges_of(unit.top)]
            self.units.append(unit)
        ranges.sort()
        self._starts = [low for low, _, _ in ranges]
        self._ranges = ranges

    def at(self, address: int) -> Unit | None:
        """The unit whose code holds ``address``."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        _, high, unit = self._ranges[index]
        return self.units[unit] if address < high else None
