// SPDX-License-Identifier: GPL-2.0-only

//! Wrong ways to do what `folio.rs` does, each of which a scenario must notice.

use crate::folio::{FolioInfo, Gfp, UniqueFolio};
use crate::guards::LocalGuard;
use crate::helpers::{folio_alloc, kunmap_local};
use crate::tasks::{self, Where};
use core::{mem, ptr::NonNull};
use kernel::{page::PAGE_SIZE, prelude::*};

/// What is to be done wrong.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Variant {
    /// Nothing: the real thing.
    None,
    /// The length of a lowmem mapping as version 2 of the file system series had it.
    V2MapLen,
    /// An order is passed to the allocator as it is.
    NoOrderCheck,
    /// A `kmap_local` mapping is ended, and then ended once more.
    UnmapTwice,
    /// A `kmap_local` mapping is ended by another task than the one that made it, as if its guard
    /// were `Send`.
    UnmapElsewhere,
    /// A `kmap_local` mapping is never ended, as if its guard were forgotten (`mem::forget`): what
    /// safe code may do with any guard.
    Forget,
}

/// All of them, under the names that the operation knows them by. The first is the right one.
pub(crate) const VARIANTS: [(&str, Variant); 6] = [
    ("none", Variant::None),
    ("v2_map_len", Variant::V2MapLen),
    ("no_order_check", Variant::NoOrderCheck),
    ("unmap_twice", Variant::UnmapTwice),
    ("unmap_elsewhere", Variant::UnmapElsewhere),
    ("forget", Variant::Forget),
];

impl Variant {
    /// How many bytes a mapping shows that begins at `offset`: `mapped`, or wrong.
    ///
    /// Arithmetic only: nothing should look at the bytes that the wrong length promises.
    pub(crate) fn map_len(self, folio: &FolioInfo, offset: usize, mapped: usize) -> usize {
        if self != Variant::V2MapLen || folio.is_highmem() {
            return mapped;
        }
        // `offset` was reduced to an offset into its page, and subtracted from the size of the
        // whole folio: from the second page on, the slice runs past the end.
        folio.size() - (offset & (PAGE_SIZE - 1))
    }

    /// A new folio: [`UniqueFolio::new`], or without its check.
    pub(crate) fn new_folio(self, order: u32, gfp: Gfp) -> Result<UniqueFolio> {
        if self != Variant::NoOrderCheck {
            return UniqueFolio::new(order, gfp);
        }
        // SAFETY: None. The order can be too large, and this is what the variant is about.
        let folio = unsafe { folio_alloc(gfp.zeroed(), order) };
        let folio = NonNull::new(folio).ok_or(ENOMEM)?;
        // SAFETY: The folio is fresh and zeroed, and its one reference is ours.
        Ok(unsafe { UniqueFolio::from_raw(folio) })
    }

    /// Ends a mapping: drops its guard, or does what is wrong instead.
    pub(crate) fn end(self, guard: LocalGuard<'_>) {
        match self {
            Variant::UnmapTwice => {
                let addr = guard.addr();
                drop(guard);
                // SAFETY: None. Nothing is mapped there any more.
                unsafe { kunmap_local(addr) };
            }
            Variant::UnmapElsewhere => {
                let smuggled = Smuggled(guard);
                // Without a task there is nobody to be wrong: the guard is dropped here then.
                let _ = tasks::beside(Where::Here, move || smuggled.arrive(), || ());
            }
            Variant::Forget => mem::forget(guard),
            _ => drop(guard),
        }
    }
}

/// Takes a value to another task that has no business there.
struct Smuggled<T>(T);

// SAFETY: None, and this is what the variant is about.
unsafe impl<T> Send for Smuggled<T> {}

impl<T> Smuggled<T> {
    /// A method, so that a closure takes all of it along and not just what is inside.
    fn arrive(self) {
        drop(self.0);
    }
}
