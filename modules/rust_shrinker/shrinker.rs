// SPDX-License-Identifier: GPL-2.0-only

//! Shrinkers, which give memory back when the kernel runs short of it.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)
//!
//! # In which context the callbacks run
//!
//! A task that allocates memory (direct reclaim) or `kswapd` runs them, in process context and
//! without locks of the caller: they may sleep. They are not free to do what they like, though,
//! because the task may hold any lock under which somebody allocates memory:
//!
//! - Direct reclaim and `kswapd` run inside of the pseudo lock `fs_reclaim` (see
//!   `__fs_reclaim_acquire()` in `mm/page_alloc.c`). Every allocation that may reclaim takes and
//!   releases it, too. So if a callback waits for a lock, nobody may allocate with `GFP_KERNEL`
//!   while holding that lock: lockdep reports it, and without lockdep it is a deadlock that happens
//!   on the first bad day. A `try_lock` whose failure is answered with [`ScanObjects::STOP`] has no
//!   such rule.
//! - Locks of a file system need [`ShrinkControl::reclaim_fs_allowed`], starting I/O needs
//!   [`ShrinkControl::reclaim_io_allowed`].
//! - Several tasks may run the callbacks of one shrinker at once.
//!
//! Not every caller is in reclaim: `/proc/sys/vm/drop_caches` and the files in
//! `/sys/kernel/debug/shrinker` run the callbacks from a plain system call, without `fs_reclaim`, so
//! they prove nothing about the locking.

use crate::answers::{CountObjects, ScanObjects};
use core::{marker::PhantomData, mem::ManuallyDrop, num::NonZero, ops::Deref, ptr::NonNull};
use kernel::{
    alloc::AllocError,
    bindings,
    ffi::{c_int, c_long, c_ulong, c_void},
    fmt,
    prelude::*,
    types::ForeignOwnable,
};

/// The usual cost of recreating an object, see [`ShrinkerBuilder::set_seeks`].
pub const DEFAULT_SEEKS: u32 = bindings::DEFAULT_SEEKS;

/// A shrinker that is not registered yet, so that its settings can still be changed.
///
/// Allocating it can fail, registering it cannot: data that only makes sense with a shrinker is
/// constructed between the two. A builder that is dropped gives the shrinker back; no callback of it
/// has ever run.
///
/// # Flags
///
/// Shrinkers made here have none of C's flags. There are `SHRINKER_NUMA_AWARE`,
/// `SHRINKER_MEMCG_AWARE` and, for the latter only, `SHRINKER_NONSLAB`. With the first two the kernel
/// asks for the objects of one node or of one memory cgroup, and expects the callbacks to look at
/// `nid` and `memcg` of their `struct shrink_control`. [`ShrinkControl`] does not show these, so a
/// shrinker with such a flag would give the same answer once for each node and each cgroup, and be
/// scanned far too much. There can be flags when there is a safe way to get at the two.
///
/// # Invariants
///
/// `shrinker` points to a shrinker that is not registered and that nobody else refers to.
pub struct ShrinkerBuilder {
    shrinker: NonNull<bindings::shrinker>,
}

// SAFETY: A shrinker that is not registered is plain memory, which belongs to no thread.
unsafe impl Send for ShrinkerBuilder {}
// SAFETY: Nothing can be done with a shared reference.
unsafe impl Sync for ShrinkerBuilder {}

impl ShrinkerBuilder {
    /// See the type's documentation.
    const FLAGS: u32 = 0;

    /// Allocates a shrinker. May sleep.
    ///
    /// The name is shown as `/sys/kernel/debug/shrinker/NAME-ID`; the kernel copies it.
    pub fn new(name: &CStr) -> Result<Self, AllocError> {
        // SAFETY: The format is NUL-terminated and wants one pointer to a NUL-terminated string,
        // which `name` is. It is not used as the format itself, so it may contain `%`.
        let shrinker = unsafe {
            bindings::shrinker_alloc(Self::FLAGS, c"%s".as_char_ptr(), name.as_char_ptr())
        };
        // INVARIANT: It was just allocated, and nobody else has seen it.
        Ok(Self {
            shrinker: NonNull::new(shrinker).ok_or(AllocError)?,
        })
    }

