// SPDX-License-Identifier: GPL-2.0-only

//! The operations; `rust_folio_main.rs` lists them.

use crate::{
    choice::Choice,
    content::Content,
    folio::{FolioInfo, Gfp, UniqueFolio},
    helpers::CALLS,
    json::Json,
    kmap, kmap_operations,
    ops::{Args, Operations},
    slots::Slots,
    trace::{kmap_depth, Place},
    variants::{Variant, VARIANTS},
};
use kernel::{
    bindings, new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Mutex,
    },
};

/// The longest that `read` answers with.
const READ_MAX: usize = 1024;

/// The longest that `write` takes, the size of the largest folio.
const WRITE_MAX: usize = PAGE_SIZE << bindings::MAX_PAGE_ORDER;

extern "C" {
    fn shim_kmap_most() -> c_uint;
}

/// What operations work on.
#[pin_data]
pub(crate) struct State {
    #[pin]
    folios: Mutex<Slots>,
    variant: Choice<Variant>,
    bytes_written: Atomic<usize>,
    frees: Atomic<usize>,
}

impl State {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            folios <- new_mutex!(Slots::new()),
            variant: Choice::new(&VARIANTS),
            bytes_written: Atomic::new(0),
            frees: Atomic::new(0),
        })
    }
}

impl Operations for State {
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        match name {
            "info" => self.info(out),
            "alloc" => self.alloc(args, out),
            "state" => self.state(args, out),
            "free" => self.free(args),
            "map" => self.map(args, out),
            "map_index" => self.map_index(args, out),
            "write" => self.write(args),
            "zero_out" => self.zero_out(args),
            "check" => self.check(args, out),
            "read" => self.read(args, out),
            "copy" => self.copy(args, out),
            "refs" => self.refs(args, out),
            "lock" => self.lock(args, out),
            "force" => self.with_folios(|_| kmap_operations::force(args)),
            "nest" => self.with_folios(|folios| kmap_operations::nest(folios, args, out)),
            "play" => self.play(args, out),
            "beside" => self.with_folios(|folios| kmap_operations::beside(folios, args, out)),
            "alias" => self.with_folios(|folios| {
                kmap_operations::alias(folios.get_mut(args.usize()?)?, args, out)
            }),
            "walk" => {
                self.with_folios(|folios| kmap_operations::walk(folios.get(args.usize()?)?, out))
            }
            "unmap_stray" => self.with_folios(|folios| kmap_operations::unmap_stray(folios, args)),
            "counters" => self.counters(out),
            "variant" => self.variant.choose(args, out),
            _ => Err(ENOENT),
        }
    }
}

impl State {
    fn with_folios(&self, f: impl FnOnce(&mut Slots) -> Result) -> Result {
        f(&mut self.folios.lock())
    }

    fn play(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let variant = *self.variant.get();
        self.with_folios(|folios| kmap_operations::play_with(folios, variant, args, out))
    }

    fn info(&self, out: &mut Json<'_>) -> Result {
        out.usize("page_size", PAGE_SIZE)
            .usize("max_order", bindings::MAX_PAGE_ORDER as usize)
            .usize("bits", usize::BITS as usize)
            .bool("highmem", cfg!(CONFIG_HIGHMEM))
            .bool("kmap_local", cfg!(CONFIG_KMAP_LOCAL))
            .bool("kmap_debug", cfg!(CONFIG_DEBUG_KMAP_LOCAL))
            .bool("force_map", cfg!(CONFIG_DEBUG_KMAP_LOCAL_FORCE_MAP))
            // SAFETY: Only gives a constant.
            .u64("kmap_most", unsafe { shim_kmap_most() }.into());
        self.variant.describe(out);
        Ok(())
    }

