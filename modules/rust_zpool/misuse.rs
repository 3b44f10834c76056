// SPDX-License-Identifier: GPL-2.0-only

//! What a user of a driver must not do: each of these breaks a promise that an unsafe function of
//! [`ZpoolDriver`] asks for. A harness must catch them.

use crate::{
    counted::Counted,
    json::Json,
    ops::Args,
    private::{Object, Pattern, Private, SIZE_MAX},
    variants::Backend,
    zpool::{Handle, ZpoolDriver},
};
use core::ptr::{self, NonNull};
use kernel::prelude::*;

/// What SLUB fills free memory with (`include/linux/poison.h`).
const POISON: u8 = 0x6b;

/// How much of a freed object is looked at.
const LOOK: usize = 32;

impl<B: Backend> Private<B> {
    /// Makes an object, and writes more to it than it was made for.
    pub(crate) fn overrun(&self, args: &mut Args<'_>) -> Result {
        let object = self.take(args.usize()?)?;
        let len = args.usize()?;
        if len > SIZE_MAX {
            return Err(E2BIG);
        }
        let mut buffer = KVVec::from_elem(0u8, len, GFP_KERNEL)?;
        Pattern::new(len).fill(&mut buffer);
        let pool = self.pool()?;
        // SAFETY: None. The bytes can be more than the object was made for, and this is what the
        // operation is about.
        unsafe { Counted::write(pool, &object.handle, NonNull::from(&mut *buffer)) };
        // SAFETY: The handle comes from `malloc` on this pool, and the object is ours alone.
        unsafe { Counted::free(pool, object.handle) };
        Ok(())
    }

    /// Frees an object twice.
    pub(crate) fn free_twice(&self, slot: usize) -> Result {
        let (object, again) = self.double(slot)?;
        let pool = self.pool()?;
        // SAFETY: The handle comes from `malloc` on this pool, and the object is ours alone.
        unsafe { Counted::free(pool, object.handle) };
        // SAFETY: None. The object has just been freed, and this is what the operation is about.
        unsafe { Counted::free(pool, again) };
        Ok(())
    }

    /// Frees an object, reads it, and tells how much of it is what SLUB leaves in free memory.
    pub(crate) fn read_freed(&self, slot: usize, out: &mut Json<'_>) -> Result {
        let (object, again) = self.double(slot)?;
        let (pool, len) = (self.pool()?, object.size.min(LOOK));
        // SAFETY: The handle comes from `malloc` on this pool, and the object is ours alone.
        unsafe { Counted::free(pool, object.handle) };
        // SAFETY: None. The object has just been freed, and this is what the operation is about.
        let start = unsafe { Counted::read_begin(pool, &again) };
        let mut seen = [0; LOOK];
        // In one go, so that a sanitizer has one access to complain of.
        //
        // SAFETY: None, as above. There is still memory at this address.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), seen.as_mut_ptr(), len) };
        let poisoned = seen[..len].iter().filter(|&&byte| byte == POISON).count();
        // SAFETY: `start` comes from `read_begin`. For the rest: none, as above.
        unsafe { Counted::read_end(pool, &again, start) };
        out.usize("looked_at", len).usize("poisoned", poisoned);
        Ok(())
    }

    /// The object of a slot, which is empty after this, and another handle of it.
    fn double(&self, slot: usize) -> Result<(Object<B>, B::Handle)> {
        let Object { handle, size } = self.take(slot)?;
        let raw = handle.into_raw();
        // SAFETY: `raw` comes from `into_raw`, and the object is alive. That there are two of these
        // is for the caller to deal with.
        let (handle, again) = unsafe { (B::Handle::from_raw(raw), B::Handle::from_raw(raw)) };
        Ok((Object { handle, size }, again))
    }
}
