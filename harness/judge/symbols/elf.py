# SPDX-License-Identifier: GPL-2.0-only
"""An ELF file as the decoder needs it: its symbols of code, its build id, and its debug sections.

pyelftools reads the headers. Symbols and relocations come by the ten thousand, so they are unpacked
here in bulk (pyelftools takes 20 us for each, ``struct`` a hundredth of that).

A module's .ko is relocatable: all its sections are at address 0, and what DWARF says of addresses
are relocations yet to be done. Each section of code gets a base of its own here, so that an address
still tells .text from .init.text; binutils and LLVM mix them up.
"""

from __future__ import annotations

import bisect
import mmap
import re
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.errors import UserError

_SHF_EXECINSTR: Final = 4
_RELOCATABLE: Final = "ET_REL"
_CODE_TYPES: Final = frozenset({0, 1, 2, 10})
"""STT_NOTYPE (assembly), STT_OBJECT (tables within code), STT_FUNC, STT_GNU_IFUNC."""
_STT_FUNC: Final = 2
_FIRST_BASE: Final = 0x10000
_BASE_ALIGN: Final = 0x1000
_CALLS: Final[dict[str, tuple[tuple[int, int, int], ...]]] = {
    "EM_X86_64": ((5, 0xFF, 0xE8), (2, 0xF8FF, 0xD0FF)),  # call rel32; call *reg, with a prefix or without
    "EM_AARCH64": ((4, 0xFC000000, 0x94000000), (4, 0xFFFFFC1F, 0xD63F0000)),  # bl; blr
    "EM_ARM": ((4, 0x0F000000, 0x0B000000), (4, 0x0FFFFFF0, 0x012FFF30)),  # bl; blx reg
}
"""By machine: the (bytes, mask, value) of instructions that call, as little-endian numbers."""
_UNLISTED: Final = re.compile(
    rb"\$|\.L|L0$|__pi_\$|__pi_\.L|__efistub_|__kvm_nvhe_\$|__kcfi_typeid_|__crc_|__kstrtab"
)
"""Symbols that kallsyms leaves out (scripts/mksysmap, is_mapping_symbol())."""

_ABSOLUTE: Final[dict[str, dict[int, int]]] = {
    "EM_X86_64": {1: 8, 10: 4, 11: 4},  # R_X86_64_64, _32, _32S
    "EM_AARCH64": {257: 8, 258: 4},  # R_AARCH64_ABS64, _ABS32
    "EM_ARM": {2: 4},  # R_ARM_ABS32
    "EM_386": {1: 4},  # R_386_32
}
"""By machine: the relocations that put S + A into so many bytes; debug sections have no others."""


_Facts = tuple[int, int, int, bool]
"""Of a symbol: address, size, section, whether it is a function."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named piece of code. ``section`` is the index of its section, ``size`` what its maker noted.

    ``room`` is the distance to whatever comes next: the size that kallsyms prints.
    """

    name: str
    address: int
    size: int
    room: int
    section: int
    function: bool
    """Whether it is one for the compiler, and not a label in assembly."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section with code: where it begins for us, and where it ends."""

    name: str
    base: int
    end: int


