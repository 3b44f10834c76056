// SPDX-License-Identifier: GPL-2.0-only

//! In which context a function of the driver is called, and what it finds there.

use core::ptr::NonNull;
use kernel::ffi::{c_uint, c_void};

extern "C" {
    fn context_now() -> c_uint;
    fn context_in_kmap_fixmap(addr: *const c_void) -> bool;
}

/// Whether this is an address in one of `kmap_local`'s slots: proof that something was mapped.
pub(crate) fn in_kmap_fixmap(addr: NonNull<u8>) -> bool {
    // SAFETY: The function looks at the address and not at what is there.
    unsafe { context_in_kmap_fixmap(addr.as_ptr().cast()) }
}

/// The context of a call. `shim.h` has the same numbers.
#[derive(Clone, Copy)]
pub(crate) struct Context(c_uint);

impl Context {
    /// The context of whoever calls this.
    pub(crate) fn now() -> Self {
        // SAFETY: The function can be called in any context.
        Self(unsafe { context_now() })
    }

    /// With preemption or interrupts off, or under RCU: where one must not sleep.
    pub(crate) fn is_atomic(self) -> bool {
        self.0 & 0x1 != 0
    }

    /// In kswapd.
    pub(crate) fn is_kswapd(self) -> bool {
        self.0 & 0x2 != 0
    }

    /// In a task that allocates and has to reclaim memory first.
    pub(crate) fn is_direct_reclaim(self) -> bool {
        self.0 & 0x4 != 0
    }

    /// Whether this kernel counts what disables preemption, without which [`Self::is_atomic`]
    /// sees only part of it.
    pub(crate) fn knows_atomic(self) -> bool {
        self.0 & 0x8 != 0
    }
}
