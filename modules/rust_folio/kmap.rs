// SPDX-License-Identifier: GPL-2.0-only

//! Short mappings of folios into the kernel's address space.
//!
//! C header: [`include/linux/highmem.h`](srctree/include/linux/highmem.h)
//!
//! # Why `kmap_local`, and not `kmap`
//!
//! `kmap()` may sleep until one of its few slots for all tasks is free, and its unmapping flushes
//! every CPU's TLB now and then. Hardly any code needs what it gives in return: a mapping that
//! other tasks may use, and that may be ended in any order. So this offers `kmap_local_folio()`
//! alone. Its slots belong to the task, and come with two rules:
//!
//! - A mapping is for the task that made it. That is why [`Top`] and [`Mapped`] are not `Send`.
//! - Mappings end in the reverse order of their beginning: `kunmap_local()` takes down the topmost
//!   slot, whatever address it was given. Rust drops values in any order that its user likes, so
//!   this rule has to be in the types.
//!
//! # How the types keep the order
//!
//! There are two ways to map.
//!
//! With a closure, `folio.with_mapped(offset, |bytes| ...)`: the mapping ends when the closure
//! returns. Closures nest, and a nested one returns first.
//!
//! With a guard: [`scope`] lends a [`Top`], the right to map above all that is mapped. A mapping
//! borrows the `Top` it was made from, and lends a new one for what comes above it:
//!
//! ```ignore
//! kmap::scope(|mut top| {
//!     let mut a = top.map(&folio1, 0)?;
//!     let (bytes_a, mut top) = a.split();
//!     let b = top.map(&folio2, 0)?;
//!     // drop(a);               error[E0505]: cannot move out of `a` because it is borrowed
//!     Ok(bytes_a[0] == b[0])
//! })
//! ```
//!
//! `let a = top.map(..)?; let b = top.map(..)?; drop(a); drop(b);` does not compile either
//! (E0499: `top` is borrowed mutably twice).
//!
//! Three ways around that remain, and are closed:
//!
//! - A closure or an inner scope could end, or make, a mapping of an outer scope, if it had the
//!   outer scope's `Top` or `Mapped`. It cannot have it: closures must be `Send`, and these two are
//!   not. (The trait says more than is needed, that the closure could run on another task, but
//!   what it forbids is exactly this.)
//! - A guard can be forgotten (`mem::forget`). The addresses are therefore kept by the scope, not
//!   by the guards: whatever was forgotten is unmapped before the mapping beneath it is, and at the
//!   latest when the scope ends. The scope itself is in a stack frame that nobody can forget.
//! - A `Top` can be swapped for that of another scope (`mem::swap`). For that, both would have to
//!   be in one closure's reach, which is the first case.
//!
//! What the types do not say: the bytes are lent as plain slices, and a slice is `Send`. Something
//! that runs a borrowed closure on another task and waits for it could carry the slice there. The
//! kernel has no such thing.

use crate::folio::{FolioInfo, UniqueFolio};
use crate::helpers::{kmap_local_folio, kunmap_local};
use core::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
};
use kernel::{ffi::c_void, prelude::*};

/// The most mappings that one scope can hold.
///
/// A task can hold one less than `KM_MAX_IDX` (16) of its slots; a `BUG_ON` stops the next. What else
/// the task has mapped is not known here: who nests scopes, or calls this with much mapped, counts.
const DEPTH: usize = 15;

/// The mappings of a scope that have not ended.
///
/// # Invariants
///
/// The first `depth` of `open` are addresses that `kmap_local_folio` returned to the current task
/// and that were not yet unmapped, in the order of their mapping. Whenever a method of this type
/// runs, the task has no other mapping that is younger than the oldest of them.
struct Stack {
    open: [*const c_void; DEPTH],
    depth: usize,
}

impl Stack {
    /// Ends the mappings above the first `depth`, latest first.
    fn unmap_to(&mut self, depth: usize) {
        while self.depth > depth {
            self.depth -= 1;
            // SAFETY: By the type invariants this is the task's latest mapping.
            unsafe { kunmap_local(self.open[self.depth]) };
        }
    }

    /// Maps `folio` from `offset` on, for as many bytes as one mapping reaches.
    fn map(&mut self, folio: &FolioInfo, offset: usize) -> Result<NonNull<[u8]>> {
        let len = folio.mappable(offset)?;
        let slot = self.open.get_mut(self.depth).ok_or(ENOSPC)?;

        // SAFETY: The folio has a reference because it is borrowed, and `mappable` made sure that
        // `offset` is inside. `unmap_to` ends this mapping in its turn.
        let addr = unsafe { kmap_local_folio(folio.as_ptr(), offset) };
        // INVARIANT: `addr` is the latest mapping.
        *slot = addr;
        self.depth += 1;

        let bytes = ptr::slice_from_raw_parts_mut(addr.cast::<u8>(), len);
        // SAFETY: `kmap_local_folio` does not fail.
        Ok(unsafe { NonNull::new_unchecked(bytes) })
    }
}

