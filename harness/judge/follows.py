# SPDX-License-Identifier: GPL-2.0-only
"""What belongs to a report that has begun: headers that do not start another one, as a table of data."""

from __future__ import annotations

import re
from typing import Final

from harness.judge import body
from harness.judge.kinds import Follow, Kind


def _follow(
    within: str,
    kind: Kind,
    pattern: str = "",
    *,
    after_end: bool = False,
    same: str = "",
    once: bool = False,
    at_once: bool = False,
    upgrade: bool = False,
) -> Follow:
    kinds = frozenset(Kind) if within == "*" else frozenset(Kind(name) for name in within.split())
    compiled = re.compile(pattern) if pattern else None
    return Follow(kinds, kind, compiled, after_end, same, once, at_once, upgrade)


_FAULTS: Final = "null-deref page-fault general-protection double-fault stack-overflow cfi oops"
_DIES: Final = f"{_FAULTS} bug rust-panic list-corruption usercopy kasan kfence ubsan slub bad-page"
_DEATHS: Final = (Kind.OOPS, Kind.GENERAL_PROTECTION, Kind.DOUBLE_FAULT, Kind.STACK_OVERFLOW, Kind.CFI)
_STALLS: Final = "soft-lockup hard-lockup rcu-stall csd-stall workqueue-lockup"

FOLLOWS: Final[tuple[Follow, ...]] = (
    # one fault, told by the handler and then by die()
    *(_follow(_DIES, kind, once=True) for kind in _DEATHS),
    _follow(_DIES, Kind.BUG, r"Kernel bug detected\[#|Kernel BUG \[#", once=True),
    _follow("bug", Kind.BUG, r"Kernel bug detected\[#|Kernel BUG \[#"),
    _follow("bug", Kind.UBSAN),
    _follow("ubsan", Kind.UBSAN, r"Internal error"),
    _follow("stack-overflow", Kind.STACK_OVERFLOW, r"Kernel panic"),
    # a complaint, and the WARN or BUG under it
    _follow("rust-panic", Kind.BUG, r"rust/helpers/"),
    _follow("list-corruption", Kind.BUG, r"lib/list_debug\.c"),
    _follow("list-corruption", Kind.WARNING, r"lib/list_debug\.c"),
    _follow("list-corruption", Kind.LIST_CORRUPTION),
    _follow("warning", Kind.LIST_CORRUPTION, upgrade=True),
    _follow("refcount", Kind.WARNING, r"lib/refcount\.c|refcount"),
    _follow("warning", Kind.REFCOUNT, upgrade=True),
    _follow("warning", Kind.HARD_LOCKUP, r"^Watchdog detected", at_once=True, upgrade=True),
    _follow("debug-object", Kind.WARNING, r"lib/debugobjects\.c|debug_print_object"),
    _follow("usercopy", Kind.BUG, r"mm/usercopy\.c|usercopy_abort"),
    _follow("usercopy", Kind.WARNING, r"mm/usercopy\.c|usercopy_warn"),
    _follow("cfi", Kind.WARNING),
    _follow("bad-page", Kind.BUG, r"BUG: Bad page"),
    _follow("bad-page", Kind.BAD_PAGE, r"BUG: Bad page map", once=True, after_end=True, upgrade=True),
    _follow("spinlock", Kind.SPINLOCK, r"BUG: spinlock (?:bad magic|wrong)", once=True),
    # slabs
    _follow("slab-leftover", Kind.WARNING, r"mm/sl(?:ub|ab_common|ab)\.c|kmem_cache", after_end=True),
    _follow("slab-leftover", Kind.SLAB_LEFTOVER, same="cache", after_end=True),
    _follow("warning", Kind.SLAB_LEFTOVER, upgrade=True),
    _follow("kasan", Kind.SLUB, r"kasan: bad access", after_end=True),
    _follow("slub", Kind.SLUB, once=True),
    _follow("slub", Kind.WARNING, r"mm/slub\.c", after_end=True),
    _follow("memory-leak", Kind.MEMORY_LEAK, r"unreferenced object", once=True, after_end=True, upgrade=True),
    _follow("memory-leak", Kind.MEMORY_LEAK, r"new suspected", after_end=True),
    _follow("oom", Kind.OOM, r"Kill(?:ed)? process", after_end=True),
    _follow("reference-leak", Kind.REFERENCE_LEAK, same="cache", after_end=True),
    # a stall is told by every CPU that waits, and by the watchdog under it
    _follow(_STALLS, Kind.RCU_STALL, r"kthread|self-detected", same="what"),
    _follow("workqueue-lockup", Kind.WORKQUEUE_LOCKUP, after_end=True, at_once=True),
    # the unwinder's own doubts, and what lockdep thinks of the way a report takes
    _follow("*", Kind.WARNING, r"WARNING: (?:kernel stack|can't )"),
)

OPENER: Final = re.compile(r"(?:-+\[|8<---) cut here|={20,}$")
"""What is printed above a header; the lines between it and the header are part of the report."""

CONSEQUENCE: Final = re.compile(
    r"(?:[\w. -]+: )?(?:Fatal exception|Unrecoverable exception|panic_on_warn set|Attempted to kill (?:init"
    r"|the idle task)"
    r"|hung tasks|blocked tasks|[Hh]ard LOCKUP|RCU Stall|.* stack guard hit|Machine halted|Oops"
    r"|kernel stack overflow"
    r"|Asynchronous SError|Aiee, killing interrupt handler|Unhandled exception|Unhandled Exception"
    r"|Soft lockup)"
    r"|softlockup: |hung_task: |kasan\.fault=|kmsan\.panic|corrupted page table"
)
"""Panics that say only that something else happened, wherever on the machine it was."""

NAMELESS: Final = re.compile(
    r"(?:[\w. -]+: )?(?:Fatal exception|panic_on_warn set|RCU Stall)|softlockup: |hung_task: "
)
"""Of these, the ones that never come without something before them."""

FATAL: Final = re.compile(r"Kernel panic - not syncing")

ANNOUNCED: Final = re.compile(
    r"reboot: (?:Restarting system|machine restart|System halted|Power down)|Restarting system\.?$"
    r"|kexec_core: Starting new kernel|sysrq: (?:Resetting|Emergency)|(?:sysrq: )?SysRq : Resetting"
    r"|Power down\.$|Rebooting in \d+ seconds|Rebooting\.$"
)
"""After these a second boot is no surprise."""

NMI: Final = re.compile(r"(?:rcu: )?(?:Sending NMI from CPU|NMI backtrace for cpu)")
"""Another CPU is asked to show its stack, in a context of its own."""

DUMP: Final = re.compile(body.DUMP)
"""Memory in hexadecimal."""
