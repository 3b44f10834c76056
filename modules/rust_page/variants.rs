// SPDX-License-Identifier: GPL-2.0-only

//! Wrong ways to use a page, each of which a scenario must notice.

use kernel::{
    alloc::Flags,
    bindings,
    page::{Page, PAGE_SIZE},
    prelude::*,
};

#[allow(improper_ctypes)]
extern "C" {
    fn shim_page_address(page: *const bindings::page) -> *mut u8;
}

/// What is to be done wrong.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Variant {
    /// Nothing: the real thing.
    None,
    /// Who asks for highmem is given lowmem: all that is then shown is shown of the direct mapping.
    NeverHighmem,
    /// Content is written where the direct mapping has the page, without mapping it: to what
    /// `page_address()` says, which is nothing for highmem.
    NoMapping,
}

/// All of them, under the names that the operation knows them by. The first is the right one.
pub(crate) const VARIANTS: [(&str, Variant); 3] = [
    ("none", Variant::None),
    ("never_highmem", Variant::NeverHighmem),
    ("no_mapping", Variant::NoMapping),
];

impl Variant {
    /// The flags to allocate with.
    pub(crate) fn flags(self, highmem: bool) -> Flags {
        if highmem && self != Variant::NeverHighmem {
            GFP_KERNEL | __GFP_ZERO | __GFP_HIGHMEM
        } else {
            GFP_KERNEL | __GFP_ZERO
        }
    }

    /// Writes `bytes` to `page` at `offset`; `EINVAL` when they do not fit.
    pub(crate) fn write(self, page: &Page, offset: usize, bytes: &[u8]) -> Result {
        if self != Variant::NoMapping {
            // SAFETY: `bytes` can be read. Nobody else accesses the page: the operations that do
            // hold the lock on the pages.
            return unsafe { page.write_raw(bytes.as_ptr(), offset, bytes.len()) };
        }
        if offset.checked_add(bytes.len()).ok_or(EINVAL)? > PAGE_SIZE {
            return Err(EINVAL);
        }
        // SAFETY: None for highmem, and this is what the variant is about.
        unsafe {
            let to = shim_page_address(page.as_ptr());
            bytes
                .as_ptr()
                .copy_to_nonoverlapping(to.wrapping_add(offset), bytes.len());
        }
        Ok(())
    }
}
