// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tracepoints, which are defined in `panthor_trace.h`.

use super::{bindings, pid::Pid};
use kernel::{prelude::*, time::Delta};

/// What a call for the memory of a process has done.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// Buffers that are now as was asked.
    pub(crate) buffers_done: u64,
    /// Buffers that had to be left as they were.
    pub(crate) buffers_skipped: u64,
    /// Bytes in the former, in pages of the CPU.
    pub(crate) bytes_done: u64,
    /// Bytes in the latter.
    pub(crate) bytes_skipped: u64,
}

impl Amounts {
    fn raw(&self) -> bindings::kx_mem_amounts {
        bindings::kx_mem_amounts {
            buffers_done: self.buffers_done,
            buffers_skipped: self.buffers_skipped,
            bytes_done: self.bytes_done,
            bytes_skipped: self.bytes_skipped,
        }
    }
}

/// The errno of a result, or 0.
fn errno(result: &Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// `panthor:mem_reclaim`, at the end of such a call.
pub(crate) fn mem_reclaim(tgid: &Pid, amounts: &Amounts, duration: Delta, result: &Result) {
    // SAFETY: The pointer is valid.
    unsafe {
        bindings::kx_trace_mem_reclaim(
            tgid.nr(),
            &amounts.raw(),
            duration.as_nanos(),
            errno(result),
        )
    };
}

/// `panthor:mem_claim`, at the end of such a call.
pub(crate) fn mem_claim(tgid: &Pid, amounts: &Amounts, duration: Delta, result: &Result) {
    // SAFETY: The pointer is valid.
    unsafe {
        bindings::kx_trace_mem_claim(
            tgid.nr(),
            &amounts.raw(),
            duration.as_nanos(),
            errno(result),
        )
    };
}
