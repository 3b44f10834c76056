// SPDX-License-Identifier: GPL-2.0-only

//! Guards that can be dropped in any order, and what becomes of that.
//!
//! The patch had `let a = folio1.map(..)?; let b = folio2.map(..)?;`, each a value that unmaps when
//! it is dropped, over `kmap()`. The review asked for `kmap_local` instead. Here is the same guard
//! over either:
//!
//! - [`LocalGuard`], over `kmap_local`: wrong as soon as guards are dropped in another order than
//!   the reverse of their making. Nothing in its type says so, hence its making is `unsafe`.
//! - [`GlobalGuard`], over `kmap()`: right in any order, and costs what `kmap` says that it does.
//!
//! What is right in any order and yet local is in `deferred.rs`; what does not compile in the wrong
//! order is in `kmap.rs`.

use crate::folio::{FolioInfo, UniqueFolio};
use crate::helpers::{kmap_folio, kmap_local_folio, kunmap_folio, kunmap_local};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{ffi::c_void, prelude::*};

/// # Safety
///
/// `addr` must be what `kmap_folio` or `kmap_local_folio` returned; they do not fail.
unsafe fn mapped(addr: *mut c_void, len: usize) -> NonNull<[u8]> {
    let bytes = ptr::slice_from_raw_parts_mut(addr.cast::<u8>(), len);
    // SAFETY: By the requirements of this function.
    unsafe { NonNull::new_unchecked(bytes) }
}

/// A mapping with `kmap_local` that ends when this is dropped.
///
/// `kunmap_local()` takes the topmost slot of the task for the one that is to be emptied. Of a
/// guard that is not the topmost, it warns (`WARN_ON_ONCE`) and then mixes up two mappings: it
/// clears the page table entry of the one and forgets the page of the other. Which of them is which
/// depends on the architecture.
///
/// # Invariants
///
/// `bytes` were mapped by `kmap_local_folio` in the current task, and not yet unmapped.
pub struct LocalGuard<'f> {
    bytes: NonNull<[u8]>,
    _folio: PhantomData<&'f UniqueFolio>,
}

impl<'f> LocalGuard<'f> {
    /// Maps `folio` from `offset` on, for as many bytes as one mapping reaches
    /// ([`FolioInfo::mappable`]). `EDOM` when `offset` is not inside the folio.
    ///
    /// # Safety
    ///
    /// The guard must be dropped, by the task that made it, while no later mapping of the task's
    /// exists.
    pub unsafe fn new(folio: &'f UniqueFolio, offset: usize) -> Result<Self> {
        let len = folio.mappable(offset)?;
        // SAFETY: The folio is borrowed, `offset` is inside; the rest is up to the caller.
        let addr = unsafe { kmap_local_folio(folio.as_ptr(), offset) };
        // INVARIANT: `addr` was just mapped.
        Ok(Self {
            // SAFETY: `addr` was just mapped.
            bytes: unsafe { mapped(addr, len) },
            _folio: PhantomData,
        })
    }

    /// The address of the mapping.
    pub fn addr(&self) -> *const c_void {
        self.bytes.as_ptr().cast_const().cast()
    }
}

impl Deref for LocalGuard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The bytes are mapped by the type invariants, if all guards kept to the order that
        // `new` wants. The folio is borrowed, so nobody writes them.
        unsafe { self.bytes.as_ref() }
    }
}

impl Drop for LocalGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the requirements of `new`, this is the latest mapping.
        unsafe { kunmap_local(self.addr()) };
    }
}

/// A mapping with `kmap()` that ends when this is dropped: in any order, and on any task.
///
/// A page has one slot for all who map it. A slot is one of a few hundred for the whole machine
/// (`LAST_PKMAP`); when all are in use, mapping waits for somebody to give one back, which a task
/// that holds many of them can do in vain. Slots that are no longer used are taken back all at
/// once, with a flush of every CPU's TLB.
///
/// # Invariants
///
/// `bytes` were mapped by `kmap_folio` of `folio` at `offset`, and not yet unmapped.
pub struct GlobalGuard<'f> {
    bytes: NonNull<[u8]>,
    folio: &'f UniqueFolio,
    offset: usize,
}

impl<'f> GlobalGuard<'f> {
    /// Maps `folio` from `offset` on, for as many bytes as one mapping reaches
    /// ([`FolioInfo::mappable`]). `EDOM` when `offset` is not inside the folio. May sleep.
    pub fn new(folio: &'f UniqueFolio, offset: usize) -> Result<Self> {
        let len = folio.mappable(offset)?;
        // SAFETY: The folio is borrowed, `offset` is inside. Unmapped when this is dropped; a guard
        // that is forgotten keeps its slot from others for good, but breaks nothing.
        let addr = unsafe { kmap_folio(folio.as_ptr(), offset) };
        // INVARIANT: `addr` was just mapped.
        Ok(Self {
            // SAFETY: `addr` was just mapped.
            bytes: unsafe { mapped(addr, len) },
            folio,
            offset,
        })
    }
}

impl Deref for GlobalGuard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: The bytes are mapped by the type invariants. The folio is borrowed, so nobody
        // writes them.
        unsafe { self.bytes.as_ref() }
    }
}

impl Drop for GlobalGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours by the type invariants, and this gives it up.
        unsafe { kunmap_folio(self.folio.as_ptr(), self.offset) };
    }
}

/// A page of a folio that is mapped twice with `kmap_local` and once with `kmap()` at the same
/// time, and only ever copied: no two slices of the same bytes exist.
///
/// Runs `f` with the three addresses, for `len` bytes from `offset` on. `EDOM` when these are not
/// inside the folio, and within one mapping.
pub(crate) fn with_aliases<R>(
    folio: &mut UniqueFolio,
    offset: usize,
    len: usize,
    f: impl FnOnce([*mut u8; 3]) -> R + Send,
) -> Result<R> {
    /// Ends a mapping of `kmap()`, however its scope is left.
    struct Global<'f>(&'f FolioInfo, usize);
    impl Drop for Global<'_> {
        fn drop(&mut self) {
            // SAFETY: It was mapped by who made this.
            unsafe { kunmap_folio(self.0.as_ptr(), self.1) };
        }
    }

    if len > folio.mappable(offset)? {
        return Err(EDOM);
    }
    // SAFETY: The folio is borrowed, `offset` is inside, and `Global` ends the mapping.
    let global = unsafe { kmap_folio(folio.as_ptr(), offset) };
    let _global = Global(folio, offset);
    // Another kind of mapping does not count for the order.
    let global = NonNull::new(global.cast::<u8>()).ok_or(EFAULT)?;
    let global = Address(global);
    crate::kmap::with_local(folio, offset, |first| {
        let first = Address(first.cast());
        crate::kmap::with_local(folio, offset, |second| {
            f([first.get(), second.cast().as_ptr(), global.get()])
        })
    })?
}

/// An address that a closure may take along, as none of them leaves the task.
struct Address(NonNull<u8>);

// SAFETY: The address is used by the task that it was made in: `with_local` calls its closure at once.
unsafe impl Send for Address {}

// SAFETY: As above.
unsafe impl Sync for Address {}

impl Address {
    fn get(&self) -> *mut u8 {
        self.0.as_ptr()
    }
}
