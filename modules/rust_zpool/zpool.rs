// SPDX-License-Identifier: GPL-2.0-only

//! Drivers of memory storage pools ("zpools").
//!
//! A pool stores objects of up to a page each, in practice compressed pages of memory, and knows
//! them by handles that only it understands. A driver is a type that implements [`ZpoolDriver`];
//! [`Adapter`] turns it into the table of operations that C calls, and [`Registration`] offers the
//! table to C under a name.
//!
//! C header: [`include/linux/zswap_backend.h`](srctree/include/linux/zswap_backend.h)

use crate::gfp::Gfp;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::NumaNode,
    bindings,
    error::{from_result, to_result},
    ffi::{c_char, c_int, c_ulong, c_void},
    prelude::*,
    types::{ForeignOwnable, Opaque},
};

/// The name of one object of a pool.
///
/// C stores a handle as an `unsigned long` and gives it back later. As with [`ForeignOwnable`],
/// giving a handle away is safe, and taking it back is not. A driver keeps the content of its
/// handles private and lets nobody copy them; then safe code gets handles from
/// [`ZpoolDriver::malloc`] alone, cannot make one up, and has none left after
/// [`ZpoolDriver::free`].
///
/// Every number is good: errors have a way of their own, and zero is not one.
///
/// # Safety
///
/// `from_raw` must return an equivalent of the value that [`Self::into_raw`] was called on.
pub(crate) unsafe trait Handle: Sized {
    /// Turns the handle into a number.
    fn into_raw(self) -> usize;

    /// Turns a number back into the handle.
    ///
    /// # Safety
    ///
    /// - `raw` must come from [`Self::into_raw`] of this type, and the object must not have been
    ///   freed since.
    /// - When the returned handle is used to free the object, no other handle made from `raw` may
    ///   be used during that call or after it.
    unsafe fn from_raw(raw: usize) -> Self;
}

/// A driver of pools.
///
/// All functions but [`create`] and [`destroy`] can run at any time, on several CPUs at once and
/// in parallel with each other, on the same pool; this is why they, [`malloc`] included, are given
/// a shared reference, and why `Pool` has to be [`Sync`]. What changes in a pool is an atomic or
/// has a lock of its own. The exceptions are about a single object: nobody uses an object while it
/// is being freed, or reads it while it is being written.
///
/// [`create`]: Self::create
/// [`destroy`]: Self::destroy
/// [`malloc`]: Self::malloc
pub(crate) trait ZpoolDriver {
    /// A pool.
    type Pool: ForeignOwnable + Send + Sync;

    /// What names an object of a pool.
    type Handle: Handle;

    /// Whether [`malloc`] may be given `__GFP_HIGHMEM` and `__GFP_MOVABLE`.
    ///
    /// Not for drivers that pass the flags on to `kmalloc`, which does not take them.
    ///
    /// [`malloc`]: Self::malloc
    const MOVABLE: bool = false;

    /// Makes an empty pool.
    ///
    /// `name` ends with the call: it can be, and is, on the stack of a caller. Whoever needs it
    /// later takes a copy. May sleep as far as `gfp` allows.
    ///
    /// C learns that it failed, and not the error.
    fn create(name: &CStr, gfp: Gfp) -> Result<Self::Pool>;

    /// Ends a pool.
    ///
    /// Every object has been freed and nobody uses the pool any more. May sleep.
    fn destroy(pool: Self::Pool) {
        drop(pool);
    }

    /// Makes an object of `size` bytes, in memory that is allocated as `gfp` says and, if
    /// possible, near the node `nid`. What the object contains is not defined.
    ///
    /// Runs in reclaim: it may sleep only if `gfp` does, and memory it takes is memory that
    /// somebody waits for.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` says that an object of this size is not worth storing. Callers take it for data
    ///   that does not compress, and not for a failure.
    /// - `ENOMEM`: there was no memory.
    /// - `EINVAL`: the driver has no objects of this size. Callers ask for a page at most.
    fn malloc(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        size: usize,
        gfp: Gfp,
        nid: NumaNode,
    ) -> Result<Self::Handle>;

