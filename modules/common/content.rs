// SPDX-License-Identifier: GPL-2.0-only

//! Content for folios that a reader can check without having been told more than a seed.

use crate::folio::UniqueFolio;
use kernel::prelude::*;

/// What the bytes of a folio should be.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Zeroes,
    /// Depends on the seed and on the offset into the folio. Never zero.
    Seed(u32),
}

impl Content {
    /// The byte at `offset`. The host computes the same; 32-bit arithmetic only.
    fn byte(self, offset: usize) -> u8 {
        match self {
            Content::Zeroes => 0,
            Content::Seed(seed) => {
                let mixed = seed.wrapping_add(offset as u32).wrapping_mul(0x9e37_79b1);
                (mixed >> 24) as u8 | 1
            }
        }
    }

    /// The `len` bytes from `offset` on.
    pub(crate) fn bytes(self, offset: usize, len: usize) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::with_capacity(len, GFP_KERNEL)?;
        for index in 0..len {
            // What begins near the end of all numbers is never written; its bytes do not matter.
            bytes.push(self.byte(offset.wrapping_add(index)), GFP_KERNEL)?;
        }
        Ok(bytes)
    }

    /// How many of `bytes`, which begin at `offset`, are not what they should be.
    pub(crate) fn differing(self, offset: usize, bytes: &[u8]) -> usize {
        let expected = (offset..).map(|at| self.byte(at));
        bytes
            .iter()
            .zip(expected)
            .filter(|(a, b)| **a != *b)
            .count()
    }

    /// Walks over `len` bytes of `folio` as a user of mappings does: maps from an offset, takes
    /// what is shown, goes on behind it. Returns how many bytes differ, and how many mappings it took.
    ///
    /// `EINVAL` when `offset + len` is past the end.
    pub(crate) fn check(
        self,
        folio: &UniqueFolio,
        offset: usize,
        len: usize,
    ) -> Result<(usize, usize)> {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > folio.size() {
            return Err(EINVAL);
        }

        let (mut at, mut differing, mut mappings) = (offset, 0, 0);
        while at < end {
            let (seen, wrong) = folio.with_mapped(at, |bytes| {
                let seen = &bytes[..bytes.len().min(end - at)];
                (seen.len(), self.differing(at, seen))
            })?;
            at += seen;
            differing += wrong;
            mappings += 1;
        }
        Ok((differing, mappings))
    }
}
