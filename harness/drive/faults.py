# SPDX-License-Identifier: GPL-2.0-only
"""The faults that the detectors are tried with: a table of data.

``$OP`` in a script is the operations file of ``modules/rust_fault``, ``lkdtm WORD`` has the kernel's own
module of planted faults act (drivers/misc/lkdtm).
"""

from __future__ import annotations

from typing import Final

from harness.drive.fault import Fault, Sought
from harness.judge.kinds import Kind
from harness.targets import Detector

_KFENCE: Final = {"/sys/module/kfence/parameters/sample_interval": "1"}
_NO_UBSAN: Final = "needs UBSAN, which only the kasan profile has"
_KASAN_FIRST: Final = "KASAN looks at every access, and stops this one before SLUB can see what it did"
# A task that dies in arm64's BUG() goes with all exceptions masked, and the kernel notices that.
_ARM64_BUG: Final = {"arm64": (Sought(Kind.WARNING, "__switch_to"), Sought(Kind.WARNING, "ct_kernel_exit"))}
_HUNG: Final = {
    "/proc/sys/kernel/hung_task_timeout_secs": "1",
    "/proc/sys/kernel/hung_task_check_interval_secs": "1",
}

FAULTS: Final[tuple[Fault, ...]] = (
    # Objects of the slab allocator
    Fault(
        "slab_out_of_bounds_kasan",
        "KASAN sees Rust write the byte behind an object",
        "op $OP slab_out_of_bounds",
        (Sought(Kind.KASAN, "objects::slab_out_of_bounds"),),
        needs=Detector.KASAN,
    ),
    Fault(
        "slab_out_of_bounds_kfence",
        "KFENCE sees Rust leave the page of an object",
        "op $OP slab_out_of_bounds kfence",
        (Sought(Kind.KFENCE, "objects::slab_out_of_bounds"),),
        settings=_KFENCE,
    ),
    Fault(
        "slab_out_of_bounds_slub",
        "SLUB finds the red zone behind an object overwritten when it is freed",
        "op $OP slab_out_of_bounds slub",
        (Sought(Kind.SLUB, "objects::slab_out_of_bounds"),),
        impossible={"kasan": _KASAN_FIRST},
    ),
    Fault(
        "use_after_free_kasan",
        "KASAN sees Rust read an object that was freed",
        "op $OP use_after_free",
        (Sought(Kind.KASAN, "objects::use_after_free"),),
        needs=Detector.KASAN,
    ),
    Fault(
        "use_after_free_kfence",
        "KFENCE sees Rust read an object that was freed",
        "op $OP use_after_free kfence",
        (Sought(Kind.KFENCE, "objects::use_after_free"),),
        settings=_KFENCE,
    ),
    Fault(
        "use_after_free_slub",
        "SLUB finds a free object written to when it gives it away again",
        "op $OP use_after_free slub",
        (Sought(Kind.SLUB, "objects::use_after_free"),),
        impossible={"kasan": _KASAN_FIRST},
    ),
    Fault(
        "double_free_kasan",
        "KASAN sees an object freed twice",
        "op $OP double_free",
        (Sought(Kind.KASAN, "objects::double_free"),),
        needs=Detector.KASAN,
    ),
    Fault(
        "double_free_kfence",
        "KFENCE sees an object freed twice",
        "op $OP double_free kfence",
        (Sought(Kind.KFENCE, "objects::double_free"),),
        settings=_KFENCE,
    ),
    Fault(
        "double_free_slub",
        "SLUB sees an object freed twice",
        "op $OP double_free slub",
        (Sought(Kind.SLUB, "objects::double_free"),),
        impossible={"kasan": _KASAN_FIRST},
    ),
    Fault(
        "leak",
        "kmemleak finds objects that nothing points to",
        # An object is young, and not reported, for five seconds (mm/kmemleak.c, MSECS_MIN_AGE).
        "op $OP leak; sleep 6; for i in 1 2; do echo scan > /sys/kernel/debug/kmemleak; done",
        (Sought(Kind.MEMORY_LEAK, "objects::leak"),),
        needs=Detector.KMEMLEAK,
        settings={"/sys/module/kmemleak/parameters/verbose": "Y"},
    ),
    Fault(
        "cache_destroyed_with_live_objects",
        "SLUB finds an object in a cache that is being destroyed",
        "op $OP cache_destroyed_with_live_objects",
        (Sought(Kind.SLAB_LEFTOVER, "objects::cache_destroyed_with_live_objects"),),
    ),
    # Addresses
    Fault(
        "null_dereference",
        "Rust reads a field of what a null pointer points to",
        "op $OP null_dereference",
        (Sought(Kind.NULL_DEREF, "memory::null_dereference"),),
        elsewhere={
            # The process's page table covers address 0, and QEMU looks at the domain of that (which the
            # kernel has closed) before it looks for the page: the kernel hears of a domain fault.
            "arm": (Sought(Kind.OOPS, "memory::null_dereference"),),
            # KASAN's check, inlined, looks into the shadow first, and there is none of such an address.
            "kasan": (Sought(Kind.GENERAL_PROTECTION, "memory::null_dereference"),),
        },
    ),
    Fault(
        "null_call",
        "C calls a null pointer",
        "lkdtm EXEC_NULL",
        (Sought(Kind.NULL_DEREF, "execute_location"),),
        elsewhere={
            "arm64": (Sought(Kind.NULL_DEREF, "lkdtm_EXEC_NULL"),),
            "arm": (Sought(Kind.OOPS, "execute_location"),),  # as above
        },
    ),
    Fault(
        "wild_dereference",
        "Rust reads where nothing is mapped",
        "op $OP wild_dereference",
        (Sought(Kind.PAGE_FAULT, "memory::wild_dereference"),),
    ),
    Fault(
        "noncanonical_dereference",
        "Rust reads from an address that cannot exist",
        "op $OP wild_dereference dead000000000000",
        (Sought(Kind.PAGE_FAULT, "memory::wild_dereference"),),
        elsewhere={
            "x86_64": (Sought(Kind.GENERAL_PROTECTION, "memory::wild_dereference"),),
        },
        impossible={"arm": "every address of 32 bits can exist"},
    ),
    Fault(
        "write_to_rodata",
        "C writes to what is read-only",
        "lkdtm WRITE_RO",
        (Sought(Kind.PAGE_FAULT, "lkdtm_WRITE_RO"),),
    ),
    Fault(
        "stack_overflow",
        "Rust calls itself until the stack is used up",
        "op $OP stack_overflow",
        (Sought(Kind.STACK_OVERFLOW, "memory::descend"),),
    ),
    # What code finds itself
    Fault(
        "warn",
        "Rust warns",
        "op $OP warn",
        (Sought(Kind.WARNING, "structures::warn"),),
    ),
    Fault("warn_in_c", "C warns, with a message", "lkdtm WARNING_MESSAGE", (Sought(Kind.WARNING, "lkdtm_"),)),
    Fault("bug", "C gives up", "op $OP bug", (Sought(Kind.BUG, "shim_bug"),), aftermath=_ARM64_BUG),
    Fault(
        "bug_in_interrupt",
        "C gives up in an interrupt, and the machine with it",
        "lkdtm BUG_IN_HARDIRQ",
        (Sought(Kind.BUG, "bug_in_hardirq"),),
    ),
    Fault(
        "rust_panic",
        "Rust panics over an index that is out of bounds",
        "op $OP rust_panic",
        (Sought(Kind.RUST_PANIC, "structures::rust_panic"),),
        # A call that does not return is the last of its function, and arm64 shows return addresses as
        # they are: the console names the function that comes next.
        elsewhere={"arm64": (Sought(Kind.RUST_PANIC),)},
        aftermath=_ARM64_BUG,
    ),
    Fault("panic", "the kernel panics", "lkdtm PANIC", (Sought(Kind.PANIC, "lkdtm_PANIC"),)),
    Fault(
        "panic_at_boot",
        "the kernel panics before there is a guest",
        "",
        (Sought(Kind.PANIC),),
        boot=("rdinit=/nonexistent", "root=/dev/nonexistent"),
    ),
    Fault(
        "list_corruption",
        "a check of lists finds the link that Rust broke, when an entry is added",
        "op $OP list_corruption",
        (Sought(Kind.LIST_CORRUPTION, "structures::list_corruption"),),
    ),
    Fault(
        "list_corruption_in_c",
        "a check of lists finds a broken link when C deletes an entry",
        "lkdtm CORRUPT_LIST_DEL",
        (Sought(Kind.LIST_CORRUPTION, "lkdtm_CORRUPT_LIST_DEL"),),
    ),
    Fault(
        "refcount",
        "a counter of references goes below zero",
        "op $OP refcount",
        (Sought(Kind.REFCOUNT, "structures::refcount"),),
    ),
    Fault(
        "array_bounds",
        "UBSAN sees C use an index that is out of bounds",
        "lkdtm ARRAY_BOUNDS",
        (Sought(Kind.UBSAN, "lkdtm_ARRAY_BOUNDS"),),
        impossible={"plain": _NO_UBSAN, "highmem": _NO_UBSAN},
    ),
    # Locks, sleeping, not letting go
    Fault(
        "lock_inversion",
        "lockdep sees two mutexes taken in both orders",
        "op $OP lock_inversion",
        (Sought(Kind.LOCKDEP, "tasks::lock_inversion"),),
        needs=Detector.LOCKDEP,
    ),
    Fault(
        "unlock_unlocked",
        "lockdep sees a spinlock unlocked that is not locked",
        "op $OP unlock_unlocked",
        (Sought(Kind.LOCKDEP, "tasks::unlock_unlocked"),),
        needs=Detector.LOCKDEP,
    ),
    Fault(
        "spinlock_without_magic",
        "a spinlock sees that it was overwritten",
        "op $OP spinlock_without_magic",
        (Sought(Kind.SPINLOCK, "tasks::spinlock_without_magic"),),
        needs=Detector.LOCKDEP,  # comes with DEBUG_SPINLOCK
    ),
    Fault(
        "sleep_in_atomic",
        "an allocation that may sleep is made under a spinlock",
        "op $OP sleep_in_atomic",
        (Sought(Kind.ATOMIC_SLEEP, "tasks::sleep_in_atomic"),),
        needs=Detector.ATOMIC_SLEEP,
    ),
    Fault(
        "schedule_in_atomic",
        "the scheduler is called with preemption disabled",
        "op $OP schedule_in_atomic",
        (Sought(Kind.ATOMIC_SCHEDULE, "tasks::schedule_in_atomic"),),
        impossible={"arm": "a kernel without preemption does not count who disabled it"},
    ),
    Fault(
        "soft_lockup",
        "the watchdog sees a processor that is kept busy",
        "op $OP soft_lockup 4500",
        (Sought(Kind.SOFT_LOCKUP, "tasks::soft_lockup"),),
        settings={"/proc/sys/kernel/watchdog_thresh": "1"},
    ),
    Fault(
        "rcu_stall",
        "RCU sees a reader that does not come to its end",
        # A kernel that proves RCU's use waits five seconds longer (kernel/rcu/tree_stall.h).
        "if [ -e /proc/lockdep ]; then ms=9500; else ms=4500; fi; op $OP rcu_stall $ms",
        (Sought(Kind.RCU_STALL, "tasks::rcu_stall"),),
        settings={"/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout": "3"},
    ),
    Fault(
        "rcu_expedited_stall",
        "who is in a hurry sees a reader that does not come to its end, on another processor",
        # Many times: nobody knows when the reader begins.
        "op $OP rcu_stall 1500 & for i in 1 2 3 4 5 6 7 8; do op $OP rcu_wait; sleep 0.1; done; wait",
        (Sought(Kind.RCU_STALL, "tasks::rcu_stall"),),
        settings={"/sys/module/rcupdate/parameters/rcu_exp_cpu_stall_timeout": "300"},
    ),
    Fault(
        "hung_task",
        "a task sleeps and nothing can wake it",
        "op $OP hung_task 2500",
        (Sought(Kind.HUNG_TASK, "tasks::hung_task"),),
        # With clang's frames, 32-bit ARM shows the stack of who found the task.
        elsewhere={"arm": (Sought(Kind.HUNG_TASK),)},
        settings=_HUNG,
    ),
    # Memory runs out: facts, not bugs by themselves
    Fault(
        "oom",
        "the OOM killer ends a process that takes all memory",
        "sh -c 'echo 1000 > /proc/self/oom_score_adj; exec op $OP oom'",
        (Sought(Kind.OOM),),
    ),
    Fault(
        "allocation_failure",
        "a large block is asked for that is not there",
        "op $OP allocation_failure",
        (Sought(Kind.ALLOC_FAILURE, "memory::allocation_failure"),),
    ),
)

