// SPDX-License-Identifier: GPL-2.0-only

//! The contexts in which memory is allocated.

use crate::json::Json;
use kernel::{
    prelude::*,
    sync::{new_spinlock, new_spinlock_irq, SpinLock, SpinLockIrq},
};

extern "C" {
    fn alloc_state_get(state: *mut State);
}

/// What the current context allows. The layout is that of C's `struct alloc_state`.
#[repr(C)]
pub(crate) struct State {
    preempt_count: u32,
    counts_locks: bool,
    irqs_disabled: bool,
}

impl State {
    fn current() -> Self {
        let mut state = Self {
            preempt_count: 0,
            counts_locks: false,
            irqs_disabled: false,
        };
        // SAFETY: It points to a structure of the same layout that nobody else uses.
        unsafe { alloc_state_get(&mut state) };
        state
    }

    pub(crate) fn show(&self, out: &mut Json<'_>) {
        out.u64("preempt_count", self.preempt_count.into())
            .bool("counts_locks", self.counts_locks)
            .bool("irqs_disabled", self.irqs_disabled);
    }
}

/// Locks under which nobody may sleep.
#[pin_data]
pub(crate) struct Contexts {
    #[pin]
    spinlock: SpinLock<()>,
    #[pin]
    irq: SpinLockIrq<()>,
}

impl Contexts {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            spinlock <- new_spinlock!((), "rust_alloc::spinlock"),
            irq <- new_spinlock_irq!((), "rust_alloc::irq"),
        })
    }

    /// Runs `f` in the context that operations call `name`, and says what that allowed; `EINVAL` when
    /// there is none.
    ///
    /// What `f` returns is dropped outside of it.
    pub(crate) fn run<R>(&self, name: &str, f: impl FnOnce() -> R) -> Result<(State, R)> {
        let inner = || (State::current(), f());
        match name {
            "task" => Ok(inner()),
            "spinlock" => {
                let _guard = self.spinlock.lock();
                Ok(inner())
            }
            "irq" => {
                let _guard = self.irq.lock();
                Ok(inner())
            }
            _ => Err(EINVAL),
        }
    }
}