    /// Allocates a shrinker whose name is formatted. May sleep.
    ///
    /// The kernel formats it twice, once to know its length: it should be the same both times.
    pub fn new_fmt(name: fmt::Arguments<'_>) -> Result<Self, AllocError> {
        // SAFETY: The format is NUL-terminated and wants one pointer to a `fmt::Arguments`, which
        // is used during the call only.
        let shrinker = unsafe {
            bindings::shrinker_alloc(
                Self::FLAGS,
                c"%pA".as_char_ptr(),
                core::ptr::from_ref(&name).cast::<c_void>(),
            )
        };
        // INVARIANT: It was just allocated, and nobody else has seen it.
        Ok(Self {
            shrinker: NonNull::new(shrinker).ok_or(AllocError)?,
        })
    }

    /// Sets what it costs to recreate an object, relative to other shrinkers. The default is
    /// [`DEFAULT_SEEKS`].
    ///
    /// For each pass the kernel wants `(count >> priority) * 4 / seeks` objects scanned, and half of
    /// them, whatever the priority, when `seeks` is 0. It is a hint about fairness and dates from
    /// rotating disks. More important is that a count of one shrinker means about as much memory as
    /// the same count of another: a cache of objects of very different size should count in units of
    /// memory, such as pages, and scan in the same unit.
    pub fn set_seeks(&mut self, seeks: u32) {
        let seeks = c_int::try_from(seeks).unwrap_or(c_int::MAX);
        // SAFETY: By the type invariants nobody else accesses the shrinker.
        unsafe { (*self.shrinker.as_ptr()).seeks = seeks };
    }

    /// Sets how many objects are scanned with one call. 0, the default, means 128 (`SHRINK_BATCH`).
    pub fn set_batch(&mut self, batch: usize) {
        let batch = c_long::try_from(batch).unwrap_or(c_long::MAX);
        // SAFETY: By the type invariants nobody else accesses the shrinker.
        unsafe { (*self.shrinker.as_ptr()).batch = batch };
    }

    /// Registers the shrinker. May sleep. Callbacks may run before this returns.
    pub fn register<T: Shrinker>(self, private_data: T::Ptr) -> ShrinkerRegistration<T> {
        // The destructor would free the shrinker.
        let shrinker = ManuallyDrop::new(self).shrinker;
        let ptr = shrinker.as_ptr();

        // SAFETY: The builder's invariants say that nobody else accesses the shrinker. All that the
        // callbacks need is there before it is registered: debugfs looks at the callbacks then, and
        // reclaim can call them at once.
        unsafe {
            (*ptr).private_data = private_data.into_foreign();
            (*ptr).count_objects = Some(rust_count_objects::<T>);
            (*ptr).scan_objects = Some(rust_scan_objects::<T>);
            bindings::shrinker_register(ptr);
        }

        // INVARIANT: It is registered with the callbacks for `T` and a `T::Ptr`.
        ShrinkerRegistration {
            shrinker,
            _private_data: PhantomData,
        }
    }
}

impl Drop for ShrinkerBuilder {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the shrinker is not registered and only ours.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// A shrinker that is registered, for as long as this lives.
///
/// Dropping it waits for callbacks that are running and frees the private data afterwards. So it may
/// sleep, must not be dropped from one of its own callbacks, and not while holding a lock that a
/// callback waits for.
///
/// A registration that is leaked stays registered. That is sound for its data, which is `'static`,
/// but the callbacks are code of a module: like with every registration, a module that leaks it must
/// not be unloaded.
///
/// # Invariants
///
/// `shrinker` points to a registered shrinker that has the callbacks for `T`, and a pointer made by
/// `T::Ptr::into_foreign` as its private data.
pub struct ShrinkerRegistration<T: Shrinker> {
    shrinker: NonNull<bindings::shrinker>,
    _private_data: PhantomData<T::Ptr>,
}

// SAFETY: Dropping it in another thread drops the private data there, which `T::Ptr: Send` allows.
// Unregistering itself can be done from any thread.
unsafe impl<T: Shrinker> Send for ShrinkerRegistration<T> where T::Ptr: Send {}
// SAFETY: A shared reference gives access to the private data only, in a way that is shared with the
// callbacks already and allowed by `T::Ptr: Sync`.
unsafe impl<T: Shrinker> Sync for ShrinkerRegistration<T> {}

impl<T: Shrinker> ShrinkerRegistration<T> {
    /// The C side's pointer.
    pub fn as_raw(&self) -> *mut bindings::shrinker {
        self.shrinker.as_ptr()
    }

