// SPDX-License-Identifier: GPL-2.0-only

//! What was seen of mappings, in the order in which it was: where they were, what they showed.

use crate::{folio::UniqueFolio, json::Json};
use kernel::{bindings, prelude::*};

/// The most of each that is kept.
const MOST: usize = 128;

#[allow(improper_ctypes)]
extern "C" {
    fn shim_direct_address(folio: *const bindings::folio, offset: usize) -> *const u8;
    fn shim_in_kmap_fixmap(addr: *const u8) -> bool;
    fn shim_in_pkmap(addr: *const u8) -> bool;
    fn shim_kmap_slot(addr: *const u8) -> c_uint;
    fn shim_kmap_depth() -> c_int;
    fn shim_cpu() -> c_uint;
}

/// The slots of `kmap_local` that the current task holds.
pub(crate) fn kmap_depth() -> i64 {
    // SAFETY: Looks at the current task and nothing else.
    i64::from(unsafe { shim_kmap_depth() })
}

/// The CPU that this runs on.
pub(crate) fn cpu() -> u32 {
    // SAFETY: Can be called everywhere.
    unsafe { shim_cpu() }
}

/// The number of the slot of `kmap_local` on its CPU that `bytes` begin in, from 1; 0 for none.
pub(crate) fn slot_of(bytes: &[u8]) -> u32 {
    // SAFETY: Only compares the address.
    unsafe { shim_kmap_slot(bytes.as_ptr()) }
}

/// Where a mapping is, without its address.
pub(crate) struct Place {
    pub(crate) len: usize,
    direct: bool,
    fixmap: bool,
    pkmap: bool,
    depth: i64,
}

impl Place {
    /// To be asked while `bytes` are mapped.
    pub(crate) fn of(folio: &UniqueFolio, offset: usize, bytes: &[u8]) -> Self {
        // SAFETY: The folio is borrowed, and has a reference.
        let direct = unsafe { shim_direct_address(folio.as_ptr(), offset) };
        Self {
            len: bytes.len(),
            direct: bytes.as_ptr() == direct,
            // SAFETY: Only compares the address.
            fixmap: unsafe { shim_in_kmap_fixmap(bytes.as_ptr()) },
            // SAFETY: Only compares the address.
            pkmap: unsafe { shim_in_pkmap(bytes.as_ptr()) },
            depth: kmap_depth(),
        }
    }

    pub(crate) fn describe(&self, out: &mut Json<'_>) {
        out.bool("direct", self.direct)
            .bool("fixmap", self.fixmap)
            .bool("pkmap", self.pkmap)
            .i64("kmap_depth", self.depth);
    }
}

/// Filled while things are mapped, without asking for memory then.
pub(crate) struct Trace {
    slots: KVec<u64>,
    depths: KVec<u64>,
    differing: KVec<u64>,
    readable: KVec<u64>,
    others: KVec<u64>,
    maps: usize,
    direct: usize,
    highmem: usize,
    global: usize,
}

impl Trace {
    pub(crate) fn new() -> Result<Self> {
        let room = || KVec::with_capacity(MOST, GFP_KERNEL);
        Ok(Self {
            slots: room()?,
            depths: room()?,
            differing: room()?,
            readable: room()?,
            others: room()?,
            maps: 0,
            direct: 0,
            highmem: 0,
            global: 0,
        })
    }

    /// `bytes` of `folio` were just mapped.
    pub(crate) fn mapped(&mut self, folio: &UniqueFolio, offset: usize, bytes: &[u8]) {
        let place = Place::of(folio, offset, bytes);
        self.maps += 1;
        self.direct += usize::from(place.direct);
        self.highmem += usize::from(folio.is_highmem());
        self.global += usize::from(place.pkmap);
        keep(&mut self.slots, slot_of(bytes).into());
    }

    /// A step was made.
    pub(crate) fn step(&mut self) {
        // Never negative: the kernel makes a bug of that.
        keep(&mut self.depths, kmap_depth() as u64);
    }

    /// So many bytes were not as they should be.
    pub(crate) fn differing(&mut self, bytes: usize) {
        keep(&mut self.differing, bytes as u64);
    }

    /// Something is mapped at an address, or nothing is.
    pub(crate) fn readable(&mut self, is: bool) {
        keep(&mut self.readable, is.into());
    }

    /// Another task came back, or died.
    pub(crate) fn other(&mut self, returned: bool) {
        keep(&mut self.others, returned.into());
    }

    pub(crate) fn describe(self, out: &mut Json<'_>) {
        out.i64("kmap_depth", kmap_depth());
        out.list("slots", self.slots)
            .list("depths", self.depths)
            .list("differing", self.differing)
            .list("readable", self.readable)
            .list("others", self.others)
            .usize("maps", self.maps)
            .usize("direct", self.direct)
            .usize("highmem", self.highmem)
            .usize("global", self.global);
    }
}

/// What is beyond the room that there is goes unseen, and is missed in the answer.
fn keep(list: &mut KVec<u64>, value: u64) {
    let _ = list.push_within_capacity(value);
}
