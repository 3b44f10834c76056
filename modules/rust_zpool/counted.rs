// SPDX-License-Identifier: GPL-2.0-only

//! The driver that the module registers: another one, or a wrong twin of it, with every call
//! counted.

use crate::{
    buckets::PoolName,
    context::{self, Context},
    gfp::Gfp,
    json::Json,
    stats::{Counter, Stats},
    variants::{self, Backend},
    zpool::ZpoolDriver,
};
use core::{marker::PhantomData, ptr::NonNull, str};
use kernel::{
    alloc::NumaNode,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        global_lock, Arc,
    },
};

/// What happened in all pools.
static ALL: Stats = Stats::new();

/// How long `malloc` takes, in turns of a loop, so that several can be inside at once.
static WINDOW: Counter = Counter::new(0);

/// How many pools are remembered after they are gone.
const REMEMBERED: usize = 8;

global_lock! {
    // SAFETY: Initialized in the module's init function before anything else.
    unsafe(uninit) static RECORDS: Mutex<KVec<Arc<Record>>> = KVec::new();
}

/// What is known about a pool, also when it is gone.
pub(crate) struct Record {
    name: PoolName,
    /// Whether the pool points to its caller's memory for its name.
    name_retained: bool,
    stats: Stats,
    gone: Atomic<bool>,
}

/// Copies what a variant says is a name, in one go: a sanitizer has one access to complain of.
fn copy_name(from: *const PoolName) -> PoolName {
    // SAFETY: The name is part of the pool, which the caller borrows. Of the variant that keeps a
    // pointer to somebody else's memory this is not true, which is what that variant is about.
    unsafe { from.read() }
}

/// A pool of the driver `B`, and what happened in it.
pub(crate) struct Pool<B: Backend> {
    store: KBox<B::Store>,
    record: Arc<Record>,
}

impl<B: Backend> Pool<B> {
    /// The sum of the sizes of all that objects have, as the driver knows it.
    pub(crate) fn bytes(&self) -> usize {
        B::bytes(&self.store)
    }

    /// The name of the pool, as the variant in use has it.
    pub(crate) fn name(&self) -> PoolName {
        copy_name((variants::current::<B>().name)(&self.store))
    }

    /// Has `tell` count for this pool and for all.
    fn count(&self, tell: impl Fn(&Stats)) {
        tell(&ALL);
        tell(&self.record.stats);
    }
}

/// The driver `B`, with every call counted.
pub(crate) struct Counted<B>(PhantomData<B>);

impl<B: Backend> Counted<B> {
    fn make(name: &CStr, gfp: Gfp) -> Result<KBox<Pool<B>>> {
        let variant = variants::current::<B>();
        let store = (variant.create)(name, gfp)?;

        let kept = (variant.name)(&store);
        let record = Record {
            name: copy_name(kept),
            name_retained: kept.cast() == name.to_bytes().as_ptr(),
            stats: Stats::new(),
            gone: Atomic::new(false),
        };
        // The books are not part of the driver; whoever makes a pool may sleep.
        let record = Arc::new(record, GFP_KERNEL)?;
        let pool = gfp.kbox(Pool {
            store,
            record: record.clone(),
        })?;
        remember(record)?;
        Ok(pool)
    }
}

impl<B: Backend> ZpoolDriver for Counted<B> {
    type Pool = KBox<Pool<B>>;
    type Handle = B::Handle;

    const MOVABLE: bool = B::MOVABLE;

    fn create(name: &CStr, gfp: Gfp) -> Result<KBox<Pool<B>>> {
        let pool = Self::make(name, gfp);
        match &pool {
            Ok(pool) => pool.count(|stats| stats.created(Ok(()))),
            Err(error) => ALL.created(Err(*error)),
        }
        pool
    }

    fn destroy(pool: KBox<Pool<B>>) {
        let left = pool.bytes();
        pool.count(|stats| stats.destroyed(left));
        pool.record.gone.store(true, Relaxed);
    }

