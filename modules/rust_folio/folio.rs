// SPDX-License-Identifier: GPL-2.0-only

//! Groups of contiguous pages, folios.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/pagemap.h`](srctree/include/linux/pagemap.h)
//!
//! There are four types, for four things that one can have of a folio:
//!
//! - [`FolioInfo`]: a look at it. What it says is about the pages, not about their content.
//! - [`Folio`], behind an [`ARef`]: a reference that keeps it from being freed, one of several.
//! - [`UniqueFolio`]: a folio that was allocated here and shown to nobody. Its content is this
//!   owner's alone, and can be lent as slices.
//! - [`LockedFolio`]: the folio lock. Its content can be written, but never be lent.
//!
//! # Who may touch the content
//!
//! A slice promises that nobody else writes (`&[u8]`), or even reads (`&mut [u8]`). The page cache
//! promises neither. While a folio is not up to date, only who holds its lock writes to it; once it
//! is, any number of processes may have it mapped, and write to it at any time, locked or not. A
//! file system that wants exclusion for its own metadata has to bring it. So content that others
//! can reach is only ever copied here, into or out of a [`LockedFolio`], byte for byte and without
//! a reference to it. Copies that race with user space hold any mixture of old and new bytes.
//!
//! # What the review asked for
//!
//! - There is no `set_error()`: the error flag is gone from folios.
//! - Lengths and offsets are bytes, not page indices ([`UniqueFolio::map_page`] is for who has an
//!   index).
//! - How far one mapping reaches differs between highmem and lowmem. [`FolioInfo::mappable`] is the
//!   one place that knows; whoever walks over a folio asks how much was mapped, and goes on there.
//! - The order, the size and all other properties are read by C's own functions. There is no second
//!   definition in Rust that somebody could forget to change with the first.
//! - Nothing of this has to cost a call. `folio_put()` is to be a decrement, a test and a call that
//!   is seldom made. As a helper of the kernel it is (`CONFIG_RUST_INLINE_HELPERS`: the helpers are
//!   compiled to LLVM bitcode and linked into the Rust object before it is optimized; no link-time
//!   optimization of the kernel has to guess that it should). Writing the decrement out in Rust
//!   would lose the debugging and tracing that C has in `page_ref_dec_and_test()`. Where these
//!   types are part of a module of its own, as here, the helper is a call within the module.

use crate::helpers::*;
use core::{ops::Deref, ptr::NonNull};
use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted},
    types::Opaque,
};

/// The position of a byte in a file.
///
/// A name of its own, so that one line changes when 64 bits are not enough.
pub type Offset = bindings::loff_t;

/// How the pages of a folio are to be allocated.
///
/// Stands in for [`kernel::alloc::Flags`], which does not show its bits to modules.
#[derive(Clone, Copy)]
pub struct Gfp(bindings::gfp_t);

impl Gfp {
    /// `GFP_KERNEL`: may sleep. The kernel's direct mapping holds the pages: never highmem.
    pub const KERNEL: Gfp = Gfp(bindings::GFP_KERNEL);

    /// `GFP_KERNEL | __GFP_HIGHMEM`: may sleep. Takes highmem first, where there is such a thing.
    pub const KERNEL_HIGHMEM: Gfp = Gfp(bindings::GFP_KERNEL | bindings::__GFP_HIGHMEM);

    /// The C side's flags, with `__GFP_ZERO`.
    pub fn zeroed(self) -> bindings::gfp_t {
        self.0 | bindings::__GFP_ZERO
    }
}

/// What can be known of a folio by looking at it.
///
/// Has no reference of its own, and nothing that touches the content. It is what all other types
/// give away freely; none of them can be made from it.
///
/// # Invariants
///
/// A `&FolioInfo` points to a folio with a reference that is not given up as long as the borrow
/// lasts.
#[repr(transparent)]
pub struct FolioInfo(Opaque<bindings::folio>);

impl FolioInfo {
    /// The C side's pointer.
    pub fn as_ptr(&self) -> *mut bindings::folio {
        self.0.get()
    }

