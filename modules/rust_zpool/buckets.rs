// SPDX-License-Identifier: GPL-2.0-only

//! A pool whose objects lie in buckets of 2^n bytes, n = 6, 7, ..., `PAGE_SHIFT`.
//!
//! The example of the zpool abstraction, and no more than that: buckets waste up to half of their
//! space. An object has the smallest bucket that holds it, and every bucket is an allocation of its
//! own.

use crate::{
    gfp::Gfp,
    zpool::{Handle, ZpoolDriver},
};
use core::{
    alloc::Layout,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::{allocator::Kmalloc, Allocator, NumaNode},
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// The smallest bucket has 2^6 bytes.
pub(crate) const MIN_SHIFT: usize = 6;

/// Every bucket is aligned to the size of the smallest one, which leaves this many bits of its
/// address for other use.
const LOW_BITS: usize = (1 << MIN_SHIFT) - 1;

// The number of a class has to fit: 2^16 is the largest page that there is, and needs 10.
const _: () = assert!(PAGE_SHIFT >= MIN_SHIFT && PAGE_SHIFT - MIN_SHIFT <= LOW_BITS);

/// A size of buckets.
///
/// # Invariants
///
/// `MIN_SHIFT <= self.shift <= PAGE_SHIFT`.
#[derive(Clone, Copy)]
pub(crate) struct Class {
    shift: usize,
}

impl Class {
    /// The class of the largest buckets.
    // INVARIANT: By the assertion above.
    pub(crate) const LARGEST: Self = Self { shift: PAGE_SHIFT };

    /// The class whose buckets are the smallest to hold `size` bytes; `EINVAL` if there is none.
    ///
    /// The test comes first: to limit the exponent afterwards would give a size that is too large
    /// for every bucket one that is too small for it.
    pub(crate) fn for_size(size: usize) -> Result<Self> {
        if size > PAGE_SIZE {
            return Err(EINVAL);
        }
        // The next power of two of 0 is 1, and of `PAGE_SIZE` itself.
        let shift = size.next_power_of_two().trailing_zeros() as usize;
        // INVARIANT: `shift` is at most `PAGE_SHIFT`, because `size` is at most `PAGE_SIZE`.
        Ok(Self {
            shift: shift.max(MIN_SHIFT),
        })
    }

    /// The number of the class, from 0.
    pub(crate) fn index(self) -> usize {
        self.shift - MIN_SHIFT
    }

    /// The bytes of a bucket: all that is allocated for it can be used.
    pub(crate) fn size(self) -> usize {
        1 << self.shift
    }

    /// What is allocated for a bucket.
    pub(crate) fn layout(self) -> Layout {
        // SAFETY: The alignment is a power of two, and the size, at most a page, is a multiple of
        // it.
        unsafe { Layout::from_size_align_unchecked(self.size(), 1 << MIN_SHIFT) }
    }
}

/// The handle of an object: the address of its bucket with the number of its class in the low bits.
///
/// # Invariants
///
/// - Without its low 6 bits, `packed` is the address of a live allocation of [`Kmalloc`] with the
///   layout of `self.class()`.
/// - No other handle has the same address, except one that was made from the number of this one
///   under the conditions of [`Handle::from_raw`].
pub(crate) struct BucketHandle {
    packed: usize,
}

impl BucketHandle {
    /// Makes the handle of a new bucket.
    ///
    /// # Safety
    ///
    /// `bucket` must be an allocation of [`Kmalloc`] with the layout of `class`, and nobody else's.
    pub(crate) unsafe fn new(bucket: NonNull<u8>, class: Class) -> Self {
        // The low 6 bits of the address are zero, because the layouts of all classes ask for that
        // alignment. The number of a class fits into them, see the assertion at the top.
        //
        // INVARIANT: By the requirements of this function; `class` and `bucket` are kept apart.
        Self {
            packed: bucket.as_ptr().expose_provenance() | class.index(),
        }
    }

    /// The size of the object's bucket.
    pub(crate) fn class(&self) -> Class {
        // INVARIANT: What `new` was given was a class.
        Class {
            shift: (self.packed & LOW_BITS) + MIN_SHIFT,
        }
    }

    /// Where the object's bucket is.
    pub(crate) fn bucket(&self) -> NonNull<u8> {
        let bucket = ptr::with_exposed_provenance_mut(self.packed & !LOW_BITS);
        // SAFETY: By the type invariants this is the address of an allocation.
        unsafe { NonNull::new_unchecked(bucket) }
    }
}

// SAFETY: The number is all that there is in a handle.
unsafe impl Handle for BucketHandle {
    fn into_raw(self) -> usize {
        self.packed
    }

    unsafe fn from_raw(raw: usize) -> Self {
        // INVARIANT: `raw` was in a handle, and the allocation is still live, by the requirements
        // of this function.
        Self { packed: raw }
    }
}

/// How much of a pool's name is kept.
pub(crate) const NAME_MAX: usize = 38;

/// The name of a pool: a copy, because the caller's is gone when `create` returns.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct PoolName([u8; NAME_MAX]);

impl PoolName {
    /// Copies `name`, and cuts it off if it is too long.
    pub(crate) fn new(name: &CStr) -> Self {
        let mut copy = [0; NAME_MAX];
        for (to, from) in copy.iter_mut().zip(name.to_bytes()) {
            *to = *from;
        }
        Self(copy)
    }

    /// Up to the first NUL.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&byte| byte == 0);
        &self.0[..len.unwrap_or(NAME_MAX)]
    }
}

