// SPDX-License-Identifier: GPL-2.0-only

//! Makes memory scarce from within the kernel, which takes milliseconds.

extern "C" {
    fn shrinker_press(took: *mut usize) -> bool;
    fn shrinker_hoard(pages: usize) -> usize;
    fn shrinker_release_hoard();
}

/// What [`press`] came to.
pub(crate) struct Pressed {
    /// How many pages could be taken without reclaim.
    pub(crate) took: usize,
    /// Whether reclaim found one more.
    pub(crate) found: bool,
}

/// Has this task go into direct reclaim, once: takes all pages there are, and then one more. All of
/// them are given back. May sleep.
pub(crate) fn press() -> Pressed {
    let mut took = 0;
    // SAFETY: It writes one number to where it is told to, which is ours.
    let found = unsafe { shrinker_press(&mut took) };
    Pressed { took, found }
}

/// Pages that nobody else gets, for as long as this lives.
pub(crate) struct Hoard(());

impl Hoard {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// Takes up to `pages` more and says how many they were; never reclaims for them.
    pub(crate) fn take(&self, pages: usize) -> usize {
        // SAFETY: It may be called at any time in process context.
        unsafe { shrinker_hoard(pages) }
    }

    /// Gives all of them back.
    pub(crate) fn release(&self) {
        // SAFETY: It may be called at any time in process context.
        unsafe { shrinker_release_hoard() };
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        self.release();
    }
}
