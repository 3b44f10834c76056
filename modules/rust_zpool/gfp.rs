// SPDX-License-Identifier: GPL-2.0-only

//! Allocations with whatever flags a caller in C passes.

use core::{
    alloc::Layout,
    mem::size_of,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::{AllocError, NumaNode},
    bindings,
    ffi::c_int,
    prelude::*,
};

/// C's `struct page`, which only C looks into.
#[repr(C)]
pub(crate) struct Page {
    _opaque: [u8; 0],
}

extern "C" {
    // `alloc_pages_node()`, which is a macro.
    fn zpool_alloc_page(gfp: bindings::gfp_t, nid: c_int) -> *mut Page;
}

/// What an allocation on behalf of a caller may do: C's `gfp_t`.
///
/// [`kernel::alloc::Flags`] is the same thing, but cannot be made from a number outside of the
/// `kernel` crate, nor can the bits that callers of a pool set (such as `__GFP_NORETRY`) be put
/// together from the constants there. Inside of that crate this would be `Flags::from_raw`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gfp(bindings::gfp_t);

impl Gfp {
    /// For ordinary allocations of code that may sleep.
    pub(crate) const KERNEL: Self = Self(bindings::GFP_KERNEL);

    /// For allocations of code that must not sleep.
    pub(crate) const ATOMIC: Self = Self(bindings::GFP_ATOMIC);

    /// The flags that C knows by that number.
    pub(crate) const fn from_raw(gfp: bindings::gfp_t) -> Self {
        Self(gfp)
    }

    /// The number that C knows the flags by.
    pub(crate) fn as_raw(self) -> u32 {
        self.0
    }

    /// Allocates memory for `layout`, which must not be of size zero, with `kmalloc`.
    ///
    /// The memory is valid for `layout` until it is given to [`Kmalloc::free`].
    ///
    /// [`Kmalloc::free`]: kernel::alloc::Allocator::free
    pub(crate) fn kmalloc(self, layout: Layout, nid: NumaNode) -> Result<NonNull<u8>, AllocError> {
        let layout = layout.pad_to_align();
        if layout.size() == 0 {
            return Err(AllocError);
        }

        // This is what `Kmalloc::alloc` calls too. `kmalloc` aligns what it returns to the largest
        // power of two that divides the size, which is at least `layout.align()` after the padding.
        //
        // SAFETY: The function takes a null pointer, and then allocates.
        let memory = unsafe {
            bindings::krealloc_node_align(
                ptr::null(),
                layout.size(),
                layout.align(),
                self.0,
                raw_node(nid),
            )
        };
        NonNull::new(memory.cast()).ok_or(AllocError)
    }

    /// Allocates memory for `layout`, which must not be of size zero, with `vmalloc`.
    ///
    /// The memory is valid for `layout` until it is given to [`Vmalloc::free`].
    ///
    /// [`Vmalloc::free`]: kernel::alloc::Allocator::free
    pub(crate) fn vmalloc(self, layout: Layout, nid: NumaNode) -> Result<NonNull<u8>, AllocError> {
        // This is what `Vmalloc::alloc` calls too.
        //
        // SAFETY: The function takes a null pointer, and then allocates.
        let memory = unsafe {
            bindings::vrealloc_node_align(
                ptr::null(),
                layout.size(),
                layout.align(),
                self.0,
                raw_node(nid),
            )
        };
        NonNull::new(memory.cast()).ok_or(AllocError)
    }

    /// Allocates a page, with one reference.
    pub(crate) fn page(self, nid: NumaNode) -> Result<NonNull<Page>, AllocError> {
        // SAFETY: Any flags will do; a node that is none means any.
        NonNull::new(unsafe { zpool_alloc_page(self.0, raw_node(nid)) }).ok_or(AllocError)
    }

    /// Moves `value` into memory that is allocated with these flags.
    pub(crate) fn kbox<T>(self, value: T) -> Result<KBox<T>, AllocError> {
        const { assert!(size_of::<T>() > 0) };

        let memory = self.kmalloc(Layout::new::<T>(), NumaNode::NO_NODE)?;
        let memory = memory.cast::<T>().as_ptr();
        // SAFETY: `memory` is valid for writes of a `T`: it was allocated with the layout of one.
        unsafe { memory.write(value) };
        // SAFETY: `memory` comes from `kmalloc`, holds a valid `T`, and has no other owner.
        Ok(unsafe { KBox::from_raw(memory) })
    }
}

/// The number that C knows `nid` by, which [`NumaNode`] tells nobody outside of its crate.
///
/// One comparison where there is one node.
fn raw_node(nid: NumaNode) -> c_int {
    (0..bindings::MAX_NUMNODES as c_int)
        .find(|&raw| NumaNode::new(raw).is_ok_and(|node| node == nid))
        .unwrap_or(bindings::NUMA_NO_NODE)
}