_NOISE: Final = """\
BUG: kernel NULL pointer dereference, address: 0000000000000008
Oops: Oops: 0000 [#1] SMP NOPTI
RIP: 0010:some_function+0x12/0x34
Call Trace:
 <TASK>
 some_function+0x12/0x34
 </TASK>
WARNING: CPU: 0 PID: 1 at mm/slub.c:12 some_function+0x12/0x34
Kernel panic - not syncing: not at all
INFO: task sh:1 blocked for more than 120 seconds."""

INNOCENTS: Final[tuple[Fault, ...]] = (
    Fault(
        "noise_in_the_log",
        "what a process writes into the kernel's log is not the kernel's word",
        f"while read -r line; do echo \"<4>$line\" > /dev/kmsg; done <<'END'\n{_NOISE}\nEND\n",
        proof="some_function",
    ),
    Fault(
        "noise_on_the_console",
        "what a program prints on the console is not the kernel's word",
        f"cat > /dev/console <<'END'\n{_NOISE}\nEND\n",
        proof="some_function",
    ),
    Fault(
        "traces_on_request",
        "stacks, blocked tasks and memory that sysrq shows are no bugs",
        "for key in w l m; do echo $key > /proc/sysrq-trigger; done",
        proof="Show Blocked State",
    ),
    Fault(
        "injected_failures",
        "a failure that was injected is announced with a stack, and is no bug",
        # Only in a cache that is chosen, and only for a task that asks for it.
        "echo 1 > /sys/kernel/slab/kmalloc-8k/failslab && cd /sys/kernel/debug/failslab &&"
        " echo Y > cache-filter && echo Y > task-filter && echo N > ignore-gfp-wait && echo 2 > verbose &&"
        " echo -1 > times && echo 100 > probability &&"
        " sh -c 'echo 1 > /proc/self/make-it-fail; exec op $OP allocate 8000' | grep ENOMEM",
        needs=Detector.KASAN,
        proof="FAULT_INJECTION: forcing a failure",
    ),
    Fault(
        "module_comes_and_goes",
        "a module that taints the kernel is loaded, used and unloaded",
        "op $OP allocate 64 && modctl unload rust_fault",
        proof="taints kernel",
    ),
)
