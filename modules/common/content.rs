// SPDX-License-Identifier: GPL-2.0-only

//! Content for pages and folios that a reader can check without having been told more than a seed.

use kernel::prelude::*;

/// What the bytes should be.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Zeroes,
    /// Depends on the seed and on the offset into the page or folio. Never zero.
    Seed(u32),
}

impl Content {
    /// A seed as a decimal number, or `zero`.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            "zero" => Self::Zeroes,
            seed => Self::Seed(seed.parse().map_err(|_| EINVAL)?),
        })
    }

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
}
