# SPDX-License-Identifier: GPL-2.0-only
"""DWARF's forms and abbreviations: what an entry looks like, and how to step over it.

pyelftools reads all of DWARF and takes 18 us for each entry: a quarter of a second for one file of the
kernel, of which a report touches twenty. Here entries of no interest are stepped over, most of them by
adding a constant to the position. The terms (unit, entry, attribute, form) are those of the DWARF 5
standard, whose tables 7.5 and 7.6 the numbers are from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

ADDR: Final = 0x01
STRING: Final = 0x08
SDATA: Final = 0x0D
STRP: Final = 0x0E
REF_ADDR: Final = 0x10
INDIRECT: Final = 0x16
SEC_OFFSET: Final = 0x17
FLAG_PRESENT: Final = 0x19
STRX: Final = 0x1A
ADDRX: Final = 0x1B
DATA16: Final = 0x1E
LINE_STRP: Final = 0x1F
IMPLICIT_CONST: Final = 0x21
RNGLISTX: Final = 0x23
FIXED: Final = {
    **dict.fromkeys((FLAG_PRESENT, IMPLICIT_CONST), 0),
    **dict.fromkeys((0x0B, 0x0C, 0x11, 0x25, 0x29), 1),  # data1 flag ref1 strx1 addrx1
    **dict.fromkeys((0x05, 0x12, 0x26, 0x2A), 2),  # data2 ref2 strx2 addrx2
    **dict.fromkeys((0x27, 0x2B), 3),  # strx3 addrx3
    **dict.fromkeys((0x06, 0x13, 0x1C, 0x28, 0x2C), 4),  # data4 ref4 ref_sup4 strx4 addrx4
    **dict.fromkeys((0x07, 0x14, 0x20, 0x24), 8),  # data8 ref8 ref_sig8 ref_sup8
    DATA16: 16,
}
OFFSETS: Final = frozenset({STRP, SEC_OFFSET, LINE_STRP, REF_ADDR, 0x1D, 0x1F20, 0x1F21})
"""As long as an offset in this unit; the last are strp_sup and GNU's ref_alt and strp_alt."""
LEB: Final = frozenset({SDATA, 0x0F, 0x15, STRX, ADDRX, 0x22, RNGLISTX, 0x1F01, 0x1F02})
"""sdata udata ref_udata strx addrx loclistx rnglistx, GNU's addr_index and str_index."""
STRINGS_BY_INDEX: Final = frozenset({STRX, 0x25, 0x26, 0x27, 0x28, 0x1F02})
ADDRESSES_BY_INDEX: Final = frozenset({ADDRX, 0x29, 0x2A, 0x2B, 0x2C, 0x1F01})
UNIT_REFERENCES: Final = frozenset({0x11, 0x12, 0x13, 0x14, 0x15})
_BLOCK_LENGTH: Final = {0x0A: 1, 0x03: 2, 0x04: 4}  # block1 block2 block4
_BLOCKS: Final = frozenset({0x09, 0x18})  # block exprloc: the length is a LEB128
IN_PLACE: Final = frozenset({STRING, *_BLOCK_LENGTH, *_BLOCKS})
"""Not a number: the content stands in the entry."""

_PLACES: Final = frozenset({0x11, 0x55})  # DW_AT_low_pc, DW_AT_ranges

# What to do to step over an attribute, where it is not a number of bytes.
_STEP_LEB: Final = -1
_STEP_STRING: Final = -2
_STEP_BLOCK: Final = -3
_STEP_INDIRECT: Final = -4
_STEP_BLOCK_LENGTH: Final = -8  # minus the bytes of the length


class DwarfError(Exception):
    """The debug information is not what the standard says, or of a kind that is not read here."""


