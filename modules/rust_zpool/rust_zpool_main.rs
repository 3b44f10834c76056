// SPDX-License-Identifier: GPL-2.0-only

//! A zpool back end in Rust: a driver of pools, counted, with wrong twins and an operations file.

use buckets::Buckets;
use counted::Counted;
use folios::Folios;
use kernel::{prelude::*, sync::Arc};
use variants::Backend;

#[path = "../common/json.rs"]
mod json;
#[path = "../common/ops.rs"]
mod ops;

mod adapter;
mod buckets;
mod context;
mod counted;
mod folios;
mod gfp;
mod misuse;
mod operations;
mod private;
mod stats;
mod twins;
mod variants;
mod zpool;

module! {
    type: RustZpool,
    name: "rust_zpool",
    authors: ["The harness's authors"],
    description: "A zpool back end in Rust",
    license: "GPL",
    alias: ["zpool-rust_zpool"],
    params: {
        folios: bool {
            default: false,
            description: "Store in pages that may be high memory, and not in buckets",
        },
        owner: bool {
            default: true,
            description: "Keep the module loaded while it is used; without it, this is a wrong twin",
        },
    },
}

/// The module, with the driver that it was told to register.
enum RustZpool {
    Buckets(#[expect(dead_code)] Loaded<Buckets>),
    Folios(#[expect(dead_code)] Loaded<Folios>),
}

/// What there is while the module is loaded. The fields are dropped from the first to the last: no
/// pool can be made any more when the operations end, and nobody counts any more when the records do.
struct Loaded<B: Backend> {
    _registration: Pin<KBox<adapter::Registration<Counted<B>>>>,
    _operations: ops::Registration<operations::State<B>>,
    _records: counted::Records,
}

impl<B: Backend> Loaded<B> {
    /// # Safety
    ///
    /// Must be called once, in the init function, which must return what this does.
    unsafe fn new(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: By the requirements of this function. Nothing ran before.
        let records = unsafe { counted::Records::init() };
        // SAFETY: As above.
        unsafe { twins::init() };
        let state = Arc::pin_init(operations::State::new(), GFP_KERNEL)?;
        let operations = ops::Registration::new(state)?;
        let owner = module_parameters::owner.value().then_some(module);
        // SAFETY: This is the last that can fail, and the registration is dropped with the module,
        // in its exit function. Without an owner that is wrong, which is what the parameter is for.
        let registration = unsafe { adapter::Registration::register(c"rust_zpool", owner) };
        Ok(Self {
            _registration: KBox::pin_init(registration, GFP_KERNEL)?,
            _operations: operations,
            _records: records,
        })
    }
}

impl kernel::Module for RustZpool {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The init function runs once, does nothing else, and calls this once.
        unsafe {
            Ok(if module_parameters::folios.value() {
                Self::Folios(Loaded::new(module)?)
            } else {
                Self::Buckets(Loaded::new(module)?)
            })
        }
    }
}
