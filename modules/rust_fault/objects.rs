// SPDX-License-Identifier: GPL-2.0-only

//! Faults with objects of the slab allocator.
//!
//! Every access is volatile, so that the compiler neither drops nor moves what it may call undefined.

use crate::{json::Json, ops::Args};
use core::{
    hint::black_box,
    ptr::{self, NonNull},
};
use kernel::{
    bindings,
    ffi::{c_uint, c_void},
    page::PAGE_SIZE,
    prelude::*,
    time::{delay::fsleep, Delta},
};

/// The size of an object: one that `kmalloc` has a cache for, so that the byte behind an object is
/// another's.
const SIZE: usize = 64;

/// How often to ask for an object that KFENCE guards; it takes one allocation each sample interval.
const KFENCE_TRIES: usize = 2000;

/// How many objects [`leak`] forgets. SLUB keeps free objects in arrays (sheaves), and does not clear
/// the place of one that it gives away: to kmemleak the latest few dozen of them look referenced.
const LEAKED: usize = 400;

extern "C" {
    fn shim_is_kfence_address(addr: *const c_void) -> bool;
    fn shim_slab_debug_flags() -> bindings::slab_flags_t;
}

type Bytes = [u8; SIZE];

/// Makes a cache one of its own: without a constructor it could share another's.
extern "C" fn construct(_object: *mut c_void) {}

/// A cache of objects.
///
/// # Invariants
///
/// The pointer is to a cache that exists.
struct Cache(NonNull<bindings::kmem_cache>);

impl Cache {
    /// A cache that is checked, or one that only is not merged with another's.
    fn new(name: &CStr, checked: bool) -> Result<Self> {
        let mut args = bindings::kmem_cache_args::default();
        let mut flags = 0;
        if checked {
            // SAFETY: Returns a constant.
            flags = unsafe { shim_slab_debug_flags() };
        } else {
            args.ctor = Some(construct);
        }
        // SAFETY: The name is copied, `args` are read during the call.
        let cache = unsafe {
            bindings::__kmem_cache_create_args(name.as_char_ptr(), SIZE as c_uint, &mut args, flags)
        };
        // INVARIANT: The cache was just made.
        NonNull::new(cache).map(Self).ok_or(ENOMEM)
    }

    fn allocate(&self) -> Result<*mut u8> {
        // SAFETY: The cache exists by the type invariants.
        let object =
            unsafe { bindings::kmem_cache_alloc_noprof(self.0.as_ptr(), bindings::GFP_KERNEL) };
        if object.is_null() {
            return Err(ENOMEM);
        }
        Ok(object.cast())
    }

    /// # Safety
    ///
    /// `object` must be an object of this cache, in use.
    unsafe fn free(&self, object: *mut u8) {
        // SAFETY: By the requirements of this function and the type invariants.
        unsafe { bindings::kmem_cache_free(self.0.as_ptr(), object.cast()) };
    }

    /// Destroys the cache, whether it is empty or not.
    fn destroy(self) {
        // SAFETY: The cache exists by the type invariants, and nobody has it after this.
        unsafe { bindings::kmem_cache_destroy(self.0.as_ptr()) };
    }
}

/// Who watches an object.
enum Source {
    /// Nobody, or KASAN: an object of `kmalloc`.
    Kmalloc,
    /// KFENCE.
    Kfence,
    /// SLUB itself: an object of a cache with all checks.
    Slub(Cache),
}

impl Source {
    fn new(args: &mut Args<'_>) -> Result<Self> {
        match args.maybe() {
            None => Ok(Source::Kmalloc),
            Some("kfence") => Ok(Source::Kfence),
            Some("slub") => {
                let cache = Cache::new(c"rust_fault_checked", true)?;
                // So that the slab outlives the object that the fault is about.
                black_box(cache.allocate()?);
                Ok(Source::Slub(cache))
            }
            Some(_) => Err(EINVAL),
        }
    }