    /// Frees the object that `handle` names.
    ///
    /// Runs in atomic context, with spinlocks held: must not sleep. That rules out a mutex, and
    /// memory that `vfree` would free.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - Each [`read_begin`] of the object must have been followed by its [`read_end`].
    ///
    /// [`malloc`]: Self::malloc
    /// [`read_begin`]: Self::read_begin
    /// [`read_end`]: Self::read_end
    unsafe fn free(pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>, handle: Self::Handle);

    /// Makes an object readable and returns where it is.
    ///
    /// The returned pointer is valid for reads of as many bytes as the object was made for, by the
    /// task that called this, until [`read_end`].
    ///
    /// Unlike the memory of the object, which is there from [`malloc`] to [`free`], what makes it
    /// readable can be scarce: a driver that stores in high memory maps a page here with
    /// `kmap_local_page`, of which a task has a handful, and others keep the object from being
    /// moved. A reader that does not end keeps it: the mapping is lost to the task, which dies when
    /// it has none left, or the object can never be moved.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - The same task must call [`read_end`], once, with the returned pointer. Where reads are
    ///   nested, the last to begin must be the first to end.
    /// - Nobody may write to the object before that.
    ///
    /// [`malloc`]: Self::malloc
    /// [`free`]: Self::free
    /// [`read_end`]: Self::read_end
    unsafe fn read_begin(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        handle: &Self::Handle,
    ) -> NonNull<u8>;

    /// Undoes what [`read_begin`] did to make the object readable.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - `object` must be what [`read_begin`] returned for it to this task, and not have been given
    ///   to this function before. It must not be used any more.
    ///
    /// [`malloc`]: Self::malloc
    /// [`read_begin`]: Self::read_begin
    unsafe fn read_end(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        handle: &Self::Handle,
        object: NonNull<u8>,
    );

    /// Copies the bytes of `source` into the object, from its beginning.
    ///
    /// `source` is memory of the caller, and not part of the object. It can be a page of a process
    /// on its way out, to which a device still writes: it must be copied as it is, and not be
    /// made a reference to a slice.
    ///
    /// # Safety
    ///
    /// - `handle` must come from [`malloc`] on the same pool.
    /// - `source` must be valid for reads, and no longer than the size that the object was made for.
    /// - Nobody may read the object, or write to it, during the call.
    ///
    /// [`malloc`]: Self::malloc
    unsafe fn write(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>,
        handle: &Self::Handle,
        source: NonNull<[u8]>,
    );

    /// How many pages the pool says that it takes.
    ///
    /// The caller limits its pools by this number and shows it to users, so it should be as near
    /// to the memory that the pool keeps from others as the driver can tell. It is not promised to
    /// be exact: a driver that takes its memory from an allocator that it shares with others
    /// cannot know how many pages stand behind its objects, and says what it counts instead.
    ///
    /// Runs for every object that is stored, under RCU: must not sleep.
    fn total_pages(pool: <Self::Pool as ForeignOwnable>::Borrowed<'_>) -> u64;
}

/// The operations of the driver `T`, for C.
pub(crate) struct Adapter<T: ZpoolDriver>(PhantomData<T>);

impl<T: ZpoolDriver> Adapter<T> {
    const OPERATIONS: bindings::zswap_backend_ops = bindings::zswap_backend_ops {
        create: Some(Self::create),
        destroy: Some(Self::destroy),
        malloc: Some(Self::malloc),
        free: Some(Self::free),
        obj_read_begin: Some(Self::obj_read_begin),
        obj_read_end: Some(Self::obj_read_end),
        obj_write: Some(Self::obj_write),
        total_pages: Some(Self::total_pages),
        obj_read_sg_begin: None,
        obj_read_sg_end: None,
        movable: T::MOVABLE,
    };

    /// The table of operations.
    pub(crate) const TABLE: &'static bindings::zswap_backend_ops = &Self::OPERATIONS;

    /// Borrows a pool that C owns.
    ///
    /// # Safety
    ///
    /// `pool` must come from [`Self::create`], and must not be given to [`Self::destroy`] during
    /// `'a`.
    unsafe fn borrow<'a>(pool: *mut c_void) -> <T::Pool as ForeignOwnable>::Borrowed<'a> {
        // SAFETY: `create` got `pool` from `into_foreign`, and only `destroy` calls `from_foreign`.
        // Nobody calls `borrow_mut`, so there can be any number of these at once.
        unsafe { T::Pool::borrow(pool) }
    }