/// Runs `f` with the right to map folios. All that it mapped is unmapped when this returns.
pub fn scope<R>(f: impl FnOnce(Top<'_>) -> R + Send) -> R {
    // INVARIANT: Nothing is mapped yet. What the task has mapped is older, and cannot end before
    // this returns: what could end it is not `Send`, and so is not in `f`'s reach. What `f` maps by
    // other means has ended when it uses its `Top` or a mapping again: closures and inner scopes
    // have them as little in their reach.
    let mut stack = Stack {
        open: [ptr::null(); DEPTH],
        depth: 0,
    };
    let result = f(Top {
        stack: &mut stack,
        base: 0,
        _task: PhantomData,
    });
    stack.unmap_to(0);
    result
}

/// Runs `f` with a pointer to the bytes of `folio` from `offset` on, as many as one mapping
/// reaches; they are mapped for the duration of the call.
///
/// `EDOM` when `offset` is not inside the folio; `f` is not called then.
pub(crate) fn with_local<R>(
    folio: &FolioInfo,
    offset: usize,
    f: impl FnOnce(NonNull<[u8]>) -> R + Send,
) -> Result<R> {
    let len = folio.mappable(offset)?;

    // SAFETY: The folio has a reference because it is borrowed, and `mappable` made sure that
    // `offset` is inside. The mapping ends below. All that `f` maps has ended by then, and nothing
    // that was mapped before can end earlier, because `f` is `Send`.
    let addr = unsafe { kmap_local_folio(folio.as_ptr(), offset) };
    let bytes = ptr::slice_from_raw_parts_mut(addr.cast::<u8>(), len);
    // SAFETY: `kmap_local_folio` does not fail.
    let result = f(unsafe { NonNull::new_unchecked(bytes) });
    // SAFETY: This is the latest mapping, see above.
    unsafe { kunmap_local(addr) };

    Ok(result)
}

/// The right to map above all that the current task has mapped.
///
/// # Invariants
///
/// The mappings of `stack` above the first `base` belong to nobody: those who had them forgot them.
pub struct Top<'s> {
    stack: &'s mut Stack,
    base: usize,
    // Not `Send`: the mappings are the current task's.
    _task: PhantomData<*mut ()>,
}

impl Top<'_> {
    fn map_as<'m, F>(&'m mut self, folio: &FolioInfo, offset: usize) -> Result<Mapped<'m, F>> {
        self.stack.unmap_to(self.base);
        let bytes = self.stack.map(folio, offset)?;
        // INVARIANT: `bytes` was just mapped, and is the mapping beneath `base + 1`.
        Ok(Mapped {
            bytes,
            above: Top {
                stack: self.stack,
                base: self.base + 1,
                _task: PhantomData,
            },
            _folio: PhantomData,
        })
    }

    /// Maps `folio` from `offset` on, to read.
    ///
    /// What is mapped ends with the folio, or with the page where no more can be mapped at once,
    /// see [`FolioInfo::mappable`]. `EDOM` when `offset` is not inside the folio, `ENOSPC` when the
    /// scope has too many mappings already.
    pub fn map<'m>(
        &'m mut self,
        folio: &'m UniqueFolio,
        offset: usize,
    ) -> Result<Mapped<'m, &'m UniqueFolio>> {
        self.map_as(folio, offset)
    }

    /// Maps `folio` from `offset` on, to read and to write. Otherwise like [`Top::map`].
    pub fn map_mut<'m>(
        &'m mut self,
        folio: &'m mut UniqueFolio,
        offset: usize,
    ) -> Result<Mapped<'m, &'m mut UniqueFolio>> {
        self.map_as(folio, offset)
    }
}

/// Mapped bytes of a folio, for as long as this lives.
///
/// `F` is the borrow of the folio, and says whether the bytes may be written.
///
/// # Invariants
///
/// `bytes` are mapped, by the mapping of `above.stack` directly beneath `above.base`.
pub struct Mapped<'m, F> {
    bytes: NonNull<[u8]>,
    above: Top<'m>,
    _folio: PhantomData<F>,
}

impl<F> Mapped<'_, F> {
    /// The bytes, and the right to map above this mapping, both at once.
    pub fn split(&mut self) -> (&[u8], Top<'_>) {
        // SAFETY: By the type invariants the bytes are mapped. `F` borrows the folio, whose bytes
        // nobody else writes; `Top` can only end what is above this mapping.
        let bytes = unsafe { self.bytes.as_ref() };
        let above = Top {
            stack: self.above.stack,
            base: self.above.base,
            _task: PhantomData,
        };
        (bytes, above)
    }
}

impl<F> Deref for Mapped<'_, F> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants the bytes are mapped. `F` borrows the folio, whose bytes
        // nobody else writes.
        unsafe { self.bytes.as_ref() }
    }
}

impl DerefMut for Mapped<'_, &mut UniqueFolio> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariants the bytes are mapped. `F` borrows the folio mutably, so
        // nobody else reads or writes its bytes.
        unsafe { self.bytes.as_mut() }
    }
}

impl<F> Drop for Mapped<'_, F> {
    fn drop(&mut self) {
        self.above.stack.unmap_to(self.above.base - 1);
    }
}
