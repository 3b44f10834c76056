# SPDX-License-Identifier: GPL-2.0-only
"""One file with code and debug information, vmlinux or a .ko, and what it says of an address."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from harness.judge.frames import plain_name
from harness.judge.places import Place
from harness.judge.symbols.elf import Elf, Symbol
from harness.judge.symbols.forms import DwarfError
from harness.judge.symbols.lines import LineTable
from harness.judge.symbols.units import Unit, Units

_KEPT_UNITS: Final = 256

AT_END: Final = "a call at the end of this function returns to where the next one begins"
APPROXIMATE: Final = "about there: the compiler gave this code no line of its own"


@dataclass(frozen=True, slots=True)
class Found:
    """What a place in the code is: its functions and lines, or ``note``, why that is not known.

    ``address`` is where it was looked up: in vmlinux as linked, in a module as laid out here.
    """

    symbol: Symbol | None = None
    address: int = 0
    places: tuple[Place, ...] = ()
    note: str = ""


class Image:
    """A file that is looked into. Nothing is read before it is needed."""

    def __init__(self, path: Path, base: str | None = None) -> None:
        """``base`` is the directory that paths are shown relative to; None finds the kernel's tree.

        Raises :class:`UserError` when ``path`` is no ELF file, or has no symbols or debug information.
        """
        self.path = path
        self.elf = Elf.open(path)
        self._base = base
        self._units = Units(self.elf)
        self._tables: dict[int, LineTable] = {}
        self.unit_of = lru_cache(_KEPT_UNITS)(self._units.at)

    @cached_property
    def base(self) -> str:
        """The top of the source tree when this was compiled, with a slash at its end; or empty."""
        if self._base is not None:
            return self._base
        for unit in self._units.units:
            path = posixpath.normpath(posixpath.join(unit.directory, unit.name))
            if path.endswith("/init/main.c"):
                return path.removesuffix("init/main.c")
        return ""

    @cached_property
    def directory(self) -> str:
        """Where a module was compiled; its own files are shown with the name of that directory."""
        units = self._units.units
        return f"{posixpath.dirname(units[0].directory)}/" if self.elf.relocatable and units else ""

    def shown(self, path: str) -> str:
        """A path for a person: relative to the tree, to the module's parent, or to Rust's library."""
        for base in (self.base, self.directory):
            if len(base) > 1 and path.startswith(base):
                return path[len(base) :]
        if "/rustlib/src/rust/library/" in path:
            return "library/" + path.partition("/rustlib/src/rust/library/")[2]
        return path

    # From a name

    def find(self, name: str, offset: int, size: int, *, exact: bool) -> Found:
        """What ``name+offset/size`` is, in the words of the kernel's traces."""
        same = self._named(name)
        if not same:
            return Found(note="no such function")
        fitting = fit(same, size, self._ends)
        if len({symbol.address for symbol in fitting}) > 1:
            return Found(note=f"ambiguous: {len(fitting)} functions of this name and size")
        symbol = fitting[0] if fitting else same[0]
        if not fitting and len(same) > 1:
            return Found(note=f"ambiguous: {len(same)} functions of this name, none of size {size:#x}")
        if not fitting:
            note = f"the function has {symbol.room:#x} bytes here: not the same build?"
            return replace(self.at(symbol.address + offset - (not exact and offset > 0), symbol), note=note)
        if exact or offset:
            return self.at(symbol.address + offset - (not exact), symbol)
        return self._at_end_of_other(symbol) or self.at(symbol.address, symbol)

    def _at_end_of_other(self, symbol: Symbol) -> Found | None:
        """The call that returns to the first byte of ``symbol``: the last thing in the function before it.

        The function called does not return, so the compiler put nothing behind the call. x86 prints
        such an address by what is before it (``%pB``), other machines by what is there (``%pS``). None
        when there is no such call: some frames are made up by assembly and begin at a symbol.
        """
        before = self.elf.symbol_at(symbol.address - 1)
        if before is None or not self.elf.calls_before(symbol.address):
            return None
        found = self.at(symbol.address - 1, before)
        return replace(found, note=AT_END) if found.places else None

    def head(self, name: str) -> Found:
        """Where the function ``name`` begins, when there is one of that name."""
        same = self._named(name)
        if len({symbol.address for symbol in same}) != 1:
            return Found(
                note=f"ambiguous: {len(same)} functions of this name" if same else "no such function"
            )
        found = self.at(same[0].address, same[0])
        # What was inlined into its first instruction says nothing of the function.
        return Found(found.symbol, found.address, found.places[-1:], found.note)

    @cached_property
    def _ends(self) -> frozenset[int]:
        """Where sections of a module's code end."""
        return (
            frozenset(section.end for section in self.elf.code.values())
            if self.elf.relocatable
            else frozenset()
        )

    def _named(self, name: str) -> Sequence[Symbol]:
        if same := self.elf.named(name):
            return same
        # Link-time optimisation adds a suffix that kallsyms takes off again.
        start = f"{name}.llvm."
        return [
            symbol for full in self.elf.names if full.startswith(start) for symbol in self.elf.named(full)
        ]

    # From an address

    def at(self, address: int, symbol: Symbol | None = None) -> Found:
        """What is at ``address``, which is in ``symbol`` if that is known already."""
        symbol = symbol or self.elf.symbol_at(address)
        if symbol is None:
            return Found(address=address, note="no code is there")
        try:
            return self._found(address, symbol)
        except (DwarfError, IndexError, KeyError) as error:
            return Found(symbol, address, note=f"its debug information cannot be read: {error}")

    def _found(self, address: int, symbol: Symbol) -> Found:
        """Functions and lines: innermost inlined call first, the function itself last."""
        unit = self.unit_of(address)
        table = self._table(unit) if unit is not None else None
        row = table.at(address) if table is not None else None
        if unit is None or table is None or row is None:
            return Found(symbol, address, note="no line is known")
        entry = unit.function_at(address)
        calls = unit.calls_at(address, entry) if entry is not None else []
        file, line, certain = row
        places = []
        for call in reversed(calls):
            places.append(Place(plain_name(call.function), self.shown(file), line))
            file, line = table.file(call.file), call.line
        places.append(Place(plain_name(symbol.name), self.shown(file), line))
        return Found(symbol, address, tuple(places), "" if certain else APPROXIMATE)

    def _table(self, unit: Unit) -> LineTable:
        if unit.start not in self._tables:
            self._tables[unit.start] = LineTable(unit)
        return self._tables[unit.start]


def fit(same: Sequence[Symbol], size: int, ends: Collection[int]) -> list[Symbol]:
    """Those of ``same`` that the kernel would print with ``size``.

    kallsyms takes the distance to the next symbol for the size (kernel/kallsyms.c, get_symbol_pos();
    kernel/module/kallsyms.c). After the last one of a module's section, which ends at one of ``ends``,
    comes whatever the loader put there; such a function may be shown with any size above its own.
    """
    if found := [symbol for symbol in same if symbol.room == size]:
        return found
    if found := [symbol for symbol in same if symbol.size == size]:
        return found
    return [symbol for symbol in same if symbol.size < size and symbol.address + symbol.room in ends]