    /// The folio has `1 << order()` pages.
    pub fn order(&self) -> u32 {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_order(self.as_ptr()) }
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_size(self.as_ptr()) }
    }

    /// The position of the first byte in its file. Says nothing about a folio that has no file.
    #[allow(dead_code)]
    pub fn pos(&self) -> Offset {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_pos(self.as_ptr()) }
    }

    /// Is this memory outside of the kernel's direct mapping?
    pub fn is_highmem(&self) -> bool {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_test_highmem(self.as_ptr()) }
    }

    /// Does anybody hold the folio lock at this moment?
    pub fn is_locked(&self) -> bool {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_test_locked(self.as_ptr()) }
    }

    /// Is the content valid?
    pub fn is_uptodate(&self) -> bool {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_test_uptodate(self.as_ptr()) }
    }

    /// The number of references at this moment: for curiosity, never for a decision.
    ///
    /// It can be more than anybody knows of. Who walks page frames (memory offlining, compaction)
    /// or looks up page tables and page caches without locks takes a reference first, and finds out
    /// then that the folio is not the expected one.
    pub fn ref_count(&self) -> i32 {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { folio_ref_count(self.as_ptr()) }
    }

    /// Makes what was written through one mapping visible in others, on CPUs whose caches want
    /// that. Elsewhere it does nothing.
    pub fn flush_dcache(&self) {
        // SAFETY: The folio has a reference by the type invariants.
        unsafe { flush_dcache_folio(self.as_ptr()) };
    }

    /// How many bytes one mapping shows that begins at `offset`.
    ///
    /// A folio in the direct mapping is seen from `offset` to its end. Of any other, one page can
    /// be mapped at a time, and is seen from `offset` to the end of that page.
    ///
    /// `EDOM` when `offset` is not inside the folio.
    pub fn mappable(&self, offset: usize) -> Result<usize> {
        let size = self.size();
        if offset >= size {
            return Err(EDOM);
        }
        // `folio_test_highmem()` would not do: CONFIG_DEBUG_KMAP_LOCAL_FORCE_MAP maps lowmem page
        // by page, too.
        //
        // SAFETY: The folio has a reference by the type invariants.
        if unsafe { folio_test_partial_kmap(self.as_ptr()) } {
            Ok(PAGE_SIZE - (offset & (PAGE_SIZE - 1)))
        } else {
            Ok(size - offset)
        }
    }
}

/// A folio with references that are counted.
///
/// Gives no access to the content; for that, see [`Folio::lock`].
#[repr(transparent)]
pub struct Folio(FolioInfo);

// SAFETY: What can be done with a `&Folio`, any task can do at any time: look, count references,
// and take the lock.
unsafe impl Sync for Folio {}

// SAFETY: A reference can be put by another task than the one that got it.
unsafe impl Send for Folio {}

// SAFETY: `folio_get` keeps the folio from being freed until the matching `folio_put`. No `Folio`
// is made of memory that has no reference count (see `UniqueFolio::from_raw`).
unsafe impl AlwaysRefCounted for Folio {
    fn inc_ref(&self) {
        // SAFETY: A shared reference means that the count is not zero.
        unsafe { folio_get(self.as_ptr()) };
    }

    unsafe fn dec_ref(folio: NonNull<Self>) {
        // SAFETY: The caller gives up a reference.
        unsafe { folio_put(folio.cast().as_ptr()) };
    }
}

impl Deref for Folio {
    type Target = FolioInfo;

    fn deref(&self) -> &FolioInfo {
        &self.0
    }
}

impl Folio {
    /// Waits for the folio lock, and takes it. May sleep.
    pub fn lock(&self) -> LockedFolio<'_> {
        // SAFETY: A shared reference means that the count is not zero.
        unsafe { folio_lock(self.as_ptr()) };
        // INVARIANT: We just locked it.
        LockedFolio(self)
    }

    /// Takes the folio lock if it is free.
    pub fn try_lock(&self) -> Option<LockedFolio<'_>> {
        // SAFETY: A shared reference means that the count is not zero.
        if unsafe { folio_trylock(self.as_ptr()) } {
            // INVARIANT: We just locked it.
            Some(LockedFolio(self))
        } else {
            None
        }
    }
}

