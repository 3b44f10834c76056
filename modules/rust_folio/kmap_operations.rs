// SPDX-License-Identifier: GPL-2.0-only

//! The operations about mappings and their order; `rust_folio_main.rs` lists them.

use crate::{
    content::Content,
    deferred,
    folio::UniqueFolio,
    guards::with_aliases,
    helpers::kunmap_local,
    json::Json,
    kmap::{self, Top},
    ops::Args,
    play::{play, sleep, Global, Local},
    slots::Slots,
    tasks::{self, Where},
    trace::{cpu, slot_of, Place, Trace},
    variants::Variant,
};
use core::ptr;
use kernel::{
    bindings,
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// An address that user space could have, and that nothing here looks at.
const USER_ADDRESS: usize = 0x1_0000;

/// The longest that `alias` copies.
const ALIAS_MAX: usize = 4096;

#[allow(improper_ctypes)]
extern "C" {
    fn shim_force(on: bool) -> c_int;
    fn shim_direct_address(folio: *const bindings::folio, offset: usize) -> *const c_void;
}

/// Has `kmap_local` map for real where only a debug option would make it, or no longer.
pub(crate) fn force(args: &mut Args<'_>) -> Result {
    let on = match args.word()? {
        "on" => true,
        "off" => false,
        _ => return Err(EINVAL),
    };
    // SAFETY: Nothing is mapped: operations that map hold the lock on the folios, and so do we.
    to_result(unsafe { shim_force(on) })
}

/// Plays a program, see `play.rs`, with one kind of guards.
pub(crate) fn play_with(
    folios: &Slots,
    variant: Variant,
    args: &mut Args<'_>,
    out: &mut Json<'_>,
) -> Result {
    traced(args, out, |word, args, trace| match word {
        "local" => play(Local(variant), folios, args, trace),
        "global" => play(Global, folios, args, trace),
        "deferred" => deferred::scope(|pile| play(pile, folios, args, trace)),
        _ => Err(EINVAL),
    })
}

/// Runs `f` and says what was seen; the first word may be `apart`.
///
/// Apart is a task of its own, on the last CPU. If the kernel kills it, the answer has `died`, and
/// what was seen until then. A process would take the locks of the operations file with it; and it
/// might not even come to its end: its page tables can be in highmem themselves, and are mapped to
/// be freed, with the task's slots as they were left.
fn traced(
    args: &mut Args<'_>,
    out: &mut Json<'_>,
    f: impl FnOnce(&str, &mut Args<'_>, &mut Trace) -> Result + Send,
) -> Result {
    let mut trace = Trace::new()?;
    let word = args.word()?;
    let mut result = Ok(());
    if word == "apart" {
        let word = args.word()?;
        let ((), returned) = tasks::beside(
            Where::Last,
            || {
                result = f(word, args, &mut trace);
            },
            || (),
        )?;
        out.bool("died", !returned);
    } else {
        result = f(word, args, &mut trace);
    }
    trace.describe(out);
    result
}

/// Maps folios above each other and looks at all of them, before and after those above are gone.
pub(crate) fn nest(folios: &Slots, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    traced(args, out, |form, args, trace| {
        let seed = args.usize()? as u32;
        let mut nested = KVec::new();
        while let Some(slot) = args.maybe() {
            let slot = slot.parse().map_err(|_| EINVAL)?;
            nested.push(folios.get(slot)?, GFP_KERNEL)?;
        }
        match form {
            "closures" => nest_closures(&nested, seed, trace),
            "guards" => kmap::scope(|top| nest_guards(top, &nested, seed, trace)),
            _ => Err(EINVAL),
        }
    })
}

fn nest_closures(folios: &[&UniqueFolio], seed: u32, trace: &mut Trace) -> Result {
    let Some((first, above)) = folios.split_first() else {
        return Ok(());
    };
    first.with_mapped(0, |bytes| {
        trace.mapped(first, 0, bytes);
        trace.step();
        trace.differing(Content::Seed(seed).differing(0, bytes));
        let result = nest_closures(above, seed.wrapping_add(1), trace);
        trace.differing(Content::Seed(seed).differing(0, bytes));
        result
    })?
}

fn nest_guards(mut top: Top<'_>, folios: &[&UniqueFolio], seed: u32, trace: &mut Trace) -> Result {
    let Some((first, above)) = folios.split_first() else {
        return Ok(());
    };
    let mut mapped = top.map(first, 0)?;
    trace.mapped(first, 0, &mapped);
    trace.step();
    let (bytes, top) = mapped.split();
    trace.differing(Content::Seed(seed).differing(0, bytes));
    let result = nest_guards(top, above, seed.wrapping_add(1), trace);
    trace.differing(Content::Seed(seed).differing(0, &mapped));
    result
}

/// What a task saw of its own mapping while others had the same slot.
#[derive(Default)]
struct Seen {
    slot: u32,
    checks: usize,
    differing: usize,
    /// How often the task had gone to another CPU.
    moved: usize,
    /// How often another task held a mapping in the meantime.
    overlaps: usize,
}

impl Seen {
    fn look(&mut self, bytes: &[u8], seed: u32, home: u32) {
        self.slot = slot_of(bytes);
        self.checks += 1;
        self.differing += Content::Seed(seed).differing(0, bytes);
        self.moved += usize::from(cpu() != home);
    }

    fn describe(&self, name: &str, out: &mut Json<'_>) {
        out.object(name, |out| {
            out.u64("slot", self.slot.into())
                .usize("checks", self.checks)
                .usize("differing", self.differing)
                .usize("moved", self.moved)
                .usize("overlaps", self.overlaps);
        });
    }
}

/// Keeps a folio mapped and sleeps, while another task on this CPU maps and sleeps, too.
///
/// `beside SLOT SEED SLOT SEED ROUNDS`
pub(crate) fn beside(folios: &Slots, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let (mine, my_seed) = (folios.get(args.usize()?)?, args.usize()? as u32);
    let (theirs, their_seed) = (folios.get(args.usize()?)?, args.usize()? as u32);
    let rounds = args.usize()?;

    let (inside, done) = (Atomic::new(false), Atomic::new(false));
    let (mut here, mut there) = (Seen::default(), Seen::default());
    let returned = kmap::scope(|mut top| {
        let bytes = top.map(mine, 0)?;
        let home = cpu();
        let other = || {
            for _ in 0..rounds {
                let _ = kmap::scope(|mut top| {
                    let bytes = top.map(theirs, 0)?;
                    inside.store(true, Relaxed);
                    sleep();
                    there.look(&bytes, their_seed, home);
                    inside.store(false, Relaxed);
                    Ok::<_, Error>(())
                });
            }
            done.store(true, Relaxed);
        };
        let meanwhile = || {
            here.look(&bytes, my_seed, home);
            while !done.load(Relaxed) {
                sleep();
                here.overlaps += usize::from(inside.load(Relaxed));
                here.look(&bytes, my_seed, home);
            }
        };
        let ((), returned) = tasks::beside(Where::Here, other, meanwhile)?;
        Ok::<_, Error>(returned)
    })?;

    here.describe("here", out);
    there.describe("there", out);
    out.bool("returned", returned);
    Ok(())
}

/// Writes through one mapping, and reads through two others of the same page.
///
/// `alias SLOT OFFSET LEN SEED`
pub(crate) fn alias(folio: &mut UniqueFolio, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let (offset, len) = (args.usize()?, args.usize()?);
    let content = Content::Seed(args.usize()? as u32);
    if len > ALIAS_MAX {
        return Err(E2BIG);
    }
    let written = content.bytes(offset, len)?;
    let mut through_local = KVec::from_elem(0u8, len, GFP_KERNEL)?;
    let mut through_global = KVec::from_elem(0u8, len, GFP_KERNEL)?;

    let (slots, distinct) = with_aliases(folio, offset, len, |[first, second, global]| {
        // SAFETY: All three are mapped for `len` bytes, of a folio that we borrow mutably; nobody
        // has a reference to its bytes.
        unsafe {
            ptr::copy_nonoverlapping(written.as_ptr(), first, len);
            ptr::copy_nonoverlapping(second, through_local.as_mut_ptr(), len);
            ptr::copy_nonoverlapping(global, through_global.as_mut_ptr(), len);
        }
        let slot = |at: *mut u8| {
            // SAFETY: `len` bytes are mapped there; only the address is looked at.
            u64::from(slot_of(unsafe { core::slice::from_raw_parts(at, 0) }))
        };
        let distinct = first != second && second != global && first != global;
        ([slot(first), slot(second), slot(global)], distinct)
    })?;

    out.list("slots", slots)
        .bool("distinct", distinct)
        .usize("local", content.differing(offset, &through_local))
        .usize("global", content.differing(offset, &through_global));
    Ok(())
}

/// Walks over a folio as the thread has it: map, use, go on behind what was mapped.
pub(crate) fn walk(folio: &UniqueFolio, out: &mut Json<'_>) -> Result {
    let (mut offset, mut mappings, mut shortest, mut longest) = (0, 0, usize::MAX, 0);
    while offset < folio.size() {
        let place = folio.with_mapped(offset, |bytes| Place::of(folio, offset, bytes))?;
        offset += place.len;
        mappings += 1;
        shortest = shortest.min(place.len);
        longest = longest.max(place.len);
    }
    out.usize("walked", offset)
        .usize("mappings", mappings)
        .usize("shortest", shortest)
        .usize("longest", longest);
    Ok(())
}

/// Calls `kunmap_local()` with an address that it never gave to anybody: `user`, or where the
/// direct mapping has a folio.
pub(crate) fn unmap_stray(folios: &Slots, args: &mut Args<'_>) -> Result {
    let addr = match args.word()? {
        "user" => USER_ADDRESS as *const c_void,
        slot => {
            let folio = folios.get(slot.parse().map_err(|_| EINVAL)?)?;
            // SAFETY: The folio is borrowed, and has a reference.
            unsafe { shim_direct_address(folio.as_ptr(), 0) }
        }
    };
    if addr.is_null() {
        return Err(EINVAL);
    }
    // SAFETY: None. The address is no mapping, and this is what the operation is about.
    unsafe { kunmap_local(addr) };
    Ok(())
}
