// SPDX-License-Identifier: GPL-2.0-only

//! A cache of pages with a shrinker, which is told by operations what to do and tells what it saw.
//!
//! | operation | what it does |
//! |---|---|
//! | `register [NAME]` | registers the shrinker, called `rust_shrinker` or NAME |
//! | `register_fmt NAME NUMBER` | the same, with `NAME:NUMBER`, formatted in Rust, as its name |
//! | `unregister` | unregisters it; `ENODEV` when there is none |
//! | `abandon NAME TIMES` | makes a shrinker and drops it without registering it, TIMES times |
//! | `forget NAME TIMES` | the same, but loses the memory |
//! | `populate N` | adds N objects, a page each |
//! | `drain` | frees all objects |
//! | `counters` | what the callbacks saw |
//! | `reset` | sets the counters to 0 |
//! | `variant NAME` | answers in another way, see `variants.rs`; `none` is the right one |
//! | `raw` | values of the callbacks' answers, as C gets them |
//!
//! The shrinker is not registered when the module is loaded.

use kernel::{
    error::code::*,
    prelude::*,
    str::CString,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Arc, ArcBorrow, Mutex,
    },
};

mod cache;
#[path = "../common/json.rs"]
mod json;
#[path = "../common/ops.rs"]
mod ops;
// It is complete and public, to be moved into the kernel crate as it is.
#[allow(dead_code, unreachable_pub)]
mod shrinker;
mod stats;
mod variants;

use cache::Cache;
use json::Json;
use ops::{Args, Operations};
use shrinker::{
    CountObjects, ScanControl, ScanObjects, ShrinkControl, Shrinker, ShrinkerBuilder,
    ShrinkerRegistration,
};
use stats::{Caller, Stats};
use variants::{Variant, VARIANTS};

module! {
    type: Module,
    name: "rust_shrinker",
    authors: ["The rust-mm-harness authors"],
    description: "A cache of pages with a shrinker in Rust",
    license: "GPL",
}

/// What the callbacks work on.
#[pin_data]
struct Shared {
    #[pin]
    cache: Cache,
    #[pin]
    stats: Stats,
    /// An index of `VARIANTS`.
    variant: Atomic<usize>,
}

impl Shared {
    fn variant(&self) -> &'static Variant {
        &VARIANTS[self.variant.load(Relaxed)]
    }
}

struct PageShrinker;

impl Shrinker for PageShrinker {
    type Ptr = Arc<Shared>;

    fn count_objects(shared: ArcBorrow<'_, Shared>, sc: ShrinkControl<'_>) -> CountObjects {
        shared
            .stats
            .counted(&Caller::current(), sc.reclaim_fs_allowed());
        (shared.variant().count)(shared.cache.len())
    }

    fn scan_objects(shared: ArcBorrow<'_, Shared>, mut sc: ScanControl<'_>) -> ScanObjects {
        shared
            .stats
            .scanning(&Caller::current(), sc.reclaim_fs_allowed(), sc.nr_to_scan());
        let result = (shared.variant().scan)(&shared.cache, &mut sc);
        shared.stats.scanned(result);
        result
    }
}

/// What the operations work on.
#[pin_data]
struct Control {
    shared: Arc<Shared>,
    /// No callback waits for this lock, so that a shrinker may be dropped under it.
    #[pin]
    registration: Mutex<Option<ShrinkerRegistration<PageShrinker>>>,
}

impl Control {
    fn register(&self, builder: ShrinkerBuilder) -> Result {
        let mut registration = self.registration.lock();
        if registration.is_some() {
            return Err(EBUSY);
        }
        *registration = Some(builder.register(self.shared.clone()));
        Ok(())
    }

    fn unregister(&self) -> Result {
        self.registration.lock().take().map(drop).ok_or(ENODEV)
    }

    fn set_variant(&self, name: &str) -> Result {
        let index = VARIANTS.iter().position(|variant| variant.name == name);
        self.shared.variant.store(index.ok_or(EINVAL)?, Relaxed);
        Ok(())
    }

    fn populate(&self, count: usize, out: &mut Json<'_>) -> Result {
        let result = self.shared.cache.populate(count);
        out.usize("objects", self.shared.cache.len());
        result
    }

    fn show_counters(&self, out: &mut Json<'_>) {
        out.usize("objects", self.shared.cache.len())
            .bool("registered", self.registration.lock().is_some())
            .str("variant", self.shared.variant().name);
        self.shared.stats.show(out);
    }
}

impl Operations for Control {
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        match name {
            "register" => {
                let name = c_string(args.maybe().unwrap_or("rust_shrinker"))?;
                self.register(ShrinkerBuilder::new(&name)?)
            }
            "register_fmt" => {
                let (name, number) = (args.word()?, args.usize()?);
                self.register(ShrinkerBuilder::new_fmt(fmt!("{name}:{number}"))?)
            }
            "unregister" => self.unregister(),
            "abandon" => each_builder(args, drop),
            "forget" => each_builder(args, core::mem::forget),
            "populate" => self.populate(args.usize()?, out),
            "drain" => {
                out.usize("freed", self.shared.cache.drain());
                Ok(())
            }
            "counters" => {
                self.show_counters(out);
                Ok(())
            }
            "reset" => {
                self.shared.stats.reset();
                Ok(())
            }
            "variant" => self.set_variant(args.word()?),
            "raw" => {
                show_raw(out);
                Ok(())
            }
            _ => Err(ENOENT),
        }
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::try_from_fmt(fmt!("{text}"))
}

/// Makes as many builders as `args` say and hands each to `end`.
fn each_builder(args: &mut Args<'_>, end: fn(ShrinkerBuilder)) -> Result {
    let name = c_string(args.word()?)?;
    for _ in 0..args.usize()? {
        end(ShrinkerBuilder::new(&name)?);
    }
    Ok(())
}

/// Adds what C gets for the answers there are.
fn show_raw(out: &mut Json<'_>) {
    for (key, count) in [
        ("count_unknown", CountObjects::UNKNOWN),
        ("count_empty", CountObjects::EMPTY),
        ("count_max", CountObjects::MAX),
        ("count_of_0", CountObjects::from_count(0)),
        ("count_of_1", CountObjects::from_count(1)),
        ("count_of_usize_max", CountObjects::from_count(usize::MAX)),
    ] {
        out.usize(key, count.into_raw());
    }
    for (key, scan) in [
        ("scan_stop", ScanObjects::STOP),
        ("scan_max", ScanObjects::MAX),
        ("scan_of_0", ScanObjects::from_count(0)),
        ("scan_of_usize_max", ScanObjects::from_count(usize::MAX)),
    ] {
        out.usize(key, scan.into_raw());
    }
    out.usize("usize_max", usize::MAX);
}

struct Module {
    _operations: ops::Registration<Control>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared {
                cache <- Cache::new(),
                stats <- Stats::new(),
                variant: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let control = Arc::pin_init(
            pin_init!(Control {
                shared,
                registration <- new_mutex!(None, "rust_shrinker::registration"),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _operations: ops::Registration::new(control)?,
        })
    }
}
