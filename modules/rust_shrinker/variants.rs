// SPDX-License-Identifier: GPL-2.0-only

//! How the callbacks answer: the right way, and wrong ways on purpose.
//!
//! The types of `answers` do not allow the wrong ones. So they are forged here, where one can see
//! it, and not made possible there.

use crate::{
    answers::{CountObjects, ScanObjects},
    cache::Cache,
    shrinker::ScanControl,
};
use kernel::ffi::c_ulong;

/// A way to answer.
pub(crate) struct Variant {
    /// Given the number of objects.
    pub(crate) count: fn(usize) -> CountObjects,
    pub(crate) scan: fn(&Cache, &mut ScanControl<'_>) -> ScanObjects,
}

/// All variants. The first is the right one, which a module starts with.
pub(crate) const VARIANTS: [(&str, Variant); 6] = [
    (
        "none",
        Variant {
            count: CountObjects::from_count,
            scan: evict,
        },
    ),
    // The thread's first version had this limit. It is never scanned.
    (
        "count_half_max",
        Variant {
            count: |objects| count_as(objects, forge_count(c_ulong::MAX / 2)),
            scan: evict_or_stop,
        },
    ),
    // The review's limit. It is not scanned when work was deferred.
    (
        "count_quarter_max",
        Variant {
            count: |objects| count_as(objects, forge_count(c_ulong::MAX / 4)),
            scan: evict_or_stop,
        },
    ),
    // The limit that does hold.
    (
        "count_max",
        Variant {
            count: |objects| count_as(objects, CountObjects::MAX),
            scan: evict_or_stop,
        },
    ),
    // A cache that can never make progress.
    (
        "scan_stop",
        Variant {
            count: CountObjects::from_count,
            scan: |_cache, _sc| ScanObjects::STOP,
        },
    ),
    // Waits in reclaim for a lock under which others allocate.
    (
        "scan_waits",
        Variant {
            count: CountObjects::from_count,
            scan: |cache, sc| ScanObjects::from_count(cache.evict_waiting(sc.nr_to_scan())),
        },
    ),
];

/// Frees what is asked for.
fn evict(cache: &Cache, sc: &mut ScanControl<'_>) -> ScanObjects {
    match cache.evict(sc.nr_to_scan()) {
        Some(freed) => ScanObjects::from_count(freed),
        None => ScanObjects::STOP,
    }
}

/// Frees what is asked for, and stops when there is nothing left: a count of more than there is would
/// keep the kernel scanning for years.
fn evict_or_stop(cache: &Cache, sc: &mut ScanControl<'_>) -> ScanObjects {
    match cache.evict(sc.nr_to_scan()) {
        None | Some(0) => ScanObjects::STOP,
        Some(freed) => ScanObjects::from_count(freed),
    }
}

/// Claims to have `claimed` objects if there are any at all.
fn count_as(objects: usize, claimed: CountObjects) -> CountObjects {
    if objects == 0 {
        CountObjects::EMPTY
    } else {
        claimed
    }
}

/// A count of any value.
fn forge_count(value: c_ulong) -> CountObjects {
    // SAFETY: `CountObjects` is transparent, so every `c_ulong` is a value of it. This one breaks
    // its invariant, which is the purpose; no unsafe code relies on it, only the kernel's sums do.
    unsafe { core::mem::transmute::<c_ulong, CountObjects>(value) }
}
