// SPDX-License-Identifier: GPL-2.0-only

//! Drivers of memory storage pools ("zpools").
//!
//! A pool stores objects of up to a page each, in practice compressed pages of memory, and knows
//! them by handles that only it understands. A driver is a type that implements [`ZpoolDriver`];
//! [`Registration`] offers it to C.
//!
//! [`Registration`]: crate::adapter::Registration

use crate::gfp::Gfp;
use core::ptr::NonNull;
use kernel::{alloc::NumaNode, prelude::*, types::ForeignOwnable};

/// The name of one object of a pool.
///
/// C stores a handle as an `unsigned long` and gives it back later. As with [`ForeignOwnable`],
/// giving a handle away is safe, and taking it back is not. A driver keeps the content of its
/// handles private and lets nobody copy them; then safe code gets handles from
/// [`ZpoolDriver::malloc`] alone, cannot make one up, and has none left after
/// [`ZpoolDriver::free`].
///
/// Every number is good: errors have a way of their own, and zero is not one.
///
/// # Safety
///
/// `from_raw` must return an equivalent of the value that [`Self::into_raw`] was called on.
pub(crate) unsafe trait Handle: Sized {
    /// Turns the handle into a number.
    fn into_raw(self) -> usize;

    /// Turns a number back into the handle.
    ///
    /// # Safety
    ///
    /// - `raw` must come from [`Self::into_raw`] of this type, and the object must not have been
    ///   freed since.
    /// - When the returned handle is used to free the object, no other handle made from `raw` may
    ///   be used during that call or after it.
    unsafe fn from_raw(raw: usize) -> Self;
}

/// A driver of pools.
///
/// All functions but [`create`] and [`destroy`] can run at any time, on several CPUs at once and
/// in parallel with each other, on the same pool; this is why they, [`malloc`] included, are given
/// a shared reference, and why `Pool` has to be [`Sync`]. What changes in a pool is an atomic or
/// has a lock of its own. The exceptions are about a single object: nobody uses an object while it
/// is being freed, or reads it while it is being written.
///
/// [`create`]: Self::create
/// [`destroy`]: Self::destroy
/// [`malloc`]: Self::malloc
pub(crate) trait ZpoolDriver {
    /// A pool.
    type Pool: ForeignOwnable + Send + Sync;

    /// What names an object of a pool.
    type Handle: Handle;

    /// Whether [`malloc`] may be given `__GFP_HIGHMEM` and `__GFP_MOVABLE`.
    ///
    /// Not for drivers that pass the flags on to `kmalloc`, which does not take them.
    ///
    /// [`malloc`]: Self::malloc
    const MOVABLE: bool = false;

    /// Makes an empty pool.
    ///
    /// `name` ends with the call: it can be, and is, on the stack of a caller. Whoever needs it
    /// later takes a copy. May sleep as far as `gfp` allows.
    ///
    /// C learns that it failed, and not the error.
    fn create(name: &CStr, gfp: Gfp) -> Result<Self::Pool>;

    /// Ends a pool.
    ///
    /// Every object has been freed and nobody uses the pool any more. May sleep.
    fn destroy(pool: Self::Pool) {
        drop(pool);
    }

    /// Makes an object of `size` bytes, in memory that is allocated as `gfp` says and, if
    /// possible, near the node `nid`. What the object contains is not defined.
    ///
    /// Runs in reclaim: it may sleep only if `gfp` does, and memory it takes is memory that
    /// somebody waits for.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` says that an object of this size is not worth storing. Callers take it for data
    ///   that does not compress, and not for a failure.
    /// - `ENOMEM`: there was no memory.
    /// - `EINVAL`: the driver has no objects of this size. Callers ask for a page at most.
    fn malloc(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        size: usize,
        gfp: Gfp,
        nid: NumaNode,
    ) -> Result<Self::Handle>;

    /// Frees the object that `handle` names.
    ///
    /// Runs in atomic context, with spinlocks held: must not sleep. That rules out a mutex, and
    /// memory that `vfree` would free.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - Each [`read_begin`] of the object must have been followed by its [`read_end`].
    ///
    /// [`malloc`]: Self::malloc
    /// [`read_begin`]: Self::read_begin
    /// [`read_end`]: Self::read_end
    unsafe fn free(pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>, handle: Self::Handle);

    /// Makes an object readable and returns where it is.
    ///
    /// The returned pointer is valid for reads of as many bytes as the object was made for, by the
    /// task that called this, until [`read_end`].
    ///
    /// Unlike the memory of the object, which is there from [`malloc`] to [`free`], what makes it
    /// readable can be scarce: a driver that stores in high memory maps a page here with
    /// `kmap_local_page`, of which a task has a handful, and others keep the object from being
    /// moved. A reader that does not end keeps it: the mapping is lost to the task, which dies when
    /// it has none left, or the object can never be moved.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - The same task must call [`read_end`], once, with the returned pointer. Where reads are
    ///   nested, the last to begin must be the first to end.
    /// - Nobody may write to the object before that.
    ///
    /// [`malloc`]: Self::malloc
    /// [`free`]: Self::free
    /// [`read_end`]: Self::read_end
    unsafe fn read_begin(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        handle: &Self::Handle,
    ) -> NonNull<u8>;

    /// Undoes what [`read_begin`] did to make the object readable.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - `object` must be what [`read_begin`] returned for it to this task, and not have been given
    ///   to this function before. It must not be used any more.
    ///
    /// [`malloc`]: Self::malloc
    /// [`read_begin`]: Self::read_begin
    unsafe fn read_end(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        handle: &Self::Handle,
        object: NonNull<u8>,
    );

    /// Copies the bytes of `source` into the object, from its beginning.
    ///
    /// `source` is memory of the caller, and not part of the object. It can be a page of a process
    /// on its way out, to which a device still writes: it must be copied as it is, and not be
    /// made a reference to a slice.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - `source` must be valid for reads, and no longer than the size that the object was made for.
    /// - Nobody may read the object, or write to it, during the call.
    ///
    /// [`malloc`]: Self::malloc
    unsafe fn write(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        handle: &Self::Handle,
        source: NonNull<[u8]>,
    );

    /// How many pages the pool says that it takes.
    ///
    /// The caller limits its pools by this number and shows it to users, so it should be as near
    /// to the memory that the pool keeps from others as the driver can tell. It is not promised to
    /// be exact: a driver that takes its memory from an allocator that it shares with others
    /// cannot know how many pages stand behind its objects, and says what it counts instead.
    ///
    /// Runs for every object that is stored, under RCU: must not sleep.
    fn total_pages(pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>) -> u64;
}
