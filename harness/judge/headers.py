# SPDX-License-Identifier: GPL-2.0-only
"""The first lines of reports, as the kernel's format strings print them: a table of data.

Patterns are matched at the start of a line without its prefixes, in the order of the table. The source
of each wording stands beside it; where 6.12 and 7.3 differ, both are there.
"""

from __future__ import annotations

import re
from typing import Final

from harness.judge.kinds import Header, Kind

TRACE_END: Final = re.compile(r" </TASK>|---\[ end trace ")
CUT_END: Final = re.compile(r"---\[ end trace ")
BANNER_END: Final = re.compile(r"={20,}$")


def _header(
    kind: Kind,
    needle: str,
    pattern: str,
    title: str,
    *,
    end: re.Pattern[str] | None = TRACE_END,
    details: str = "",
    framed: bool = True,
    needs_cut: bool = False,
) -> Header:
    compiled = re.compile(details) if details else None
    needles = tuple(needle.split("|"))
    return Header(kind, needles, re.compile(pattern), title, end, compiled, framed, needs_cut)


_IN = r"(?: in (?P<frame>\S+))?"
_WHERE = r"(?P<where>\S+?:\d+)"
_TASK = r"(?P<task>.+?/\d+)"
_LOCKDEP = (
    r"(?P<what>possible \w+(?: \w+)* (?:detected|dependency detected)|inconsistent lock state"
    r"|\S+-safe -> \S+-unsafe lock order detected|Nested lock was not taken|bad unlock balance detected"
    r"|bad contention detected|held lock freed|chain_key collision|suspicious RCU usage"
    r"|[Ii]nvalid wait context|lock held when returning to user space|still has locks held)"
)
_SLUB = r"BUG (?P<cache>\S.*?) \((?:Not tainted|Tainted: [^)]*)\): "

