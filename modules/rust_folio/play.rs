// SPDX-License-Identifier: GPL-2.0-only

//! Guards that are made and dropped as somebody outside says, step by step.
//!
//! A program is a list of steps; guards have the names `a` to `z`:
//!
//! | step | what it does |
//! |---|---|
//! | `+a:SLOT[:OFFSET]` | maps a folio, and keeps the guard as `a` |
//! | `-a` | drops the guard |
//! | `?a:SEED` | reads the mapped bytes, and counts those that differ from the content |
//! | `!a` | asks whether anything is mapped there, or was until it was dropped; touches nothing |
//! | `~` | sleeps |
//! | `^SLOT:N` | another task on this CPU maps the folio N times above each other, and unmaps it |

use crate::{
    content::Content,
    deferred::{Deferred, Pile},
    folio::UniqueFolio,
    guards::{GlobalGuard, LocalGuard},
    kmap::{self, Top},
    ops::Args,
    slots::Slots,
    tasks::{self, Where},
    trace::Trace,
    variants::Variant,
};
use core::{ops::Deref, ptr};
use kernel::prelude::*;

/// How long `~` sleeps.
const SLEEP_MS: c_uint = 20;

extern "C" {
    fn shim_sleep_ms(ms: c_uint);
    fn shim_readable(addr: *const u8) -> bool;
}

/// Lets others run.
pub(crate) fn sleep() {
    // SAFETY: Operations may sleep.
    unsafe { shim_sleep_ms(SLEEP_MS) };
}

/// A way to map folios with guards.
pub(crate) trait Way<'m> {
    type Guard: Deref<Target = [u8]>;

    fn map(&self, folio: &'m UniqueFolio, offset: usize) -> Result<Self::Guard>;

    fn end(&self, guard: Self::Guard) {
        drop(guard);
    }
}

impl<'m> Way<'m> for &'m Pile {
    type Guard = Deferred<'m>;

    fn map(&self, folio: &'m UniqueFolio, offset: usize) -> Result<Deferred<'m>> {
        Pile::map(self, folio, offset)
    }
}

/// [`LocalGuard`]s, which a variant may end in its way.
pub(crate) struct Local(pub(crate) Variant);

impl<'m> Way<'m> for Local {
    type Guard = LocalGuard<'m>;

    fn map(&self, folio: &'m UniqueFolio, offset: usize) -> Result<LocalGuard<'m>> {
        // SAFETY: None, if the program drops guards in another order than the reverse of their
        // making. To see what happens then is what it is for.
        unsafe { LocalGuard::new(folio, offset) }
    }

    fn end(&self, guard: LocalGuard<'m>) {
        self.0.end(guard);
    }
}

/// [`GlobalGuard`]s.
pub(crate) struct Global;

impl<'m> Way<'m> for Global {
    type Guard = GlobalGuard<'m>;

    fn map(&self, folio: &'m UniqueFolio, offset: usize) -> Result<GlobalGuard<'m>> {
        GlobalGuard::new(folio, offset)
    }
}

const NAMES: usize = 26;

/// What a name stands for.
struct Named<G> {
    guard: Option<G>,
    offset: usize,
    addr: *const u8,
}

impl<G> Named<G> {
    const NEVER: Self = Named {
        guard: None,
        offset: 0,
        addr: ptr::null(),
    };

    fn guard(&self) -> Result<&G> {
        self.guard.as_ref().ok_or(EINVAL)
    }
}

type Names<G> = [Named<G>; NAMES];

/// Runs the program in `args`. Guards that it leaves are dropped, `z` first.
///
/// `EINVAL` for what is no step, or names a guard that is not there, or one that is.
pub(crate) fn play<'m, W: Way<'m>>(
    way: W,
    folios: &'m Slots,
    args: &mut Args<'_>,
    trace: &mut Trace,
) -> Result {
    let mut names: Names<W::Guard> = [const { Named::NEVER }; NAMES];
    let mut result = Ok(());
    while let (Ok(()), Some(text)) = (result, args.maybe()) {
        result = step(&way, folios, &mut names, text, trace);
        trace.step();
    }
    for left in names.iter_mut().rev().filter_map(|one| one.guard.take()) {
        way.end(left);
    }
    result
}

fn step<'m, W: Way<'m>>(
    way: &W,
    folios: &'m Slots,
    names: &mut Names<W::Guard>,
    text: &str,
    trace: &mut Trace,
) -> Result {
    let (verb, rest) = text.split_at_checked(1).ok_or(EINVAL)?;
    let mut words = rest.split(':');
    let first = words.next().ok_or(EINVAL)?;
    let mut number = || words.next().map(|word| word.parse().map_err(|_| EINVAL));

    match verb {
        "~" => sleep(),
        "^" => {
            let folio = folios.get(first.parse().map_err(|_| EINVAL)?)?;
            let depth = number().ok_or(EINVAL)??;
            let other = || kmap::scope(|top| above_each_other(top, folio, depth));
            let ((), returned) = tasks::beside(Where::Here, other, || ())?;
            trace.other(returned);
        }
        "+" => {
            let one = named(names, first)?;
            let folio = folios.get(number().ok_or(EINVAL)??)?;
            let offset = number().unwrap_or(Ok(0))?;
            if one.guard.is_some() {
                return Err(EINVAL);
            }
            let guard = way.map(folio, offset)?;
            trace.mapped(folio, offset, &guard);
            *one = Named {
                offset,
                addr: guard.as_ptr(),
                guard: Some(guard),
            };
        }
        "-" => way.end(named(names, first)?.guard.take().ok_or(EINVAL)?),
        "?" => {
            let one = named(names, first)?;
            let content = Content::Seed(number().ok_or(EINVAL)?? as u32);
            trace.differing(content.differing(one.offset, one.guard()?));
        }
        "!" => {
            let one = named(names, first)?;
            // SAFETY: Does not touch what is not there.
            trace.readable(unsafe { shim_readable(one.addr) });
        }
        _ => return Err(EINVAL),
    }
    Ok(())
}

fn named<'n, G>(names: &'n mut Names<G>, name: &str) -> Result<&'n mut Named<G>> {
    match name.as_bytes() {
        [letter @ b'a'..=b'z'] => Ok(&mut names[usize::from(letter - b'a')]),
        _ => Err(EINVAL),
    }
}

fn above_each_other(mut top: Top<'_>, folio: &UniqueFolio, depth: usize) {
    if depth > 0 {
        if let Ok(mut mapped) = top.map(folio, 0) {
            let (_, above) = mapped.split();
            above_each_other(above, folio, depth - 1);
        }
    }
}
