// SPDX-License-Identifier: GPL-2.0-only

//! Faults with addresses, and with memory that runs out.

use crate::{json::Json, ops::Args};
use core::{hint::black_box, mem::MaybeUninit, ptr};
use kernel::{alloc::flags::__GFP_HIGHMEM, bindings, current, page::Page, prelude::*};

/// The offset of the field that [`null_dereference`] reads: less than a page.
const FIELD: usize = 8;

/// What an error pointer looks like: in the last page, which is never mapped.
const WILD: usize = usize::MAX - 0xfff;

/// More pages than a guest has.
const MANY_PAGES: usize = 1 << 18;

/// More of the largest blocks than a guest has.
const MANY_BLOCKS: usize = 1 << 10;

/// How many words a call of [`descend`] has on the stack.
const FRAME: usize = 32;

/// Reads from `address`.
#[inline(always)]
fn read_from(address: usize) -> u32 {
    // SAFETY: None: this is the fault.
    unsafe { ptr::read_volatile(black_box(address) as *const u32) }
}

#[inline(never)]
pub(crate) fn null_dereference(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    out.u64("read", read_from(FIELD).into());
    Ok(())
}

/// The address is given in hexadecimal, without a prefix.
#[inline(never)]
pub(crate) fn wild_dereference(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let address = match args.maybe() {
        Some(word) => usize::from_str_radix(word, 16).map_err(|_| EINVAL)?,
        None => WILD,
    };
    out.u64("read", read_from(address).into());
    Ok(())
}

/// Goes deeper until there is no stack left; `depth` is never 0 again.
#[inline(never)]
fn descend(depth: usize) -> usize {
    let mut frame = [const { MaybeUninit::<usize>::uninit() }; FRAME];
    for slot in &mut frame {
        // SAFETY: Is a slot of this frame; volatile, so that the frame is really there.
        unsafe { ptr::write_volatile(slot, MaybeUninit::new(depth)) };
    }
    if depth == 0 {
        return 0;
    }
    let deeper = descend(black_box(depth + 1));
    // SAFETY: Written above.
    deeper + unsafe { black_box(&frame)[FRAME - 1].assume_init() }
}

#[inline(never)]
pub(crate) fn stack_overflow(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    out.usize("depth", descend(1));
    Ok(())
}

/// The process is killed; what it allocated is given back before it is gone.
#[inline(never)]
pub(crate) fn oom(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let wanted = args.usize_or(MANY_PAGES)?;
    let mut pages = KVVec::with_capacity(wanted, GFP_KERNEL)?;
    while pages.len() < wanted && !current!().signal_pending() {
        let page = Page::alloc_page(GFP_KERNEL | __GFP_HIGHMEM)?;
        pages.push(page, GFP_KERNEL)?;
    }
    out.usize("pages", pages.len());
    Ok(())
}

/// Blocks of the page allocator's largest order, given back when dropped.
///
/// # Invariants
///
/// Each is a block of order `MAX_PAGE_ORDER` with one reference, which is ours.
struct Blocks(KVVec<*mut bindings::page>);

impl Blocks {
    fn allocate(&mut self) -> Result {
        // SAFETY: Any flags and any order up to `MAX_PAGE_ORDER` are fine.
        let block =
            unsafe { bindings::alloc_pages(bindings::GFP_ATOMIC, bindings::MAX_PAGE_ORDER) };
        if block.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The block was just allocated. There is room: `allocation_failure` sees to it.
        Ok(self.0.push_within_capacity(block).map_err(|_| ENOSPC)?)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for &block in &self.0 {
            // SAFETY: By the type invariants.
            unsafe { bindings::__free_pages(block, bindings::MAX_PAGE_ORDER) };
        }
    }
}

#[inline(never)]
pub(crate) fn allocation_failure(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let mut blocks = Blocks(KVVec::with_capacity(MANY_BLOCKS, GFP_KERNEL)?);
    let failed = (0..MANY_BLOCKS).any(|_| blocks.allocate().is_err());
    out.usize("blocks", blocks.0.len()).bool("failed", failed);
    Ok(())
}

#[inline(never)]
pub(crate) fn allocate(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let size = args.usize()?;
    let bytes = KVec::<u8>::with_capacity(size, GFP_KERNEL)?;
    out.usize("allocated", black_box(bytes).capacity());
    Ok(())
}
