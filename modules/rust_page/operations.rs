// SPDX-License-Identifier: GPL-2.0-only

//! The operations; `rust_page_main.rs` lists them.

use crate::{
    choice::Choice,
    content::Content,
    json::Json,
    ops::{Args, Operations},
    variants::{Variant, VARIANTS},
};
use kernel::{
    bindings, new_mutex,
    page::{Page, PAGE_SIZE},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Mutex,
    },
};

const SLOTS: usize = 1024;

#[allow(improper_ctypes)]
extern "C" {
    fn shim_page_highmem(page: *const bindings::page) -> bool;
    fn shim_page_has_address(page: *const bindings::page) -> bool;
    fn shim_page_pfn(page: *const bindings::page) -> u64;
}

/// What operations work on.
#[pin_data]
pub(crate) struct State {
    #[pin]
    pages: Mutex<KVec<Option<Page>>>,
    variant: Choice<Variant>,
    allocs: Atomic<usize>,
    frees: Atomic<usize>,
    writes: Atomic<usize>,
    reads: Atomic<usize>,
}

impl State {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pages <- new_mutex!(KVec::new()),
            variant: Choice::new(&VARIANTS),
            allocs: Atomic::new(0),
            frees: Atomic::new(0),
            writes: Atomic::new(0),
            reads: Atomic::new(0),
        })
    }
}

impl Operations for State {
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        match name {
            "info" => self.info(out),
            "alloc" => self.alloc(args, out),
            "free" => self.free(args),
            "write" => self.write(args),
            "zero" => self.zero(args),
            "check" => self.check(args, out),
            "counters" => self.counters(out),
            "variant" => self.variant.choose(args, out),
            _ => Err(ENOENT),
        }
    }
}

impl State {
    fn info(&self, out: &mut Json<'_>) -> Result {
        out.usize("page_size", PAGE_SIZE)
            .bool("highmem", cfg!(CONFIG_HIGHMEM));
        self.variant.describe(out);
        Ok(())
    }

    fn alloc(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let highmem = match args.maybe() {
            None => false,
            Some("highmem") => true,
            Some(_) => return Err(EINVAL),
        };
        let page = Page::alloc_page(self.variant.get().flags(highmem))?;
        let raw = page.as_ptr();
        // SAFETY: The page is allocated, and ours.
        let (is_high, has_address, pfn) = unsafe {
            (
                shim_page_highmem(raw),
                shim_page_has_address(raw),
                shim_page_pfn(raw),
            )
        };

        let mut pages = self.pages.lock();
        let free = pages.iter().position(Option::is_none);
        let slot = match free {
            Some(slot) => {
                pages[slot] = Some(page);
                slot
            }
            None if pages.len() < SLOTS => {
                pages.push(Some(page), GFP_KERNEL)?;
                pages.len() - 1
            }
            None => return Err(ENOSPC),
        };
        self.allocs.fetch_add(1usize, Relaxed);
        out.usize("slot", slot)
            .bool("highmem", is_high)
            .bool("has_address", has_address)
            .u64("pfn", pfn);
        Ok(())
    }

    fn free(&self, args: &mut Args<'_>) -> Result {
        let mut pages = self.pages.lock();
        let page = pages.get_mut(args.usize()?).and_then(Option::take);
        drop(page.ok_or(EBADF)?);
        self.frees.fetch_add(1usize, Relaxed);
        Ok(())
    }

    /// Runs `f` with a page that nobody else uses meanwhile; `EBADF` when there is none in `slot`.
    fn with_page<R>(&self, slot: usize, f: impl FnOnce(&Page) -> Result<R>) -> Result<R> {
        let pages = self.pages.lock();
        f(pages.get(slot).and_then(Option::as_ref).ok_or(EBADF)?)
    }

    fn write(&self, args: &mut Args<'_>) -> Result {
        let (slot, offset, len) = (args.usize()?, args.usize()?, length(args)?);
        let bytes = Content::Seed(args.usize()? as u32).bytes(offset, len)?;
        let variant = *self.variant.get();
        self.with_page(slot, |page| variant.write(page, offset, &bytes))?;
        self.writes.fetch_add(1usize, Relaxed);
        Ok(())
    }

    fn zero(&self, args: &mut Args<'_>) -> Result {
        let (slot, offset, len) = (args.usize()?, args.usize()?, args.usize()?);
        // SAFETY: Nobody else accesses the page, see `with_page`.
        self.with_page(slot, |page| unsafe { page.fill_zero_raw(offset, len) })?;
        self.writes.fetch_add(1usize, Relaxed);
        Ok(())
    }

    fn check(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let (slot, offset, len) = (args.usize()?, args.usize()?, length(args)?);
        let content = Content::parse(args.word()?)?;
        let mut bytes = KVec::from_elem(0xaa, len, GFP_KERNEL)?;
        self.with_page(slot, |page| {
            // SAFETY: `bytes` can be written. Nobody else writes the page, see `with_page`.
            unsafe { page.read_raw(bytes.as_mut_ptr(), offset, len) }
        })?;
        self.reads.fetch_add(1usize, Relaxed);
        out.usize("checked", len)
            .usize("differing", content.differing(offset, &bytes));
        Ok(())
    }

    fn counters(&self, out: &mut Json<'_>) -> Result {
        let live = self.pages.lock().iter().flatten().count();
        out.usize("allocs", self.allocs.load(Relaxed))
            .usize("frees", self.frees.load(Relaxed))
            .usize("writes", self.writes.load(Relaxed))
            .usize("reads", self.reads.load(Relaxed))
            .usize("live", live);
        Ok(())
    }
}

/// A length that a buffer is made for; `E2BIG` for more than two pages.
fn length(args: &mut Args<'_>) -> Result<usize> {
    let len = args.usize()?;
    if len > 2 * PAGE_SIZE {
        return Err(E2BIG);
    }
    Ok(len)
}
