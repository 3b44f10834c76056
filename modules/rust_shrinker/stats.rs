// SPDX-License-Identifier: GPL-2.0-only

//! What the callbacks saw: who called, how often, and what for.

use crate::{answers::ScanObjects, json::Json};
use kernel::{
    prelude::*,
    sync::{new_spinlock, SpinLock},
};

const COMM_LEN: usize = kernel::bindings::TASK_COMM_LEN as usize;

/// How many callers of different names are told apart.
const CALLERS: usize = 8;

/// Of how many passes the scans are counted one by one.
const PASSES: usize = 16;

/// Who runs a callback. The layout is that of C's `struct shrinker_caller`.
#[repr(C)]
pub(crate) struct Caller {
    comm: [u8; COMM_LEN],
    kswapd: bool,
    reclaim: bool,
    atomic: bool,
}

extern "C" {
    fn shrinker_caller_get(caller: *mut Caller);
}

impl Caller {
    pub(crate) fn current() -> Self {
        let mut caller = Self {
            comm: [0; COMM_LEN],
            kswapd: false,
            reclaim: false,
            atomic: false,
        };
        // SAFETY: It points to a structure of the same layout that nobody else uses.
        unsafe { shrinker_caller_get(&mut caller) };
        caller
    }

    fn way(&self) -> Way {
        if self.kswapd {
            Way::Kswapd
        } else if self.reclaim {
            Way::Direct
        } else {
            Way::Other
        }
    }
}

/// The way on which a callback was reached.
#[derive(Clone, Copy)]
enum Way {
    /// The thread `kswapd`.
    Kswapd,
    /// A task that reclaims because it allocates, or for a memory cgroup.
    Direct,
    /// A task that does not allocate: `drop_caches`, debugfs.
    Other,
}

#[derive(Clone, Copy)]
struct Calls {
    counts: usize,
    scans: usize,
    /// Objects that the scans freed.
    freed: usize,
    /// Scans that could not make progress.
    stops: usize,
}

impl Calls {
    const NONE: Self = Self {
        counts: 0,
        scans: 0,
        freed: 0,
        stops: 0,
    };

    fn show(&self, out: &mut Json<'_>) {
        out.usize("counts", self.counts)
            .usize("scans", self.scans)
            .usize("freed", self.freed)
            .usize("stops", self.stops);
    }
}

#[derive(Clone, Copy)]
struct Named {
    comm: [u8; COMM_LEN],
    calls: Calls,
}

struct Numbers {
    calls: Calls,
    ways: [Calls; 3],
    callers: [Named; CALLERS],
    /// Scans since each count, for the first counts. Only means something while one task at a time
    /// runs the callbacks.
    scans_by_pass: [usize; PASSES],
    min_nr_to_scan: usize,
    max_nr_to_scan: usize,
    fs_allowed: usize,
    fs_forbidden: usize,
    atomic: usize,
}

impl Numbers {
    const NONE: Self = Self {
        calls: Calls::NONE,
        ways: [Calls::NONE; 3],
        callers: [Named {
            comm: [0; COMM_LEN],
            calls: Calls::NONE,
        }; CALLERS],
        scans_by_pass: [0; PASSES],
        min_nr_to_scan: usize::MAX,
        max_nr_to_scan: 0,
        fs_allowed: 0,
        fs_forbidden: 0,
        atomic: 0,
    };

    /// Runs `add` on each place where the calls of `caller` are counted.
    fn each(&mut self, caller: &Caller, add: impl Fn(&mut Calls)) {
        add(&mut self.calls);
        add(&mut self.ways[caller.way() as usize]);

        // An empty slot is one that nobody has been counted in; the last is shared by all others.
        let slot = self.callers.iter().position(|named| {
            named.comm == caller.comm || (named.calls.counts == 0 && named.calls.scans == 0)
        });
        let named = &mut self.callers[slot.unwrap_or(CALLERS - 1)];
        named.comm = caller.comm;
        add(&mut named.calls);
    }

    /// Takes down a call of `caller`, with `add`.
    fn called(&mut self, caller: &Caller, fs_allowed: bool, add: impl Fn(&mut Calls)) {
        self.each(caller, add);

        if fs_allowed {
            self.fs_allowed += 1;
        } else {
            self.fs_forbidden += 1;
        }
        if caller.atomic {
            self.atomic += 1;
        }
    }
}

/// Counters of what the callbacks saw.
#[pin_data]
pub(crate) struct Stats {
    #[pin]
    numbers: SpinLock<Numbers>,
}

impl Stats {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            numbers <- new_spinlock!(Numbers::NONE, "rust_shrinker::numbers"),
        })
    }

    pub(crate) fn reset(&self) {
        *self.numbers.lock() = Numbers::NONE;
    }

    /// Takes down that the objects are counted.
    pub(crate) fn counted(&self, caller: &Caller, fs_allowed: bool) {
        let mut numbers = self.numbers.lock();
        numbers.called(caller, fs_allowed, |calls| calls.counts += 1);
    }

    /// Takes down that objects are to be scanned.
    pub(crate) fn scanning(&self, caller: &Caller, fs_allowed: bool, nr_to_scan: usize) {
        let mut numbers = self.numbers.lock();
        numbers.called(caller, fs_allowed, |calls| calls.scans += 1);
        numbers.min_nr_to_scan = numbers.min_nr_to_scan.min(nr_to_scan);
        numbers.max_nr_to_scan = numbers.max_nr_to_scan.max(nr_to_scan);

        // A scan without a count before it comes from debugfs and belongs to no pass.
        let pass = numbers.calls.counts.wrapping_sub(1);
        if let Some(scans) = numbers.scans_by_pass.get_mut(pass) {
            *scans += 1;
        }
    }

    /// Takes down what a scan answered.
    pub(crate) fn scanned(&self, caller: &Caller, answer: ScanObjects) {
        self.numbers.lock().each(caller, |calls| {
            if answer == ScanObjects::STOP {
                calls.stops += 1;
            } else {
                calls.freed = calls.freed.wrapping_add(answer.into_raw());
            }
        });
    }

    /// Adds all counters to `out`.
    pub(crate) fn show(&self, out: &mut Json<'_>) {
        let numbers = self.numbers.lock();

        out.usize("count_calls", numbers.calls.counts)
            .usize("scan_calls", numbers.calls.scans)
            .usize("freed", numbers.calls.freed)
            .usize("stops", numbers.calls.stops)
            .usize("max_nr_to_scan", numbers.max_nr_to_scan);
        if numbers.calls.scans > 0 {
            out.usize("min_nr_to_scan", numbers.min_nr_to_scan);
        }
        out.usize("fs_allowed", numbers.fs_allowed)
            .usize("fs_forbidden", numbers.fs_forbidden)
            .usize("atomic", numbers.atomic);

        for (name, way) in [
            ("kswapd", Way::Kswapd),
            ("direct", Way::Direct),
            ("other", Way::Other),
        ] {
            out.object(name, |out| numbers.ways[way as usize].show(out));
        }

        out.object("callers", |out| {
            for named in &numbers.callers {
                if named.calls.counts > 0 || named.calls.scans > 0 {
                    let len = named.comm.iter().position(|&byte| byte == 0);
                    let comm = &named.comm[..len.unwrap_or(COMM_LEN)];
                    let comm = core::str::from_utf8(comm).unwrap_or("?");
                    out.object(comm, |out| named.calls.show(out));
                }
            }
        });

        let passes = numbers.calls.counts.min(PASSES);
        out.list(
            "scans_by_pass",
            numbers.scans_by_pass[..passes]
                .iter()
                .map(|&scans| scans as u64),
        );
    }
}