def uleb(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def sleb(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A signed LEB128 number, and where the next thing begins."""
    value, end = uleb(data, at)
    bits = 7 * (end - at)
    return (value - (1 << bits) if value >> (bits - 1) else value), end


@dataclass(frozen=True, slots=True)
class Shape:
    """What the sizes of forms depend on; a unit's header says it."""

    version: int
    address_size: int
    offset_size: int
    order: Literal["little", "big"]


@dataclass(frozen=True, slots=True)
class Abbrev:
    """What entries of one code look like: (attribute, form, implicit constant), and how to step over them."""

    tag: int
    children: bool
    attributes: tuple[tuple[int, int, int], ...]
    fixed: int
    """Bytes of an entry after its code; -1 when it depends."""
    steps: tuple[int, ...]
    has_code: bool
    """Whether it says where its code is: DW_AT_low_pc or DW_AT_ranges."""


def read_abbrevs(data: memoryview, at: int, shape: Shape) -> Iterator[tuple[int, Abbrev]]:
    """The (code, abbreviation) pairs of the table at ``at`` in .debug_abbrev."""
    while True:
        code, at = uleb(data, at)
        if code == 0:
            return
        tag, at = uleb(data, at)
        children, at = bool(data[at]), at + 1
        attributes = []
        while True:
            name, at = uleb(data, at)
            form, at = uleb(data, at)
            constant = 0
            if form == IMPLICIT_CONST:
                constant, at = sleb(data, at)
            if name == 0 and form == 0:
                break
            attributes.append((name, form, constant))
        steps = _merged(step_of(form, shape) for _, form, _ in attributes)
        fixed = -1 if any(step < 0 for step in steps) else sum(steps)
        has_code = any(name in _PLACES for name, _, _ in attributes)
        yield code, Abbrev(tag, children, tuple(attributes), fixed, steps, has_code)


def _merged(steps: Iterable[int]) -> tuple[int, ...]:
    """The steps, with neighbours that are numbers of bytes made one."""
    merged: list[int] = []
    for step in steps:
        if merged and step >= 0 and merged[-1] >= 0:
            merged[-1] += step
        else:
            merged.append(step)
    return tuple(merged)


def step_of(form: int, shape: Shape) -> int:
    """How to step over an attribute of ``form``: so many bytes, or below 0 a rule of its own."""
    if form in FIXED:
        return FIXED[form]
    if form == ADDR or (form == REF_ADDR and shape.version == 2):
        return shape.address_size
    if form in OFFSETS:
        return shape.offset_size
    if form in LEB:
        return _STEP_LEB
    if form in _BLOCKS:
        return _STEP_BLOCK
    if form in _BLOCK_LENGTH:
        return _STEP_BLOCK_LENGTH - _BLOCK_LENGTH[form]
    if form == STRING:
        return _STEP_STRING
    if form == INDIRECT:
        return _STEP_INDIRECT
    raise DwarfError(f"the form {form:#x} is not known")


def skip(data: bytes | memoryview, at: int, steps: tuple[int, ...], shape: Shape) -> int:
    """Where the attributes end that begin at ``at``."""
    for step in steps:
        if step >= 0:
            at += step
        elif step == _STEP_LEB:
            while data[at] >= 0x80:
                at += 1
            at += 1
        elif step == _STEP_BLOCK:
            length, at = uleb(data, at)
            at += length
        elif step == _STEP_STRING:
            while data[at]:
                at += 1
            at += 1
        elif step == _STEP_INDIRECT:
            form, at = uleb(data, at)
            at = skip(data, at, (step_of(form, shape),), shape)
        else:
            size = _STEP_BLOCK_LENGTH - step
            at += size + int.from_bytes(data[at : at + size], shape.order)
    return at


def read_form(data: memoryview, at: int, form: int, shape: Shape) -> tuple[int, int]:
    """The number at ``at`` as ``form`` writes it, and where it ends; for what is in place, its position."""
    if form in LEB:
        return sleb(data, at) if form == SDATA else uleb(data, at)
    after = skip(data, at, (step_of(form, shape),), shape)
    if form in IN_PLACE:
        return at, after
    return int.from_bytes(data[at:after], shape.order), after


def text_at(data: memoryview, at: int) -> str:
    """The text at ``at``, up to its zero byte."""
    size = 128
    while b"\0" not in (piece := bytes(data[at : at + size])):
        if at + size >= len(data):
            raise DwarfError(f"a text without an end at {at:#x}")
        size *= 8
    return piece[: piece.index(b"\0")].decode("utf-8", "replace")
