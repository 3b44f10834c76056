// SPDX-License-Identifier: GPL-2.0-only

//! Caches of objects of one type.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use crate::gfp::Gfp;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};
use kernel::{alloc::AllocError, bindings, ffi::c_void, prelude::*};

extern "C" {
    fn alloc_cache_create(
        name: *const u8,
        size: usize,
        align: usize,
        never_merge: bool,
    ) -> *mut bindings::kmem_cache;
    fn alloc_cache_alloc(cache: *mut bindings::kmem_cache, gfp: bindings::gfp_t) -> *mut c_void;
}

/// How a cache is to be made.
#[derive(Clone, Copy)]
pub struct CacheOptions {
    /// What every address is a multiple of, if that is more than the type asks for. A power of two.
    pub align: usize,
    /// Whether the kernel must not put the objects into a cache that it has already.
    ///
    /// Merged caches save memory. What is wrong with the objects of one is then found in the name of
    /// another, or not at all: that objects are left when it is destroyed, for example.
    pub never_merge: bool,
}

/// A cache of objects of type `T`.
///
/// Each allocation has flags of its own, which an allocator in the sense of `core::alloc` could not
/// be told. An object knows its cache and goes back to it; it borrows the cache, so that none can
/// outlive it. An object that is leaked stays where it is, and so does the cache: when it is
/// destroyed the kernel notices, warns, and frees nothing.
///
/// # Invariants
///
/// `cache` points to a cache whose objects have room for a `T` at addresses that suit it.
pub struct KMemCache<T> {
    cache: NonNull<bindings::kmem_cache>,
    _objects: PhantomData<fn(T) -> T>,
}

// SAFETY: A cache belongs to no thread, and holds no `T` that would not be owned by an object.
unsafe impl<T> Send for KMemCache<T> {}
// SAFETY: The kernel's functions on caches lock what they need; see also above.
unsafe impl<T> Sync for KMemCache<T> {}

impl<T> KMemCache<T> {
    /// Makes a cache. May sleep. The kernel copies the name.
    pub fn new(name: &CStr, options: CacheOptions) -> Result<Self> {
        const { assert!(size_of::<T>() > 0) };
        if !options.align.is_power_of_two() {
            return Err(EINVAL);
        }
        let align = options.align.max(align_of::<T>());
        // SAFETY: The name is NUL-terminated.
        let cache = unsafe {
            alloc_cache_create(
                name.as_char_ptr().cast(),
                size_of::<T>(),
                align,
                options.never_merge,
            )
        };
        // INVARIANT: It was made for the size and the alignment of `T`.
        Ok(Self {
            cache: NonNull::new(cache).ok_or(ENOMEM)?,
            _objects: PhantomData,
        })
    }

    /// Allocates an object and moves `value` there.
    pub fn alloc(&self, value: T, gfp: Gfp) -> Result<KMemObj<'_, T>, AllocError> {
        self.alloc_with(gfp, |_| value)
    }

    /// Allocates an object and moves there what `make` returns, which may look at the memory as the
    /// cache gave it: it is only zeroed if the flags say so, and otherwise not initialized.
    pub fn alloc_with(
        &self,
        gfp: Gfp,
        make: impl FnOnce(*const T) -> T,
    ) -> Result<KMemObj<'_, T>, AllocError> {
        // SAFETY: The cache is valid by the type invariants.
        let object = unsafe { alloc_cache_alloc(self.cache.as_ptr(), gfp.as_raw()) };
        let object = NonNull::new(object.cast::<T>()).ok_or(AllocError)?;
        let value = make(object.as_ptr());
        // SAFETY: By the type invariants there is room for a `T`, and it was just allocated.
        unsafe { object.write(value) };
        // INVARIANT: It comes from this cache, holds a value, and nobody else knows of it.
        Ok(KMemObj {
            object,
            cache: self,
        })
    }
}

impl<T> Drop for KMemCache<T> {
    fn drop(&mut self) {
        // SAFETY: The cache is valid, and we do not use it afterwards. No object borrows it. Those
        // that were leaked stay valid: the kernel frees no cache that has any.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}

/// An object of a [`KMemCache`], which is freed to it when this is dropped.
///
/// # Invariants
///
/// `object` was allocated from `cache`, holds a valid `T`, and is ours alone.
pub struct KMemObj<'a, T> {
    object: NonNull<T>,
    cache: &'a KMemCache<T>,
}

// SAFETY: It owns a `T`, and the cache is free to be used from any thread.
unsafe impl<T: Send> Send for KMemObj<'_, T> {}
// SAFETY: A shared reference gives a shared reference to a `T` and nothing else.
unsafe impl<T: Sync> Sync for KMemObj<'_, T> {}

impl<'a, T> KMemObj<'a, T> {
    /// Gives up the object without freeing it. The cache cannot be destroyed any more.
    pub fn leak(this: Self) -> &'a mut T {
        let object = ManuallyDrop::new(this).object;
        // SAFETY: It is valid and ours, by the type invariants, and never freed.
        unsafe { &mut *object.as_ptr() }
    }
}

impl<T> Deref for KMemObj<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: It is valid and ours, by the type invariants.
        unsafe { self.object.as_ref() }
    }
}

impl<T> DerefMut for KMemObj<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: It is valid and ours, by the type invariants.
        unsafe { self.object.as_mut() }
    }
}

impl<T> Drop for KMemObj<'_, T> {
    fn drop(&mut self) {
        // SAFETY: It is valid and ours, by the type invariants, and not used afterwards.
        unsafe { self.object.drop_in_place() };
        // SAFETY: It was allocated from this cache, by the type invariants, and is not used afterwards.
        unsafe {
            bindings::kmem_cache_free(
                self.cache.cache.as_ptr(),
                self.object.as_ptr().cast::<c_void>(),
            )
        };
    }
}