    fn allocate(&self) -> Result<*mut u8> {
        match self {
            Source::Kmalloc => kmalloc(),
            Source::Kfence => guarded(),
            Source::Slub(cache) => cache.allocate(),
        }
    }

    /// # Safety
    ///
    /// `object` must have come from [`Source::allocate`] of the same value, and be in use.
    #[inline(always)]
    unsafe fn free(&self, object: *mut u8) {
        match self {
            // SAFETY: By the requirements of this function it is `KBox`'s memory.
            Source::Kmalloc | Source::Kfence => {
                drop(unsafe { KBox::from_raw(object.cast::<Bytes>()) })
            }
            // SAFETY: By the requirements of this function.
            Source::Slub(cache) => unsafe { cache.free(object) },
        }
    }
}

fn kmalloc() -> Result<*mut u8> {
    let object = KBox::new([0xa5; SIZE], GFP_KERNEL)?;
    Ok(KBox::<Bytes>::into_raw(object).cast())
}

/// An object of KFENCE's: `EAGAIN` when none was to be had.
fn guarded() -> Result<*mut u8> {
    for _ in 0..KFENCE_TRIES {
        let object = kmalloc()?;
        // SAFETY: Compares the address.
        if unsafe { shim_is_kfence_address(object.cast()) } {
            return Ok(object);
        }
        // SAFETY: Is what `kmalloc` returned.
        drop(unsafe { KBox::from_raw(object.cast::<Bytes>()) });
        fsleep(Delta::from_millis(1));
    }
    Err(EAGAIN)
}

#[inline(never)]
pub(crate) fn slab_out_of_bounds(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let source = Source::new(args)?;
    let object = source.allocate()?;
    // KFENCE puts an object at the beginning or at the end of its page; the page next to that is
    // the one that nobody can touch.
    let outside = match source {
        Source::Kfence if object.addr() % PAGE_SIZE == 0 => object.wrapping_sub(1),
        _ => object.wrapping_add(SIZE),
    };
    // SAFETY: None: this is the fault.
    unsafe { ptr::write_volatile(outside, 0x5a) };
    // SAFETY: Allocated above, and not freed since.
    unsafe { source.free(object) };
    out.bool("written", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn use_after_free(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let source = Source::new(args)?;
    let object = source.allocate()?;
    // SAFETY: Allocated above, and not freed since.
    unsafe { source.free(object) };
    let inside = object.wrapping_add(SIZE / 2);
    if let Source::Slub(cache) = source {
        // SLUB looks at a free object when it gives it away again.
        // SAFETY: None: this is the fault.
        unsafe { ptr::write_volatile(inside, 0x5a) };
        black_box(cache.allocate()?);
        out.bool("written", true);
    } else {
        // SAFETY: None: this is the fault.
        let byte = unsafe { ptr::read_volatile(inside) };
        out.u64("read", byte.into());
    }
    Ok(())
}

#[inline(never)]
pub(crate) fn double_free(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let source = Source::new(args)?;
    let object = source.allocate()?;
    // SAFETY: Allocated above, and not freed since.
    unsafe { source.free(object) };
    // SAFETY: None: this is the fault.
    unsafe { source.free(black_box(object)) };
    out.bool("freed", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn leak(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let count = args.usize_or(LEAKED)?;
    for _ in 0..count {
        core::mem::forget(black_box(KBox::new([0xa5u8; SIZE], GFP_KERNEL)?));
    }
    out.usize("forgotten", count);
    Ok(())
}

#[inline(never)]
pub(crate) fn cache_destroyed_with_live_objects(
    _args: &mut Args<'_>,
    out: &mut Json<'_>,
) -> Result {
    let cache = Cache::new(c"rust_fault_objects", false)?;
    black_box(cache.allocate()?);
    cache.destroy();
    out.bool("destroyed", true);
    Ok(())
}
