// SPDX-License-Identifier: GPL-2.0-only

//! Writes one JSON object, the answer to an operation.
//!
//! Numbers are formatted in C: `core::fmt` divides 64-bit numbers, which panics on 32-bit ARM.

use core::marker::PhantomData;
use kernel::{error::Error, ffi::c_int};

/// C's `struct seq_buf`, which only C looks into.
#[repr(C)]
pub(crate) struct SeqBuf {
    _opaque: [u8; 0],
}

extern "C" {
    fn ops_put_bytes(out: *mut SeqBuf, bytes: *const u8, len: usize);
    fn ops_put_u64(out: *mut SeqBuf, value: u64);
    fn ops_put_i64(out: *mut SeqBuf, value: i64);
    fn ops_put_errname(out: *mut SeqBuf, err: c_int);
}

/// A JSON object that is being written.
///
/// # Invariants
///
/// `out` points to a `struct seq_buf` that nobody else uses for the duration of `'a`.
pub(crate) struct Json<'a> {
    out: *mut SeqBuf,
    first: bool,
    _out: PhantomData<&'a mut SeqBuf>,
}

#[allow(dead_code)]
impl<'a> Json<'a> {
    /// Starts an object.
    ///
    /// # Safety
    ///
    /// `out` must point to an initialized `struct seq_buf` that nobody else uses for the duration
    /// of `'a`.
    pub(crate) unsafe fn begin(out: *mut SeqBuf) -> Self {
        // INVARIANT: By the requirements of this function.
        let mut json = Self {
            out,
            first: true,
            _out: PhantomData,
        };
        json.raw("{");
        json
    }

    /// Ends the object.
    pub(crate) fn end(mut self) {
        self.raw("}\n");
    }

    fn raw(&mut self, text: &str) {
        // SAFETY: `out` is valid and ours by the type invariants, `text` is valid for its length.
        unsafe { ops_put_bytes(self.out, text.as_ptr(), text.len()) };
    }

    fn quoted(&mut self, text: &[u8]) {
        self.raw("\"");
        for &byte in text {
            match byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                0x20..=0x7e => {
                    // SAFETY: `out` is valid and ours by the type invariants; one byte is read.
                    unsafe { ops_put_bytes(self.out, &byte, 1) };
                }
                // What is not printable is of no use to anybody, and might not be UTF-8.
                _ => self.raw("?"),
            }
        }
        self.raw("\"");
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.raw(",");
        }
        self.first = false;
        self.quoted(key.as_bytes());
        self.raw(":");
    }

    /// Adds an unsigned number.
    pub(crate) fn u64(&mut self, key: &str, value: u64) -> &mut Self {
        self.key(key);
        // SAFETY: `out` is valid and ours by the type invariants.
        unsafe { ops_put_u64(self.out, value) };
        self
    }

    /// Adds an unsigned number of the machine's size.
    pub(crate) fn usize(&mut self, key: &str, value: usize) -> &mut Self {
        self.u64(key, value as u64)
    }

    /// Adds a signed number.
    pub(crate) fn i64(&mut self, key: &str, value: i64) -> &mut Self {
        self.key(key);
        // SAFETY: `out` is valid and ours by the type invariants.
        unsafe { ops_put_i64(self.out, value) };
        self
    }

    /// Adds a truth value.
    pub(crate) fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key);
        self.raw(if value { "true" } else { "false" });
        self
    }

    /// Adds a string.
    pub(crate) fn str(&mut self, key: &str, value: &str) -> &mut Self {
        self.bytes(key, value.as_bytes())
    }

    /// Adds a string of bytes, such as what a C string holds; those that are not printable ASCII
    /// become question marks.
    pub(crate) fn bytes(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.key(key);
        self.quoted(value);
        self
    }

    /// Adds the name of an error, such as `"EINVAL"`.
    pub(crate) fn errno(&mut self, key: &str, err: Error) -> &mut Self {
        self.key(key);
        self.raw("\"");
        // SAFETY: `out` is valid and ours by the type invariants.
        unsafe { ops_put_errname(self.out, err.to_errno()) };
        self.raw("\"");
        self
    }

    /// Adds an array of unsigned numbers.
    pub(crate) fn list(&mut self, key: &str, values: impl IntoIterator<Item = u64>) -> &mut Self {
        self.key(key);
        self.raw("[");
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            // SAFETY: `out` is valid and ours by the type invariants.
            unsafe { ops_put_u64(self.out, value) };
        }
        self.raw("]");
        self
    }

    /// Adds an object of its own, which `fill` writes.
    pub(crate) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Json<'_>)) -> &mut Self {
        self.key(key);
        self.raw("{");
        // INVARIANT: `self` is borrowed until the inner writer is gone.
        let mut inner = Json {
            out: self.out,
            first: true,
            _out: PhantomData,
        };
        fill(&mut inner);
        self.raw("}");
        self
    }
}
