// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The engine behind `mem_reclaim` and `mem_claim`.

use crate::{kernel_ext::pid::Pid, PanthorDevice};
use kernel::{prelude::*, sync::aref::ARef};

/// How far `mem_reclaim` gets on this kernel.
#[derive(Clone, Copy)]
pub(crate) enum ReclaimMode {
    /// Memory is on the swap device when it returns.
    Swap,
    /// Memory is given up: the kernel swaps it out when it needs to.
    Evict,
}

impl ReclaimMode {
    /// What this kernel can do.
    pub(crate) const fn current() -> Self {
        if cfg!(PANTHOR_HAS_SHMEM_RECLAIM) {
            Self::Swap
        } else {
            Self::Evict
        }
    }

    /// The name in sysfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Evict => "evict",
        }
    }
}

/// Gives the memory of a process up.
pub(crate) fn reclaim(dev: &ARef<PanthorDevice>, tgid: &Pid) -> Result {
    if dev.files_of(tgid)?.is_empty() {
        return Err(ESRCH);
    }
    Err(EOPNOTSUPP)
}

/// Brings it back.
pub(crate) fn claim(dev: &ARef<PanthorDevice>, tgid: &Pid) -> Result {
    reclaim(dev, tgid)
}
