// SPDX-License-Identifier: GPL-2.0-only

//! The C functions that the folio abstraction calls, under their C names, and how often it did.
//!
//! Built into the kernel, `folio.rs` and `kmap.rs` would take these from `bindings`. Here they go
//! through the shim and are counted, so that a scenario can prove that C was reached.

use kernel::{
    bindings::{folio, gfp_t, loff_t},
    ffi::{c_int, c_uint, c_void},
    sync::atomic::{Atomic, Relaxed},
};

mod shim {
    use super::*;

    // Somewhere beneath `struct folio` is a structure that this configuration leaves empty.
    #[allow(improper_ctypes)]
    extern "C" {
        pub(super) fn shim_folio_alloc(gfp: gfp_t, order: c_uint) -> *mut folio;
        pub(super) fn shim_folio_get(folio: *mut folio);
        pub(super) fn shim_folio_put(folio: *mut folio);
        pub(super) fn shim_folio_lock(folio: *mut folio);
        pub(super) fn shim_folio_trylock(folio: *mut folio) -> bool;
        pub(super) fn shim_kmap_local_folio(folio: *mut folio, offset: usize) -> *mut c_void;
        pub(super) fn shim_kunmap_local(addr: *const c_void);
        pub(super) fn shim_kmap_folio(folio: *mut folio, offset: usize) -> *mut c_void;
        pub(super) fn shim_kunmap_folio(folio: *mut folio, offset: usize);
    }
}

#[allow(improper_ctypes)]
extern "C" {
    #[link_name = "shim_folio_mark_uptodate"]
    pub(crate) fn folio_mark_uptodate(folio: *mut folio);
    #[link_name = "shim_folio_test_uptodate"]
    pub(crate) fn folio_test_uptodate(folio: *const folio) -> bool;
    #[link_name = "shim_folio_test_locked"]
    pub(crate) fn folio_test_locked(folio: *const folio) -> bool;
    #[link_name = "shim_folio_test_highmem"]
    pub(crate) fn folio_test_highmem(folio: *const folio) -> bool;
    #[link_name = "shim_folio_test_partial_kmap"]
    pub(crate) fn folio_test_partial_kmap(folio: *const folio) -> bool;
    #[link_name = "shim_folio_order"]
    pub(crate) fn folio_order(folio: *const folio) -> c_uint;
    #[link_name = "shim_folio_size"]
    pub(crate) fn folio_size(folio: *const folio) -> usize;
    #[link_name = "shim_folio_pos"]
    pub(crate) fn folio_pos(folio: *const folio) -> loff_t;
    #[link_name = "shim_folio_ref_count"]
    pub(crate) fn folio_ref_count(folio: *const folio) -> c_int;
    #[link_name = "shim_flush_dcache_folio"]
    pub(crate) fn flush_dcache_folio(folio: *mut folio);
}

/// A function that is counted.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Alloc,
    Get,
    Put,
    Lock,
    Unlock,
    Map,
    Unmap,
    MapGlobal,
    UnmapGlobal,
}

/// All of them, under the names that answers use.
pub(crate) const CALLS: [(Call, &str); 9] = [
    (Call::Alloc, "allocs"),
    (Call::Get, "gets"),
    (Call::Put, "puts"),
    (Call::Lock, "locks"),
    (Call::Unlock, "unlocks"),
    (Call::Map, "maps"),
    (Call::Unmap, "unmaps"),
    (Call::MapGlobal, "global_maps"),
    (Call::UnmapGlobal, "global_unmaps"),
];

static COUNTS: [Atomic<usize>; CALLS.len()] = [const { Atomic::new(0) }; CALLS.len()];

impl Call {
    fn count(self) {
        COUNTS[self as usize].fetch_add(1usize, Relaxed);
    }

    /// How often this was called since the module was loaded. For [`Call::Alloc`], [`Call::Lock`]
    /// and their like only what succeeded counts.
    pub(crate) fn total(self) -> usize {
        COUNTS[self as usize].load(Relaxed)
    }
}

/// # Safety
///
/// `order` must be at most `MAX_PAGE_ORDER`.
pub(crate) unsafe fn folio_alloc(gfp: gfp_t, order: c_uint) -> *mut folio {
    // SAFETY: By the requirements of this function.
    let folio = unsafe { shim::shim_folio_alloc(gfp, order) };
    if !folio.is_null() {
        Call::Alloc.count();
    }
    folio
}

/// # Safety
///
/// `folio` must be a folio with a reference that is not given up during the call.
pub(crate) unsafe fn folio_get(folio: *mut folio) {
    Call::Get.count();
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_folio_get(folio) };
}

/// # Safety
///
/// `folio` must be a folio of which the caller gives up one reference.
pub(crate) unsafe fn folio_put(folio: *mut folio) {
    Call::Put.count();
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_folio_put(folio) };
}

/// # Safety
///
/// `folio` must be a folio with a reference that is not given up during the call; may sleep.
pub(crate) unsafe fn folio_lock(folio: *mut folio) {
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_folio_lock(folio) };
    Call::Lock.count();
}

/// # Safety
///
/// `folio` must be a folio with a reference that is not given up during the call.
pub(crate) unsafe fn folio_trylock(folio: *mut folio) -> bool {
    // SAFETY: By the requirements of this function.
    let locked = unsafe { shim::shim_folio_trylock(folio) };
    if locked {
        Call::Lock.count();
    }
    locked
}

/// # Safety
///
/// `folio` must be a locked folio, and the caller must be the one to unlock it.
pub(crate) unsafe fn folio_unlock(folio: *mut folio) {
    Call::Unlock.count();
    // SAFETY: By the requirements of this function.
    unsafe { kernel::bindings::folio_unlock(folio) };
}

/// # Safety
///
/// `folio` must be a folio with a reference, and `offset` less than its size. What is mapped must
/// be unmapped by the same task, in the reverse order of mapping.
pub(crate) unsafe fn kmap_local_folio(folio: *mut folio, offset: usize) -> *mut c_void {
    Call::Map.count();
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_kmap_local_folio(folio, offset) }
}

/// # Safety
///
/// `addr` must be in the latest mapping of the current task that is not yet unmapped.
pub(crate) unsafe fn kunmap_local(addr: *const c_void) {
    Call::Unmap.count();
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_kunmap_local(addr) };
}

/// # Safety
///
/// `folio` must be a folio with a reference, and `offset` less than its size. May sleep. What is
/// mapped must be unmapped by [`kunmap_folio`] once, by any task.
pub(crate) unsafe fn kmap_folio(folio: *mut folio, offset: usize) -> *mut c_void {
    Call::MapGlobal.count();
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_kmap_folio(folio, offset) }
}

/// # Safety
///
/// The caller must give up a mapping that [`kmap_folio`] made of this folio at this offset.
pub(crate) unsafe fn kunmap_folio(folio: *mut folio, offset: usize) {
    Call::UnmapGlobal.count();
    // SAFETY: By the requirements of this function.
    unsafe { shim::shim_kunmap_folio(folio, offset) };
}
