// SPDX-License-Identifier: GPL-2.0-only

//! How memory is to be allocated.

use kernel::{alloc::Flags, bindings, prelude::*};

/// Allocation flags, for the kernel crate and for C.
///
/// [`Flags`] does not show its bits to modules, so that what is made of it cannot be handed to a C
/// function; the two are kept side by side.
///
/// # Invariants
///
/// Both mean the same.
#[derive(Clone, Copy)]
pub struct Gfp {
    flags: Flags,
    raw: bindings::gfp_t,
}

impl Gfp {
    /// May sleep.
    pub const KERNEL: Self = Self {
        flags: GFP_KERNEL,
        raw: bindings::GFP_KERNEL,
    };

    /// May sleep, and counts against the memory cgroup of the task.
    pub const KERNEL_ACCOUNT: Self = Self {
        flags: GFP_KERNEL_ACCOUNT,
        raw: bindings::GFP_KERNEL_ACCOUNT,
    };

    /// Does not sleep, and may use what is kept for that.
    pub const ATOMIC: Self = Self {
        flags: GFP_ATOMIC,
        raw: bindings::GFP_ATOMIC,
    };

    /// Does not sleep, and fails early.
    pub const NOWAIT: Self = Self {
        flags: GFP_NOWAIT,
        raw: bindings::GFP_NOWAIT,
    };

    /// The same, with the memory zeroed.
    pub fn zeroed(self) -> Self {
        // INVARIANT: The same flag is added to both.
        Self {
            flags: self.flags | __GFP_ZERO,
            raw: self.raw | bindings::__GFP_ZERO,
        }
    }

    /// What the kernel crate takes.
    pub fn flags(self) -> Flags {
        self.flags
    }

    /// What C takes.
    pub fn as_raw(self) -> bindings::gfp_t {
        self.raw
    }

    /// The flags that operations call `name`; `EINVAL` when there are none.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "kernel" => Ok(Self::KERNEL),
            "account" => Ok(Self::KERNEL_ACCOUNT),
            "atomic" => Ok(Self::ATOMIC),
            "nowait" => Ok(Self::NOWAIT),
            "zero" => Ok(Self::KERNEL.zeroed()),
            _ => Err(EINVAL),
        }
    }
}