HEADERS: Final[tuple[Header, ...]] = (
    # mm/kasan/report.c, print_error_description()
    _header(
        Kind.KASAN,
        "BUG: KASAN",
        r"BUG: KASAN:?(?: (?P<what>[\w-]+))?" + _IN,
        "KASAN: {what} {access}",
        end=BANNER_END,
        details=r"(?:(?P<access>Read|Write)(?: of size \d+)? at|Free of) addr .* by task (?P<task>.+/\d+)",
    ),
    # mm/kfence/report.c, kfence_report_error(); the stack follows without a "Call Trace:"
    _header(
        Kind.KFENCE,
        "BUG: KFENCE",
        r"BUG: KFENCE: (?P<what>[\w-]+(?: [\w-]+)*?)" + _IN + r"(?: \[[^\]]*\])?$",
        "KFENCE: {what}",
        end=BANNER_END,
    ),
    _header(
        Kind.KCSAN,
        "BUG: KCSAN",
        r"BUG: KCSAN: (?P<what>[\w-]+(?: [\w-]+)*?) in (?P<frame>\S+)(?: / \S+)?",
        "KCSAN: {what}",
        end=BANNER_END,
    ),
    _header(Kind.KMSAN, "BUG: KMSAN", r"BUG: KMSAN: (?P<what>[\w-]+)" + _IN, "KMSAN: {what}", end=BANNER_END),
    # lib/ubsan.c, ubsan_prologue()
    _header(
        Kind.UBSAN,
        "UBSAN: ",
        r"UBSAN: (?P<what>[\w -]+?) in (?P<where>\S+?:\d+(?::\d+)?)",
        "UBSAN: {what} at {file}",
        end=CUT_END,
    ),
    # arch/x86/mm/fault.c show_fault_oops(); arch/arm64/mm/fault.c and arch/arm/mm/fault.c die_kernel_fault()
    _header(
        Kind.NULL_DEREF,
        "NULL pointer dereference",
        r"(?:BUG: (?:unable to handle )?kernel|Unable to handle kernel) NULL pointer dereference",
        "BUG: kernel NULL pointer dereference",
        end=CUT_END,
    ),
    _header(
        Kind.PAGE_FAULT,
        "nable to handle",
        r"(?:BUG: unable to handle (?:page fault|kernel (?:paging|data))"
        r"|Unable to handle kernel (?P<what>[\w -]+?) at virtual address)",
        "BUG: unable to handle page fault",
        end=CUT_END,
    ),
    # arch/x86/kernel/traps.c handle_stack_overflow(); arch/arm64 and arm panic_bad_stack()
    _header(
        Kind.STACK_OVERFLOW,
        "stack guard page|Insufficient stack space|overran stack|Kernel panic",
        r"BUG: (?:\S+ )?stack guard page was hit|Insufficient stack space to handle exception"
        r"|Thread overran stack|Kernel panic - not syncing: (?:kernel stack overflow|corrupted stack end"
        r"|stack-protector:)",
        "kernel stack overflow",
        end=CUT_END,
    ),
    _header(
        Kind.DOUBLE_FAULT, "double fault", r"(?:traps: )?PANIC: double fault", "double fault", end=CUT_END
    ),
    # kernel/watchdog.c
    _header(
        Kind.SOFT_LOCKUP,
        "soft lockup",
        r"(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for \d+s!"
        r"(?: \[(?P<comm>.+):(?P<pid>\d+)\])?",
        "BUG: soft lockup",
    ),
    _header(
        Kind.HARD_LOCKUP,
        "hard LOCKUP",
        r"(?:NMI )?(?:watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu (?P<cpu>\d+)",
        "hard lockup",
    ),
    # kernel/sched/core.c __might_resched(), __schedule_bug()
    _header(
        Kind.ATOMIC_SLEEP,
        "sleeping function called",
        r"BUG: sleeping function called from invalid context at " + _WHERE,
        "BUG: sleeping function called from invalid context",
        details=r"in_atomic\(\): .*\bpid: (?P<pid>\d+), name: (?P<comm>.+)",
    ),
    _header(
        Kind.ATOMIC_SCHEDULE,
        "scheduling while atomic",
        r"BUG: scheduling while atomic: " + _TASK + r"/0x",
        "BUG: scheduling while atomic",
    ),
    # mm/page_alloc.c bad_page(), mm/memory.c print_bad_pte()
    _header(
        Kind.BAD_PAGE,
        "BUG: Bad page",
        r"BUG: Bad page (?P<what>state|map|cache) in process (?P<comm>\S+)",
        "BUG: Bad page {what}: {why}",
        details=r"page dumped because: (?P<why>.+)",
    ),
    # kernel/locking/spinlock_debug.c
    _header(
        Kind.SPINLOCK,
        "BUG: ",
        r"BUG: (?P<what>(?:spinlock|rwlock) .+?) on CPU#(?P<cpu>\d+), " + _TASK + r"(?:,|$)",
        "BUG: {what}",
    ),
    # kernel/workqueue.c
    _header(
        Kind.WORKQUEUE_LOCKUP,
        "workqueue lockup",
        r"BUG: workqueue lockup",
        "BUG: workqueue lockup",
        end=None,
        framed=False,
    ),
    # kernel/locking/lockdep.c: each has a line of "=" above and one of "-" below
    _header(
        Kind.LOCKDEP, "WARNING: ", r"WARNING: (?:(?P<task>\S.*/\d+) )?" + _LOCKDEP + "!?$", "lockdep: {what}"
    ),
    _header(Kind.LOCKDEP, "[ BUG: |[ INFO: ", r"\[ (?:BUG|INFO): " + _LOCKDEP + r"!? \]", "lockdep: {what}"),
    _header(
        Kind.LOCKDEP,
        "INFO: ",
        r"INFO: (?P<what>trying to register non-static key|"
        r"possible recursive locking detected|possible circular locking dependency detected|"
        r"inconsistent lock state|suspicious RCU usage)",
        "lockdep: {what}",
    ),
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h
    _header(
        Kind.RCU_STALL,
        "detected stall|detected expedited stall",
        r"(?:rcu: )?INFO: (?P<what>rcu\w*) (?:self-)?detected (?:expedited )?stalls?\b",
        "RCU stall ({what})",
    ),
    # kernel/hung_task.c
    _header(
        Kind.HUNG_TASK,
        "blocked for more|blocked in I/O",
        r"INFO: task (?P<comm>.+):(?P<pid>\d+) blocked(?: in I/O wait)? for more than \d+ seconds",
        "hung task {comm}",
    ),
    # lib/list_debug.c and lib/refcount.c, above the WARNING or BUG that they raise
    _header(
        Kind.LIST_CORRUPTION,
        "list_add |list_del ",
        r"(?P<what>list_(?:add|del)(?: double add| corruption))",
        "{what}",
        end=CUT_END,
    ),
    _header(
        Kind.REFCOUNT, "refcount_t: ", r"refcount_t: (?P<what>.+?)\.?$", "refcount_t: {what}", end=CUT_END
    ),
    _header(
        Kind.USERCOPY,
        "usercopy: ",
        r"usercopy: Kernel memory (?P<what>exposure|overwrite) attempt detected",
        "usercopy: kernel memory {what} attempt",
        end=CUT_END,
    ),
    # mm/slab_common.c kmem_cache_destroy(), mm/slub.c list_slab_objects()
    _header(
        Kind.SLAB_LEFTOVER,
        "still has objects",
        r"(?:\w+ )?(?P<cache>\S+): Slab cache still has objects when called from",
        "objects left in slab cache {cache}",
        end=CUT_END,
    ),
    _header(
        Kind.SLAB_LEFTOVER,
        "Objects remaining",
        _SLUB + r"Objects remaining ",
        "objects left in slab cache {cache}",
    ),
    # mm/slub.c __slab_bug(); since 6.14 the damaged bytes are named before it
    _header(
        Kind.SLUB,
        " overwritten] 0x",
        r"\[(?P<what>[\w -]+ overwritten)\] 0x",
        "BUG {cache}: {what}",
    ),
    _header(Kind.SLUB, "BUG ", _SLUB + r"(?P<what>.+)", "BUG {cache}: {what}"),
    # rust/kernel/lib.rs panic(): location, a line with the message, then BUG()
    _header(
        Kind.RUST_PANIC,
        "panicked at ",
        r"rust_kernel: panicked at (?P<where>\S+?:\d+)(?::\d+)?:?$",
        "Rust panic at {file}: {message}",
        end=CUT_END,
        details=r"(?!-+\[ cut here)(?P<message>.+)",
    ),
    _header(
        Kind.RUST_PANIC,
        "panicked at ",
        r"rust_kernel: panicked at '(?P<message>.*)', (?P<where>\S+?:\d+)(?::\d+)?$",
        "Rust panic at {file}: {message}",
        end=CUT_END,
    ),
    # lib/bug.c
    _header(
        Kind.BUG,
        "ernel BUG at",
        r"[kK]ernel BUG at (?:" + _WHERE + r"!|(?P<frame>\S+))",
        "kernel BUG at {file}",
        end=CUT_END,
    ),
    # kernel/panic.c __warn(): 7.3, with and without a file; then 6.12 and before
    _header(
        Kind.WARNING,
        "WARNING: ",
        r"WARNING: (?:\[.*\] )?(?:"
        + _WHERE
        + r" )?at (?P<frame>\S+?)(?: \[[^\]]*\])?, CPU#(?P<cpu>\d+): (?P<task>.+/\d+)",
        "WARNING at {file}",
        end=CUT_END,
    ),
    _header(
        Kind.WARNING,
        "WARNING: ",
        r"WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) at (?:" + _WHERE + r" )?(?P<frame>\S+)",
        "WARNING at {file}",
        end=CUT_END,
    ),
    _header(Kind.WARNING, "WARNING: ", r"WARNING: ", "WARNING", end=CUT_END, needs_cut=True),
    # mm/kmemleak.c; the summary line comes alone unless kmemleak is verbose
    _header(
        Kind.MEMORY_LEAK,
        "unreferenced object",
        r"(?:kmemleak: )?unreferenced object(?: \(\w+\))? 0x[0-9a-f]+ \(size (?P<size>\d+)\):",
        "memory leak",
        end=None,
        details=r'(?:kmemleak: )? +comm "(?P<comm>[^"]*)", pid (?P<pid>\d+)',
    ),
    _header(
        Kind.MEMORY_LEAK,
        "new suspected memory leaks",
        r"kmemleak: \d+ new suspected memory leaks",
        "memory leak",
        end=None,
        framed=False,
    ),
    # arch/x86/kernel/traps.c, dumpstack.c __die_header(); arch/arm64, arch/arm kernel/traps.c __die()
    _header(
        Kind.GENERAL_PROTECTION,
        "general protection",
        r"(?:Oops: )?general protection fault",
        "general protection fault",
        end=CUT_END,
    ),
    _header(Kind.OOPS, "Oops: ", r"Oops: (?P<what>[\w -]+)", "Oops: {what}", end=CUT_END),
    _header(Kind.OOPS, "Internal error: ", r"Internal error: (?P<what>[\w -]+)", "Oops: {what}", end=CUT_END),
    _header(
        Kind.OOPS,
        "divide error|invalid opcode|int3|stack segment|Unhandled |SError|Bad mode|Division by|CFI failure",
        r"(?P<what>divide error|invalid opcode|int3|stack segment|Unhandled fault|Unhandled prefetch abort"
        r"|SError Interrupt|Bad mode in|Division by zero in kernel|CFI failure)\b[: ]",
        "Oops: {what}",
        end=CUT_END,
    ),
    _header(
        Kind.PANIC,
        "Kernel panic",
        r"Kernel panic - not syncing: (?P<what>.*)",
        "Kernel panic: {what}",
        end=re.compile(r"---\[ end Kernel panic"),
        framed=False,
    ),
    # mm/zswap.c zswap_decompress()
    _header(
        Kind.ZSWAP_DECOMPRESS,
        "Decompression error from zswap",
        r"(?:zswap: )?Decompression error from zswap",
        "zswap: decompression error",
        end=None,
        framed=False,
    ),
    _header(Kind.REBOOT, "Linux version ", r"Linux version \d", "unexpected reboot", end=None, framed=False),
    # mm/oom_kill.c
    _header(
        Kind.OOM,
        "Killed process",
        r"(?:Memory cgroup out|Out) of memory.*: Killed process (?P<pid>\d+) \((?P<victim>.*?)\)",
        "OOM kill of {victim}",
        end=None,
        framed=False,
    ),
    _header(
        Kind.OOM,
        "invoked oom-killer",
        r"(?P<comm>.+) invoked oom-killer: ",
        "OOM kill of {victim}",
        end=re.compile(r"(?:Memory cgroup out|Out) of memory"),
        framed=False,
    ),
    # mm/page_alloc.c warn_alloc(), mm/slub.c slab_out_of_memory()
    _header(
        Kind.ALLOC_FAILURE,
        "page allocation failure",
        r"(?P<comm>.+): page allocation failure: order:(?P<order>\d+)",
        "page allocation failure, order {order}",
        framed=False,
    ),
    _header(
        Kind.ALLOC_FAILURE,
        "vmalloc error|vmalloc size",
        r"(?P<comm>.+): vmalloc (?:error|size)",
        "vmalloc failure",
        framed=False,
    ),
    _header(
        Kind.ALLOC_FAILURE,
        "SLUB: Unable to allocate",
        r"SLUB: Unable to allocate memory",
        "slab allocation failure",
        end=None,
        framed=False,
    ),
    # whatever else calls itself a BUG
    _header(Kind.BUG, "BUG: ", r"BUG: (?P<what>.+)", "BUG: {what}"),
)

SUPPRESSIONS: Final = re.compile(
    r"BUG: MAX_\w+ too low"  # lockdep ran out of room: it is off, which is not a bug of the kernel
    r"|BUG: Bad page (?:state|map): \d+ messages suppressed"
    r"|BUG: +\d+ unexpected failures"  # lib/locking-selftest.c
    r"|WARNING: Unprivileged eBPF|WARNING: kernel not compiled with"
    r"|INFO: rcu\w* detected stall, but suppressed"
)
