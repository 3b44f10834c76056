// SPDX-License-Identifier: GPL-2.0-only

//! The kernel's own pages in Rust, driven from a file in debugfs.
//!
//! Not an abstraction of ours: [`kernel::page::Page`] as the kernel has it. Operations:
//!
//! | operation | what it does and answers |
//! |---|---|
//! | `info` | page size, what the kernel was configured with |
//! | `alloc [highmem]` | a new page in a free slot: `slot`, whether it is highmem or has an address |
//! | `free SLOT` | drops the page |
//! | `write SLOT OFFSET LEN SEED` | writes content |
//! | `zero SLOT OFFSET LEN` | writes zeroes |
//! | `check SLOT OFFSET LEN SEED` | reads, and counts the bytes that differ from the content |
//! | `counters` | calls since the module was loaded |
//! | `variant NAME` | does things wrong from now on; `none` for right |

use kernel::{prelude::*, sync::Arc};

#[path = "../common/choice.rs"]
mod choice;
#[path = "../common/content.rs"]
mod content;
#[path = "../common/json.rs"]
mod json;
mod operations;
#[path = "../common/ops.rs"]
mod ops;
mod variants;

module! {
    type: PageModule,
    name: "rust_page",
    authors: ["The rust-mm-harness authors"],
    description: "Pages in Rust, with a file of operations on them",
    license: "GPL",
}

struct PageModule {
    _ops: ops::Registration<operations::State>,
}

impl kernel::Module for PageModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let state = Arc::pin_init(operations::State::new(), GFP_KERNEL)?;
        Ok(Self {
            _ops: ops::Registration::new(state)?,
        })
    }
}
