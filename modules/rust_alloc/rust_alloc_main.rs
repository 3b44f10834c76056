// SPDX-License-Identifier: GPL-2.0-only

//! Allocates memory in all the ways of the kernel crate, and from caches of objects.
//!
//! | operation | what it does |
//! |---|---|
//! | `vec KIND COUNT GFP [CONTEXT]` | pushes COUNT numbers to an empty vector: `kvec`, `vvec`, `kvvec` |
//! | `box KIND GFP [CONTEXT]` | allocates and fills a box: `kbox`, `vbox`, `kvbox` |
//! | `cache NAME [merge]` | makes a cache of objects, which the kernel may merge with another |
//! | `twin NAME` | makes another one, which the kernel may merge with that |
//! | `untwin` | destroys that one |
//! | `take COUNT GFP [CONTEXT]` | allocates COUNT objects of it |
//! | `give COUNT` | frees the last COUNT objects |
//! | `lose COUNT` | leaks the last COUNT objects |
//! | `close` | frees all objects that are left, and destroys the cache |
//! | `items` | how many objects there are, were made and were dropped, and whether they are right |
//! | `align ALIGN COUNT` | how many of COUNT objects of each of several sizes are aligned |
//!
//! GFP is `kernel`, `account`, `atomic`, `nowait` or `zero` (and `kernel`); CONTEXT is `task`, unless
//! it is `spinlock`, or `irq` for one that disables interrupts. The answer says what the context
//! allowed.

use kernel::{
    error::code::*,
    prelude::*,
    str::CString,
    sync::{new_mutex, Arc, Mutex},
};

mod context;
// Complete and public, to be moved into the kernel crate as they are.
#[allow(dead_code, unreachable_pub)]
mod gfp;
#[path = "../common/json.rs"]
mod json;
#[allow(dead_code, unreachable_pub)]
mod kmem_cache;
#[path = "../common/ops.rs"]
mod ops;
mod stock;
mod vectors;

use context::Contexts;
use gfp::Gfp;
use json::Json;
use kmem_cache::KMemCache;
use ops::{Args, Operations};
use stock::{Item, Stock};

module! {
    type: Module,
    name: "rust_alloc",
    authors: ["The rust-mm-harness authors"],
    description: "Allocates memory in all the ways that Rust has in the kernel",
    license: "GPL",
}

/// What the operations work on.
#[pin_data]
struct Control {
    #[pin]
    contexts: Contexts,
    #[pin]
    stock: Mutex<Option<Stock>>,
    #[pin]
    twin: Mutex<Option<KMemCache<Item>>>,
}

impl Control {
    fn open(&self, name: &str, never_merge: bool) -> Result {
        let name = CString::try_from_fmt(fmt!("{name}"))?;
        let stock: &mut Option<Stock> = &mut self.stock.lock();
        if stock.is_some() {
            return Err(EBUSY);
        }
        *stock = Some(Stock::new(stock::cache(&name, never_merge)?)?);
        Ok(())
    }

    fn open_twin(&self, name: &str) -> Result {
        let name = CString::try_from_fmt(fmt!("{name}"))?;
        let twin: &mut Option<KMemCache<Item>> = &mut self.twin.lock();
        if twin.is_some() {
            return Err(EBUSY);
        }
        *twin = Some(stock::cache(&name, false)?);
        Ok(())
    }

    fn close_twin(&self) -> Result {
        self.twin.lock().take().map(drop).ok_or(ENODEV)
    }

    fn close(&self) -> Result {
        self.stock.lock().take().map(drop).ok_or(ENODEV)
    }

    fn with_stock(&self, f: impl FnOnce(&mut Stock) -> Result) -> Result {
        let stock: &mut Option<Stock> = &mut self.stock.lock();
        f(stock.as_mut().ok_or(ENODEV)?)
    }

    fn take(&self, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        let (count, gfp) = (args.usize()?, Gfp::named(args.word()?)?);
        let context = args.maybe().unwrap_or("task");
        self.with_stock(|stock| stock.take(count, gfp, &self.contexts, context, out))
    }

    fn show(&self, out: &mut Json<'_>) -> Result {
        stock::show_totals(out);
        if let Some(stock) = &*self.stock.lock() {
            stock.show(out);
        }
        Ok(())
    }
}

impl Operations for Control {
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result {
        match name {
            "vec" => vectors::vec(&self.contexts, args, out),
            "box" => vectors::one_box(&self.contexts, args, out),
            "cache" => {
                let name = args.word()?;
                match args.maybe() {
                    None => self.open(name, true),
                    Some("merge") => self.open(name, false),
                    Some(_) => Err(EINVAL),
                }
            }
            "twin" => self.open_twin(args.word()?),
            "untwin" => self.close_twin(),
            "take" => self.take(args, out),
            "give" => {
                let count = args.usize()?;
                self.with_stock(|stock| stock.give(count))
            }
            "lose" => {
                let count = args.usize()?;
                self.with_stock(|stock| stock.lose(count))
            }
            "close" => self.close(),
            "items" => self.show(out),
            "align" => {
                let align = args.usize()?;
                stock::align(align, args.usize()?, out)
            }
            _ => Err(ENOENT),
        }
    }
}

struct Module {
    _operations: ops::Registration<Control>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let control = Arc::pin_init(
            pin_init!(Control {
                contexts <- Contexts::new(),
                stock <- new_mutex!(None, "rust_alloc::stock"),
                twin <- new_mutex!(None, "rust_alloc::twin"),
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _operations: ops::Registration::new(control)?,
        })
    }
}
