// SPDX-License-Identifier: GPL-2.0-only

//! The operations file of a module: one line in, one JSON object out.

use crate::json::{Json, SeqBuf};
use core::ffi::c_void;
use kernel::{error::to_result, ffi::c_int, prelude::*, sync::Arc};

type Run = unsafe extern "C" fn(data: *mut c_void, line: *const u8, len: usize, out: *mut SeqBuf);

extern "C" {
    fn ops_register(run: Run, data: *mut c_void) -> c_int;
    fn ops_unregister();
}

/// The words of an operation's line that follow its name.
pub(crate) struct Args<'a> {
    words: core::str::SplitAsciiWhitespace<'a>,
}

#[allow(dead_code)]
impl<'a> Args<'a> {
    /// The next word; `EINVAL` when there is none.
    pub(crate) fn word(&mut self) -> Result<&'a str> {
        self.words.next().ok_or(EINVAL)
    }

    /// The next word, if there is one.
    pub(crate) fn maybe(&mut self) -> Option<&'a str> {
        self.words.next()
    }

    /// The next word as a decimal number; `EINVAL` when there is none or it is none.
    pub(crate) fn usize(&mut self) -> Result<usize> {
        self.word()?.parse().map_err(|_| EINVAL)
    }

    /// The next word as a decimal number, or `default` when there is no word.
    pub(crate) fn usize_or(&mut self, default: usize) -> Result<usize> {
        match self.maybe() {
            Some(word) => word.parse().map_err(|_| EINVAL),
            None => Ok(default),
        }
    }
}

/// What a module can be asked to do.
pub(crate) trait Operations: Send + Sync {
    /// Runs the operation called `name` and adds what there is to say about it to `out`.
    ///
    /// Called in process context without locks, by several tasks at once if they want to. What was
    /// added to `out` before an error is returned stays part of the answer.
    fn run(&self, name: &str, args: &mut Args<'_>, out: &mut Json<'_>) -> Result;
}

/// The operations file, for as long as this lives.
pub(crate) struct Registration<T: Operations> {
    // Held for `run_line`, which is given a pointer to its content.
    _operations: Arc<T>,
}

impl<T: Operations> Registration<T> {
    /// Makes the operations file. A module can have one.
    pub(crate) fn new(operations: Arc<T>) -> Result<Self> {
        let data: *const T = &*operations;
        // SAFETY: `data` stays valid until the file is removed in `drop`, because the registration
        // holds a reference; `run_line::<T>` wants a pointer to a `T`.
        to_result(unsafe { ops_register(run_line::<T>, data.cast_mut().cast()) })?;
        Ok(Self {
            _operations: operations,
        })
    }
}

impl<T: Operations> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: The file was made by `new`. No operation runs any more when this returns.
        unsafe { ops_unregister() };
    }
}

/// # Safety
///
/// `data` must point to a `T`, `line` to `len` bytes, and `out` to an initialized `struct seq_buf`
/// that nobody else uses during the call.
unsafe extern "C" fn run_line<T: Operations>(
    data: *mut c_void,
    line: *const u8,
    len: usize,
    out: *mut SeqBuf,
) {
    // SAFETY: `data` points to a `T` by the requirements of this function.
    let operations = unsafe { &*data.cast::<T>() };
    // SAFETY: `line` points to `len` bytes by the requirements of this function.
    let line = unsafe { core::slice::from_raw_parts(line, len) };
    // SAFETY: `out` is ours during the call by the requirements of this function.
    let mut json = unsafe { Json::begin(out) };

    let result = (|| {
        let line = core::str::from_utf8(line).map_err(|_| EINVAL)?;
        let mut args = Args {
            words: line.split_ascii_whitespace(),
        };
        let name = args.word()?;
        operations.run(name, &mut args, &mut json)
    })();

    json.bool("ok", result.is_ok());
    if let Err(err) = result {
        json.errno("errno", err);
    }
    json.end();
}
