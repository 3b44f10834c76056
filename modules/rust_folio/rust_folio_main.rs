// SPDX-License-Identifier: GPL-2.0-only

//! Folios, driven from a file in debugfs.
//!
//! The abstraction is `folio.rs`, `kmap.rs` and `deferred.rs`; `guards.rs` has what they are compared
//! with. All else is here to drive them. Operations:
//!
//! | operation | what it does and answers |
//! |---|---|
//! | `info` | page size, largest order, what the kernel was configured with |
//! | `alloc ORDER [highmem]` | a new folio in a free slot: `slot` and what `state` says |
//! | `state SLOT` | size, order, references, flags |
//! | `free SLOT` | drops the folio |
//! | `map SLOT OFFSET` | maps with a guard: how much of the folio is seen, and where it is mapped |
//! | `map_index SLOT INDEX` | maps a page by its index |
//! | `write SLOT OFFSET LEN SEED` | writes content under the folio lock |
//! | `zero_out SLOT OFFSET LEN` | writes zeroes under the folio lock |
//! | `check SLOT OFFSET LEN SEED\|zero` | compares content, through mappings |
//! | `read SLOT OFFSET LEN` | up to 1024 bytes in hexadecimal, copied under the folio lock |
//! | `copy FROM TO guards\|closures` | copies a folio, both mapped at once |
//! | `refs SLOT N` | clones N references, then drops them |
//! | `lock SLOT` | takes the lock, and tries to take it again |
//! | `force on\|off` | has `kmap_local` really map in a kernel without highmem that can |
//! | `nest [apart] closures\|guards SEED SLOT...` | maps folios above each other, and looks at all of them |
//! | `play [apart] local\|global\|deferred STEP...` | makes and drops guards in any order (`play.rs`) |
//! | `beside SLOT SEED SLOT SEED ROUNDS` | two tasks on one CPU map and sleep |
//! | `alias SLOT OFFSET LEN SEED` | writes through one mapping, reads through two others |
//! | `walk SLOT` | how many mappings it takes to see a folio |
//! | `unmap_stray user\|SLOT` | `kunmap_local()` of an address that is no mapping |
//! | `counters` | calls of C since the module was loaded |
//! | `variant NAME` | does things wrong from now on; `none` for right |

use kernel::{prelude::*, sync::Arc};

// Public as in the kernel crate, where these would be.
#[allow(unreachable_pub)]
mod access;
#[path = "../common/choice.rs"]
mod choice;
#[path = "../common/content.rs"]
mod content;
#[allow(unreachable_pub)]
mod deferred;
#[allow(unreachable_pub)]
mod folio;
#[allow(unreachable_pub)]
mod guards;
mod helpers;
#[path = "../common/json.rs"]
mod json;
#[allow(unreachable_pub)]
mod kmap;
mod kmap_operations;
mod operations;
#[path = "../common/ops.rs"]
mod ops;
mod play;
mod slots;
mod tasks;
mod trace;
mod variants;

module! {
    type: FolioModule,
    name: "rust_folio",
    authors: ["The rust-mm-harness authors"],
    description: "Folios in Rust, with a file of operations on them",
    license: "GPL",
}

struct FolioModule {
    _ops: ops::Registration<operations::State>,
}

impl kernel::Module for FolioModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let state = Arc::pin_init(operations::State::new(), GFP_KERNEL)?;
        Ok(Self {
            _ops: ops::Registration::new(state)?,
        })
    }
}
