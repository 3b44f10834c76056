// SPDX-License-Identifier: GPL-2.0-only

//! The folios that operations work on, by number.

use crate::folio::{Folio, UniqueFolio};
use kernel::{prelude::*, sync::aref::ARef};

const SLOTS: usize = 64;

/// A table of folios.
pub(crate) struct Slots([Option<UniqueFolio>; SLOTS]);

impl Slots {
    pub(crate) fn new() -> Self {
        Self([const { None }; SLOTS])
    }

    /// How many folios there are.
    pub(crate) fn live(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// The folio in `slot`, `EBADF` when there is none.
    pub(crate) fn get(&self, slot: usize) -> Result<&UniqueFolio> {
        self.0.get(slot).and_then(Option::as_ref).ok_or(EBADF)
    }

    /// The folio in `slot`, `EBADF` when there is none.
    pub(crate) fn get_mut(&mut self, slot: usize) -> Result<&mut UniqueFolio> {
        self.0.get_mut(slot).and_then(Option::as_mut).ok_or(EBADF)
    }

    /// The folios in two slots, the second to be changed; `EINVAL` when they are the same.
    pub(crate) fn pair(
        &mut self,
        first: usize,
        second: usize,
    ) -> Result<(&UniqueFolio, &mut UniqueFolio)> {
        let (low, high) = self
            .0
            .split_at_mut_checked(first.max(second))
            .ok_or(EBADF)?;
        let (low, high) = (low.get_mut(first.min(second)), high.first_mut());
        let (low, high) = (low.ok_or(EINVAL)?.as_mut(), high.ok_or(EBADF)?.as_mut());
        let (low, high) = (low.ok_or(EBADF)?, high.ok_or(EBADF)?);
        Ok(if first < second {
            (low, high)
        } else {
            (high, low)
        })
    }

    /// Takes the folio out of `slot`, `EBADF` when there is none.
    pub(crate) fn take(&mut self, slot: usize) -> Result<UniqueFolio> {
        self.0.get_mut(slot).and_then(Option::take).ok_or(EBADF)
    }

    /// Puts a folio into the first free slot and returns its number, `ENOSPC` when none is free.
    pub(crate) fn put(&mut self, folio: UniqueFolio) -> Result<usize> {
        let free = self.0.iter().position(Option::is_none).ok_or(ENOSPC)?;
        self.0[free] = Some(folio);
        Ok(free)
    }

    /// Runs `f` with the folio in `slot` as one that can be shared.
    ///
    /// # Safety
    ///
    /// `f` must keep no reference to the folio.
    pub(crate) unsafe fn with_shared<R>(
        &mut self,
        slot: usize,
        f: impl FnOnce(&ARef<Folio>) -> R,
    ) -> Result<R> {
        let shared = self.take(slot)?.into_shared();
        let result = f(&shared);
        // SAFETY: It was unique, and `f` kept no reference.
        self.0[slot] = Some(unsafe { UniqueFolio::assume_unique(shared) });
        Ok(result)
    }
}