class Elf:
    """An open ELF file."""

    def __init__(self, path: Path, file: Any, data: mmap.mmap) -> None:
        self.path = path
        self._file = file
        self._data = data
        self.machine: str = file["e_machine"]
        self.address_size: int = file.elfclass // 8
        self.order = "<" if file.little_endian else ">"
        self.relocatable: bool = file["e_type"] == _RELOCATABLE
        self._sections: list[Any] = list(file.iter_sections())
        self._bases = self._lay_out()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open ``path``. Raises :class:`UserError` when there is no such file or it is no ELF file."""
        try:
            with path.open("rb") as stream:
                data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            stream_like: Any = data  # an mmap reads and seeks as a file does
            return cls(path, ELFFile(stream_like), data)
        except (OSError, ValueError) as error:
            # mmap calls an empty file a ValueError.
            what = error.strerror if isinstance(error, OSError) else "it is empty"
            raise UserError(f"{path} cannot be read: {what}") from None
        except (ELFError, AssertionError) as error:
            raise UserError(
                f"{path} is not an ELF file ({error})",
                "give the vmlinux or .ko of the build, not a boot image",
            ) from None

    def _lay_out(self) -> dict[int, int]:
        """What is to be added to an address in a section, by the section's index."""
        bases: dict[int, int] = {}
        place = _FIRST_BASE
        for index, section in enumerate(self._sections):
            if self.relocatable and section["sh_flags"] & _SHF_EXECINSTR:
                bases[index] = place
                place += -(-(section["sh_size"] + 1) // _BASE_ALIGN) * _BASE_ALIGN
        return bases

    @cached_property
    def code(self) -> dict[int, Section]:
        """The sections with code, by index."""
        found = {}
        for index, section in enumerate(self._sections):
            if section["sh_flags"] & _SHF_EXECINSTR and section["sh_size"]:
                base = section["sh_addr"] + self._bases.get(index, 0)
                found[index] = Section(section.name, base, base + section["sh_size"])
        return found

    @cached_property
    def build_id(self) -> str:
        """In hexadecimal; empty when it has none."""
        for section in self._sections:
            if section["sh_type"] == "SHT_NOTE":
                for note in section.iter_notes():
                    if note["n_type"] == "NT_GNU_BUILD_ID":
                        return str(note["n_desc"])
        return ""

    @cached_property
    def banner(self) -> str:
        """What the kernel says first, ``Linux version 7.3.4 (..) #1 ..``; empty when this is no kernel."""
        section = self._file.get_section_by_name(".rodata")
        if section is None or section["sh_type"] == "SHT_NOBITS":
            return ""
        start = section["sh_offset"]
        end = start + section["sh_size"]
        at = self._data.find(b"Linux version ", start, end)
        if at < 0:
            return ""
        return self._data[at : min(at + 500, end)].partition(b"\0")[0].decode("utf-8", "replace").strip()

    # Symbols

    def named(self, name: str) -> tuple[Symbol, ...]:
        """The symbols in code that are called ``name``."""
        return tuple(self._symbol(name, facts) for facts in self._names.get(name, ()))

    @property
    def names(self) -> Collection[str]:
        """The names of all symbols in code."""
        return self._names.keys()

    def symbol_at(self, address: int) -> Symbol | None:
        """The symbol whose code holds ``address``; a function rather than a label."""
        addresses, symbols = self._by_address
        index = bisect.bisect_right(addresses, address) - 1
        if index < 0:
            return None
        symbol = self._symbol(*symbols[addresses[index]])
        return symbol if address < symbol.address + max(symbol.room, 1) else None

    def _symbol(self, name: str, facts: _Facts) -> Symbol:
        address, size, section, function = facts
        after = self._starts[section]
        index = bisect.bisect_right(after, address)
        room = after[index] - address if index < len(after) else 0
        return Symbol(name, address, size, room, section, function)

    @cached_property
    def _starts(self) -> dict[int, list[int]]:
        """By section, where symbols begin and the section ends, ascending."""
        starts = {section: {facts.end} for section, facts in self.code.items()}
        for same in self._names.values():
            for address, _, section, _ in same:
                starts[section].add(address)
        return {section: sorted(addresses) for section, addresses in starts.items()}

    @cached_property
    def _by_address(self) -> tuple[list[int], dict[int, tuple[str, _Facts]]]:
        """The addresses of symbols, ascending, and the symbol to prefer at each."""
        best: dict[int, tuple[str, _Facts]] = {}
        for name, same in self._names.items():
            for facts in same:
                known = best.get(facts[0])
                if known is None or (facts[3] and not known[1][3]):
                    best[facts[0]] = name, facts
        return sorted(best), best

    @cached_property
    def _names(self) -> dict[str, list[_Facts]]:
        """What is in code and kallsyms would list, by name."""
        table = self._file.get_section_by_name(".symtab")
        if table is None:
            raise UserError(f"{self.path} has no symbols", "it was stripped; give the file as it was built")
        names = self._file.get_section(table["sh_link"]).data()
        bases = {index: self._bases.get(index, 0) for index in self.code}
        # The lowest bit of an ARM function's address says that it is in Thumb code.
        thumb = -2 if self.machine == "EM_ARM" else -1
        found: dict[str, list[_Facts]] = {}
        for value, size, offset, info, section in self._raw_symbols(table.data()):
            kind = info & 15
            if section not in bases or kind not in _CODE_TYPES:
                continue
            name = names[offset : names.index(b"\0", offset)]
            if not name or _UNLISTED.match(name):
                continue
            function = kind == _STT_FUNC
            address = (value & thumb if function else value) + bases[section]
            found.setdefault(name.decode("utf-8", "replace"), []).append((address, size, section, function))
        return found

    def _raw_symbols(self, data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
        """(value, size, offset of the name, info, section) of each symbol."""
        if self.address_size == 8:
            for name, info, _, section, value, size in struct.iter_unpack(self.order + "IBBHQQ", data):
                yield value, size, name, info, section
        else:
            for name, value, size, info, _, section in struct.iter_unpack(self.order + "IIIBBH", data):
                yield value, size, name, info, section

    def calls_before(self, address: int) -> bool:
        """Whether the instruction that ends at ``address`` is a call; unknown machines have none."""
        for index, section in self.code.items():
            if section.base < address <= section.end:
                start = self._sections[index]["sh_offset"] + address - section.base
                for size, mask, value in _CALLS.get(self.machine, ()):
                    code = int.from_bytes(self._data[start - size : start], "little")
                    if address - size >= section.base and code & mask == value:
                        return True
        return False

    # Debug sections

    def has(self, name: str) -> bool:
        """Whether there is a section called ``name`` with something in it."""
        section = self._file.get_section_by_name(name)
        return section is not None and section["sh_size"] > 0 and section["sh_type"] != "SHT_NOBITS"

    def debug(self, name: str) -> memoryview:
        """The content of a debug section, unpacked and relocated; empty when it is not there."""
        if not self.has(name):
            return memoryview(b"")
        section = self._file.get_section_by_name(name)
        if section.compressed:
            content: memoryview = memoryview(self._unpack(name, section))
        else:
            offset = section["sh_offset"]
            content = memoryview(self._data)[offset : offset + section["sh_size"]]
        relocations = self._relocations_of(name) if self.relocatable else None
        return content if relocations is None else self._relocate(bytearray(content), relocations)

    def _unpack(self, name: str, section: Any) -> bytes:
        try:
            data: bytes = section.data()
            return data
        except (ELFError, NotImplementedError, AttributeError, zlib.error) as error:
            raise UserError(
                f"{self.path}: {name} is compressed in a way that cannot be read here ({error})",
                f"unpack it: llvm-objcopy --decompress-debug-sections {self.path.name}",
            ) from None

    def _relocations_of(self, name: str) -> Any:
        for section in self._sections:
            if section["sh_type"] in ("SHT_RELA", "SHT_REL") and section.name.partition(".")[2].partition(
                "."
            )[2] == name.lstrip("."):
                return section
        return None

    def _relocate(self, data: bytearray, relocations: Any) -> memoryview:
        """Do the relocations of one section. Raises :class:`UserError` for a kind that is not known."""
        sizes = _ABSOLUTE.get(self.machine, {})
        values = self._symbol_values
        write = {4: struct.Struct(self.order + "I"), 8: struct.Struct(self.order + "Q")}
        explicit = relocations["sh_type"] == "SHT_RELA"
        for offset, symbol, kind, addend in self._raw_relocations(relocations.data(), explicit):
            if kind not in sizes:
                if kind == 0:
                    continue
                raise UserError(
                    f"{self.path}: relocation {kind} of {self.machine} is not known",
                    "modules of this architecture can only be decoded against vmlinux",
                )
            size = sizes[kind]
            if not explicit:
                (addend,) = write[size].unpack_from(data, offset)
            write[size].pack_into(data, offset, (values[symbol] + addend) & ((1 << 8 * size) - 1))
        return memoryview(data).toreadonly()

    def _raw_relocations(self, data: bytes, explicit: bool) -> Iterator[tuple[int, int, int, int]]:
        """(offset, symbol, kind, addend) of each relocation; the addend is 0 when it is in the section."""
        wide = self.address_size == 8
        shape = self.order + ("QQ" if wide else "II") + (("q" if wide else "i") if explicit else "")
        shift = 32 if wide else 8
        mask = (1 << shift) - 1
        for offset, info, *addend in struct.iter_unpack(shape, data):
            yield offset, info >> shift, info & mask, addend[0] if explicit else 0

    @cached_property
    def _symbol_values(self) -> list[int]:
        table = self._file.get_section_by_name(".symtab")
        bases = self._bases
        return [value + bases.get(section, 0) for value, _, _, _, section in self._raw_symbols(table.data())]
