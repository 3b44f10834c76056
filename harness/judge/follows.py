# SPDX-License-Identifier: GPL-2.0-only
"""What belongs to a report that has begun: a table of data, and what the body of a report looks like."""

from __future__ import annotations

import re
from typing import Final

from harness.judge.kinds import Follow, Kind


def _follow(
    within: str,
    kind: Kind,
    pattern: str = "",
    *,
    after_end: bool = False,
    same: str = "",
    once: bool = False,
    upgrade: bool = False,
) -> Follow:
    kinds = frozenset(Kind(name) for name in within.split())
    compiled = re.compile(pattern) if pattern else None
    return Follow(kinds, kind, compiled, after_end, same, once, upgrade)


_DIES: Final = (
    "null-deref page-fault bug rust-panic stack-overflow double-fault list-corruption usercopy oops kasan"
)
FOLLOWS: Final[tuple[Follow, ...]] = (
    *(
        _follow(_DIES, kind, once=True)
        for kind in (Kind.OOPS, Kind.GENERAL_PROTECTION, Kind.DOUBLE_FAULT, Kind.STACK_OVERFLOW)
    ),
    _follow("rust-panic", Kind.BUG, r"rust/helpers/bug\.c"),
    _follow("list-corruption", Kind.BUG, r"lib/list_debug\.c"),
    _follow("list-corruption", Kind.WARNING, r"lib/list_debug\.c"),
    _follow("list-corruption", Kind.LIST_CORRUPTION),
    _follow("warning", Kind.LIST_CORRUPTION, upgrade=True),
    _follow("refcount", Kind.WARNING, r"lib/refcount\.c"),
    _follow("warning", Kind.REFCOUNT, upgrade=True),
    _follow("usercopy", Kind.BUG, r"mm/usercopy\.c"),
    _follow("slab-leftover", Kind.WARNING, r"mm/sl(?:ub|ab_common)\.c", after_end=True),
    _follow("slab-leftover", Kind.SLAB_LEFTOVER, same="cache", after_end=True),
    _follow("warning", Kind.SLAB_LEFTOVER, upgrade=True),
    _follow("slub", Kind.SLUB, once=True),
    _follow("slub", Kind.WARNING, r"mm/slub\.c", after_end=True),
    _follow("memory-leak", Kind.MEMORY_LEAK, r"new suspected", after_end=True),
    _follow("oom", Kind.OOM, r"Killed process", after_end=True, once=True),
)

OPENER: Final = re.compile(r"(?:-+\[|8<---) cut here|={20,}$")
"""What is printed above a header; the lines between it and the header are part of the report."""

CONSEQUENCE: Final = re.compile(
    r"Fatal exception|panic_on_warn set|Attempted to kill (?:init|the idle task)|softlockup: |Hard LOCKUP"
    r"|hung_task: |RCU Stall|.* stack guard hit|kasan\.fault=|Machine halted|Oops"
)
"""Panics that say only that something else happened, wherever on the machine it was."""

FATAL: Final = re.compile(r"Kernel panic - not syncing")

DUMP: Final = re.compile(
    r"(?:Object|Redzone|Padding|Bytes b4) +[0-9a-f]{8}|[0-9a-f]{4}: (?:[0-9a-f]{8}| {8})"
)
"""Memory in hexadecimal: a SLUB report of a large object has hundreds of lines of it."""

BODY: Final = re.compile(
    r"(?:kmemleak:)? *(?:\? )?[\w.$]+\+0x[0-9a-f]+/0x[0-9a-f]+| </?[A-Z_#]+>$| [\w.$]+(?: \[\w+\])? from "
    r"|\[<[0-9a-f]+>\]|(?:RIP|EIP|pc |lr |sp |PC is|LR is|CPU|CR2|Code|PGD|#PF|Comm|Tainted)\b.*[:0-9]"
    r"|Workqueue: "
    r"|R[A-Z0-9]{2}: |[FC]S: +[0-9a-f]|x\d+ *: [0-9a-f]{16}|r\d+ ?: [0-9a-f]{8}|Call [Tt]race:|Backtrace:"
    r"|Hardware name:|Modules linked in:|---\[ end |[=-]{20,}$|note: .* exited with|Rebooting in "
    r"|Kernel Offset:|Shutting down cpus|(?:hardirqs|softirqs) last|irq event stamp|Preemption disabled at"
    r"|(?:Allocated|Freed) (?:by task|in )|The buggy address|Memory state around|[> ][0-9a-f]{8,16}: "
    r"|page:|flags: 0x|raw: [0-9a-f]{8}|page dumped because|page_type|head:|Last potentially related"
    r"|stack backtrace:|other info that might|the existing dependency chain|-> #\d|\d+ locks? held by"
    r"| #\d+: [0-9a-f]|Possible (?:unsafe|interrupt unsafe)|Slab 0x|Object 0x"
    r"|(?:Object|Redzone|Padding|Bytes b4) +[0-9a-f]"
    r"|FIX |Process .* \(pid:|Stack: \(0x|[0-9a-f]{4}: (?:[0-9a-f]{8} ?)|Exception stack|Mem abort info"
    r"|Data abort info|  \w+ = |swapper pgtable|task:\S+ +state:|NMI backtrace|Sending NMI"
    r"|(?:kmemleak:)?   *(?:backtrace \(crc|comm \")|kfence-#|Register r\d+ information"
)
"""Lines that only a report prints. A report reaches to the last of them."""