    /// The private data, which the callbacks may use at the same time.
    pub fn private_data(&self) -> <T::Ptr as ForeignOwnable>::Borrowed<'_> {
        // SAFETY: By the type invariants the shrinker is valid; the field does not change while it
        // is registered.
        let private_data = unsafe { (*self.shrinker.as_ptr()).private_data };
        // SAFETY: By the type invariants it comes from `into_foreign`. It is taken back when `self`
        // is dropped, which is after this borrow has ended, and never borrowed mutably.
        unsafe { T::Ptr::borrow(private_data) }
    }
}

impl<T: Shrinker> Drop for ShrinkerRegistration<T> {
    fn drop(&mut self) {
        let ptr = self.shrinker.as_ptr();
        // SAFETY: By the type invariants the shrinker is valid; the field does not change while it
        // is registered.
        let private_data = unsafe { (*ptr).private_data };
        // SAFETY: By the type invariants the shrinker is registered. We do not access it afterwards.
        unsafe { bindings::shrinker_free(ptr) };
        // SAFETY: It comes from `into_foreign` and is taken back here only. `shrinker_free` has
        // waited until reclaim held no reference to the shrinker and debugfs was out of the
        // callbacks, so nobody borrows it any more.
        drop(unsafe { T::Ptr::from_foreign(private_data) });
    }
}

/// The callbacks of a shrinker.
///
/// Both may sleep and run in reclaim: see the [module's documentation](self).
pub trait Shrinker {
    /// The pointer that owns the private data.
    ///
    /// It is `Sync` because callbacks run in several threads at once, and `'static` because a
    /// registration can be leaked.
    type Ptr: ForeignOwnable + Sync + 'static;

    /// Counts the objects that could be freed.
    ///
    /// Should be quick, and should not care about deadlocks: what cannot be scanned now is added up
    /// by the kernel and scanned later. So it should not need more than an atomic read.
    fn count_objects(
        private_data: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        sc: ShrinkControl<'_>,
    ) -> CountObjects;

    /// Looks at up to [`ScanControl::nr_to_scan`] objects and frees what it can of them.
    ///
    /// Only called after a count of more than 0, and then again and again until twice the count has
    /// been scanned, or it says [`ScanObjects::STOP`].
    fn scan_objects(
        private_data: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        sc: ScanControl<'_>,
    ) -> ScanObjects;
}

/// What reclaim tells a callback.
///
/// The flags of the allocation that reclaims are answers to questions here, because a mask invites
/// to allocate with it or to compare it with others, neither of which is any use in a callback.
///
/// # Invariants
///
/// `ptr` is valid for the duration of `'a`, and nobody else accesses it meanwhile.
#[repr(transparent)]
pub struct ShrinkControl<'a> {
    ptr: NonNull<bindings::shrink_control>,
    _lifetime: PhantomData<&'a mut bindings::shrink_control>,
}

