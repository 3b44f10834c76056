// SPDX-License-Identifier: GPL-2.0-only

//! A cache of pages: something real to shrink.

use kernel::{
    page::Page,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Mutex,
    },
};

/// An object of the cache: one page, and a small allocation that holds it.
struct Object {
    _page: Page,
    next: Option<KBox<Object>>,
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
    /// reclaim and so come back to [`Cache::evict`].
    pub(crate) fn populate(&self, count: usize) -> Result {
        for _ in 0..count {
            let object = KBox::new(
                Object {
                    _page: Page::alloc_page(GFP_KERNEL)?,
                    next: None,
                },
                GFP_KERNEL,
            )?;

            let mut objects = self.objects.lock();
            objects.push(object);
            self.len.store(self.len() + 1, Relaxed);
        }
        Ok(())
    }

    /// Frees up to `count` objects and returns how many they were; [`None`] when the lock is taken.
    ///
    /// Never waits, so that it may be called with any lock held.
    pub(crate) fn evict(&self, count: usize) -> Option<usize> {
        let mut evicted = Stack::new();
        let mut freed = 0;

        let mut objects = self.objects.try_lock()?;
        while freed < count {
            let Some(object) = objects.pop() else { break };
            evicted.push(object);
            freed += 1;
        }
        self.len.store(self.len() - freed, Relaxed);
        drop(objects);

        // The pages go back here, outside of the lock.
        drop(evicted);
        Some(freed)
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
