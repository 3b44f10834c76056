// SPDX-License-Identifier: GPL-2.0-only

//! Wrong ways to do what `folio.rs` does, each of which a scenario must notice.

use crate::folio::{FolioInfo, Gfp, UniqueFolio};
use crate::helpers::folio_alloc;
use core::ptr::NonNull;
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
}

/// All of them, under the names that the operation knows them by.
pub(crate) const VARIANTS: [(&str, Variant); 3] = [
    ("none", Variant::None),
    ("v2_map_len", Variant::V2MapLen),
    ("no_order_check", Variant::NoOrderCheck),
];

impl Variant {
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = VARIANTS.iter().find(|(known, _)| *known == name);
        found.map(|(_, variant)| *variant).ok_or(EINVAL)
    }

    pub(crate) fn name(self) -> &'static str {
        let found = VARIANTS.iter().find(|(_, variant)| *variant == self);
        found.map_or("none", |(name, _)| name)
    }

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
}
