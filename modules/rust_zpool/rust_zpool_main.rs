// SPDX-License-Identifier: GPL-2.0-only

//! A zpool back end in Rust: a driver of pools, counted, with wrong twins and an operations file.

use kernel::{prelude::*, sync::Arc};

#[path = "../common/json.rs"]
mod json;
#[path = "../common/ops.rs"]
mod ops;

mod buckets;
mod context;
mod counted;
mod operations;
mod private;
mod stats;
mod variants;
mod zpool;

module! {
    type: RustZpool,
    name: "rust_zpool",
    authors: ["The harness's authors"],
    description: "A zpool back end in Rust",
    license: "GPL",
    alias: ["zpool-rust_zpool"],
}

/// The module. Its fields are dropped from the first to the last: no pool can be made any more when
/// the operations end, and nobody counts any more when the records do.
struct RustZpool {
    _registration: Pin<KBox<zpool::Registration<counted::Counted>>>,
    _operations: ops::Registration<operations::State>,
    _records: counted::Records,
}

impl kernel::Module for RustZpool {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The init function runs once, and this is the first that it does.
        let records = unsafe { counted::Records::init() };
        let state = Arc::pin_init(operations::State::new(), GFP_KERNEL)?;
        let operations = ops::Registration::new(state)?;
        // SAFETY: This is the last that can fail, and the registration is dropped with the module,
        // in its exit function.
        let registration = unsafe { zpool::Registration::register(c"rust_zpool", module) };
        Ok(Self {
            _registration: KBox::pin_init(registration, GFP_KERNEL)?,
            _operations: operations,
            _records: records,
        })
    }
}
