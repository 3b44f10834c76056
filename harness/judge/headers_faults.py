# SPDX-License-Identifier: GPL-2.0-only
"""First lines of reports about faults of the processor, on every machine, and panics."""

from __future__ import annotations

import re
from typing import Final

from harness.judge.kinds import Header, Kind
from harness.judge.wording import CUT_END, header

# The first page: arm, mips, powerpc and s390 do not call it a NULL pointer on every kernel.
_FIRST_PAGE: Final = r"(?:0x)?0{4,13}[0-9a-f]{1,3}\b"

FAULTS: Final[tuple[Header, ...]] = (
    # arch/x86/mm/fault.c show_fault_oops(); arch/arm64, arm, riscv mm/fault.c die_kernel_fault();
    # arch/powerpc/mm/fault.c bad_page_fault(); arch/mips and loongarch mm/fault.c
    header(
        Kind.NULL_DEREF,
        "NULL pointer dereference",
        r"(?:BUG: (?:[uU]nable to handle )?[kK]ernel|Unable to handle kernel) NULL pointer dereference",
        "BUG: kernel NULL pointer dereference",
        end=CUT_END,
    ),
    header(
        Kind.NULL_DEREF,
        "Unable to handle kernel",
        r"(?:CPU \d+ )?Unable to handle kernel (?:paging request"
        r"|access to user memory (?:outside|without) uaccess routines)"
        r" (?:at virtual address|for \w+ at address|at address) " + _FIRST_PAGE,
        "BUG: kernel NULL pointer dereference",
        end=CUT_END,
    ),
    header(
        Kind.PAGE_FAULT,
        "nable to handle|Kernel instruction fetch|Kernel Fault:",
        r"(?:(?:BUG: )?[uU]nable to handle (?:page fault|kernel|unknown paging fault)"
        r"|CPU \d+ Unable to handle kernel (?:paging|access)|Kernel Fault: Code=)",
        "BUG: unable to handle page fault",
        end=CUT_END,
    ),
    # arch/x86/kernel/traps.c handle_stack_overflow(); arch/arm64, arm, riscv; powerpc; s390; dumpstack of 4.x
    header(
        Kind.STACK_OVERFLOW,
        "stack guard page|Insufficient stack space|overran stack|Kernel panic|stack overflow",
        r"BUG: (?:\S+ )?stack guard page was hit|Insufficient stack space to handle exception"
        r"|Thread overran stack|Kernel panic - not syncing: (?:[kK]ernel stack overflow|corrupted stack end"
        r"|stack-protector:)|[kK]ernel stack overflow",
        "kernel stack overflow",
        end=CUT_END,
    ),
    header(
        Kind.DOUBLE_FAULT,
        "double fault",
        r"(?:traps: )?(?:PANIC: )?double fault(?:,|:)",
        "double fault",
        end=CUT_END,
    ),
    # arch/x86/kernel/cfi.c, kernel/cfi.c, arch/x86/kernel/cet.c; "CFI failure (target:" in 5.x
    header(
        Kind.CFI,
        "CFI failure|Missing ENDBR|Oops - CFI|Oops - BTI",
        r"(?:traps: )?(?P<what>CFI failure|Missing ENDBR)(?: at|:)? ?(?P<frame>[A-Za-z_]\S*)?"
        r"|Internal error: Oops - (?:CFI|BTI)",
        "{what}",
        end=CUT_END,
    ),
)

OOPSES: Final[tuple[Header, ...]] = (
    # arch/x86/kernel/traps.c, dumpstack.c __die_header()
    header(
        Kind.GENERAL_PROTECTION,
        "general protection",
        r"(?:Oops: )?general protection fault(?=,|:|$| \d)(?!.* ip:)",
        "general protection fault",
        end=CUT_END,
    ),
    header(
        Kind.OOPS,
        "Oops",
        r"Oops: (?:Oops: )?(?P<what>[A-Za-z][\w -]*[a-z])(?:, (?:sig|for address)|[:,\[]|$| \[#)"
        r"|Oops(?: - (?P<message>[\w -]+?))?[: ]*(?:[0-9a-f]+ )?\[#|Oops: [0-9a-f]{4}",
        "Oops: {what}",
        end=CUT_END,
    ),
    header(
        Kind.OOPS,
        "Internal error: ",
        r"Internal error: (?P<what>[\w ,()/-]*?)(?:: ?[0-9a-f]+)? ?\[#",
        "Oops: {what}",
        end=CUT_END,
    ),
    header(Kind.OOPS, "Internal error: ", r"Internal error: (?P<what>[\w -]+)", "Oops: {what}", end=CUT_END),
    # mips, riscv and loongarch: a BUG() of which the place is not said
    header(Kind.BUG, "[#", r"(?:Kernel bug detected|Kernel BUG) ?\[#\d+\]", "kernel BUG", end=CUT_END),
    # Every machine's die(): a sentence, a code or a signal, and how many so far
    header(
        Kind.OOPS,
        "[#",
        r"(?:\S+\(\d+\): )?(?P<what>[A-Za-z][\w ,;()/'!?-]*?)(?:: [0-9a-f]{4,16})?"
        r"(?: ilc:\d)?(?:[,:] sig: \d+)?"
        r" ?\[#\d+\](?::|$| ?(?:PREEMPT|SMP|NOPTI|PTI|KASAN|DEBUG|THUMB|ARM|NO))",
        "Oops: {what}",
        end=CUT_END,
    ),
    header(
        Kind.OOPS,
        "Unhandled |SError|Bad mode|Division by zero in kernel|Synchronous |bus error, epc",
        r"(?P<what>Unhandled fault|Unhandled prefetch abort|SError Interrupt|Bad mode in"
        r"|Division by zero in kernel"
        r"|Synchronous (?:External|Parity)[\w ]*|(?:Data|Instruction) bus error)\b[:, .]",
        "Oops: {what}",
        end=CUT_END,
        needs_stack=True,
    ),
    header(
        Kind.PANIC,
        "Kernel panic",
        r"Kernel panic - not syncing: (?P<what>.*)",
        "Kernel panic: {what}",
        end=re.compile(r"---\[ end Kernel panic"),
        framed=False,
    ),
    # arch/x86/kernel/head*.S, head64.c
    header(
        Kind.PANIC,
        "PANIC: early exception",
        r"(?P<what>PANIC: early exception)",
        "{what}",
        end=None,
        framed=False,
    ),
    header(Kind.REBOOT, "Linux version ", r"Linux version \d", "unexpected reboot", end=None, framed=False),
)
