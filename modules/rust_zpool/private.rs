// SPDX-License-Identifier: GPL-2.0-only

//! A pool of our own: a user of the driver that is not reclaim, and that a test can steer.

use crate::{
    counted::{Counted, Pool},
    gfp::Gfp,
    json::Json,
    ops::Args,
    variants::Backend,
    zpool::ZpoolDriver,
};
use core::{ptr::NonNull, slice};
use kernel::{
    alloc::NumaNode,
    new_mutex, new_spinlock,
    page::PAGE_SIZE,
    prelude::*,
    sync::{Arc, Mutex, SpinLock},
};

/// The largest object that is asked for: a page and more, to see it refused.
pub(crate) const SIZE_MAX: usize = 4 * PAGE_SIZE;

/// How much is allocated for the name of a pool, however short it is.
const NAME_SIZE: usize = 64;

/// How many objects `stress` has at a time.
const STRESS_LIVE: usize = 8;

/// A sequence of bytes that a seed stands for.
pub(crate) struct Pattern(u32);

impl Pattern {
    pub(crate) fn new(seed: usize) -> Self {
        // Zero would stay zero.
        Self((seed as u32).wrapping_mul(2_654_435_761) | 1)
    }

    /// Marsaglia's xorshift.
    fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(4) {
            let word = self.word().to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Where `bytes` begin to differ.
    fn difference(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, chunk) in bytes.chunks(4).enumerate() {
            let word = self.word().to_ne_bytes();
            let differs = |(seen, byte): (&u8, u8)| *seen != byte;
            if let Some(at) = chunk.iter().zip(word).position(differs) {
                return Some(4 * index + at);
            }
        }
        None
    }
}

/// An object, and how many bytes it was made for.
pub(crate) struct Object<B: Backend> {
    pub(crate) handle: B::Handle,
    pub(crate) size: usize,
}

/// The pool.
#[pin_data(PinnedDrop)]
pub(crate) struct Private<B: Backend> {
    /// Only `drop` takes it out.
    pool: Option<KBox<Pool<B>>>,
    #[pin]
    slots: Mutex<KVec<Option<Object<B>>>>,
    /// What is held while somebody must not sleep.
    #[pin]
    spin: SpinLock<()>,
}

