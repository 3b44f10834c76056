// SPDX-License-Identifier: GPL-2.0-only

//! Mappings with `kmap_local` whose guards may be dropped in any order.
//!
//! The thread's wish was `let a = folio1.map()?; let b = folio2.map()?; drop(a); drop(b);`, and the
//! answer to "can the C side be relaxed?" was a patch for exactly this one order. The counter-offer
//! was a level of indirection between what the user holds and the stack that C keeps. This is that
//! level, over the C side as it is:
//!
//! - A guard holds the number of its mapping in a [`Pile`], not the mapping.
//! - To drop a guard is to mark its mapping as done. It is unmapped when all that was mapped after
//!   it is done, too. So C sees the reverse order, whatever the user did.
//!
//! The price is that a mapping can outlive its guard and keep its slot. In every order in which all
//! guards are dropped now and then, that is no matter. A user who always maps the next before
//! dropping the last (`a, b, drop a, a', drop b, b', ...`, the chain that the review asked about)
//! never has a pile that is all done; it grows by one with each step, and ends with `ENOSPC` when
//! the slots are used up: an error, not the `BUG_ON` that the same chain runs into with C's
//! functions. To serve that chain for good, the C side would have to fill the holes in its stack.
//!
//! The pile belongs to a task and so cannot be reached without being handed down: the kernel has no
//! storage for a module's per-task data. [`scope`] lends it, for the reasons given in `kmap.rs`.

use crate::folio::UniqueFolio;
use crate::helpers::{kmap_local_folio, kunmap_local};
use core::{
    cell::Cell,
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{ffi::c_void, prelude::*};

/// The most mappings that one pile can hold, those included that are done but not yet unmapped.
///
/// As in `kmap.rs`: one less than `KM_MAX_IDX` (16) is what a task can hold.
pub(crate) const DEPTH: usize = 15;

#[derive(Clone, Copy)]
struct Slot {
    addr: *const c_void,
    done: bool,
}

/// The mappings of a scope, in the order of their making.
///
/// # Invariants
///
/// The first `depth` of `slots` are mappings that `kmap_local_folio` made in the current task and
/// that were not yet unmapped, in the order of their making, and the last of them is not done.
/// Whenever a method of this type runs, the task has no other mapping that is younger than the
/// oldest of them. A mapping that is not done has one [`Deferred`], or one that was forgotten.
pub struct Pile {
    slots: [Cell<Slot>; DEPTH],
    depth: Cell<usize>,
    // Neither `Send` nor, by the cells, `Sync`: the mappings are the current task's.
    _task: PhantomData<*mut ()>,
}

/// Runs `f` with an empty pile. All that is still mapped in it is unmapped when this returns.
pub fn scope<R>(f: impl FnOnce(&Pile) -> R + Send) -> R {
    // INVARIANT: Nothing is mapped yet. What the task has mapped is older, and cannot end before
    // this returns: what could end it is not `Send`, and so is not in `f`'s reach. What `f` maps by
    // other means than the pile has ended when it uses the pile again: closures and inner scopes
    // cannot reach this one.
    let pile = Pile {
        slots: [const {
            Cell::new(Slot {
                addr: ptr::null(),
                done: false,
            })
        }; DEPTH],
        depth: Cell::new(0),
        _task: PhantomData,
    };
    let result = f(&pile);
    // Guards borrow the pile, so there are none any more, but those that were forgotten.
    pile.unmap_while(|_| true);
    result
}

impl Pile {
    /// Maps `folio` from `offset` on, above all that the pile holds.
    ///
    /// What is mapped ends with the folio, or with the page where no more can be mapped at once, see
    /// [`FolioInfo::mappable`](crate::folio::FolioInfo::mappable). `EDOM` when `offset` is not inside
    /// the folio, `ENOSPC` when the pile has no slot left.
    pub fn map<'p>(&'p self, folio: &'p UniqueFolio, offset: usize) -> Result<Deferred<'p>> {
        let len = folio.mappable(offset)?;
        let index = self.depth.get();
        let slot = self.slots.get(index).ok_or(ENOSPC)?;

        // SAFETY: The folio has a reference because it is borrowed, and `mappable` made sure that
        // `offset` is inside. `unmap_while` ends this mapping in its turn.
        let addr = unsafe { kmap_local_folio(folio.as_ptr(), offset) };
        // INVARIANT: `addr` is the latest mapping, and not done.
        slot.set(Slot { addr, done: false });
        self.depth.set(index + 1);

        let bytes = ptr::slice_from_raw_parts_mut(addr.cast::<u8>(), len);
        Ok(Deferred {
            // SAFETY: `kmap_local_folio` does not fail.
            bytes: unsafe { NonNull::new_unchecked(bytes) },
            pile: self,
            index,
        })
    }

    /// How many mappings the pile holds, those included that are done.
    pub fn depth(&self) -> usize {
        self.depth.get()
    }

    /// Unmaps from the top, as long as `goes` says so.
    fn unmap_while(&self, goes: impl Fn(Slot) -> bool) {
        while let Some(below) = self.depth.get().checked_sub(1) {
            let top = self.slots[below].get();
            if !goes(top) {
                break;
            }
            self.depth.set(below);
            // SAFETY: By the type invariants this is the task's latest mapping.
            unsafe { kunmap_local(top.addr) };
        }
    }
}

/// Mapped bytes of a folio. Can be dropped before or after any other of its pile.
///
/// # Invariants
///
/// `bytes` are mapped, by the mapping at `index` of `pile`, which is not done.
pub struct Deferred<'p> {
    bytes: NonNull<[u8]>,
    pile: &'p Pile,
    index: usize,
}

impl Deref for Deferred<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants the bytes are mapped. The folio is borrowed, so nobody
        // writes them.
        unsafe { self.bytes.as_ref() }
    }
}

impl Drop for Deferred<'_> {
    fn drop(&mut self) {
        let slot = &self.pile.slots[self.index];
        slot.set(Slot {
            done: true,
            ..slot.get()
        });
        // INVARIANT: What is left on top is not done.
        self.pile.unmap_while(|top| top.done);
    }
}
