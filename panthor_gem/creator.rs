// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Which process made a buffer, for people who look for memory.

use crate::kernel_ext::task;
use kernel::{
    prelude::*,
    str::{BStr, CString},
};

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
    /// `NAME/TGID`. `ENOMEM`.
    pub(super) fn text(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!(
            "{}/{}",
            BStr::from_bytes(self.name.bytes()),
            self.tgid
        ))
    }
}
