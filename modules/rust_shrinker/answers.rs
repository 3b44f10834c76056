// SPDX-License-Identifier: GPL-2.0-only

//! What the callbacks of a shrinker answer: numbers that the kernel's sums can stand.

use kernel::{
    bindings,
    ffi::{c_long, c_ulong},
};

// `SHRINK_STOP` and `SHRINK_EMPTY` are `unsigned long` in C, but constants of type `i32` here.
const SHRINK_STOP: c_ulong = bindings::SHRINK_STOP as c_ulong;
const SHRINK_EMPTY: c_ulong = bindings::SHRINK_EMPTY as c_ulong;

const _: () = {
    assert!(SHRINK_STOP == c_ulong::MAX);
    assert!(SHRINK_EMPTY == c_ulong::MAX - 1);
    assert!(CountObjects::MAX.value < SHRINK_EMPTY);
    assert!(ScanObjects::MAX.value < SHRINK_EMPTY);
    assert!(size_of::<usize>() == size_of::<c_ulong>());
};

/// The lesser of the two; they have the same width, see above.
const fn at_most(count: usize, most: c_ulong) -> c_ulong {
    if count as c_ulong > most {
        most
    } else {
        count as c_ulong
    }
}

/// How many objects could be freed: the answer of [`Shrinker::count_objects`](crate::shrinker::Shrinker::count_objects).
///
/// # Invariants
///
/// The value is at most `MAX`, or `SHRINK_EMPTY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct CountObjects {
    value: c_ulong,
}

impl CountObjects {
    /// The number is not known, or the cache is to be left alone this time.
    pub const UNKNOWN: Self = Self { value: 0 };

    /// There are none.
    ///
    /// For a shrinker that is aware of memory cgroups this is more than [`UNKNOWN`](Self::UNKNOWN):
    /// the kernel does not ask again for that cgroup until it is told of a new object
    /// (`set_shrinker_bit()`). Shrinkers made by our builder are not aware of them, and for
    /// these the kernel takes both for 0: `shrink_slab()` in `mm/shrinker.c` and the `count` file of
    /// debugfs. So nothing is lost by telling the truth.
    pub const EMPTY: Self = Self {
        value: SHRINK_EMPTY,
    };

    /// The greatest number.
    ///
    /// `do_shrink_slab()` in `mm/shrinker.c` computes with the count `f` as follows, and its
    /// `freeable`, `nr` and `total_scan` are `long`:
    ///
    /// ```c
    /// nr = xchg_nr_deferred(shrinker, shrinkctl);   // at most 2f of each earlier pass
    /// delta = freeable >> priority;                 // priority 0: f
    /// delta *= 4;
    /// do_div(delta, shrinker->seeks);               // 4f with seeks 1, 2f with the default of 2
    /// total_scan = nr >> priority;
    /// total_scan += delta;                          // up to 6f, 4f with the default
    /// total_scan = min(total_scan, (2 * freeable));
    /// while (total_scan >= batch_size || total_scan >= freeable)
    /// ```
    ///
    /// That overflow of a signed number is defined in the kernel does not make it harmless:
    ///
    /// - With more than `LONG_MAX / 2`, so also with `ULONG_MAX / 2`, `2 * freeable` is negative,
    ///   and so is `total_scan`: the objects are counted and never scanned, at any priority.
    /// - With more than `LONG_MAX / 4`, so also with `ULONG_MAX / 4`, a pass at priority 0 that
    ///   follows one whose work was deferred makes `total_scan` negative: it is not scanned.
    /// - More than `LONG_MAX` is a negative `freeable`. With `LONG_MAX + 1` the loop asks to scan 0
    ///   objects, which is not less than `freeable`, and never ends; no signal ends it either.
    ///
    /// One pass needs 6f to fit, and two tasks that defer their work at the same time leave up to
    /// 4f instead of 2f behind, so it is `LONG_MAX / 8`. That is no limit for a true count, of
    /// objects or of bytes. A count that is merely great is not for free: the kernel scans twice as
    /// many objects before it gives up, if [`ScanObjects::STOP`] does not end it.
    pub const MAX: Self = Self {
        value: c_long::MAX as c_ulong / 8,
    };

    /// A count of objects: [`EMPTY`](Self::EMPTY) for 0, and [`MAX`](Self::MAX) for more than that.
    pub const fn from_count(count: usize) -> Self {
        if count == 0 {
            Self::EMPTY
        } else {
            // INVARIANT: It is not greater than `MAX`.
            Self {
                value: at_most(count, Self::MAX.value),
            }
        }
    }

    /// The value as C wants it.
    pub const fn into_raw(self) -> c_ulong {
        self.value
    }
}

/// How many objects were freed: the answer of [`Shrinker::scan_objects`](crate::shrinker::Shrinker::scan_objects).
///
/// A number of objects is never taken for `SHRINK_STOP`, nor for `SHRINK_EMPTY`, which means nothing
/// as an answer of this callback: it would be taken for almost `ULONG_MAX` freed objects, and whoever
/// asked for memory would believe it.
///
/// # Invariants
///
/// The value is at most `MAX`, or `SHRINK_STOP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ScanObjects {
    value: c_ulong,
}

impl ScanObjects {
    /// No progress can be made now, because of locks that cannot be had: no more calls in this pass.
    ///
    /// What was not scanned is put off to a later pass. Objects freed by this very call are not
    /// counted.
    pub const STOP: Self = Self { value: SHRINK_STOP };

    /// The greatest number: nothing more can be freed than can be counted.
    pub const MAX: Self = Self {
        value: CountObjects::MAX.value,
    };

    /// A number of freed objects, 0 included; [`MAX`](Self::MAX) for more than that.
    pub const fn from_count(count: usize) -> Self {
        // INVARIANT: It is not greater than `MAX`.
        Self {
            value: at_most(count, Self::MAX.value),
        }
    }

    /// The value as C wants it.
    pub const fn into_raw(self) -> c_ulong {
        self.value
    }
}