    fn alloc(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let order = u32::try_from(args.usize()?).map_err(|_| EINVAL)?;
        let gfp = match args.maybe() {
            None => Gfp::KERNEL,
            Some("highmem") => Gfp::KERNEL_HIGHMEM,
            Some(_) => return Err(EINVAL),
        };
        let folio = self.variant.get().new_folio(order, gfp)?;
        describe(&folio, out);
        out.usize("slot", self.folios.lock().put(folio)?);
        Ok(())
    }

    fn state(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        describe(self.folios.lock().get(args.usize()?)?, out);
        Ok(())
    }

    fn free(&self, args: &mut Args<'_>) -> Result {
        drop(self.folios.lock().take(args.usize()?)?);
        self.frees.fetch_add(1usize, Relaxed);
        Ok(())
    }

    fn map(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let folios = self.folios.lock();
        let folio = folios.get(args.usize()?)?;
        let offset = args.usize()?;

        let place = kmap::scope(|mut top| {
            let bytes = top.map(folio, offset)?;
            Ok::<_, Error>(Place::of(folio, offset, &bytes))
        })?;
        // What the abstraction really mapped, unless a variant is to say otherwise.
        let len = self.variant.get().map_len(folio, offset, place.len);
        out.usize("offset", offset)
            .usize("size", folio.size())
            .usize("len", len)
            .bool("end_in_folio", offset + len <= folio.size())
            .bool("highmem", folio.is_highmem());
        place.describe(out);
        Ok(())
    }

    fn map_index(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let folios = self.folios.lock();
        let folio = folios.get(args.usize()?)?;
        let len = folio.map_page(args.usize()?, |bytes| bytes.len())?;
        out.usize("len", len);
        Ok(())
    }

    fn write(&self, args: &mut Args<'_>) -> Result {
        let mut folios = self.folios.lock();
        let folio = folios.get_mut(args.usize()?)?;
        let (offset, len) = (args.usize()?, args.usize()?);
        let seed = args.usize()? as u32;
        if len > WRITE_MAX {
            return Err(E2BIG);
        }
        let bytes = Content::Seed(seed).bytes(offset, len)?;
        folio.lock().write(offset, &bytes)?;
        self.bytes_written.fetch_add(len, Relaxed);
        Ok(())
    }

    fn zero_out(&self, args: &mut Args<'_>) -> Result {
        let mut folios = self.folios.lock();
        let folio = folios.get_mut(args.usize()?)?;
        let (offset, len) = (args.usize()?, args.usize()?);
        folio.lock().zero_out(offset, len)?;
        self.bytes_written.fetch_add(len, Relaxed);
        Ok(())
    }

    fn check(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let folios = self.folios.lock();
        let folio = folios.get(args.usize()?)?;
        let (offset, len) = (args.usize()?, args.usize()?);
        let content = Content::parse(args.word()?)?;
        let (differing, mappings) = compare(folio, content, offset, len)?;
        out.usize("checked", len)
            .usize("differing", differing)
            .usize("mappings", mappings);
        Ok(())
    }

    fn read(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let mut folios = self.folios.lock();
        let folio = folios.get_mut(args.usize()?)?;
        let (offset, len) = (args.usize()?, args.usize()?);
        if len > READ_MAX {
            return Err(E2BIG);
        }
        let mut bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
        folio.lock().read(offset, &mut bytes)?;

        let mut hex = KVec::with_capacity(2 * len, GFP_KERNEL)?;
        for byte in &bytes {
            for digit in [byte >> 4, byte & 0xf] {
                hex.push(b"0123456789abcdef"[usize::from(digit)], GFP_KERNEL)?;
            }
        }
        out.bytes("hex", &hex);
        Ok(())
    }