    /// Borrows the handle that `raw` is the number of.
    ///
    /// # Safety
    ///
    /// `raw` must come from [`Self::malloc`], and must not be given to [`Self::free`] for as long
    /// as the returned value is used.
    unsafe fn handle(raw: c_ulong) -> ManuallyDrop<T::Handle> {
        // SAFETY: `malloc` got `raw` from `into_raw`, and the object has not been freed by the
        // requirements of this function. This handle will not free it.
        ManuallyDrop::new(unsafe { T::Handle::from_raw(raw) })
    }

    /// # Safety
    ///
    /// `name` must point to a C string.
    unsafe extern "C" fn create(name: *const c_char, gfp: bindings::gfp_t) -> *mut c_void {
        // SAFETY: `name` is a C string for the duration of the call. The signature of `create`
        // does not let a pool keep the reference for longer.
        let name = unsafe { CStr::from_char_ptr(name) };
        match T::create(name, Gfp::from_raw(gfp)) {
            Ok(pool) => pool.into_foreign(),
            Err(_) => ptr::null_mut(),
        }
    }

    /// # Safety
    ///
    /// `pool` must come from [`Self::create`], hold no object, and not be used by anybody during
    /// the call or after it.
    unsafe extern "C" fn destroy(pool: *mut c_void) {
        // SAFETY: `create` got `pool` from `into_foreign`; it is not used any more.
        T::destroy(unsafe { T::Pool::from_foreign(pool) });
    }

