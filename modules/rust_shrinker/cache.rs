// SPDX-License-Identifier: GPL-2.0-only

//! A cache of pages: something real to shrink.

use crate::pressure::{press, Pressed};
use kernel::{
    page::Page,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        lock::{mutex::MutexBackend, Guard},
        new_mutex, Mutex,
    },
};

/// An object of the cache: one page, and a small allocation that holds it.
struct Object {
    _page: Page,
    next: Option<KBox<Object>>,
}

impl Object {
    /// A new object. Allocates memory, and so may reclaim.
    fn new() -> Result<KBox<Self>> {
        let object = Object {
            _page: Page::alloc_page(GFP_KERNEL)?,
            next: None,
        };
        Ok(KBox::new(object, GFP_KERNEL)?)
    }
}

/// A stack of objects.
struct Stack {
    top: Option<KBox<Object>>,
}

impl Stack {
    const fn new() -> Self {
        Self { top: None }
    }

    fn push(&mut self, mut object: KBox<Object>) {
        object.next = self.top.take();
        self.top = Some(object);
    }

    fn pop(&mut self) -> Option<KBox<Object>> {
        let mut object = self.top.take()?;
        self.top = object.next.take();
        Some(object)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // One by one: the boxes' own destructors would call each other and use up the kernel stack.
        while self.pop().is_some() {}
    }
}

/// A cache of pages.
#[pin_data]
pub(crate) struct Cache {
    #[pin]
    objects: Mutex<Stack>,
    /// The number of objects, for who must not wait for the lock. Changed under the lock.
    len: Atomic<usize>,
}

impl Cache {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            objects <- new_mutex!(Stack::new(), "rust_shrinker::objects"),
            len: Atomic::new(0),
        })
    }

    /// The number of objects. Takes no lock.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Adds `count` objects. Each is allocated before the lock is taken, because the allocation may
    /// reclaim and so come back to the callbacks.
    pub(crate) fn populate(&self, count: usize) -> Result {
        for _ in 0..count {
            let object = Object::new()?;
            self.add(&mut self.objects.lock(), object);
        }
        Ok(())
    }

    /// Adds `count` objects, which are allocated with the lock held.
    ///
    /// This is right as long as no callback waits for the lock: with [`Cache::evict`] it is, with
    /// [`Cache::evict_waiting`] the task would wait for itself.
    pub(crate) fn populate_locked(&self, count: usize) -> Result {
        let mut objects = self.objects.lock();
        for _ in 0..count {
            self.add(&mut objects, Object::new()?);
        }
        Ok(())
    }

    fn add(&self, objects: &mut Stack, object: KBox<Object>) {
        objects.push(object);
        self.len.store(self.len() + 1, Relaxed);
    }

    /// Has this task reclaim memory, with the lock held if `locked`; see [`press`].
    pub(crate) fn press(&self, locked: bool) -> Pressed {
        let objects = locked.then(|| self.objects.lock());
        let pressed = press();
        drop(objects);
        pressed
    }

    /// Frees up to `count` objects and returns how many they were; [`None`] when the lock is taken.
    ///
    /// Never waits, so that it may be called with any lock held. Each object is taken out by itself
    /// and goes back outside of the lock: while one task is on its way with many that are counted no
    /// more and not free yet, another would find nothing to reclaim, and call the OOM killer.
    pub(crate) fn evict(&self, count: usize) -> Option<usize> {
        for freed in 0..count {
            match self.objects.try_lock() {
                Some(objects) => match self.take(objects) {
                    Some(object) => drop(object),
                    None => return Some(freed),
                },
                None if freed == 0 => return None,
                None => return Some(freed),
            }
        }
        Some(count)
    }

    /// The same, but waits for the lock. Nobody may allocate while holding it, then.
    pub(crate) fn evict_waiting(&self, count: usize) -> usize {
        let evicted = (0..count).map_while(|_| self.take(self.objects.lock()));
        evicted.map(drop).count()
    }

    /// Takes an object out of the cache, and gives up the lock.
    fn take(&self, mut objects: Guard<'_, Stack, MutexBackend>) -> Option<KBox<Object>> {
        let object = objects.pop()?;
        self.len.store(self.len() - 1, Relaxed);
        Some(object)
    }

    /// Frees all objects and returns how many they were.
    pub(crate) fn drain(&self) -> usize {
        let mut objects = self.objects.lock();
        let all = core::mem::replace(&mut *objects, Stack::new());
        let freed = self.len();
        self.len.store(0, Relaxed);
        drop(objects);

        drop(all);
        freed
    }
}
