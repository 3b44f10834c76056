// SPDX-License-Identifier: GPL-2.0-only

//! The content of folios, through short mappings of as much as one of them reaches: lent by who has a
//! folio alone, copied by who has its lock.

use crate::folio::{LockedFolio, UniqueFolio};
use crate::kmap::with_local;
use core::ptr;
use kernel::{page::PAGE_SHIFT, prelude::*};

impl UniqueFolio {
    /// Runs `f` with the bytes from `offset` on, as many as one mapping shows
    /// ([`mappable`](crate::folio::FolioInfo::mappable)).
    ///
    /// `EDOM` when `offset` is not inside the folio; `f` is not called then.
    pub fn with_mapped<R>(&self, offset: usize, f: impl FnOnce(&[u8]) -> R + Send) -> Result<R> {
        with_local(self, offset, |bytes| {
            // SAFETY: The bytes are mapped during this call and initialized. We are borrowed, so by
            // the type invariants nobody writes them.
            f(unsafe { bytes.as_ref() })
        })
    }

    /// Runs `f` with the bytes from `offset` on, to be changed. Otherwise like
    /// [`UniqueFolio::with_mapped`].
    ///
    /// Before the folio is shown to somebody with another mapping of it, such as user space, call
    /// [`flush_dcache`](crate::folio::FolioInfo::flush_dcache).
    pub fn with_mapped_mut<R>(
        &mut self,
        offset: usize,
        f: impl FnOnce(&mut [u8]) -> R + Send,
    ) -> Result<R> {
        with_local(self, offset, |mut bytes| {
            // SAFETY: The bytes are mapped during this call and initialized. We are borrowed
            // mutably, so by the type invariants nobody else accesses them.
            f(unsafe { bytes.as_mut() })
        })
    }

    /// Runs `f` with the bytes from the beginning of page `index` on. Otherwise like
    /// [`UniqueFolio::with_mapped`].
    ///
    /// `EDOM` when the folio has no such page.
    pub fn map_page<R>(&self, index: usize, f: impl FnOnce(&[u8]) -> R + Send) -> Result<R> {
        if index >= self.size() >> PAGE_SHIFT {
            return Err(EDOM);
        }
        self.with_mapped(index << PAGE_SHIFT, f)
    }
}

impl LockedFolio<'_> {
    /// Runs `f` with each mapping of the `len` bytes from `offset` on.
    ///
    /// `EDOM` when `offset + len` is no number, `EINVAL` when it is past the end.
    fn for_each_mapping(
        &mut self,
        offset: usize,
        len: usize,
        mut f: impl FnMut(*mut u8, usize) + Send,
    ) -> Result {
        let end = offset.checked_add(len).ok_or(EDOM)?;
        if end > self.size() {
            return Err(EINVAL);
        }

        let mut offset = offset;
        while offset < end {
            offset += with_local(self, offset, |bytes| {
                let len = bytes.len().min(end - offset);
                f(bytes.cast().as_ptr(), len);
                len
            })?;
        }
        Ok(())
    }

    /// Copies `data` into the folio, to `offset`.
    ///
    /// `EDOM` when `offset + data.len()` is no number, `EINVAL` when it is past the end; nothing is
    /// written then.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Result {
        let mut rest = data;
        self.for_each_mapping(offset, data.len(), |to, len| {
            let (now, later) = rest.split_at(len);
            // SAFETY: `to` is mapped for `len` bytes, and `now` has as many. They do not overlap: the
            // content of a folio is not lent while it is locked.
            unsafe { ptr::copy_nonoverlapping(now.as_ptr(), to, len) };
            rest = later;
        })?;
        self.flush_dcache();
        Ok(())
    }

    /// Copies bytes of the folio, from `offset` on, to all of `data`.
    ///
    /// Errors are those of [`LockedFolio::write`].
    pub fn read(&mut self, offset: usize, data: &mut [u8]) -> Result {
        let mut done = 0;
        self.for_each_mapping(offset, data.len(), |from, len| {
            let to = &mut data[done..done + len];
            // SAFETY: `from` is mapped for `len` bytes, and `to` has as many. They do not overlap:
            // the content of a folio is not lent while it is locked.
            unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), len) };
            done += len;
        })
    }

    /// Writes `len` zeroes, from `offset` on.
    ///
    /// Errors are those of [`LockedFolio::write`].
    pub fn zero_out(&mut self, offset: usize, len: usize) -> Result {
        self.for_each_mapping(offset, len, |to, len| {
            // SAFETY: `to` is mapped for `len` bytes.
            unsafe { ptr::write_bytes(to, 0, len) };
        })?;
        self.flush_dcache();
        Ok(())
    }
}
