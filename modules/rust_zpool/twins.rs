// SPDX-License-Identifier: GPL-2.0-only

//! Wrong twins of the buckets, which a harness must catch.

use crate::{
    buckets::{BucketHandle, Buckets, Class, Pool, PoolName},
    gfp::Gfp,
    variants::{chosen_error, Backend, Variant},
    zpool::{Handle, ZpoolDriver},
};
use core::ptr;
use kernel::{
    alloc::{allocator::Vmalloc, Allocator, NumaNode},
    page::{PAGE_SHIFT, PAGE_SIZE},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        global_lock,
    },
};

global_lock! {
    // SAFETY: Initialized in the module's init function before anything else.
    unsafe(uninit) static SLEEPY: Mutex<()> = ();
}

/// Prepares what the twins need.
///
/// # Safety
///
/// Must be called once, before any other function of this module.
pub(crate) unsafe fn init() {
    // SAFETY: By the requirements of this function.
    unsafe { SLEEPY.init() };
}

impl Backend for Buckets {
    type Store = Pool;

    const VARIANTS: &'static [Variant<Self>] = &[
        Variant::RIGHT,
        Variant {
            label: "clamp",
            what: "an object larger than a page gets a page",
            malloc: clamped_malloc,
            ..Variant::RIGHT
        },
        Variant {
            label: "fail",
            what: "malloc always returns the chosen error",
            malloc: |_, _, _, _| Err(chosen_error()),
            ..Variant::RIGHT
        },
        Variant {
            label: "create_fail",
            what: "create always fails",
            create: |_, _| Err(chosen_error()),
            ..Variant::RIGHT
        },
        Variant {
            label: "zero",
            what: "a malloc that fails, as it always does, returns the handle 0",
            malloc: |_, _, _, _| {
                // SAFETY: None. There is no such object, and this is what the variant is about.
                Ok(unsafe { BucketHandle::from_raw(0) })
            },
            ..Variant::RIGHT
        },
        Variant {
            label: "vbox",
            what: "objects are boxes of a page in vmalloc's memory",
            malloc: boxed_malloc,
            free: |pool, handle| {
                // SAFETY: The handle is one of `boxed_malloc`'s, as long as the variant does not
                // change meanwhile; the caller gave it up. That this may sleep is the variant.
                unsafe { Vmalloc::free(handle.bucket(), handle.class().layout()) };
                pool.forget(handle.class());
            },
            ..Variant::RIGHT
        },
        Variant {
            label: "gfp",
            what: "malloc may sleep, whatever the caller says",
            malloc: |pool, size, _, nid| Buckets::malloc(pool, size, Gfp::KERNEL, nid),
            ..Variant::RIGHT
        },
        Variant {
            label: "kept_name",
            what: "the pool keeps a pointer to the name, and no copy",
            create: |name, gfp| {
                let pool = Buckets::create(name, gfp)?;
                KEPT_NAME.store(name.as_char_ptr().expose_provenance(), Relaxed);
                Ok(pool)
            },
            name: |_| ptr::with_exposed_provenance(KEPT_NAME.load(Relaxed)),
            ..Variant::RIGHT
        },
        Variant {
            label: "leak",
            what: "free does nothing",
            free: |_, _| {},
            ..Variant::RIGHT
        },
        Variant {
            label: "free_mutex",
            what: "free takes a mutex",
            free: |pool, handle| {
                let _guard = SLEEPY.lock();
                // SAFETY: As the caller promised.
                unsafe { Buckets::free(pool, handle) };
            },
            ..Variant::RIGHT
        },
        Variant {
            label: "total_mutex",
            what: "total_pages takes a mutex",
            total_pages: |pool| {
                let _guard = SLEEPY.lock();
                Buckets::total_pages(pool)
            },
            ..Variant::RIGHT
        },
    ];

    fn name(pool: &Pool) -> &PoolName {
        pool.name()
    }

    fn bytes(pool: &Pool) -> usize {
        pool.bytes()
    }

    fn class(handle: &BucketHandle) -> Class {
        handle.class()
    }

    fn take_misaligned(pool: &Pool) -> usize {
        pool.take_misaligned()
    }
}

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

/// An object as the review would have it: a `VBox` of a page, whatever the size.
fn boxed_malloc(pool: &Pool, size: usize, gfp: Gfp, nid: NumaNode) -> Result<BucketHandle> {
    if size > PAGE_SIZE {
        return Err(EINVAL);
    }
    let class = Class::LARGEST;
    let memory = gfp.vmalloc(class.layout(), nid)?;
    // SAFETY: `memory` was just allocated with the layout of `class`. It does not come from
    // `Kmalloc`, but this variant's `free` knows that.
    Ok(unsafe { pool.keep(memory, class) })
}

/// Where the name of the youngest pool was.
static KEPT_NAME: Atomic<usize> = Atomic::new(0);