/// A pool.
pub(crate) struct Pool {
    name: PoolName,
    /// The sizes of all live buckets.
    bytes: Atomic<usize>,
    /// Buckets that were not aligned as their layout asks.
    misaligned: Atomic<usize>,
}

impl Pool {
    /// The name that the pool was made with, cut off if it was too long.
    pub(crate) fn name(&self) -> &PoolName {
        &self.name
    }

    /// The sum of the sizes of all buckets of the pool.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// How many buckets of the pool had an address whose low bits were not free, since this was last
    /// called. None, if [`Kmalloc`] keeps its promise.
    pub(crate) fn take_misaligned(&self) -> usize {
        match self.misaligned.load(Relaxed) {
            0 => 0,
            _ => self.misaligned.xchg(0, Relaxed),
        }
    }

    /// Makes an object in a bucket of `class`.
    pub(crate) fn fill_bucket(
        &self,
        class: Class,
        gfp: Gfp,
        nid: NumaNode,
    ) -> Result<BucketHandle> {
        let bucket = gfp.kmalloc(class.layout(), nid)?;
        if bucket.addr().get() & LOW_BITS != 0 {
            self.misaligned.add(1usize, Relaxed);
        }
        // SAFETY: `bucket` was just allocated, with the layout of `class`.
        Ok(unsafe { self.keep(bucket, class) })
    }

    /// Counts a new bucket and makes its handle.
    ///
    /// # Safety
    ///
    /// As for [`BucketHandle::new`].
    pub(crate) unsafe fn keep(&self, bucket: NonNull<u8>, class: Class) -> BucketHandle {
        // Before anybody can free the object, so that the sum is never too small.
        self.bytes.add(class.size(), Relaxed);
        // SAFETY: By the requirements of this function.
        unsafe { BucketHandle::new(bucket, class) }
    }

    /// Stops counting a bucket of `class`.
    pub(crate) fn forget(&self, class: Class) {
        self.bytes.fetch_sub(class.size(), Relaxed);
    }
}

/// The driver.
pub(crate) struct Buckets;

impl ZpoolDriver for Buckets {
    type Pool = KBox<Pool>;
    type Handle = BucketHandle;

    fn create(name: &CStr, gfp: Gfp) -> Result<KBox<Pool>> {
        Ok(gfp.kbox(Pool {
            name: PoolName::new(name),
            bytes: Atomic::new(0),
            misaligned: Atomic::new(0),
        })?)
    }

    fn malloc(pool: &Pool, size: usize, gfp: Gfp, nid: NumaNode) -> Result<BucketHandle> {
        pool.fill_bucket(Class::for_size(size)?, gfp, nid)
    }

    unsafe fn free(pool: &Pool, handle: BucketHandle) {
        let class = handle.class();
        // SAFETY: By the type invariants of the handle, the bucket is an allocation with the layout
        // of `class`: what the handle says is the size that was asked for, not one that was rounded
        // later. The caller gave up the handle, so nobody uses the bucket any more.
        unsafe { Kmalloc::free(handle.bucket(), class.layout()) };
        pool.forget(class);
    }

    unsafe fn read_begin(_pool: &Pool, handle: &BucketHandle) -> NonNull<u8> {
        // Allocations of `Kmalloc` can always be read.
        handle.bucket()
    }

    unsafe fn read_end(_pool: &Pool, _handle: &BucketHandle, _object: NonNull<u8>) {}

    unsafe fn write(_pool: &Pool, handle: &BucketHandle, source: NonNull<[u8]>) {
        let from = source.cast::<u8>().as_ptr();
        // SAFETY: `source` is valid for reads, and the bucket for writes of as many bytes, because
        // it holds at least the size that the object was made for; by the requirements of this
        // function. The caller's memory is not in a bucket of the object.
        unsafe { ptr::copy_nonoverlapping(from, handle.bucket().as_ptr(), source.len()) };
    }

    /// The pages that the buckets would fill, rounded up, so that a pool with objects never has
    /// none.
    ///
    /// Not the pages that stand behind them. Those are slabs, which other users of `kmalloc` have
    /// objects in, which stay when all but one of their objects are freed, and which hold more than
    /// objects when slabs are being debugged or the smallest of them are larger than the smallest
    /// bucket. The number is equal to the claim on memory that this pool makes as long as its slabs
    /// are full.
    fn total_pages(pool: &Pool) -> u64 {
        pool.bytes().div_ceil(PAGE_SIZE) as u64
    }
}
