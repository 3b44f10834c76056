# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of trouble a kernel reports, and the shape of the tables that know their wording.

The tables are in headers.py (first lines of reports), follows.py (what belongs to a report that has
begun) and helpers.py (functions that are nobody's fault); the engine that reads them is dmesg.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What sort of trouble a report is about."""

    NULL_DEREF = "null-deref"
    PAGE_FAULT = "page-fault"
    GENERAL_PROTECTION = "general-protection"
    DOUBLE_FAULT = "double-fault"
    STACK_OVERFLOW = "stack-overflow"
    BUG = "bug"
    OOPS = "oops"
    WARNING = "warning"
    PANIC = "panic"
    RUST_PANIC = "rust-panic"
    KASAN = "kasan"
    KFENCE = "kfence"
    KCSAN = "kcsan"
    KMSAN = "kmsan"
    UBSAN = "ubsan"
    CFI = "cfi"
    """An indirect call or jump went where it must not (CONFIG_CFI, IBT)."""
    SLUB = "slub"
    SLAB_LEFTOVER = "slab-leftover"
    """A slab cache was destroyed while objects were alive in it."""
    LIST_CORRUPTION = "list-corruption"
    REFCOUNT = "refcount"
    DEBUG_OBJECT = "debug-object"
    """An object's life is out of order (CONFIG_DEBUG_OBJECTS)."""
    REFERENCE_LEAK = "reference-leak"
    """Somebody waits in vain for a last reference to go: a network device, an inode, a dentry."""
    USERCOPY = "usercopy"
    BAD_PAGE = "bad-page"
    MEMORY_LEAK = "memory-leak"
    LOCKDEP = "lockdep"
    SPINLOCK = "spinlock"
    ATOMIC_SLEEP = "atomic-sleep"
    ATOMIC_SCHEDULE = "atomic-schedule"
    PREEMPTIBLE = "preemptible"
    """Something bound to one CPU was used where the task could move to another."""
    RCU_STALL = "rcu-stall"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    CSD_STALL = "csd-stall"
    """A CPU does not answer the others (CONFIG_CSD_LOCK_WAIT_DEBUG)."""
    HUNG_TASK = "hung-task"
    WORKQUEUE_LOCKUP = "workqueue-lockup"
    ZSWAP_DECOMPRESS = "zswap-decompress"
    REBOOT = "reboot"
    """The console shows a second boot that nobody asked for."""
    OOM = "oom"
    ALLOC_FAILURE = "alloc-failure"

    @property
    def is_fact(self) -> bool:
        """A working kernel may say it; whether it counts is for the scenario to say."""
        return self in (Kind.OOM, Kind.ALLOC_FAILURE)

    @property
    def is_stall(self) -> bool:
        """A CPU did one thing for too long; somebody had a look at what."""
        return self in (Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.RCU_STALL, Kind.CSD_STALL)


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """The first line of a report.

    Named groups of ``pattern`` and ``details`` fill ``title`` and the report's fields: ``frame``,
    ``where`` (file:line), ``cpu``, ``task`` (comm/pid) or ``comm`` and ``pid``, ``message``.
    """

    kind: Kind
    needles: tuple[str, ...]
    """Every matching line contains one of them: most lines are ruled out by that."""
    pattern: re.Pattern[str]
    title: str
    """Filled with the groups; what did not match is left out. `` in FRAME`` is added when ``framed``."""
    end: re.Pattern[str] | None
    """The line that ends it; None when the header is all there is."""
    details: re.Pattern[str] | None
    """Searched in the lines that follow, once."""
    framed: bool = True
    needs_cut: bool = False
    """Counts only after a ``cut here`` line; by itself it is somebody's own wording."""
    needs_stack: bool = False
    """Counts only with a stack or an oops below it; without, a process was to blame."""


@dataclass(frozen=True, slots=True)
class Follow:
    """A header that belongs to the report being read rather than starting one.

    ``within`` and ``kind`` name the report and the header; ``pattern`` is searched in the header's line.
    """

    within: frozenset[Kind]
    kind: Kind
    pattern: re.Pattern[str] | None = None
    after_end: bool = False
    """Also when the report has come to its end, as long as nothing else was said for long."""
    same: str = ""
    """A group that both must have with the same value."""
    once: bool = False
    """Only the first of this kind."""
    at_once: bool = False
    """Only when nothing but headers was said since the report began."""
    upgrade: bool = False
    """The header says better what the report is about."""
