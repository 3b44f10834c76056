# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel's console names places in its code, on every architecture.

Most of what it prints are return addresses: the instruction after a call, which often belongs to
another line, and at the end of a function that never returns even to another function. A program
counter is exact. Which of the two it is depends on the words around it; they are data here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_PLACE: Final = re.compile(
    r"(?:\[<(?P<address>[0-9a-f]{8,16})>\] *)?\(?"
    r"(?P<function>[A-Za-z_$.][\w$.]*)\+0x(?P<offset>[0-9a-f]{1,16})/0x(?P<size>[0-9a-f]{1,16})"
    r"(?: \[(?P<module>[\w-]+)(?: (?P<build_id>[0-9a-f]{8,64}))?\])?"
)
"""``%pS``, ``%pB`` and their kin (lib/vsprintf.c, kernel/kallsyms.c), with the older ``[<address>]``."""
_BARE: Final = re.compile(
    r"^(?:[?] )?\[<(?P<a>[0-9a-f]{8,16})>\](?: \(?0x[0-9a-f]+\)?)?$"
    r"|^(?:[?] )?0x(?P<b>[0-9a-f]{8,16})$"
    r"|^RIP: [0-9a-f]{4}:(?:\[<(?P<c>[0-9a-f]{8,16})>\]|0x(?P<d>[0-9a-f]{8,16}))"
    r"|^Function entered at .* from \[<(?P<e>[0-9a-f]{8,16})>\]"
)
"""A kernel without kallsyms prints addresses alone."""
_PREFIX: Final = re.compile(r"^(?:<\d+>)?(?:\[ *\d+\.\d+\] ?)?(?:\[ *[TC]\d+\] ?)?")
_OFFSET: Final = re.compile(r"Kernel Offset: 0x([0-9a-f]+) from ")

_END: Final = re.compile(r"---\[ end (?:trace|Kernel panic)")

_PROGRAM_COUNTER: Final = re.compile(
    r"^(?:RIP: [0-9a-f]{4}:|EIP: (?:[0-9a-f]{4}:)?|pc : |PC is at |epc : |NIP \[[0-9a-f]+\] |Krnl PSW : .*\()"
    r"|^(?:general protection fault|Internal error|kernel tried to|PC ).* (?:at|in) $"
    r"|^BUG: KFENCE: (?:out-of-bounds|use-after-free|invalid) (?:read|write|access)? *in $"
)
"""What stands before an exact address."""
_TRAPPED_WARNING: Final = re.compile(r"^WARNING: .*\bat ")
"""The kernel warns by a trap, whose address is exact, or by a call; the machine decides."""
_FAULTED_STACK: Final = re.compile(
    r"^BUG: KFENCE: (?:out-of-bounds|use-after-free|invalid) (?:read|write|access)? *in "
)
"""The stack below it begins with the instruction that faulted (mm/kfence/report.c)."""
_EXCEPTION: Final = re.compile(
    r"asm_(?:exc_|sysvec_|common_interrupt)\w*$|el1h?(?:_64)?_(?:sync|irq|fiq|error)$"
    r"|__(?:dabt|pabt|und|irq|fiq)_svc$|ret_from_exception$|handle_exception$"
)
"""Where the processor enters the kernel: what its caller's frame holds was not returned to by a call."""
_ARM_FROM: Final = re.compile(r"(?P<callee>[\w$.]+)(?: \[[^\]]*\])?\)? from (?:\[<[0-9a-f]+>\] )?\(?$")
"""``callee from caller+0x..``: one line of an ARM trace names both."""
_EXACT_MARK: Final = re.compile(r" \([A-Z]*P[A-Z]*\)$")
"""arm64 marks what it took from an exception's registers (arch/arm64/kernel/stacktrace.c)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the code as the console names it; ``start`` and ``end`` are its columns in the line.

    ``exact`` says that it is an instruction that was executed or failed, not what follows a call.
    A bare address has no ``function``.
    """

    function: str
    offset: int
    size: int
    module: str = ""
    build_id: str = ""
    address: int | None = None
    exact: bool = False
    start: int = 0
    end: int = 0

    @property
    def text(self) -> str:
        """As the kernel prints it now."""
        if not self.function:
            return f"{self.address:#x}"
        place = f"{self.function}+{self.offset:#x}/{self.size:#x}"
        return f"{place} [{self.module}]" if self.module else place


def text_column(line: str) -> int:
    """Where the kernel's own words begin, after level, time and caller and what they are indented by."""
    prefix = _PREFIX.match(line)
    begin = prefix.end() if prefix else 0
    return len(line) - len(line[begin:].lstrip())


class Reader:
    """Reads a log line by line and remembers what the lines before mean for the next."""

    def __init__(self, *, warns_by_trap: bool = True) -> None:
        """``warns_by_trap``: whether the address in a ``WARNING:`` line is exact on this machine."""
        self._warns_by_trap = warns_by_trap
        self._counter: tuple[str, int, int] | None = None
        self._after_exception = False
        self._faulted = False
        self.kernel_offset: int | None = None
        """By how much KASLR moved the kernel, once the log has said so."""

    def read(self, line: str) -> tuple[Spot, ...]:
        """The places that a line names, from left to right."""
        line = line.rstrip("\r\n")
        prefix = _PREFIX.match(line)
        begin = prefix.end() if prefix else 0
        if moved := _OFFSET.search(line, begin):
            self.kernel_offset = int(moved.group(1), 16)
        if _END.search(line):
            self._counter = None
        found = tuple(self._places(line, begin) if "+0x" in line else self._bare(line, begin))
        if not found:
            self._after_exception = False
        return found

    def _places(self, line: str, begin: int) -> Iterator[Spot]:
        for match in _PLACE.finditer(line, begin):
            before = line[begin : match.start("function")].lstrip()
            here = (match["function"], int(match["offset"], 16), int(match["size"], 16))
            exact = self._is_exact(before, line[match.end() :], here)
            address = match["address"]
            yield Spot(
                *here,
                match["module"] or "",
                match["build_id"] or "",
                int(address, 16) if address else None,
                exact,
                match.start("function"),
                match.end(),
            )
            self._after_exception = bool(_EXCEPTION.match(here[0]))
            self._faulted = bool(_FAULTED_STACK.match(before))

    def _is_exact(self, before: str, after: str, here: tuple[str, int, int]) -> bool:
        if _PROGRAM_COUNTER.search(re.sub(r"\[<[0-9a-f]+>\] *\(?$", "", before)):
            self._counter = here
            return True
        if _TRAPPED_WARNING.match(before):
            return self._warns_by_trap
        if _EXACT_MARK.match(after):
            return True
        if from_ := _ARM_FROM.search(before):
            return bool(_EXCEPTION.match(from_["callee"]))
        # A trace may begin with the program counter that was shown before, or go on below an exception.
        return self._after_exception or self._faulted or here == self._counter

    def _bare(self, line: str, begin: int) -> Iterator[Spot]:
        match = _BARE.match(line[begin:].lstrip())
        if match is None or match.lastgroup is None:
            return
        start = line.index(match[match.lastgroup], begin)
        address = int(match[match.lastgroup], 16)
        exact = match.lastgroup in "cd"
        yield Spot("", 0, 0, "", "", address, exact, start, start + len(match[match.lastgroup]))


def spots(lines: Iterable[str], *, warns_by_trap: bool = True) -> Iterator[Spot]:
    """All places that ``lines`` name."""
    reader = Reader(warns_by_trap=warns_by_trap)
    for line in lines:
        yield from reader.read(line)
