// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Names that userspace gives to its buffers.

use crate::kernel_ext::uaccess;
use kernel::prelude::*;

/// The longest label, with the NUL at its end.
pub(crate) const LABEL_MAX: usize = 4096;

/// What userspace calls a buffer.
pub(super) enum Label {
    /// Nothing.
    None,
    /// A name, which may be empty.
    Name(KVec<u8>),
}

impl Label {
    /// Copies a label from userspace; zero is no label. `E2BIG` when it is too long, `EFAULT` when
    /// it cannot be read.
    pub(super) fn from_user(addr: u64) -> Result<Self> {
        if addr == 0 {
            return Ok(Self::None);
        }
        Ok(Self::Name(uaccess::strndup_user(addr, LABEL_MAX)?))
    }

    /// The text, empty where there is none.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Name(name) => name,
        }
    }
}
