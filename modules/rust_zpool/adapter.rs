// SPDX-License-Identifier: GPL-2.0-only

//! A driver of pools as C sees it.
//!
//! [`Adapter`] turns a driver into the table of operations that C calls, and [`Registration`] offers
//! the table to C under a name.
//!
//! C header: [`include/linux/zswap_backend.h`](srctree/include/linux/zswap_backend.h)

use crate::{
    gfp::Gfp,
    zpool::{Handle, ZpoolDriver},
};
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