impl<B: Backend> Private<B> {
    /// Makes a pool called `name`. When this returns, the memory that the name was in is free.
    pub(crate) fn new(name: &str) -> Result<Arc<Self>> {
        let mut text = KVec::with_capacity(NAME_SIZE, GFP_KERNEL)?;
        text.extend_from_slice(name.as_bytes(), GFP_KERNEL)?;
        text.push(0, GFP_KERNEL)?;
        let name = CStr::from_bytes_with_nul(&text).map_err(|_| EINVAL)?;
        let pool = Counted::create(name, Gfp::KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                pool: Some(pool),
                slots <- new_mutex!(KVec::new()),
                spin <- new_spinlock!(()),
            }),
            GFP_KERNEL,
        )
    }

    pub(crate) fn pool(&self) -> Result<&Pool<B>> {
        self.pool.as_deref().ok_or(ENODEV)
    }

    fn make(&self, size: usize) -> Result<Object<B>> {
        self.make_as(size, Gfp::KERNEL)
    }

    fn make_as(&self, size: usize, gfp: Gfp) -> Result<Object<B>> {
        if size > SIZE_MAX {
            return Err(E2BIG);
        }
        let handle = Counted::malloc(self.pool()?, size, gfp, NumaNode::NO_NODE)?;
        Ok(Object { handle, size })
    }

    fn fill(&self, object: &mut Object<B>, seed: usize, buffer: &mut [u8]) -> Result {
        if buffer.len() > object.size {
            return Err(EINVAL);
        }
        Pattern::new(seed).fill(buffer);
        // SAFETY: The handle comes from `malloc` on this pool, `buffer` is valid and no longer than
        // the object, and the mutable reference to the object keeps others out.
        unsafe { Counted::write(self.pool()?, &object.handle, NonNull::from(buffer)) };
        Ok(())
    }

    /// Where the first `len` bytes of the object differ from those that `seed` stands for.
    fn compare(&self, object: &Object<B>, seed: usize, len: usize) -> Result<Option<usize>> {
        if len > object.size {
            return Err(EINVAL);
        }
        let pool = self.pool()?;
        // SAFETY: The handle comes from `malloc` on this pool, the reference to the object keeps
        // writers out, and the read ends below, in this task.
        let start = unsafe { Counted::read_begin(pool, &object.handle) };
        // SAFETY: `start` is valid for reads of the object's size until `read_end`, and was written
        // to: no operation reads what was not.
        let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), len) };
        let difference = Pattern::new(seed).difference(bytes);
        // SAFETY: `start` comes from `read_begin` above, and is not used any more.
        unsafe { Counted::read_end(pool, &object.handle, start) };
        Ok(difference)
    }

    fn unmake(&self, object: Object<B>) -> Result {
        // SAFETY: The handle comes from `malloc` on this pool, and no read is going on, because the
        // object is ours alone.
        unsafe { Counted::free(self.pool()?, object.handle) };
        Ok(())
    }

    pub(crate) fn malloc(&self, size: usize, out: &mut Json<'_>) -> Result {
        self.keep(self.make(size)?, out)
    }

    /// Makes an object where one must not sleep.
    pub(crate) fn malloc_locked(&self, size: usize, out: &mut Json<'_>) -> Result {
        let object = {
            let _guard = self.spin.lock();
            self.make_as(size, Gfp::ATOMIC)?
        };
        self.keep(object, out)
    }

    /// Puts an object into a slot of its own.
    fn keep(&self, object: Object<B>, out: &mut Json<'_>) -> Result {
        let bucket = B::class(&object.handle).size();

        let mut slots = self.slots.lock();
        let slot = match slots.iter().position(Option::is_none) {
            Some(slot) => slot,
            None => match slots.push(None, GFP_KERNEL) {
                Ok(()) => slots.len() - 1,
                Err(error) => {
                    self.unmake(object)?;
                    return Err(error.into());
                }
            },
        };
        slots[slot] = Some(object);
        out.usize("slot", slot).usize("bucket", bucket);
        Ok(())
    }

    pub(crate) fn write(&self, args: &mut Args<'_>) -> Result {
        let (slot, seed) = (args.usize()?, args.usize()?);
        let mut slots = self.slots.lock();
        let object = slots.get_mut(slot).and_then(Option::as_mut).ok_or(ENOENT)?;
        let len = args.usize_or(object.size)?;
        let mut buffer = KVVec::from_elem(0u8, len.min(SIZE_MAX), GFP_KERNEL)?;
        self.fill(object, seed, &mut buffer)
    }

    pub(crate) fn read(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let (slot, seed) = (args.usize()?, args.usize()?);
        let slots = self.slots.lock();
        let object = slots.get(slot).and_then(Option::as_ref).ok_or(ENOENT)?;
        let difference = self.compare(object, seed, args.usize_or(object.size)?)?;
        out.bool("equal", difference.is_none());
        if let Some(at) = difference {
            out.usize("differs_at", at);
        }
        Ok(())
    }

    pub(crate) fn free(&self, slot: usize) -> Result {
        self.unmake(self.take(slot)?)
    }

    /// Takes the object out of a slot.
    pub(crate) fn take(&self, slot: usize) -> Result<Object<B>> {
        let object = self.slots.lock().get_mut(slot).and_then(Option::take);
        object.ok_or(ENOENT)
    }

    /// Tells the name of the pool, as the driver has it now.
    pub(crate) fn name(&self, out: &mut Json<'_>) -> Result {
        out.bytes("name", self.pool()?.name().bytes());
        Ok(())
    }

    pub(crate) fn total(&self, out: &mut Json<'_>) -> Result {
        let pool = self.pool()?;
        out.u64("pages", Counted::total_pages(pool));
        out.usize("bytes", pool.bytes());
        Ok(())
    }

    /// Makes, writes, reads and frees one object of every size from `first` to `last`.
    pub(crate) fn sweep(&self, first: usize, last: usize, out: &mut Json<'_>) -> Result {
        let mut buffer = KVVec::from_elem(0u8, last.min(SIZE_MAX), GFP_KERNEL)?;
        let (mut stored, mut refused, mut wrong) = (0, 0, 0);
        for size in first..=last.min(SIZE_MAX) {
            let Ok(mut object) = self.make(size) else {
                refused += 1;
                continue;
            };
            stored += 1;
            self.fill(&mut object, size, &mut buffer[..size])?;
            if self.compare(&object, size, size)?.is_some() {
                wrong += 1;
            }
            self.unmake(object)?;
        }
        out.usize("stored", stored);
        out.usize("refused", refused);
        out.usize("wrong", wrong);
        Ok(())
    }

    /// Makes, writes, reads and frees objects of random sizes. Several tasks can do so at once.
    pub(crate) fn stress(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let (seed, rounds, max) = (args.usize()?, args.usize()?, args.usize()?);
        if max == 0 || max > SIZE_MAX {
            return Err(EINVAL);
        }
        let mut random = Pattern::new(seed);
        let mut buffer = KVVec::from_elem(0u8, max, GFP_KERNEL)?;
        let mut live: [Option<Object<B>>; STRESS_LIVE] = [const { None }; STRESS_LIVE];
        let (mut stored, mut refused, mut wrong) = (0, 0, 0);

        // The objects of the last rounds are checked and freed in rounds that make no new ones.
        for round in 0..rounds.saturating_add(STRESS_LIVE) {
            let place = &mut live[round % STRESS_LIVE];
            if let Some(object) = place.take() {
                let old_seed = seed ^ (round - STRESS_LIVE);
                if self.compare(&object, old_seed, object.size)?.is_some() {
                    wrong += 1;
                }
                self.unmake(object)?;
            }
            if round >= rounds {
                continue;
            }
            let size = random.word() as usize % max + 1;
            let Ok(mut object) = self.make(size) else {
                refused += 1;
                continue;
            };
            stored += 1;
            self.fill(&mut object, seed ^ round, &mut buffer[..size])?;
            *place = Some(object);
        }
        out.usize("stored", stored);
        out.usize("refused", refused);
        out.usize("wrong", wrong);
        Ok(())
    }
}

#[pinned_drop]
impl<B: Backend> PinnedDrop for Private<B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let slots = core::mem::take(&mut *this.slots.lock());
        if let Some(pool) = this.pool.take() {
            for object in slots.into_iter().flatten() {
                // SAFETY: The handle comes from `malloc` on this pool, and the object is ours alone.
                unsafe { Counted::free(&pool, object.handle) };
            }
            Counted::destroy(pool);
        }
    }
}