impl ShrinkControl<'_> {
    /// Wraps what a callback was given.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for the duration of the lifetime, and nobody else may access it
    /// meanwhile.
    pub unsafe fn from_raw(ptr: NonNull<bindings::shrink_control>) -> Self {
        // INVARIANT: By the requirements of this function.
        Self {
            ptr,
            _lifetime: PhantomData,
        }
    }

    /// The pointer it was made of.
    pub fn as_raw(&self) -> *mut bindings::shrink_control {
        self.ptr.as_ptr()
    }

    fn allows(&self, gfp_bit: u32) -> bool {
        // SAFETY: By the type invariants the pointer is valid.
        let mask = unsafe { (*self.as_raw()).gfp_mask };
        mask & (1 << gfp_bit) != 0
    }

    /// Whether the callback may call into file systems (`__GFP_FS`).
    ///
    /// If not, the allocating task may hold locks of one.
    pub fn reclaim_fs_allowed(&self) -> bool {
        self.allows(bindings::___GFP_FS_BIT)
    }

    /// Whether the callback may start physical I/O (`__GFP_IO`).
    pub fn reclaim_io_allowed(&self) -> bool {
        self.allows(bindings::___GFP_IO_BIT)
    }
}

/// What reclaim tells the scan callback, and is told by it.
///
/// # Invariants
///
/// `nr_to_scan` of the inner structure is at least 1.
#[repr(transparent)]
pub struct ScanControl<'a>(ShrinkControl<'a>);

impl<'a> Deref for ScanControl<'a> {
    type Target = ShrinkControl<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl ScanControl<'_> {
    /// Wraps what a callback was given.
    ///
    /// # Safety
    ///
    /// Same as [`ShrinkControl::from_raw`], and it must have been given to a scan callback.
    pub unsafe fn from_raw(ptr: NonNull<bindings::shrink_control>) -> Self {
        // SAFETY: By the requirements of this function.
        // INVARIANT: `do_shrink_slab()` scans while at least a batch is left, or as much as was
        // counted, and neither is 0 by the invariants of `CountObjects`; the `scan` file of debugfs
        // ignores a 0.
        Self(unsafe { ShrinkControl::from_raw(ptr) })
    }

    /// How many objects to look at. Between 1 and the batch size in reclaim; any number from
    /// debugfs, also more than there are.
    pub fn nr_to_scan(&self) -> usize {
        // SAFETY: By the type invariants the pointer is valid.
        unsafe { (*self.as_raw()).nr_to_scan as usize }
    }

    /// Tells how many objects were looked at, when they were fewer than asked for. More than asked
    /// for counts as asked for.
    ///
    /// The kernel subtracts it from what is left to scan, and calls again. So it must not be 0:
    /// nothing would change, and the loop, which no signal ends, would run forever. A callback that
    /// could not look at any says [`ScanObjects::STOP`]. For the same reason it must not be more than
    /// asked for: what is left to scan would grow when the subtraction wraps around.
    pub fn set_nr_scanned(&mut self, scanned: NonZero<usize>) {
        let scanned = scanned.get().min(self.nr_to_scan()) as c_ulong;
        // SAFETY: By the type invariants the pointer is valid and nobody else accesses it.
        unsafe { (*self.as_raw()).nr_scanned = scanned };
    }
}

/// # Safety
///
/// `shrinker` must point to a shrinker that was registered with `T`, and `sc` to what
/// [`ShrinkControl::from_raw`] wants.
unsafe extern "C" fn rust_count_objects<T: Shrinker>(
    shrinker: *mut bindings::shrinker,
    sc: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The shrinker is valid, and its private data was made by `into_foreign`; it is taken
    // back only after the last callback has returned.
    let private_data = unsafe { T::Ptr::borrow((*shrinker).private_data) };
    // SAFETY: By the requirements of this function; it is not null.
    let sc = unsafe { ShrinkControl::from_raw(NonNull::new_unchecked(sc)) };

    T::count_objects(private_data, sc).into_raw()
}

/// # Safety
///
/// `shrinker` must point to a shrinker that was registered with `T`, and `sc` to what
/// [`ScanControl::from_raw`] wants.
unsafe extern "C" fn rust_scan_objects<T: Shrinker>(
    shrinker: *mut bindings::shrinker,
    sc: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The shrinker is valid, and its private data was made by `into_foreign`; it is taken
    // back only after the last callback has returned.
    let private_data = unsafe { T::Ptr::borrow((*shrinker).private_data) };
    // SAFETY: By the requirements of this function; it is not null.
    let sc = unsafe { ScanControl::from_raw(NonNull::new_unchecked(sc)) };

    T::scan_objects(private_data, sc).into_raw()
}