/// A folio that was allocated by this owner and that nobody else knows of.
///
/// "Unique" is about the content: nobody else reads or writes it, because nobody else was told
/// about it. It is not about the reference count. Others can hold references for moments without
/// having been told ([`FolioInfo::ref_count`]); they give them up without looking at the content.
/// Hence nothing here asserts that the count is one, nor can such an assertion make a folio unique.
///
/// No [`ARef`] can be had from a borrow of it, as one could keep that and lock the folio while the
/// content is lent. [`UniqueFolio::into_shared`] ends the uniqueness.
///
/// # Invariants
///
/// The content of the folio is initialized, and accessed by nobody but through this value.
pub struct UniqueFolio(ARef<Folio>);

impl UniqueFolio {
    /// Allocates a folio of `1 << order` pages of zeroes.
    ///
    /// They are zeroes so that there is something to lend as a slice: pages as the allocator finds
    /// them have content that nobody defined, and that may be somebody's secret.
    ///
    /// `EDOM` when `order` is more than `MAX_PAGE_ORDER`, `ENOMEM` when there are no such pages.
    pub fn new(order: u32, gfp: Gfp) -> Result<Self> {
        if order > bindings::MAX_PAGE_ORDER {
            return Err(EDOM);
        }
        // SAFETY: We just checked `order`.
        let folio = unsafe { folio_alloc(gfp.zeroed(), order) };
        let folio = NonNull::new(folio).ok_or(ENOMEM)?;
        // SAFETY: The folio is fresh and zeroed, and its one reference is ours.
        Ok(unsafe { Self::from_raw(folio) })
    }

    /// Takes over a folio that C allocated.
    ///
    /// # Safety
    ///
    /// `folio` must be a folio with a reference count (not slab, nor a large kmalloc), of which the
    /// caller gives up one reference. Its content must be initialized, and nobody else may access
    /// it from now on.
    pub unsafe fn from_raw(folio: NonNull<bindings::folio>) -> Self {
        // INVARIANT: By the requirements of this function.
        // SAFETY: The caller gives us a reference.
        Self(unsafe { ARef::from_raw(folio.cast()) })
    }

    /// Makes a shared folio of it.
    pub fn into_shared(self) -> ARef<Folio> {
        self.0
    }

    /// Makes it unique again.
    ///
    /// # Safety
    ///
    /// Nobody else may access the content from now on: all other references were given up, or are
    /// in the hands of those who will not.
    pub unsafe fn assume_unique(folio: ARef<Folio>) -> Self {
        // INVARIANT: By the requirements of this function. It was initialized when it was unique.
        Self(folio)
    }

    /// Locks the folio.
    ///
    /// Nobody competes for the lock, but functions exist that want a locked folio. As long as this
    /// borrow lasts, the content cannot be lent.
    pub fn lock(&mut self) -> LockedFolio<'_> {
        self.0.lock()
    }
}

impl Deref for UniqueFolio {
    type Target = FolioInfo;

    fn deref(&self) -> &FolioInfo {
        &self.0
    }
}

/// A folio whose lock is held; unlocked when this is dropped.
///
/// # Invariants
///
/// The folio is locked, and it is for this value to unlock it.
pub struct LockedFolio<'a>(&'a Folio);

impl LockedFolio<'_> {
    /// Takes over a folio that C locked, as it does for `read_folio`.
    ///
    /// # Safety
    ///
    /// `folio` must be a locked folio that the caller does not unlock, with a reference that is not
    /// given up as long as the returned value lives.
    #[allow(dead_code)]
    pub unsafe fn from_raw(folio: NonNull<bindings::folio>) -> Self {
        // INVARIANT: By the requirements of this function.
        // SAFETY: `Folio` is transparent, and the folio is valid for as long as the value lives.
        Self(unsafe { folio.cast().as_ref() })
    }

    /// Says that the content is valid from now on.
    pub fn mark_uptodate(&mut self) {
        // SAFETY: The folio is borrowed, and so has a reference.
        unsafe { folio_mark_uptodate(self.as_ptr()) };
    }
}

// Not `Folio`: an `ARef` that was made from it would outlive the lock of a `UniqueFolio`.
impl Deref for LockedFolio<'_> {
    type Target = FolioInfo;

    fn deref(&self) -> &FolioInfo {
        self.0
    }
}

impl Drop for LockedFolio<'_> {
    fn drop(&mut self) {
        // SAFETY: The folio is locked by the type invariants, and ours to unlock.
        unsafe { folio_unlock(self.as_ptr()) };
    }
}
