// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What a call came to.

use crate::kernel_ext::trace::Amounts;
use kernel::prelude::*;

/// Why a buffer stayed where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Others use it as well, or it is not a process's to give up.
    NotOurs,
    /// It was in use.
    Busy,
    /// There was no memory for the VM that has it mapped, which has been told.
    NoMemory,
}

/// What became of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Its memory went where it was wanted.
    Moved {
        /// In CPU pages, as bytes.
        bytes: usize,
    },
    /// There was nothing to do.
    Nothing,
    /// It stayed.
    Kept(Reason),
}

/// What a call came to.
#[derive(Default)]
pub(crate) struct Outcome {
    amounts: Amounts,
    /// Something stayed because it was in use.
    busy: bool,
    error: Option<Error>,
}

impl Outcome {
    /// Counts what became of a buffer of `size` bytes. Returns whether there is a point in going
    /// on with the next.
    pub(crate) fn count(&mut self, size: usize, done: Result<Done>) -> bool {
        match done {
            Ok(Done::Moved { bytes }) => {
                self.amounts.buffers_done += 1;
                self.amounts.bytes_done += bytes as u64;
                true
            }
            Ok(Done::Nothing) => true,
            Ok(Done::Kept(reason)) => {
                self.amounts.buffers_skipped += 1;
                self.amounts.bytes_skipped += size as u64;
                self.busy |= reason == Reason::Busy;
                true
            }
            Err(e) => {
                self.amounts.buffers_skipped += 1;
                self.amounts.bytes_skipped += size as u64;
                self.fail(e);
                // The next buffer would get the same answer.
                ![EINTR, ENODEV, ENOSPC].contains(&e)
            }
        }
    }

    /// Keeps the first error.
    pub(crate) fn fail(&mut self, e: Error) {
        self.error.get_or_insert(e);
    }

    /// For the tracepoint.
    pub(crate) fn amounts(&self) -> Amounts {
        self.amounts
    }

    /// What the caller is told.
    pub(crate) fn result(&self) -> Result {
        match self.error {
            Some(e) => Err(e),
            None if self.busy => Err(EBUSY),
            None => Ok(()),
        }
    }
}
