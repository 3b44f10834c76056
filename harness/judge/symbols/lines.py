# SPDX-License-Identifier: GPL-2.0-only
"""A unit's line table (DWARF 4 and 5, section 6.2): which source line an address comes from."""

from __future__ import annotations

import bisect
import posixpath
from operator import itemgetter
from typing import Final

from harness.judge.symbols import forms
from harness.judge.symbols.forms import DwarfError, Shape, read_form, sleb, text_at, uleb
from harness.judge.symbols.units import Unit

_PATH: Final = 1  # DW_LNCT_path
_DIRECTORY: Final = 2  # DW_LNCT_directory_index


class LineTable:
    """The rows of one unit, in sequences: runs of rows in ascending order of address."""

    def __init__(self, unit: Unit) -> None:
        """Read the whole table. Raises :class:`DwarfError` when the unit has none, or one of another kind."""
        if unit.line_table is None:
            raise DwarfError(f"{unit.name} has no line table")
        self._unit = unit
        self._data = unit.sections["line"]
        self._order = unit.sections.order
        self._addresses: list[list[int]] = []
        self._rows: list[list[tuple[int, int]]] = []
        self._read(unit.line_table)
        order = sorted(range(len(self._addresses)), key=lambda index: self._addresses[index][0])
        self._addresses = [self._addresses[index] for index in order]
        self._rows = [self._rows[index] for index in order]
        self._starts = [addresses[0] for addresses in self._addresses]

    def at(self, address: int) -> tuple[str, int, bool] | None:
        """The (file, line) that the code at ``address`` comes from, and whether that is certain.

        The compiler gives code that it made of several lines, or of none, the line 0. Then it is
        the line of the code before it, which is near, and not certain.
        """
        index = bisect.bisect_right(self._starts, address) - 1
        while index >= 0:
            addresses, rows = self._addresses[index], self._rows[index]
            # The last row of a sequence only says where it ends.
            if addresses[0] <= address < addresses[-1]:
                row = found = bisect.bisect_right(addresses, address) - 1
                file, line = rows[row]
                while line == 0 and row > 0 and rows[row - 1][0] == file:
                    row -= 1
                    file, line = rows[row]
                return self.file(file), line, row == found
            index -= 1
        return None

    def file(self, number: int) -> str:
        """The path of a file of the table, absolute where the compiler's directory is known."""
        if not 0 <= number < len(self._files):
            return ""
        name, directory = self._files[number]
        parent = self._directories[directory] if 0 <= directory < len(self._directories) else ""
        return posixpath.normpath(posixpath.join(self._unit.directory, parent, name))

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._data[at : at + size], self._order)

    def _read(self, start: int) -> None:
        length, at, offset_size = self._number(start, 4), start + 4, 4
        if length == 0xFFFFFFFF:
            length, at, offset_size = self._number(at, 8), at + 8, 8
        end = at + length
        version, at = self._number(at, 2), at + 2
        if not 2 <= version <= 5:
            raise DwarfError(f"a line table of version {version} is not known")
        address_size = self._unit.shape.address_size
        if version >= 5:
            address_size, at = self._data[at], at + 2
        header, at = self._number(at, offset_size), at + offset_size
        program = at + header
        step, at = self._data[at], at + (2 if version >= 4 else 1)
        base = int.from_bytes(self._data[at + 1 : at + 2], "little", signed=True)
        span, opcodes = self._data[at + 2], self._data[at + 3]
        lengths = tuple(self._data[at + 4 : at + 3 + opcodes])
        at += 3 + opcodes
        if version >= 5:
            self._read_names(at, Shape(version, address_size, offset_size, self._order))
        else:
            self._read_old_names(at)
        self._run(program, end, step, base, span, (0, *lengths))

    def _read_names(self, at: int, shape: Shape) -> None:
        """Directories and files of version 5, each with a format of its own before it."""
        tables: list[list[tuple[str, int]]] = []
        for _ in range(2):
            count, at = self._data[at], at + 1
            columns = []
            for _ in range(count):
                content, at = uleb(self._data, at)
                form, at = uleb(self._data, at)
                columns.append((content, form))
            rows, at = uleb(self._data, at)
            table = []
            for _ in range(rows):
                name, directory = "", 0
                for content, form in columns:
                    value, at = read_form(self._data, at, form, shape)
                    if content == _PATH:
                        name = self._path(form, value)
                    elif content == _DIRECTORY:
                        directory = value
                table.append((name, directory))
            tables.append(table)
        self._directories = [name for name, _ in tables[0]]
        self._files = tables[1]

    def _path(self, form: int, value: int) -> str:
        return text_at(self._data, value) if form == forms.STRING else self._unit.text_of(form, value)

    def _read_old_names(self, at: int) -> None:
        """Directories and files of versions 2 to 4: counted from 1, the directory 0 is the compiler's."""
        self._directories = [""]
        while name := text_at(self._data, at):
            self._directories.append(name)
            at += len(name.encode()) + 1
        at += 1
        self._files = [("", 0)]
        while name := text_at(self._data, at):
            directory, at = uleb(self._data, at + len(name.encode()) + 1)
            _, at = uleb(self._data, at)
            _, at = uleb(self._data, at)
            self._files.append((name, directory))

    def _run(self, at: int, end: int, step: int, base: int, span: int, lengths: tuple[int, ...]) -> None:
        """Run the line number program and keep its rows."""
        data, opcodes = bytes(self._data[at:end]), len(lengths)
        address, file, line = 0, 1, 1
        addresses: list[int] = []
        rows: list[tuple[int, int]] = []
        at, end = 0, end - at
        while at < end:
            opcode, at = data[at], at + 1
            if opcode >= opcodes:
                opcode -= opcodes
                address += opcode // span * step
                line += base + opcode % span
                addresses.append(address)
                rows.append((file, line))
            elif opcode == 0:
                size, at = uleb(data, at)
                kind = data[at]
                if kind == 1:  # DW_LNE_end_sequence
                    addresses.append(address)
                    rows.append((file, line))
                    self._keep(addresses, rows)
                    address, file, line, addresses, rows = 0, 1, 1, [], []
                elif kind == 2:  # DW_LNE_set_address
                    address = int.from_bytes(data[at + 1 : at + size], self._order)
                at += size
            elif opcode == 1:  # DW_LNS_copy
                addresses.append(address)
                rows.append((file, line))
            elif opcode == 2:  # DW_LNS_advance_pc
                advance, at = uleb(data, at)
                address += advance * step
            elif opcode == 3:  # DW_LNS_advance_line
                advance, at = sleb(data, at)
                line += advance
            elif opcode == 4:  # DW_LNS_set_file
                file, at = uleb(data, at)
            elif opcode == 8:  # DW_LNS_const_add_pc
                address += (255 - opcodes) // span * step
            elif opcode == 9:  # DW_LNS_fixed_advance_pc
                address, at = address + int.from_bytes(data[at : at + 2], self._order), at + 2
            else:  # columns, blocks, prologues, and what is not known
                for _ in range(lengths[opcode]):
                    _, at = uleb(data, at)

    def _keep(self, addresses: list[int], rows: list[tuple[int, int]]) -> None:
        """Remember a sequence, unless it is of code that the linker left out."""
        # Linkers put 0 or the highest address for code that they left out.
        first, last = addresses[0], (1 << 8 * self._unit.shape.address_size) - 1
        if len(addresses) < 2 or first in (0, last):
            return
        if addresses[-1] > last or any(map(int.__gt__, addresses, addresses[1:])):
            # Assembly that goes back and forth between places; the order of rows at one address stays.
            wrapped = [address & last for address in addresses]
            pairs = sorted(zip(wrapped[:-1], rows, strict=False), key=itemgetter(0))
            end = max(wrapped[-1], pairs[-1][0] + 1)
            addresses, rows = (
                [*(address for address, _ in pairs), end],
                [*(row for _, row in pairs), rows[-1]],
            )
        self._addresses.append(addresses)
        self._rows.append(rows)