    /// # Safety
    ///
    /// `pool` must be a pool as [`Self::borrow`] wants it for the duration of the call, `handle`
    /// valid for a write.
    unsafe extern "C" fn malloc(
        pool: *mut c_void,
        size: usize,
        gfp: bindings::gfp_t,
        handle: *mut c_ulong,
        nid: c_int,
    ) -> c_int {
        from_result(|| {
            let nid = match nid {
                bindings::NUMA_NO_NODE => NumaNode::NO_NODE,
                nid => NumaNode::new(nid)?,
            };
            // SAFETY: By the requirements of this function.
            let pool = unsafe { Self::borrow(pool) };
            let object = T::malloc(pool, size, Gfp::from_raw(gfp), nid)?;
            // SAFETY: `handle` is valid for a write by the requirements of this function.
            unsafe { handle.write(object.into_raw()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `pool` must be a pool as [`Self::borrow`] wants it for the duration of the call, `handle`
    /// come from [`Self::malloc`] on it and not be used any more.
    unsafe extern "C" fn free(pool: *mut c_void, handle: c_ulong) {
        // SAFETY: By the requirements of this function.
        let pool = unsafe { Self::borrow(pool) };
        // SAFETY: `malloc` got `handle` from `into_raw`; this is the end of the object and of every
        // use of its handle.
        let handle = unsafe { T::Handle::from_raw(handle) };
        // SAFETY: The handle is of this pool and the object is not used by the requirements of this
        // function.
        unsafe { T::free(pool, handle) };
    }

    /// # Safety
    ///
    /// `pool` must be a pool as [`Self::borrow`] wants it for the duration of the call, `handle`
    /// come from [`Self::malloc`] on it and not have been freed. The caller must read only, and
    /// give what is returned to [`Self::obj_read_end`].
    unsafe extern "C" fn obj_read_begin(
        pool: *mut c_void,
        handle: c_ulong,
        _local_copy: *mut c_void,
    ) -> *mut c_void {
        // SAFETY: By the requirements of this function.
        let (pool, handle) = unsafe { (Self::borrow(pool), Self::handle(handle)) };
        // SAFETY: The handle is of this pool, and the read will end, by the requirements of this
        // function.
        unsafe { T::read_begin(pool, &handle) }.as_ptr().cast()
    }

    /// # Safety
    ///
    /// `pool` and `handle` must be as for [`Self::obj_read_begin`], and `object` what that returned
    /// for them.
    unsafe extern "C" fn obj_read_end(pool: *mut c_void, handle: c_ulong, object: *mut c_void) {
        // SAFETY: By the requirements of this function.
        let (pool, handle) = unsafe { (Self::borrow(pool), Self::handle(handle)) };
        // SAFETY: `object` comes from `obj_read_begin`, and so from a `NonNull`.
        let object = unsafe { NonNull::new_unchecked(object.cast()) };
        // SAFETY: The handle is of this pool, and `object` comes from `read_begin` on it, by the
        // requirements of this function.
        unsafe { T::read_end(pool, &handle, object) };
    }

    /// # Safety
    ///
    /// `pool` must be a pool as [`Self::borrow`] wants it for the duration of the call, `handle`
    /// come from [`Self::malloc`] on it and not have been freed, and nobody else use the object.
    /// `source` must be valid for reads of `len` bytes, of which the object has as many.
    unsafe extern "C" fn obj_write(
        pool: *mut c_void,
        handle: c_ulong,
        source: *mut c_void,
        len: usize,
    ) {
        // SAFETY: By the requirements of this function.
        let (pool, handle) = unsafe { (Self::borrow(pool), Self::handle(handle)) };
        // SAFETY: What is valid for reads is not null.
        let source = unsafe { NonNull::new_unchecked(source.cast()) };
        let source = NonNull::slice_from_raw_parts(source, len);
        // SAFETY: The handle is of this pool, and `source` is valid and not too long, by the
        // requirements of this function.
        unsafe { T::write(pool, &handle, source) };
    }

    /// # Safety
    ///
    /// `pool` must be a pool as [`Self::borrow`] wants it for the duration of the call.
    unsafe extern "C" fn total_pages(pool: *mut c_void) -> u64 {
        // SAFETY: By the requirements of this function.
        T::total_pages(unsafe { Self::borrow(pool) })
    }
}

/// The driver `T`, offered to C under a name for as long as this lives.
///
/// # Invariants
///
/// `backend` is registered.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: ZpoolDriver> {
    #[pin]
    backend: Opaque<bindings::zswap_backend>,
    _driver: PhantomData<T>,
}

// SAFETY: There is nothing that could be done with a registration but to drop it, which any task
// can do.
unsafe impl<T: ZpoolDriver> Send for Registration<T> {}

// SAFETY: A shared reference to a registration is of no use.
unsafe impl<T: ZpoolDriver> Sync for Registration<T> {}

impl<T: ZpoolDriver> Registration<T> {
    /// Registers the driver `T`, of the module `owner`, under `name`.
    ///
    /// Pools can be made before this returns. Each of them holds a reference to `owner`, so that
    /// the module cannot be unloaded, and its exit function does not run, while there is one.
    /// `None` stands for code that is never unloaded.
    ///
    /// Fails with `EEXIST` when the name is taken.
    ///
    /// # Safety
    ///
    /// The registration must be dropped in the exit function of `owner` and nowhere else: pools
    /// use it. It follows that nothing in the init function may fail after this has succeeded, and
    /// that without an owner the registration must never be dropped.
    pub(crate) unsafe fn register(
        name: &'static CStr,
        owner: Option<&'static ThisModule>,
    ) -> impl PinInit<Self, Error> {
        // INVARIANT: If the initializer succeeds, then `backend` is registered.
        try_pin_init!(Self {
            backend <- Opaque::try_ffi_init(move |slot: *mut bindings::zswap_backend| {
                let backend = bindings::zswap_backend {
                    name: name.as_char_ptr(),
                    owner: owner.map_or(ptr::null_mut(), ThisModule::as_ptr),
                    ops: Adapter::<T>::TABLE,
                    list: bindings::list_head::default(),
                };
                // SAFETY: `slot` is valid for a write.
                unsafe { slot.write(backend) };
                // SAFETY: `slot` is initialized, and stays where it is, because it is pinned, until
                // `drop`. The table of operations and the name are static.
                to_result(unsafe { bindings::zswap_backend_register(slot) })
            }),
            _driver: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: ZpoolDriver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `backend` is registered by the type invariants. There is no pool: who registered
        // promised that this is the exit function of the module that pools hold a reference to.
        unsafe { bindings::zswap_backend_unregister(self.backend.get()) };
    }
}