    fn copy(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let mut folios = self.folios.lock();
        let (from, to) = folios.pair(args.usize()?, args.usize()?)?;
        let copy_some = match args.word()? {
            "guards" => copy_with_guards,
            "closures" => copy_with_closures,
            _ => return Err(EINVAL),
        };
        let size = from.size();
        if to.size() != size {
            return Err(EINVAL);
        }

        let (mut done, mut mappings, mut deepest) = (0, 0, 0);
        while done < size {
            let (copied, depth) = copy_some(from, to, done)?;
            done += copied;
            mappings += 2;
            deepest = deepest.max(depth);
        }
        to.flush_dcache();
        self.bytes_written.fetch_add(done, Relaxed);
        out.usize("copied", done)
            .usize("mappings", mappings)
            .i64("kmap_depth", deepest);
        Ok(())
    }

    fn refs(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let (slot, wanted) = (args.usize()?, args.usize()?);
        let mut clones = KVVec::with_capacity(wanted, GFP_KERNEL)?;
        let mut folios = self.folios.lock();
        // SAFETY: The clones are dropped before `f` returns.
        unsafe {
            folios.with_shared(slot, |folio| {
                out.i64("before", folio.ref_count().into());
                while clones.len() < wanted && clones.push(folio.clone(), GFP_KERNEL).is_ok() {}
                out.usize("clones", clones.len());
                out.i64("during", folio.ref_count().into());
                drop(clones);
                out.i64("after", folio.ref_count().into());
            })
        }
    }

    fn lock(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let mut folios = self.folios.lock();
        // SAFETY: No reference is made.
        unsafe {
            folios.with_shared(args.usize()?, |folio| {
                out.bool("before", folio.is_locked());
                let mut locked = folio.lock();
                out.bool("during", folio.is_locked());
                out.bool("second", folio.try_lock().is_some());
                locked.mark_uptodate();
                drop(locked);
                out.bool("after", folio.is_locked());
                out.bool("again", folio.try_lock().is_some());
            })
        }
    }

    fn counters(&self, out: &mut Json<'_>) -> Result {
        for (call, name) in CALLS {
            out.usize(name, call.total());
        }
        out.usize("frees", self.frees.load(Relaxed))
            .usize("bytes_written", self.bytes_written.load(Relaxed))
            .usize("live", self.folios.lock().live())
            .i64("kmap_depth", kmap_depth());
        Ok(())
    }
}

/// Copies from `offset` on as much as two mappings show, the second above the first. Returns how
/// much that was, and how deep the mappings were.
fn copy_with_guards(
    from: &UniqueFolio,
    to: &mut UniqueFolio,
    offset: usize,
) -> Result<(usize, i64)> {
    kmap::scope(|mut top| {
        let mut source = top.map(from, offset)?;
        let (source, mut above) = source.split();
        let mut target = above.map_mut(to, offset)?;
        Ok((copy_common(source, &mut target), kmap_depth()))
    })
}

/// Like [`copy_with_guards`], with nested closures.
fn copy_with_closures(
    from: &UniqueFolio,
    to: &mut UniqueFolio,
    offset: usize,
) -> Result<(usize, i64)> {
    from.with_mapped(offset, |source| {
        to.with_mapped_mut(offset, |target| (copy_common(source, target), kmap_depth()))
    })?
}

/// Walks over `len` bytes of `folio` as a user of mappings does: maps from an offset, takes what is
/// shown, goes on behind it. Returns how many bytes are not `content`, and how many mappings it took.
///
/// `EINVAL` when `offset + len` is past the end.
fn compare(
    folio: &UniqueFolio,
    content: Content,
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
            (seen.len(), content.differing(at, seen))
        })?;
        at += seen;
        differing += wrong;
        mappings += 1;
    }
    Ok((differing, mappings))
}

/// Copies as much as there is in both, and returns how much that is.
fn copy_common(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
    len
}

/// Adds what there is to see of a folio.
fn describe(folio: &FolioInfo, out: &mut Json<'_>) {
    out.usize("size", folio.size())
        .usize("order", folio.order() as usize)
        .bool("highmem", folio.is_highmem())
        .i64("refcount", folio.ref_count().into())
        .bool("locked", folio.is_locked())
        .bool("uptodate", folio.is_uptodate());
}
