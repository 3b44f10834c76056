// SPDX-License-Identifier: GPL-2.0-only

//! Drivers whose functions can be replaced one by one, by those of a wrong twin.
//!
//! A variant is a line of [`Backend::VARIANTS`] that replaces one function of the driver, or some. It
//! is chosen while the module runs; one has to see to it that objects are freed by the variant that
//! made them, where it matters.

use crate::{
    buckets::{Class, PoolName},
    gfp::Gfp,
    zpool::ZpoolDriver,
};
use core::ptr::NonNull;
use kernel::{
    alloc::NumaNode,
    ffi::c_int,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// A driver with wrong twins, which tells of its pools and objects what is counted.
pub(crate) trait Backend:
    ZpoolDriver<Pool = KBox<Self::Store>, Handle: Send> + 'static
{
    /// A pool of the driver.
    type Store: Send + Sync + 'static;

    /// Every variant. The first is [`Variant::RIGHT`], the one in use at the start.
    const VARIANTS: &'static [Variant<Self>];

    /// The name that the pool was made with, cut off if it was too long.
    fn name(store: &Self::Store) -> &PoolName;

    /// The sum of the sizes of all memory that objects of the pool have.
    fn bytes(store: &Self::Store) -> usize;

    /// How much memory the object has.
    fn class(handle: &Self::Handle) -> Class;

    /// Whether the object is in memory that the kernel has to map before it can touch it.
    fn is_high(_handle: &Self::Handle) -> bool {
        false
    }

    /// How many objects of the pool had an address that breaks the driver's rules, since this was
    /// last called.
    fn take_misaligned(_store: &Self::Store) -> usize {
        0
    }
}

/// The functions of the driver. Those that are unsafe there have the same requirements here.
pub(crate) struct Variant<B: Backend + ?Sized> {
    pub(crate) label: &'static str,
    pub(crate) what: &'static str,
    pub(crate) create: fn(&CStr, Gfp) -> Result<KBox<B::Store>>,
    /// Where the pool has its name.
    pub(crate) name: fn(&B::Store) -> *const PoolName,
    pub(crate) malloc: fn(&B::Store, usize, Gfp, NumaNode) -> Result<B::Handle>,
    pub(crate) free: unsafe fn(&B::Store, B::Handle),
    pub(crate) read_begin: unsafe fn(&B::Store, &B::Handle) -> NonNull<u8>,
    pub(crate) read_end: unsafe fn(&B::Store, &B::Handle, NonNull<u8>),
    pub(crate) write: unsafe fn(&B::Store, &B::Handle, NonNull<[u8]>),
    pub(crate) total_pages: fn(&B::Store) -> u64,
}

impl<B: Backend> Variant<B> {
    /// The driver itself.
    pub(crate) const RIGHT: Self = Self {
        label: "none",
        what: "nothing is wrong",
        create: |name, gfp| B::create(name, gfp),
        name: |store| B::name(store),
        malloc: |store, size, gfp, nid| B::malloc(store, size, gfp, nid),
        free: |store, handle| {
            // SAFETY: As the caller promised.
            unsafe { B::free(store, handle) }
        },
        read_begin: |store, handle| {
            // SAFETY: As the caller promised.
            unsafe { B::read_begin(store, handle) }
        },
        read_end: |store, handle, object| {
            // SAFETY: As the caller promised.
            unsafe { B::read_end(store, handle, object) }
        },
        write: |store, handle, source| {
            // SAFETY: As the caller promised.
            unsafe { B::write(store, handle, source) }
        },
        total_pages: |store| B::total_pages(store),
    };
}

static CURRENT: Atomic<usize> = Atomic::new(0);
static ERRNO: Atomic<c_int> = Atomic::new(0);

/// The error that a variant which fails returns.
pub(crate) fn chosen_error() -> Error {
    Error::from_errno(ERRNO.load(Relaxed))
}

/// The variant of `B` in use. A module has one driver.
pub(crate) fn current<B: Backend>() -> &'static Variant<B> {
    &B::VARIANTS[CURRENT.load(Relaxed)]
}

/// Chooses a variant of `B` by its label, and the error that it returns if it is one that fails.
pub(crate) fn choose<B: Backend>(label: &str, error: Error) -> Result {
    let index = B::VARIANTS
        .iter()
        .position(|variant| variant.label == label);
    ERRNO.store(error.to_errno(), Relaxed);
    CURRENT.store(index.ok_or(ENOENT)?, Relaxed);
    Ok(())
}
