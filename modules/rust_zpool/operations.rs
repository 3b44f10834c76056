// SPDX-License-Identifier: GPL-2.0-only

//! What the module can be asked to do through its operations file.
//!
//! ```text
//! counters                    what was counted, for all pools and for each
//! reset                       set the counters back
//! variant [NAME|none [ERRNO]] tell or choose the wrong twin that runs
//! window TURNS                make every malloc take longer
//! pool new [NAME]|drop        a pool of our own, which nobody else uses -> its name
//! malloc SIZE                 -> slot, and the size of its bucket
//! malloc_locked SIZE          the same with a spinlock held and GFP_ATOMIC
//! write SLOT SEED [LEN]       fill the object with bytes made from SEED
//! read SLOT SEED [LEN]        -> equal: whether it still has them
//! free SLOT
//! total                       the size of our pool
//! sweep FIRST LAST            malloc, write, read, free for every size
//! stress SEED ROUNDS MAX      the same at random, with eight objects alive
//! print NUMBER                print it, a u64, as Rust formats it
//! ```
//!
//! And what must not be done, see `misuse.rs`:
//!
//! ```text
//! overrun SLOT LEN            write LEN bytes to the object, and free it
//! free_twice SLOT
//! read_freed SLOT             free the object and look -> looked_at, poisoned
//! ```

use crate::{
    counted,
    json::Json,
    ops::{Args, Operations},
    private::Private,
    stats,
    variants::{self, Backend},
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

/// What the operations work on.
#[pin_data]
pub(crate) struct State<B: Backend> {
    #[pin]
    private: Mutex<Option<Arc<Private<B>>>>,
}

impl<B: Backend> State<B> {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            private <- new_mutex!(None),
        })
    }

    /// Our pool, which lives on for as long as somebody uses it; `ENODEV` when there is none.
    fn private(&self) -> Result<Arc<Private<B>>> {
        self.private.lock().clone().ok_or(ENODEV)
    }

    fn pool(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let mut private = self.private.lock();
        match args.word()? {
            "new" if private.is_some() => Err(EEXIST),
            "new" => {
                let pool = Private::new(args.maybe().unwrap_or("private"))?;
                let name = pool.name(out);
                *private = Some(pool);
                name
            }
            "drop" => private.take().map(drop).ok_or(ENODEV),
            _ => Err(EINVAL),
        }
    }

    fn variant(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        if let Some(name) = args.maybe() {
            let error = match args.maybe() {
                Some(name) => stats::error_by_name(name)?,
                None => ENOMEM,
            };
            variants::choose::<B>(name, error)?;
        }
        out.str("variant", variants::current::<B>().label);
        out.object("variants", |out| {
            for variant in B::VARIANTS {
                out.str(variant.label, variant.what);
            }
        });
        Ok(())
    }
}

impl<B: Backend> Operations for State<B> {
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        match name {
            "counters" => counted::tell::<B>(out),
            "reset" => counted::reset(),
            "variant" => self.variant(args, out)?,
            "window" => counted::set_window(args.usize()?),
            "pool" => self.pool(args, out)?,
            "malloc" => self.private()?.malloc(args.usize()?, out)?,
            "malloc_locked" => self.private()?.malloc_locked(args.usize()?, out)?,
            "write" => self.private()?.write(args)?,
            "read" => self.private()?.read(args, out)?,
            "free" => self.private()?.free(args.usize()?)?,
            "total" => self.private()?.total(out)?,
            "sweep" => self.private()?.sweep(args.usize()?, args.usize()?, out)?,
            "stress" => self.private()?.stress(args, out)?,
            "overrun" => self.private()?.overrun(args)?,
            "free_twice" => self.private()?.free_twice(args.usize()?)?,
            "read_freed" => self.private()?.read_freed(args.usize()?, out)?,
            "print" => pr_info!("{} pages\n", args.usize()? as u64),
            _ => return Err(ENOENT),
        }
        Ok(())
    }
}
