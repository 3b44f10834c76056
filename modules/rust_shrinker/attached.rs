// SPDX-License-Identifier: GPL-2.0-only

//! A shrinker that is registered, and a wrong way to end it.
//!
//! What [`ShrinkerRegistration`] does when it is dropped can be done in one wrong order. It does not
//! allow that, so it is taken to pieces here.

use crate::{shrinker::ShrinkerRegistration, PageShrinker, Private};
use core::mem::ManuallyDrop;
use kernel::{bindings, prelude::*};

/// A shrinker that is registered, for as long as this lives.
///
/// # Invariants
///
/// `registration` still has its private data if and only if `has_data`.
pub(crate) struct Attached {
    registration: ManuallyDrop<ShrinkerRegistration<PageShrinker>>,
    has_data: bool,
}

impl Attached {
    pub(crate) fn new(registration: ShrinkerRegistration<PageShrinker>) -> Self {
        // INVARIANT: Nobody else could take the private data.
        Self {
            registration: ManuallyDrop::new(registration),
            has_data: true,
        }
    }

    /// Frees the private data, too early; `ENODATA` when that is done already.
    ///
    /// A destructor with its two lines swapped would be here before it unregisters.
    pub(crate) fn free_data(&mut self) -> Result {
        if !self.has_data {
            return Err(ENODATA);
        }
        let private: *const Private = self.registration.private_data();
        // SAFETY: It was a `KBox`, and by the type invariants it was not taken yet. A callback may
        // use it from now on, though: this is the bug.
        drop(unsafe { KBox::from_raw(private.cast_mut()) });
        self.has_data = false;
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.has_data {
            // SAFETY: It is dropped here only, and whole.
            unsafe { ManuallyDrop::drop(&mut self.registration) };
        } else {
            // SAFETY: It is registered, and we do not access it afterwards. The rest of the
            // registration's destructor is done already.
            unsafe { bindings::shrinker_free(self.registration.as_raw()) };
        }
    }
}
