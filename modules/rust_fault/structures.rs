// SPDX-License-Identifier: GPL-2.0-only

//! Faults that the code which makes them finds itself: checks of lists, counters and indexes.

use crate::{json::Json, ops::Args};
use core::{hint::black_box, ptr};
use kernel::{bindings, prelude::*, sync::Refcount, warn_on};

extern "C" {
    fn shim_bug();
}

/// The head of a list, and two entries.
const NODES: usize = 3;

#[inline(never)]
pub(crate) fn list_corruption(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let nodes = KBox::new([bindings::list_head::default(); NODES], GFP_KERNEL)?;
    // Links point to the nodes: from here on there are only pointers to them.
    let head: *mut bindings::list_head = KBox::into_raw(nodes).cast();
    let (first, second) = (head.wrapping_add(1), head.wrapping_add(2));
    // SAFETY: All three are in the memory above. The link that is broken is the fault; the check
    // finds it before it is used.
    unsafe {
        bindings::INIT_LIST_HEAD(head);
        bindings::list_add_tail(first, head);
        ptr::write_volatile(&raw mut (*first).next, second);
        bindings::list_add_tail(second, head);
    }
    // SAFETY: Came from `into_raw` above, and no list outlives it.
    drop(unsafe { KBox::from_raw(head.cast::<[bindings::list_head; NODES]>()) });
    out.bool("added", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn refcount(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let count = Refcount::new(1);
    out.bool("last", count.dec_and_test());
    out.bool("after_last", count.dec_and_test());
    Ok(())
}

#[inline(never)]
pub(crate) fn warn(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    out.bool("warned", warn_on!(black_box(true)));
    Ok(())
}

#[inline(never)]
pub(crate) fn bug(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    // SAFETY: None: this is the fault.
    unsafe { shim_bug() };
    out.bool("survived", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn rust_panic(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let values = [1usize, 2, 3, 4];
    out.usize("value", values[black_box(values.len())]);
    Ok(())
}
