# SPDX-License-Identifier: GPL-2.0-only
"""What insmod would refuse, said before a machine boots.

The rules are those of kernel/module/main.c: elf_validity_check(), check_modinfo(),
find_module_sections(), resolve_symbol() and verify_namespace_is_imported().
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.build.kernel import Kernel
from harness.errors import UserError

_GPL: Final = frozenset(
    {"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"}
)
"""include/linux/license.h."""
_MANY: Final = 5


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What a module's file says of itself. ``build_id`` is in hexadecimal, as ld's --build-id wrote it."""

    name: str
    build_id: str
    vermagic: str
    license: str
    undefined: tuple[str, ...]
    """The kernel's symbols that it uses."""


@dataclass(frozen=True, slots=True)
class Export:
    """A line of Module.symvers."""

    gpl_only: bool
    namespace: str


def check_module(ko: Path, kernel: Kernel) -> ModuleInfo:
    """What ``ko`` is. Raises :class:`UserError` with the reason when ``kernel`` would not load it."""
    try:
        with ko.open("rb") as file:
            return _check(ko.name, ELFFile(file), kernel)
    except OSError as error:
        raise UserError(f"{ko} cannot be read: {error.strerror}") from None
    except (ELFError, UnicodeDecodeError, AssertionError) as error:
        raise UserError(
            f"{ko.name} is not a kernel module: insmod says ENOEXEC ({error or 'not an ELF file'})",
            "give the .ko file that kbuild made",
        ) from None


def _check(name: str, elf: Any, kernel: Kernel) -> ModuleInfo:
    wanted = kernel.target.arch.elf_machine
    if elf["e_machine"] != wanted:
        raise _refused(name, f"it is for {elf['e_machine']}, the kernel is for {wanted}")
    if elf["e_type"] != "ET_REL":
        raise _refused(name, f"it is {elf['e_type']}, not a relocatable object")
    modinfo = elf.get_section_by_name(".modinfo")
    if modinfo is None or elf.get_section_by_name(".gnu.linkonce.this_module") is None:
        missing = ".modinfo" if modinfo is None else ".gnu.linkonce.this_module"
        raise _refused(name, f"it has no section {missing}, so it is an object file and no module")
    facts = parse_modinfo(modinfo.data())
    vermagic = next(iter(facts.get("vermagic", [])), "")
    if vermagic != kernel.vermagic:
        raise _refused(
            name, f"it was built for another kernel: {vermagic!r}, this one is {kernel.vermagic!r}"
        )
    licence = next(iter(facts.get("license", [])), "")
    undefined = tuple(sorted(_undefined(elf)))
    exports = read_symvers(kernel.symvers, kernel.symvers.stat().st_mtime_ns)
    imported = frozenset(facts.get("import_ns", []))
    if (reason := refused_symbols(undefined, exports, licence, imported)) is not None:
        raise _refused(name, reason)
    own_name = next(iter(facts.get("name", [])), Path(name).stem.replace("-", "_"))
    return ModuleInfo(own_name, _build_id(elf), vermagic, licence, undefined)


def _refused(name: str, reason: str) -> UserError:
    return UserError(f"the kernel would refuse {name}: {reason}", "build the module against this kernel")


def parse_modinfo(data: bytes) -> dict[str, list[str]]:
    """The ``name=value`` strings of a .modinfo section."""
    facts: dict[str, list[str]] = {}
    for entry in data.split(b"\0"):
        name, equals, value = entry.decode(errors="replace").partition("=")
        if equals:
            facts.setdefault(name, []).append(value)
    return facts


def _undefined(elf: Any) -> set[str]:
    """Symbols that must be found in the kernel; a weak one may be missing."""
    table = elf.get_section_by_name(".symtab")
    if table is None:
        return set()
    return {
        symbol.name
        for symbol in table.iter_symbols()
        if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name and symbol["st_info"]["bind"] != "STB_WEAK"
    }


def _build_id(elf: Any) -> str:
    section = elf.get_section_by_name(".note.gnu.build-id")
    if section is None:
        return ""
    return next(
        (str(note["n_desc"]) for note in section.iter_notes() if note["n_type"] == "NT_GNU_BUILD_ID"), ""
    )


@lru_cache(maxsize=4)
def read_symvers(path: Path, _changed: int) -> Mapping[str, Export]:
    """The exports of a Module.symvers: ``crc<TAB>symbol<TAB>module<TAB>type<TAB>namespace``."""
    exports = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if len(fields) >= 4:
            exports[fields[1]] = Export(fields[3].endswith("_GPL"), fields[4] if len(fields) > 4 else "")
    return exports


def refused_symbols(
    undefined: Iterable[str], exports: Mapping[str, Export], licence: str, imported: frozenset[str]
) -> str | None:
    """Why the kernel could not resolve ``undefined``; None when it could."""
    unknown = [name for name in undefined if name not in exports]
    if unknown:
        return f"it needs {_list(unknown)}, which this kernel does not export"
    found = {name: exports[name] for name in undefined}
    gpl_only = [name for name, export in found.items() if export.gpl_only]
    if gpl_only and licence not in _GPL:
        return f"its licence is {licence!r}, and it uses {_list(gpl_only)}, exported to GPL modules only"
    outside = [
        f"{name} ({export.namespace})"
        for name, export in found.items()
        if export.namespace not in {"", *imported}
    ]
    if outside:
        return f"it uses {_list(outside)} without importing the namespace"
    return None


def _list(names: list[str]) -> str:
    rest = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + rest
