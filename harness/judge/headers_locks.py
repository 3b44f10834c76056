# SPDX-License-Identifier: GPL-2.0-only
"""First lines of reports about locks, contexts, and everything that waits for too long."""

from __future__ import annotations

from typing import Final

from harness.judge.kinds import Header, Kind
from harness.judge.wording import TASK, WHERE, header

_LOCKDEP: Final = (
    r"(?P<what>possible \w+(?: \w+)* (?:detected|dependency detected)|inconsistent lock state"
    r"|\S+-safe -> \S+-unsafe lock order detected|Nested lock was not taken|bad unlock balance detected"
    r"|bad contention detected|held lock freed|chain_key collision|suspicious RCU usage"
    r"|[Ii]nvalid wait context|lock held when returning to user space|still has locks held)"
)
# Where RCU was used, or where the lock in question is taken: all there is when the report is cut short.
_DETAILS: Final = (
    r"(?P<where>\S+:\d+) (?:suspicious rcu|RCU-list|Illegal|Sleeping|\S.* RCU)"
    r"|(?:.*\bat: (?:\[<[^>]*>\] )?|\[<[0-9a-f]+>\] )(?P<at>[A-Za-z_][\w.]*)"
)

LOCKS: Final[tuple[Header, ...]] = (
    # kernel/locking/lockdep.c: each has a line of "=" above and one of "-" below; until 4.10 in brackets
    header(
        Kind.LOCKDEP,
        "WARNING: ",
        r"WARNING: (?:(?P<task>\S.*/\d+) )?" + _LOCKDEP + r"[!.]*$",
        "lockdep: {what}",
        details=_DETAILS,
    ),
    header(
        Kind.LOCKDEP,
        "[ BUG: |[ INFO: ",
        r"\[ (?:BUG|INFO): (?:(?P<task>\S.*/\d+) )?" + _LOCKDEP + r"[!.]* \]",
        "lockdep: {what}",
        details=_DETAILS,
    ),
    header(
        Kind.LOCKDEP,
        "INFO: ",
        r"INFO: (?P<what>trying to register non-static key|"
        r"possible recursive locking detected|possible circular locking dependency detected|"
        r"inconsistent lock state|suspicious RCU usage)",
        "lockdep: {what}",
        details=_DETAILS,
    ),
    header(
        Kind.LOCKDEP,
        "BUG: ",
        r"BUG: (?P<what>Invalid wait context|held lock freed|bad unlock balance detected"
        r"|key \S+ (?:has not been registered|not in \.data))",
        "lockdep: {what}",
    ),
    # kernel/locking/spinlock_debug.c
    header(
        Kind.SPINLOCK,
        "BUG: ",
        r"BUG: (?P<what>(?:spinlock|rwlock)[- ].+?) on CPU#(?P<cpu>\d+), " + TASK + r"(?:,|$)",
        "BUG: {what}",
    ),
    # kernel/sched/core.c __might_resched(), __schedule_bug(), __cant_sleep()
    header(
        Kind.ATOMIC_SLEEP,
        "sleeping function called",
        rf"BUG: sleeping function called from invalid context(?: at(?: {WHERE})?)?",
        "BUG: sleeping function called from invalid context",
        details=r"in_atomic\(\): .*\bpid: (?P<pid>\d+), name: (?P<comm>.+)",
    ),
    header(
        Kind.ATOMIC_SCHEDULE,
        "scheduling while atomic",
        r"BUG: scheduling while atomic: " + TASK + r"/0x",
        "BUG: scheduling while atomic",
    ),
    header(
        Kind.ATOMIC_SCHEDULE,
        "BUG: scheduling in a|BUG: assuming ",
        r"BUG: (?P<what>scheduling in a non-blocking section|assuming (?:atomic|non migratable) context)",
        "BUG: {what}",
    ),
    # kernel/workqueue.c, kernel/softirq.c
    header(
        Kind.ATOMIC_SCHEDULE,
        "BUG: workqueue leaked",
        r"BUG: workqueue leaked (?P<what>[\w ,]+): (?P<task>\S+?)[/\[]",
        "BUG: workqueue leaked {what}",
        details=r" *last function: (?P<frame>\S+)",
    ),
    header(
        Kind.ATOMIC_SCHEDULE,
        "huh, entered softirq",
        r"(?:softirq: )?huh, entered softirq \d+ \S+ (?P<frame>\S+) with preempt_count",
        "softirq left with another preempt_count",
        end=None,
    ),
    # lib/smp_processor_id.c
    header(
        Kind.PREEMPTIBLE,
        "in preemptible [",
        r"BUG: using (?P<what>\w+)\(\) in preemptible \[[0-9a-f]*\] code: " + TASK + r"$",
        "BUG: using {what} in preemptible code",
        details=r"caller is (?P<frame>[A-Za-z_]\S*)",
    ),
)

STALLS: Final[tuple[Header, ...]] = (
    # kernel/watchdog.c; "NMI watchdog:" before 4.12
    header(
        Kind.SOFT_LOCKUP,
        "soft lockup",
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for \d+s!"
        r"(?: \[(?P<comm>.+):(?P<pid>\d+)\])?",
        "BUG: soft lockup",
    ),
    # kernel/watchdog.c, arch/powerpc/kernel/watchdog.c, arch/sparc/kernel/nmi.c
    header(
        Kind.HARD_LOCKUP,
        "LOCKUP",
        r"(?:NMI )?(?:watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu (?P<cpu>\d+)"
        r"|(?:watchdog: )?CPU (?P<this>\d+) (?:self-detected hard LOCKUP @ (?P<frame>\S+)"
        r"|detected hard LOCKUP on other)"
        r"|(?:watchdog: )?CPU \d+ Hard LOCKUP|BUG: NMI Watchdog detected LOCKUP",
        "hard lockup",
    ),
    # kernel/smp.c csd_lock_wait_toolong()
    header(
        Kind.CSD_STALL,
        "non-responsive CSD lock",
        r"(?:smp: )?csd: Detected non-responsive CSD lock \(#\d+\) on CPU#(?P<cpu>\d+).*?"
        r"(?:CPU#\d+ (?P<frame>[A-Za-z_]\S*?)\(|$)",
        "CSD lock stall",
    ),
    header(
        Kind.WORKQUEUE_LOCKUP,
        "workqueue lockup",
        r"BUG: workqueue lockup",
        "BUG: workqueue lockup",
        end=None,
        framed=False,
    ),
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h
    header(
        Kind.RCU_STALL,
        " stall",
        r"(?:rcu: )?INFO: (?P<what>s?rcu\w*) (?:self-)?detected (?:expedited )?stalls?\b",
        "RCU stall ({what})",
    ),
    # kernel/hung_task.c
    header(
        Kind.HUNG_TASK,
        "INFO: task ",
        r"INFO: task (?P<comm>.+):(?P<pid>\d+)(?: <\w+>)? (?:blocked(?: in I/O wait)?"
        r"|can't die) for more than \d+ seconds",
        "hung task {comm}",
    ),
)
