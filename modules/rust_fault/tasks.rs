// SPDX-License-Identifier: GPL-2.0-only

//! Faults with locks, with sleeping, and with not letting go of a processor.

use crate::{json::Json, ops::Args};
use core::{
    hint::{black_box, spin_loop},
    ptr,
};
use kernel::{
    bindings, new_mutex, new_spinlock,
    prelude::*,
    sync::{rcu, Mutex, SpinLock},
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

extern "C" {
    fn shim_preempt_disable();
}

#[pin_data]
struct Mutexes {
    #[pin]
    a: Mutex<()>,
    #[pin]
    b: Mutex<()>,
}

#[inline(never)]
pub(crate) fn lock_inversion(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let mutexes = KBox::pin_init(
        pin_init!(Mutexes {
            a <- new_mutex!((), "rust_fault::a"),
            b <- new_mutex!((), "rust_fault::b"),
        }),
        GFP_KERNEL,
    )?;
    {
        let _a = mutexes.a.lock();
        let _b = mutexes.b.lock();
    }
    {
        let _b = mutexes.b.lock();
        let _a = mutexes.a.lock();
    }
    out.bool("locked", true);
    Ok(())
}

fn spinlock() -> Result<Pin<KBox<SpinLock<()>>>> {
    KBox::pin_init(new_spinlock!((), "rust_fault::spinlock"), GFP_KERNEL)
}

#[inline(never)]
pub(crate) fn sleep_in_atomic(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let lock = spinlock()?;
    let guard = lock.lock();
    let allocated = KBox::new(black_box([0u8; 64]), GFP_KERNEL);
    drop(guard);
    out.bool("allocated", allocated.is_ok());
    Ok(())
}

#[inline(never)]
pub(crate) fn schedule_in_atomic(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    // SAFETY: None: this is the fault. There is no counterpart: the scheduler, when it complains,
    // makes the count what it should be.
    unsafe { shim_preempt_disable() };
    // A sleep so short that it is over before the scheduler is called would be none.
    fsleep(Delta::from_millis(100));
    out.bool("slept", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn unlock_unlocked(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let lock = spinlock()?;
    drop(lock.lock());
    let raw: *const SpinLock<()> = &*lock;
    // SAFETY: A lock begins with C's. That it is not locked is the fault. Unlocking enables
    // preemption, once more than it was disabled but for the first call.
    unsafe {
        shim_preempt_disable();
        bindings::spin_unlock(raw.cast_mut().cast());
    }
    out.bool("unlocked", true);
    Ok(())
}

/// A spinlock whose mark, by which it is known to be one, is overwritten.
#[inline(never)]
pub(crate) fn spinlock_without_magic(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let lock = spinlock()?;
    let raw: *const SpinLock<()> = &*lock;
    spoil(raw.cast_mut().cast())?;
    drop(lock.lock());
    out.bool("locked", true);
    Ok(())
}

#[cfg(CONFIG_DEBUG_SPINLOCK)]
fn spoil(lock: *mut bindings::raw_spinlock) -> Result {
    // SAFETY: None: this is the fault.
    unsafe { ptr::write_volatile(&raw mut (*lock).magic, 0) };
    Ok(())
}

#[cfg(not(CONFIG_DEBUG_SPINLOCK))]
fn spoil(_lock: *mut bindings::raw_spinlock) -> Result {
    Err(EOPNOTSUPP)
}

/// The next argument, in milliseconds.
fn duration(args: &mut Args<'_>) -> Result<Delta> {
    let ms = i32::try_from(args.usize()?).map_err(|_| EINVAL)?;
    Ok(Delta::from_millis(ms.into()))
}

/// How often to do nothing between two looks at the clock, where nobody should be met.
const TURNS: usize = 100_000;

/// Does nothing for long.
#[inline(always)]
fn busy(long: Delta) {
    let begun = Instant::<Monotonic>::now();
    while begun.elapsed() < long {
        for turn in 0..TURNS {
            black_box(turn);
            spin_loop();
        }
    }
}

#[inline(never)]
pub(crate) fn soft_lockup(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let long = duration(args)?;
    let lock = spinlock()?;
    let guard = lock.lock();
    busy(long);
    drop(guard);
    out.bool("locked", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn rcu_stall(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    let long = duration(args)?;
    let guard = rcu::read_lock();
    // Somebody has to wait for the end of this section.
    // SAFETY: Can be called from anywhere.
    unsafe { bindings::start_poll_synchronize_rcu() };
    busy(long);
    drop(guard);
    out.bool("stalled", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn rcu_wait(_args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    // SAFETY: Operations run in process context, outside of read-side sections.
    unsafe { bindings::synchronize_rcu_expedited() };
    out.bool("waited", true);
    Ok(())
}

#[inline(never)]
pub(crate) fn hung_task(args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
    fsleep(duration(args)?);
    out.bool("slept", true);
    Ok(())
}
