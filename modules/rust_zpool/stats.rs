// SPDX-License-Identifier: GPL-2.0-only

//! Counts what a driver is asked to do, so that a test can prove that it was asked.

use crate::{
    buckets::{Class, MIN_SHIFT},
    context::Context,
    gfp::Gfp,
    json::Json,
};
use kernel::{
    ffi::c_int,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// A number that any task can change at any time.
pub(crate) struct Counter(Atomic<usize>);

impl Counter {
    pub(crate) const fn new(value: usize) -> Self {
        Self(Atomic::new(value))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: usize) {
        self.0.store(value, Relaxed);
    }

    /// Adds `value` and returns the sum.
    pub(crate) fn add(&self, value: usize) -> usize {
        self.0.fetch_add(value, Relaxed).wrapping_add(value)
    }

    pub(crate) fn sub(&self, value: usize) {
        self.0.fetch_sub(value, Relaxed);
    }

    fn count(&self, condition: bool) {
        if condition {
            self.add(1);
        }
    }

    /// Replaces the number by what `change` makes of it.
    fn update(&self, change: impl Fn(usize) -> usize) {
        let mut old = self.get();
        while let Err(seen) = self.0.cmpxchg(old, change(old), Relaxed) {
            old = seen;
        }
    }

    fn raise(&self, value: usize) {
        self.update(|old| old.max(value));
    }
}

/// The errors that are counted by name.
const ERRORS: [(&str, Error); 4] = [
    ("EINVAL", EINVAL),
    ("ENOMEM", ENOMEM),
    ("ENOSPC", ENOSPC),
    ("EIO", EIO),
];

/// The error of that name.
pub(crate) fn error_by_name(name: &str) -> Result<Error> {
    let known = ERRORS.iter().find(|(known, _)| *known == name);
    Ok(known.ok_or(EINVAL)?.1)
}

/// The sizes of buckets, as keys.
const CLASSES: [&str; 11] = [
    "64", "128", "256", "512", "1024", "2048", "4096", "8192", "16384", "32768", "65536",
];

const _: () = assert!(1 << MIN_SHIFT == 64);

/// Defines a struct of counters that knows their names.
macro_rules! counters {
    ($(#[$attr:meta])* struct $type:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$attr])*
        struct $type {
            $($(#[$doc])* $name: Counter,)*
        }

        impl $type {
            const fn new() -> Self {
                Self {
                    $($name: Counter::new(0),)*
                }
            }

            fn for_each(&self, mut visit: impl FnMut(&str, &Counter)) {
                $(visit(stringify!($name), &self.$name);)*
            }
        }
    };
}

counters! {
    /// What is there now.
    struct Now {
        live,
        /// The sizes of the buckets of all that is alive.
        bytes,
        /// Reads that did not end yet.
        reading,
        /// Calls of `malloc` that did not return yet.
        mallocs_inside,
    }
}

counters! {
    /// What has happened since the beginning, or the last reset.
    struct Since {
        creates,
        create_failures,
        destroys,
        /// What was not freed when the last pool was destroyed, as the driver knows it.
        bytes_left,
        /// Those that did not fail.
        mallocs,
        /// Objects in memory that has to be mapped.
        highmem,
        frees,
        reads_begun,
        /// Reads through a slot of kmap_local.
        reads_mapped,
        reads_ended,
        writes,
        written_bytes,
        /// Calls of `total_pages`.
        totals,
        total_pages_last,
        total_pages_max,
        live_max,
        mallocs_inside_max,
        size_max,
        /// Buckets whose address had no room for the number of the class.
        bad_align,
        /// Every flag that `malloc` was called with.
        gfp,
        malloc_atomic,
        malloc_kswapd,
        malloc_direct,
        free_atomic,
        total_atomic,
    }
}

/// What happened in a pool, or in all of them.
pub(crate) struct Stats {
    now: Now,
    since: Since,
    size_min: Counter,
    classes: [Counter; CLASSES.len()],
    failures: [Counter; ERRORS.len() + 1],
    last_error: Atomic<c_int>,
}

impl Stats {
    pub(crate) const fn new() -> Self {
        Self {
            now: Now::new(),
            since: Since::new(),
            size_min: Counter::new(usize::MAX),
            classes: [const { Counter::new(0) }; CLASSES.len()],
            failures: [const { Counter::new(0) }; ERRORS.len() + 1],
            last_error: Atomic::new(0),
        }
    }

    /// Forgets what has happened. What is there now stays.
    pub(crate) fn reset(&self) {
        self.since.for_each(|_, counter| counter.set(0));
        self.since.live_max.set(self.now.live.get());
        self.size_min.set(usize::MAX);
        self.classes.iter().for_each(|counter| counter.set(0));
        self.failures.iter().for_each(|counter| counter.set(0));
        self.last_error.store(0, Relaxed);
    }

    pub(crate) fn created(&self, result: Result<(), Error>) {
        match result {
            Ok(()) => self.since.creates.count(true),
            Err(error) => {
                self.since.create_failures.count(true);
                self.failed(error);
            }
        }
    }

    pub(crate) fn destroyed(&self, bytes_left: usize) {
        self.since.destroys.count(true);
        self.since.bytes_left.set(bytes_left);
    }

    pub(crate) fn malloc_begins(&self, size: usize, gfp: Gfp, context: Context) {
        let inside = self.now.mallocs_inside.add(1);
        self.since.mallocs_inside_max.raise(inside);
        self.size_min.update(|old| old.min(size));
        self.since.size_max.raise(size);
        self.since.gfp.update(|old| old | gfp.as_raw() as usize);
        self.since.malloc_atomic.count(context.is_atomic());
        self.since.malloc_kswapd.count(context.is_kswapd());
        self.since.malloc_direct.count(context.is_direct_reclaim());
    }

    /// `result` is the size of the object's memory, and whether that is high memory.
    pub(crate) fn malloc_ends(&self, result: Result<(Class, bool)>) {
        self.now.mallocs_inside.sub(1);
        match result {
            Ok((class, is_high)) => {
                self.since.mallocs.add(1);
                self.since.highmem.count(is_high);
                self.classes[class.index()].add(1);
                self.now.bytes.add(class.size());
                self.since.live_max.raise(self.now.live.add(1));
            }
            Err(error) => self.failed(error),
        }
    }

    pub(crate) fn misaligned(&self, buckets: usize) {
        self.since.bad_align.add(buckets);
    }

    pub(crate) fn freed(&self, class: Class, context: Context) {
        self.since.frees.add(1);
        self.now.live.sub(1);
        self.now.bytes.sub(class.size());
        self.since.free_atomic.count(context.is_atomic());
    }

    pub(crate) fn read_begun(&self, mapped: bool) {
        self.since.reads_begun.add(1);
        self.since.reads_mapped.count(mapped);
        self.now.reading.add(1);
    }

    pub(crate) fn read_ended(&self) {
        self.since.reads_ended.add(1);
        self.now.reading.sub(1);
    }

    pub(crate) fn written(&self, len: usize) {
        self.since.writes.add(1);
        self.since.written_bytes.add(len);
    }

    pub(crate) fn totalled(&self, pages: u64, context: Context) {
        self.since.totals.add(1);
        self.since.total_pages_last.set(pages as usize);
        self.since.total_pages_max.raise(pages as usize);
        self.since.total_atomic.count(context.is_atomic());
    }

    fn failed(&self, error: Error) {
        let known = ERRORS.iter().position(|(_, known)| *known == error);
        self.failures[known.unwrap_or(ERRORS.len())].add(1);
        self.last_error.store(error.to_errno(), Relaxed);
    }

    pub(crate) fn tell(&self, out: &mut Json<'_>) {
        self.now.for_each(|key, counter| {
            out.usize(key, counter.get());
        });
        self.since.for_each(|key, counter| {
            out.usize(key, counter.get());
        });
        // Without a malloc, there is no smallest size.
        let size_min = self.size_min.get().min(self.since.size_max.get());
        out.usize("size_min", size_min);

        out.object("classes", |out| {
            let known = &self.classes[..=Class::LARGEST.index()];
            for (key, counter) in CLASSES.iter().zip(known) {
                out.usize(key, counter.get());
            }
        });
        out.object("failures", |out| {
            for ((key, _), counter) in ERRORS.iter().zip(&self.failures) {
                out.usize(key, counter.get());
            }
            out.usize("other", self.failures[ERRORS.len()].get());
        });
        match self.last_error.load(Relaxed) {
            0 => out.str("last_error", ""),
            errno => out.errno("last_error", Error::from_errno(errno)),
        };
    }
}
