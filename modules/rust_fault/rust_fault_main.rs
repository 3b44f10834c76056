// SPDX-License-Identifier: GPL-2.0-only

//! Faults, planted on demand: what a kernel's detectors, and those who read their reports, are tried
//! with.
//!
//! A fault is done by Rust wherever Rust can do it, so that the instrumentation of Rust is what is
//! tried. Each is an operation of the module's file in debugfs:
//!
//! | operation | what it does |
//! |---|---|
//! | `info` | the operations, and which detectors the kernel was built with |
//! | `slab_out_of_bounds [FROM]` | writes the byte behind an object |
//! | `use_after_free [FROM]` | reads an object that was freed; writes to it when `FROM` is `slub` |
//! | `double_free [FROM]` | frees an object twice |
//! | `leak [COUNT]` | forgets objects |
//! | `cache_destroyed_with_live_objects` | what its name says |
//! | `null_dereference` | reads a field of what a null pointer points to |
//! | `wild_dereference [ADDRESS]` | reads where nothing is mapped, the last page by default |
//! | `stack_overflow` | calls itself until the stack is used up |
//! | `list_corruption` | adds to a list with a broken link |
//! | `refcount` | gives up a reference that it does not have |
//! | `warn`, `bug`, `rust_panic` | a warning, a `BUG()`, an index that is out of bounds |
//! | `lock_inversion` | takes two mutexes in one order, then in the other |
//! | `sleep_in_atomic` | makes an allocation that may sleep under a spinlock |
//! | `schedule_in_atomic` | sleeps with preemption disabled |
//! | `unlock_unlocked` | unlocks a spinlock that is not locked |
//! | `spinlock_without_magic` | locks a spinlock that was overwritten |
//! | `soft_lockup MS` | keeps a processor busy under a spinlock |
//! | `rcu_stall MS` | the same in an RCU read-side section that somebody waits for |
//! | `rcu_wait` | waits for RCU readers, in a hurry: no fault, unless one stalls |
//! | `hung_task MS` | sleeps uninterruptibly |
//! | `oom [PAGES]` | allocates pages until it is killed |
//! | `allocation_failure` | allocates the largest blocks until there are no more |
//! | `allocate SIZE` | allocates and frees: no fault, but one can be injected |
//!
//! `FROM` says who watches the object: nobody or KASAN (no word), `kfence` for an object that KFENCE
//! guards, `slub` for one from a cache with SLUB's own checks.

use core::hint::black_box;
use kernel::{prelude::*, sync::Arc};

#[path = "../common/json.rs"]
mod json;
mod memory;
mod objects;
#[path = "../common/ops.rs"]
mod ops;
mod structures;
mod tasks;

use json::Json;
use ops::{Args, Operations};

module! {
    type: FaultModule,
    name: "rust_fault",
    authors: ["The rust-mm-harness authors"],
    description: "Planted faults, to see that they are found",
    license: "GPL",
}

type Plant = fn(args: &mut Args<'_>, out: &mut Json<'_>) -> Result;

const FAULTS: [(&str, Plant); 25] = [
    ("slab_out_of_bounds", objects::slab_out_of_bounds),
    ("use_after_free", objects::use_after_free),
    ("double_free", objects::double_free),
    ("leak", objects::leak),
    (
        "cache_destroyed_with_live_objects",
        objects::cache_destroyed_with_live_objects,
    ),
    ("null_dereference", memory::null_dereference),
    ("wild_dereference", memory::wild_dereference),
    ("stack_overflow", memory::stack_overflow),
    ("oom", memory::oom),
    ("allocation_failure", memory::allocation_failure),
    ("allocate", memory::allocate),
    ("list_corruption", structures::list_corruption),
    ("refcount", structures::refcount),
    ("warn", structures::warn),
    ("bug", structures::bug),
    ("rust_panic", structures::rust_panic),
    ("lock_inversion", tasks::lock_inversion),
    ("sleep_in_atomic", tasks::sleep_in_atomic),
    ("schedule_in_atomic", tasks::schedule_in_atomic),
    ("unlock_unlocked", tasks::unlock_unlocked),
    ("spinlock_without_magic", tasks::spinlock_without_magic),
    ("soft_lockup", tasks::soft_lockup),
    ("rcu_stall", tasks::rcu_stall),
    ("rcu_wait", tasks::rcu_wait),
    ("hung_task", tasks::hung_task),
];

struct Faults;

impl Operations for Faults {
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        if name == "info" {
            info(out);
            return Ok(());
        }
        let found = FAULTS.iter().find(|(known, _)| *known == name);
        let (_, plant) = found.ok_or(ENOENT)?;
        // Not in the place of this function: ARM's unwinder would name this one.
        black_box(plant(args, out))
    }
}

fn info(out: &mut Json<'_>) {
    out.object("faults", |faults| {
        for (name, _) in &FAULTS {
            faults.bool(name, true);
        }
    });
    out.bool("kasan", cfg!(CONFIG_KASAN))
        .bool("kfence", cfg!(CONFIG_KFENCE))
        .bool("slub_debug", cfg!(CONFIG_SLUB_DEBUG))
        .bool("kmemleak", cfg!(CONFIG_DEBUG_KMEMLEAK))
        .bool("lockdep", cfg!(CONFIG_PROVE_LOCKING))
        .bool("atomic_sleep", cfg!(CONFIG_DEBUG_ATOMIC_SLEEP))
        .bool("preempt_count", cfg!(CONFIG_PREEMPT_COUNT));
}

struct FaultModule {
    _ops: ops::Registration<Faults>,
}

impl kernel::Module for FaultModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _ops: ops::Registration::new(Arc::new(Faults, GFP_KERNEL)?)?,
        })
    }
}
