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
//! | `free_data` | frees the private data and leaves the shrinker registered: wrong |
//! | `leak` | loses the registration, so that the module can be unloaded under it: wrong |
//! | `populate N` | adds N objects, a page each |
//! | `populate_locked N` | the same, and allocates them with the cache's lock held |
//! | `press` | takes memory until this task has to reclaim, and gives it back |
//! | `press_locked` | the same, with the cache's lock held |
//! | `drain` | frees all objects |
//! | `hoard PAGES` | keeps so many free pages from everybody else |
//! | `release` | gives those back |
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
    sync::{new_mutex, Arc, Mutex},
};

// This and `shrinker` are complete and public, to be moved into the kernel crate as they are.
#[allow(dead_code, unreachable_pub)]
mod answers;
mod attached;
mod cache;
#[path = "../common/choice.rs"]
mod choice;
#[path = "../common/json.rs"]
mod json;
#[path = "../common/ops.rs"]
mod ops;
mod pressure;
#[allow(dead_code, unreachable_pub)]
mod shrinker;
mod stats;
mod variants;

use answers::{CountObjects, ScanObjects};
use attached::Attached;
use cache::Cache;
use choice::Choice;
use json::Json;
use ops::{Args, Operations};
use pressure::Hoard;
use shrinker::{ScanControl, ShrinkControl, Shrinker, ShrinkerBuilder};
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
    variant: Choice<Variant>,
}

/// The private data of one registration, which nobody but its callbacks refers to.
#[repr(C)]
struct Private {
    /// Of an object that is freed, the allocator and KASAN write over the beginning and the middle.
    /// The pointer is neither, so a callback that comes too late is caught reading it, and then goes on.
    /// Nor is the object soon somebody else's: it is of `kmalloc-8k`, the largest and the least asked
    /// for. Of `kmalloc-2k`, every reader of /proc/vmstat takes one.
    _room: [u8; 5000],
    shared: Arc<Shared>,
}

struct PageShrinker;

impl Shrinker for PageShrinker {
    type Ptr = KBox<Private>;

    fn count_objects(private: &Private, sc: ShrinkControl<'_>) -> CountObjects {
        let shared = &*private.shared;
        shared
            .stats
            .counted(&Caller::current(), sc.reclaim_fs_allowed());
        (shared.variant.get().count)(shared.cache.len())
    }

    fn scan_objects(private: &Private, mut sc: ScanControl<'_>) -> ScanObjects {
        let shared = &*private.shared;
        let caller = Caller::current();
        shared
            .stats
            .scanning(&caller, sc.reclaim_fs_allowed(), sc.nr_to_scan());
        let result = (shared.variant.get().scan)(&shared.cache, &mut sc);
        shared.stats.scanned(&caller, result);
        result
    }
}

/// What the operations work on.
#[pin_data]
struct Control {
    shared: Arc<Shared>,
    /// No callback waits for this lock, so that a shrinker may be dropped under it.
    #[pin]
    attached: Mutex<Option<Attached>>,
    hoard: Hoard,
}

impl Control {
    fn register(&self, builder: ShrinkerBuilder) -> Result {
        let private = KBox::init(
            init!(Private {
                _room <- pin_init::init_zeroed(),
                shared: self.shared.clone(),
            }),
            GFP_KERNEL,
        )?;
        let mut attached = self.attached.lock();
        if attached.is_some() {
            return Err(EBUSY);
        }
        *attached = Some(Attached::new(builder.register(private)));
        Ok(())
    }

    fn unregister(&self) -> Result {
        self.attached.lock().take().map(drop).ok_or(ENODEV)
    }

    fn free_data(&self) -> Result {
        let attached: &mut Option<Attached> = &mut self.attached.lock();
        attached.as_mut().ok_or(ENODEV)?.free_data()
    }

    fn leak(&self) -> Result {
        let attached = self.attached.lock().take();
        attached.map(core::mem::forget).ok_or(ENODEV)
    }

    fn populate(&self, locked: bool, count: usize, out: &mut Json<'_>) -> Result {
        let cache = &self.shared.cache;
        let result = if locked {
            cache.populate_locked(count)
        } else {
            cache.populate(count)
        };
        out.usize("objects", cache.len());
        result
    }

    fn press(&self, locked: bool, out: &mut Json<'_>) -> Result {
        let pressed = self.shared.cache.press(locked);
        out.usize("took", pressed.took).bool("found", pressed.found);
        Ok(())
    }

    fn show_counters(&self, out: &mut Json<'_>) {
        out.usize("objects", self.shared.cache.len())
            .bool("registered", self.attached.lock().is_some())
            .str("variant", self.shared.variant.name());
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
            "free_data" => self.free_data(),
            "leak" => self.leak(),
            "populate" => self.populate(false, args.usize()?, out),
            "populate_locked" => self.populate(true, args.usize()?, out),
            "press" => self.press(false, out),
            "press_locked" => self.press(true, out),
            "drain" => {
                out.usize("freed", self.shared.cache.drain());
                Ok(())
            }
            "hoard" => {
                out.usize("took", self.hoard.take(args.usize()?));
                Ok(())
            }
            "release" => {
                self.hoard.release();
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
            "variant" => self.shared.variant.choose(args, out),
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
                variant: Choice::new(&VARIANTS),
            }),
            GFP_KERNEL,
        )?;
        let control = Arc::pin_init(
            pin_init!(Control {
                shared,
                attached <- new_mutex!(None, "rust_shrinker::attached"),
                hoard: Hoard::new(),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _operations: ops::Registration::new(control)?,
        })
    }
}
