// SPDX-License-Identifier: GPL-2.0-only

//! Other tasks: kernel threads, which have no memory of a user's.

use crate::trace::cpu;
use core::ptr;
use kernel::{bindings::task_struct, ffi::c_void, prelude::*};

#[allow(improper_ctypes)]
extern "C" {
    fn shim_task_start(
        run: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
        cpu: c_uint,
    ) -> *mut task_struct;
    fn shim_last_cpu() -> c_uint;
    fn shim_task_join(task: *mut task_struct);
}

/// Where a new task runs.
#[derive(Clone, Copy)]
pub(crate) enum Where {
    /// On the CPU of this task, as far as it stays there.
    Here,
    /// On the last CPU that there is.
    Last,
}

impl Where {
    fn cpu(self) -> u32 {
        match self {
            Where::Here => cpu(),
            // SAFETY: Only looks which CPUs there are.
            Where::Last => unsafe { shim_last_cpu() },
        }
    }
}

struct Errand<F> {
    f: Option<F>,
    returned: bool,
}

/// Runs `f` in a new task, and `meanwhile` in this one; waits until the new task has ended.
///
/// Also gives whether `f` returned: if not, the task died of an oops. `ENOMEM` when there can be no
/// task; neither is called then.
pub(crate) fn beside<R>(
    place: Where,
    f: impl FnOnce() + Send,
    meanwhile: impl FnOnce() -> R,
) -> Result<(R, bool)> {
    let mut errand = Errand {
        f: Some(f),
        returned: false,
    };
    // SAFETY: `run_errand` is given the errand that it expects, which lives until the task has
    // ended: it is joined below, and nothing in between can return.
    let task = unsafe {
        shim_task_start(
            runner(&errand),
            ptr::from_mut(&mut errand).cast(),
            place.cpu(),
        )
    };
    if task.is_null() {
        return Err(ENOMEM);
    }
    let result = meanwhile();
    // SAFETY: The task was just started, and is joined once.
    unsafe { shim_task_join(task) };
    Ok((result, errand.returned))
}

/// What runs an errand of this type, which has no name.
fn runner<F: FnOnce() + Send>(_: &Errand<F>) -> unsafe extern "C" fn(*mut c_void) {
    run_errand::<F>
}

/// # Safety
///
/// `data` must point to an `Errand<F>` that nobody else uses as long as the task lives.
unsafe extern "C" fn run_errand<F: FnOnce() + Send>(data: *mut c_void) {
    // SAFETY: By the requirements of this function.
    let errand = unsafe { &mut *data.cast::<Errand<F>>() };
    if let Some(f) = errand.f.take() {
        f();
    }
    errand.returned = true;
}