    fn malloc(pool: &Pool<B>, size: usize, gfp: Gfp, nid: NumaNode) -> Result<B::Handle> {
        let context = Context::now();
        pool.count(|stats| stats.malloc_begins(size, gfp, context));
        for _ in 0..WINDOW.get() {
            core::hint::spin_loop();
        }
        let handle = (variants::current::<B>().malloc)(&pool.store, size, gfp, nid);
        let result = handle
            .as_ref()
            .map(|handle| (B::class(handle), B::is_high(handle)));
        let misaligned = B::take_misaligned(&pool.store);
        pool.count(|stats| {
            stats.malloc_ends(result.map_err(|error| *error));
            stats.misaligned(misaligned);
        });
        handle
    }

    unsafe fn free(pool: &Pool<B>, handle: B::Handle) {
        let (class, context) = (B::class(&handle), Context::now());
        pool.count(|stats| stats.freed(class, context));
        // SAFETY: As the caller promised.
        unsafe { (variants::current::<B>().free)(&pool.store, handle) };
    }

    unsafe fn read_begin(pool: &Pool<B>, handle: &B::Handle) -> NonNull<u8> {
        // SAFETY: As the caller promised.
        let object = unsafe { (variants::current::<B>().read_begin)(&pool.store, handle) };
        let mapped = context::in_kmap_fixmap(object);
        pool.count(|stats| stats.read_begun(mapped));
        object
    }

    unsafe fn read_end(pool: &Pool<B>, handle: &B::Handle, object: NonNull<u8>) {
        // SAFETY: As the caller promised.
        unsafe { (variants::current::<B>().read_end)(&pool.store, handle, object) };
        pool.count(Stats::read_ended);
    }

    unsafe fn write(pool: &Pool<B>, handle: &B::Handle, source: NonNull<[u8]>) {
        pool.count(|stats| stats.written(source.len()));
        // SAFETY: As the caller promised.
        unsafe { (variants::current::<B>().write)(&pool.store, handle, source) };
    }

    fn total_pages(pool: &Pool<B>) -> u64 {
        let pages = (variants::current::<B>().total_pages)(&pool.store);
        let context = Context::now();
        pool.count(|stats| stats.totalled(pages, context));
        pages
    }
}

/// Keeps the record of a new pool, and forgets the oldest of those that are gone if there are many.
fn remember(record: Arc<Record>) -> Result {
    let mut records = RECORDS.lock();
    if records.len() >= REMEMBERED {
        let oldest = records.iter().position(|old| old.gone.load(Relaxed));
        if let Some(oldest) = oldest {
            records.remove(oldest).map_err(|_| EINVAL)?;
        }
    }
    Ok(records.push(record, GFP_KERNEL)?)
}

/// The records of pools, for as long as this lives.
pub(crate) struct Records(());

impl Records {
    /// # Safety
    ///
    /// Must be called once, before any other function of this module.
    pub(crate) unsafe fn init() -> Self {
        // SAFETY: By the requirements of this function.
        unsafe { RECORDS.init() };
        Self(())
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // Nothing drops a static.
        *RECORDS.lock() = KVec::new();
    }
}

/// Tells what was counted, for all pools and for each.
pub(crate) fn tell<B: Backend>(out: &mut Json<'_>) {
    ALL.tell(out);
    out.bool("knows_atomic", Context::now().knows_atomic());
    out.str("variant", variants::current::<B>().label);
    out.object("pools", |out| {
        for record in RECORDS.lock().iter() {
            let name = str::from_utf8(record.name.bytes());
            out.object(name.unwrap_or("?"), |out| {
                record.stats.tell(out);
                out.bool("name_retained", record.name_retained);
                out.bool("gone", record.gone.load(Relaxed));
            });
        }
    });
}

/// Sets back what was counted, and forgets the pools that are gone.
pub(crate) fn reset() {
    ALL.reset();
    let mut records = RECORDS.lock();
    records.retain(|record| !record.gone.load(Relaxed));
    for record in records.iter() {
        record.stats.reset();
    }
}

/// Makes every `malloc` take `turns` turns of a loop longer.
pub(crate) fn set_window(turns: usize) {
    WINDOW.set(turns);
}
