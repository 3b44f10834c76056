// SPDX-License-Identifier: GPL-2.0-only

//! The ways in which a module can do things, one of them right, chosen by name while it runs.

use crate::{json::Json, ops::Args};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// A table of variants by name, and which of them is in use.
pub(crate) struct Choice<V: 'static> {
    variants: &'static [(&'static str, V)],
    current: Atomic<usize>,
}

impl<V> Choice<V> {
    /// The first of `variants`, which must be some.
    pub(crate) const fn new(variants: &'static [(&'static str, V)]) -> Self {
        Self {
            variants,
            current: Atomic::new(0),
        }
    }

    /// The variant in use.
    pub(crate) fn get(&self) -> &'static V {
        &self.variants[self.current.load(Relaxed)].1
    }

    /// What the variant in use is called.
    pub(crate) fn name(&self) -> &'static str {
        self.variants[self.current.load(Relaxed)].0
    }

    /// Chooses the variant that the next word names, and answers with its name; `EINVAL` when there
    /// is none of that name.
    pub(crate) fn choose(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let name = args.word()?;
        let index = self.variants.iter().position(|(known, _)| *known == name);
        self.current.store(index.ok_or(EINVAL)?, Relaxed);
        out.str("variant", self.name());
        Ok(())
    }

    /// Adds the name of the variant in use, and all names.
    pub(crate) fn describe(&self, out: &mut Json<'_>) {
        out.str("variant", self.name()).object("variants", |known| {
            for (name, _) in self.variants {
                known.bool(name, true);
            }
        });
    }
}
