// SPDX-License-Identifier: GPL-2.0-only

//! Objects of a [`KMemCache`], to be taken and given back.

use crate::{
    context::Contexts,
    gfp::Gfp,
    json::Json,
    kmem_cache::{CacheOptions, KMemCache, KMemObj},
};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

static MADE: Atomic<usize> = Atomic::new(0);
static DROPPED: Atomic<usize> = Atomic::new(0);

const FILLER: usize = 96;

/// What the cache holds: 100 bytes, which is no power of two.
pub(crate) struct Item {
    number: u32,
    filler: [u8; FILLER],
}

impl Item {
    fn new(number: usize) -> Self {
        MADE.fetch_add(1usize, Relaxed);
        Self {
            number: number as u32,
            filler: [number as u8; FILLER],
        }
    }

    fn is(&self, number: usize) -> bool {
        self.number == number as u32 && self.filler.iter().all(|&byte| byte == number as u8)
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        DROPPED.fetch_add(1usize, Relaxed);
    }
}

/// A cache, and objects of it.
pub(crate) struct Stock {
    /// They refer to the cache. Fields are dropped in the order in which they stand here.
    items: KVec<KMemObj<'static, Item>>,
    cache: KBox<KMemCache<Item>>,
}

/// A new cache.
pub(crate) fn cache(name: &CStr, never_merge: bool) -> Result<KMemCache<Item>> {
    let options = CacheOptions {
        align: 1,
        never_merge,
    };
    KMemCache::new(name, options)
}

impl Stock {
    pub(crate) fn new(cache: KMemCache<Item>) -> Result<Self> {
        Ok(Self {
            items: KVec::new(),
            cache: KBox::new(cache, GFP_KERNEL)?,
        })
    }

    /// Allocates `count` objects in the context that operations call `context`.
    pub(crate) fn take(
        &mut self,
        count: usize,
        gfp: Gfp,
        contexts: &Contexts,
        context: &str,
        out: &mut Json<'_>,
    ) -> Result {
        // SAFETY: The box stays where it is until the stock is dropped, and the objects, which never
        // leave it, are dropped before.
        let cache: &'static KMemCache<Item> = unsafe { &*(&raw const *self.cache) };
        self.items.reserve(count, GFP_KERNEL)?;

        let first = self.items.len();
        let mut zeroed = 0;
        let (state, result) = contexts.run(context, || {
            for number in first..first + count {
                let item = cache.alloc_with(gfp, |memory| {
                    if gfp.flags().contains(__GFP_ZERO) && is_zero(memory) {
                        zeroed += 1;
                    }
                    Item::new(number)
                })?;
                self.items.push_within_capacity(item).map_err(|_| ENOMEM)?;
            }
            Ok(())
        })?;
        out.usize("zeroed", zeroed);
        state.show(out);
        result
    }

    /// Frees the last `count` objects; `ENOENT` when there are not so many.
    pub(crate) fn give(&mut self, count: usize) -> Result {
        let left = self.items.len().checked_sub(count).ok_or(ENOENT)?;
        self.items.truncate(left);
        Ok(())
    }

    /// Leaks the last `count` objects; `ENOENT` when there are not so many.
    pub(crate) fn lose(&mut self, count: usize) -> Result {
        for _ in 0..count {
            KMemObj::leak(self.items.pop().ok_or(ENOENT)?);
        }
        Ok(())
    }

    pub(crate) fn show(&self, out: &mut Json<'_>) {
        let right = |(number, item): (usize, &KMemObj<'_, Item>)| item.is(number);
        let wrong = self.items.iter().enumerate().filter(|&item| !right(item));
        out.usize("live", self.items.len())
            .usize("wrong", wrong.count());
    }
}

/// Adds how many objects were ever made, and how many of them dropped.
pub(crate) fn show_totals(out: &mut Json<'_>) {
    out.usize("made", MADE.load(Relaxed))
        .usize("dropped", DROPPED.load(Relaxed))
        .usize("size", size_of::<Item>());
}

fn is_zero(memory: *const Item) -> bool {
    let bytes: *const u8 = memory.cast();
    // SAFETY: An object has so many bytes, and the caller has seen to it that they are zeroed.
    (0..size_of::<Item>()).all(|at| unsafe { bytes.add(at).read_volatile() } == 0)
}

/// Allocates `count` objects each of several sizes, none of which is a multiple of `align`, and adds
/// how many of them are at addresses that are.
pub(crate) fn align(align: usize, count: usize, out: &mut Json<'_>) -> Result {
    let aligned = [
        aligned::<[u8; 7]>(align, count)?,
        aligned::<[u8; 31]>(align, count)?,
        aligned::<[u8; 129]>(align, count)?,
        aligned::<[u8; 1021]>(align, count)?,
    ];
    out.list("aligned", aligned.map(|count| count as u64));
    Ok(())
}

fn aligned<T: Zeroable>(align: usize, count: usize) -> Result<usize> {
    let options = CacheOptions {
        align,
        never_merge: true,
    };
    let cache = KMemCache::<T>::new(c"rust_alloc_align", options)?;
    let mut objects = KVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        let object = cache.alloc(pin_init::zeroed::<T>(), Gfp::KERNEL)?;
        objects.push(object, GFP_KERNEL)?;
    }
    let address = |object: &KMemObj<'_, T>| (&raw const **object).addr();
    Ok(objects
        .iter()
        .filter(|&object| address(object) % align == 0)
        .count())
}
