// SPDX-License-Identifier: GPL-2.0-only

//! The driver that the module registers: the buckets, or a wrong twin of them, with every call
//! counted.

use crate::{
    buckets::{self, BucketHandle},
    context::Context,
    json::Json,
    stats::{Counter, Stats},
    variants,
    zpool::{Gfp, ZpoolDriver},
};
use core::{ptr::NonNull, str};
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
    name: [u8; 40],
    name_len: usize,
    /// Whether the pool points to its caller's memory for its name.
    name_retained: bool,
    stats: Stats,
    gone: Atomic<bool>,
}

/// The buckets of a pool, and what happened in it.
pub(crate) struct Pool {
    buckets: KBox<buckets::Pool>,
    record: Arc<Record>,
}

impl Pool {
    /// The sum of the sizes of all buckets, as the back end knows it.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.bytes()
    }

    /// Has `tell` count for this pool and for all.
    fn count(&self, tell: impl Fn(&Stats)) {
        tell(&ALL);
        tell(&self.record.stats);
    }
}

/// The driver.
pub(crate) struct Counted;

impl Counted {
    fn make(name: &CStr, gfp: Gfp) -> Result<KBox<Pool>> {
        let buckets = (variants::current().create)(name, gfp)?;

        let mut record = Record {
            name: [0; 40],
            name_len: buckets.name().len().min(40),
            name_retained: buckets.name().as_ptr() == name.to_bytes().as_ptr(),
            stats: Stats::new(),
            gone: Atomic::new(false),
        };
        for (to, from) in record.name.iter_mut().zip(buckets.name()) {
            *to = *from;
        }
        // The books are not part of the driver; whoever makes a pool may sleep.
        let record = Arc::new(record, GFP_KERNEL)?;
        let pool = gfp.kbox(Pool {
            buckets,
            record: record.clone(),
        })?;
        remember(record)?;
        Ok(pool)
    }
}

impl ZpoolDriver for Counted {
    type Pool = KBox<Pool>;
    type Handle = BucketHandle;

    fn create(name: &CStr, gfp: Gfp) -> Result<KBox<Pool>> {
        let pool = Self::make(name, gfp);
        match &pool {
            Ok(pool) => pool.count(|stats| stats.created(Ok(()))),
            Err(error) => ALL.created(Err(*error)),
        }
        pool
    }

    fn destroy(pool: KBox<Pool>) {
        pool.count(Stats::destroyed);
        pool.record.gone.store(true, Relaxed);
    }

    fn malloc(pool: &Pool, size: usize, gfp: Gfp, nid: NumaNode) -> Result<BucketHandle> {
        let context = Context::now();
        pool.count(|stats| stats.malloc_begins(size, gfp, context));
        for _ in 0..WINDOW.get() {
            core::hint::spin_loop();
        }
        let handle = (variants::current().malloc)(&pool.buckets, size, gfp, nid);
        let result = handle.as_ref().map(|handle| handle.class());
        let misaligned = pool.buckets.take_misaligned();
        pool.count(|stats| {
            stats.malloc_ends(result.map_err(|error| *error));
            stats.misaligned(misaligned);
        });
        handle
    }

    unsafe fn free(pool: &Pool, handle: BucketHandle) {
        let context = Context::now();
        pool.count(|stats| stats.freed(handle.class(), context));
        // SAFETY: As the caller promised.
        unsafe { (variants::current().free)(&pool.buckets, handle) };
    }

    unsafe fn read_begin(pool: &Pool, handle: &BucketHandle) -> NonNull<u8> {
        pool.count(Stats::read_begun);
        // SAFETY: As the caller promised.
        unsafe { (variants::current().read_begin)(&pool.buckets, handle) }
    }

    unsafe fn read_end(pool: &Pool, handle: &BucketHandle, object: NonNull<u8>) {
        // SAFETY: As the caller promised.
        unsafe { (variants::current().read_end)(&pool.buckets, handle, object) };
        pool.count(Stats::read_ended);
    }

    unsafe fn write(pool: &Pool, handle: &BucketHandle, source: NonNull<[u8]>) {
        pool.count(|stats| stats.written(source.len()));
        // SAFETY: As the caller promised.
        unsafe { (variants::current().write)(&pool.buckets, handle, source) };
    }

    fn total_pages(pool: &Pool) -> u64 {
        let pages = (variants::current().total_pages)(&pool.buckets);
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
pub(crate) fn tell(out: &mut Json<'_>) {
    ALL.tell(out);
    out.bool("knows_atomic", Context::now().knows_atomic());
    out.str("variant", variants::current().name);
    out.object("pools", |out| {
        for record in RECORDS.lock().iter() {
            let name = str::from_utf8(&record.name[..record.name_len]);
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
