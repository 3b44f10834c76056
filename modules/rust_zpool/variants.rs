// SPDX-License-Identifier: GPL-2.0-only

//! Wrong twins of the back end, which a harness must catch, to be chosen while it runs.
//!
//! A variant is a line of [`VARIANTS`] that replaces one function of the driver, or some.

use crate::buckets::{BucketHandle, Buckets, Class, Pool};
use crate::zpool::{Gfp, ZpoolDriver};
use core::ptr::NonNull;
use kernel::{
    alloc::NumaNode,
    ffi::c_int,
    page::PAGE_SHIFT,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// The functions of the driver. Those that are unsafe there have the same requirements here.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) create: fn(&CStr, Gfp) -> Result<KBox<Pool>>,
    pub(crate) malloc: fn(&Pool, usize, Gfp, NumaNode) -> Result<BucketHandle>,
    pub(crate) free: unsafe fn(&Pool, BucketHandle),
    pub(crate) read_begin: unsafe fn(&Pool, &BucketHandle) -> NonNull<u8>,
    pub(crate) read_end: unsafe fn(&Pool, &BucketHandle, NonNull<u8>),
    pub(crate) write: unsafe fn(&Pool, &BucketHandle, NonNull<[u8]>),
    pub(crate) total_pages: fn(&Pool) -> u64,
}

const RIGHT: Variant = Variant {
    name: "none",
    what: "nothing is wrong",
    create: |name, gfp| Buckets::create(name, gfp),
    malloc: |pool, size, gfp, nid| Buckets::malloc(pool, size, gfp, nid),
    free: |pool, handle| {
        // SAFETY: As the caller promised.
        unsafe { Buckets::free(pool, handle) }
    },
    read_begin: |pool, handle| {
        // SAFETY: As the caller promised.
        unsafe { Buckets::read_begin(pool, handle) }
    },
    read_end: |pool, handle, object| {
        // SAFETY: As the caller promised.
        unsafe { Buckets::read_end(pool, handle, object) }
    },
    write: |pool, handle, source| {
        // SAFETY: As the caller promised.
        unsafe { Buckets::write(pool, handle, source) }
    },
    total_pages: |pool| Buckets::total_pages(pool),
};

/// Every variant. The first is the one in use at the start.
pub(crate) static VARIANTS: [Variant; 4] = [
    RIGHT,
    Variant {
        name: "clamp",
        what: "an object larger than a page gets a page",
        malloc: clamped_malloc,
        ..RIGHT
    },
    Variant {
        name: "fail",
        what: "malloc always returns the chosen error",
        malloc: |_, _, _, _| Err(chosen_error()),
        ..RIGHT
    },
    Variant {
        name: "create_fail",
        what: "create always fails",
        create: |_, _| Err(chosen_error()),
        ..RIGHT
    },
];

/// The size of a bucket as the review of the thread's fourth version suggests it.
fn clamped_malloc(pool: &Pool, size: usize, gfp: Gfp, nid: NumaNode) -> Result<BucketHandle> {
    let shift = size
        .next_power_of_two()
        .trailing_zeros()
        .max(6)
        .min(PAGE_SHIFT as u32);
    let class = Class::for_size(1 << shift)?;
    pool.fill_bucket(class, gfp, nid)
}

static CURRENT: Atomic<usize> = Atomic::new(0);
static ERRNO: Atomic<c_int> = Atomic::new(0);

fn chosen_error() -> Error {
    Error::from_errno(ERRNO.load(Relaxed))
}

/// The variant in use.
pub(crate) fn current() -> &'static Variant {
    &VARIANTS[CURRENT.load(Relaxed)]
}

/// Chooses a variant by its name, and the error that it returns if it is one that fails.
pub(crate) fn choose(name: &str, error: Error) -> Result {
    let index = VARIANTS.iter().position(|variant| variant.name == name);
    ERRNO.store(error.to_errno(), Relaxed);
    CURRENT.store(index.ok_or(ENOENT)?, Relaxed);
    Ok(())
}
