// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Which process made a buffer, for people who look for memory.

use crate::kernel_ext::task;
use kernel::{seq_file::SeqFile, seq_print, str::BStr};

/// The process that made a buffer, by its name at that time.
#[derive(Clone, Copy)]
pub(super) struct Creator {
    name: task::Comm,
    tgid: i32,
}

impl Creator {
    /// The current process.
    pub(super) fn current() -> Self {
        Self {
            name: task::current_group_comm(),
            tgid: task::current_tgid(),
        }
    }
}

impl Creator {
    /// Writes `NAME/TGID`, and blanks up to a width.
    pub(super) fn show(&self, m: &SeqFile, width: usize) {
        let name = self.name.bytes();
        let digits = self.tgid.checked_ilog10().unwrap_or(0) as usize + 1;
        let blanks = width.saturating_sub(name.len() + 1 + digits);
        seq_print!(m, "{}/{}{:blanks$}", BStr::from_bytes(name), self.tgid, "");
    }
}
