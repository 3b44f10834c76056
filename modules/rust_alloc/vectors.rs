// SPDX-License-Identifier: GPL-2.0-only

//! Vectors and boxes of the kernel crate, filled and looked at.

use crate::{context::Contexts, gfp::Gfp, json::Json, ops::Args};
use core::ffi::c_void;
use kernel::{
    alloc::{
        allocator::{KVmalloc, Kmalloc, Vmalloc},
        Allocator, Box, Vec,
    },
    prelude::*,
};

extern "C" {
    fn alloc_is_vmalloc(address: *const c_void) -> bool;
}

fn is_vmalloc<T>(address: *const T) -> bool {
    // SAFETY: It only compares the address.
    unsafe { alloc_is_vmalloc(address.cast()) }
}

/// What element `index` is: different bits in each byte, so that a lost one is noticed.
fn element(index: usize) -> u32 {
    (index as u32).wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995
}

/// `vec KIND COUNT GFP [CONTEXT]`: pushes COUNT numbers to an empty vector, one by one.
pub(crate) fn vec(contexts: &Contexts, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    match args.word()? {
        "kvec" => push::<Kmalloc>(contexts, args, out),
        "vvec" => push::<Vmalloc>(contexts, args, out),
        "kvvec" => push::<KVmalloc>(contexts, args, out),
        _ => Err(EINVAL),
    }
}

fn push<A: Allocator>(contexts: &Contexts, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let (count, gfp) = (args.usize()?, Gfp::named(args.word()?)?);
    let context = args.maybe().unwrap_or("task");

    let (state, (vec, grown, result)) = contexts.run(context, || {
        let mut vec = Vec::<u32, A>::new();
        let mut grown = 0;
        let mut result = Ok(());
        for index in 0..count {
            let capacity = vec.capacity();
            result = vec.push(element(index), gfp.flags());
            if result.is_err() {
                break;
            }
            grown += usize::from(vec.capacity() != capacity);
        }
        (vec, grown, result)
    })?;

    let wrong = (0..)
        .zip(&vec)
        .filter(|(index, seen)| **seen != element(*index));
    out.usize("len", vec.len())
        .usize("grown", grown)
        .usize("wrong", wrong.count())
        .bool("vmalloc", is_vmalloc(vec.as_ptr()));
    state.show(out);
    Ok(result?)
}

/// How many bytes there are in a box.
const BOX: usize = 200;

/// `box KIND GFP [CONTEXT]`: allocates a box, looks at what was in the memory, and fills it.
pub(crate) fn one_box(contexts: &Contexts, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    match args.word()? {
        "kbox" => fill::<Kmalloc>(contexts, args, out),
        "vbox" => fill::<Vmalloc>(contexts, args, out),
        "kvbox" => fill::<KVmalloc>(contexts, args, out),
        _ => Err(EINVAL),
    }
}

fn fill<A: Allocator>(contexts: &Contexts, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let gfp = Gfp::named(args.word()?)?;
    let context = args.maybe().unwrap_or("task");

    let (state, fresh) = contexts.run(context, || Box::<[u8; BOX], A>::new_uninit(gfp.flags()))?;
    let fresh = fresh?;
    let zeroed = gfp.flags().contains(__GFP_ZERO) && {
        let bytes: *const u8 = fresh.as_ptr().cast();
        // SAFETY: It has so many bytes, and the flags say that they are zeroed.
        (0..BOX).all(|at| unsafe { bytes.add(at).read_volatile() } == 0)
    };
    let filled = fresh.write([0xa5; BOX]);
    out.bool("zeroed", zeroed)
        .bool("right", filled.iter().all(|&byte| byte == 0xa5))
        .bool("vmalloc", is_vmalloc(&raw const *filled));
    state.show(out);
    Ok(())
}
