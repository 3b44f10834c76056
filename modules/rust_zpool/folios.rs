// SPDX-License-Identifier: GPL-2.0-only

//! A pool whose objects lie in pages of their own, which may be high memory.
//!
//! Where the kernel has high memory, the pages have no address until they are mapped, so this is a
//! driver for which the beginning and the end of a read are more than words. It saves no memory: it
//! is the smallest driver that takes `__GFP_HIGHMEM`.

use crate::{
    buckets::{Class, PoolName},
    gfp::{Gfp, Page},
    variants::{Backend, Variant},
    zpool::{Handle, ZpoolDriver},
};
use core::ptr::{self, NonNull};
use kernel::{
    alloc::NumaNode,
    bindings,
    ffi::c_void,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

extern "C" {
    fn folios_free(page: *mut Page);
    fn folios_is_high(page: *mut Page) -> bool;
}

/// The handle of an object: its page.
///
/// # Invariants
///
/// `page` is a page whose only reference is this handle's, or that of another one that was made
/// from the number of this one under the conditions of [`Handle::from_raw`].
pub(crate) struct PageHandle {
    page: NonNull<Page>,
}

// SAFETY: A page belongs to no task.
unsafe impl Send for PageHandle {}

impl PageHandle {
    /// Maps the page for the current task.
    fn map(&self) -> NonNull<u8> {
        // SAFETY: By the type invariants this is a live page.
        let addr = unsafe { bindings::kmap_local_page(self.page.as_ptr().cast()) };
        // SAFETY: `kmap_local_page` does not fail.
        unsafe { NonNull::new_unchecked(addr.cast()) }
    }
}

/// Takes the mapping at `addr` down.
///
/// # Safety
///
/// `addr` must be the current task's latest mapping, and not be used any more.
unsafe fn unmap(addr: NonNull<u8>) {
    // SAFETY: By the requirements of this function.
    unsafe { bindings::kunmap_local(addr.as_ptr().cast::<c_void>()) };
}

// SAFETY: The address is all that there is in a handle.
unsafe impl Handle for PageHandle {
    fn into_raw(self) -> usize {
        self.page.as_ptr().expose_provenance()
    }

    unsafe fn from_raw(raw: usize) -> Self {
        // INVARIANT: `raw` was in a handle, whose page is still there, by the requirements of this
        // function.
        Self {
            // SAFETY: The address of a page is not null.
            page: unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(raw)) },
        }
    }
}

/// A pool.
pub(crate) struct Pool {
    name: PoolName,
    pages: Atomic<usize>,
}

/// The driver.
pub(crate) struct Folios;

impl ZpoolDriver for Folios {
    type Pool = KBox<Pool>;
    type Handle = PageHandle;

    const MOVABLE: bool = true;

    fn create(name: &CStr, gfp: Gfp) -> Result<KBox<Pool>> {
        Ok(gfp.kbox(Pool {
            name: PoolName::new(name),
            pages: Atomic::new(0),
        })?)
    }

    fn malloc(pool: &Pool, size: usize, gfp: Gfp, nid: NumaNode) -> Result<PageHandle> {
        if size > PAGE_SIZE {
            return Err(EINVAL);
        }
        let page = gfp.page(nid)?;
        pool.pages.add(1usize, Relaxed);
        // INVARIANT: `page` was just allocated, with one reference.
        Ok(PageHandle { page })
    }

    unsafe fn free(pool: &Pool, handle: PageHandle) {
        // SAFETY: By the type invariants of the handle its reference is the only one. The caller
        // gave it up.
        unsafe { folios_free(handle.page.as_ptr()) };
        pool.pages.fetch_sub(1, Relaxed);
    }

    unsafe fn read_begin(_pool: &Pool, handle: &PageHandle) -> NonNull<u8> {
        handle.map()
    }

    unsafe fn read_end(_pool: &Pool, _handle: &PageHandle, object: NonNull<u8>) {
        // SAFETY: `object` comes from `read_begin`, which mapped it in this task. Whatever was
        // mapped later has been unmapped by the requirements of `read_begin`.
        unsafe { unmap(object) };
    }

    unsafe fn write(_pool: &Pool, handle: &PageHandle, source: NonNull<[u8]>) {
        let to = handle.map();
        // SAFETY: `source` is valid for reads, and the page for writes of as many bytes, because
        // no object is larger than a page; by the requirements of this function. The caller's
        // memory is not in the page.
        unsafe { ptr::copy_nonoverlapping(source.cast().as_ptr(), to.as_ptr(), source.len()) };
        // SAFETY: Mapped above, and nothing since.
        unsafe { unmap(to) };
    }

    /// The pages that stand behind the objects, exactly.
    fn total_pages(pool: &Pool) -> u64 {
        pool.pages.load(Relaxed) as u64
    }
}

impl Backend for Folios {
    type Store = Pool;

    const VARIANTS: &'static [Variant<Self>] = &[
        Variant::RIGHT,
        Variant {
            label: "kept_map",
            what: "the end of a read leaves the page mapped",
            read_end: |_, _, _| {},
            ..Variant::RIGHT
        },
    ];

    fn name(pool: &Pool) -> &PoolName {
        &pool.name
    }

    fn bytes(pool: &Pool) -> usize {
        pool.pages.load(Relaxed) * PAGE_SIZE
    }

    fn class(_handle: &PageHandle) -> Class {
        Class::LARGEST
    }

    fn is_high(handle: &PageHandle) -> bool {
        // SAFETY: By the type invariants this is a live page.
        unsafe { folios_is_high(handle.page.as_ptr()) }
    }
}
