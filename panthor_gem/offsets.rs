// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The offsets that buffers have for `mmap()`.
//!
//! All buffers of a device have theirs in one range. A buffer that asks for one takes as much of it
//! as it has bytes, memory or not, until it is freed: one file gets no more than a share, so that
//! there is something left for others.

use crate::kernel_ext::{drm::gem::MMAP_OFFSETS, swap};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// How many files must each have all of their share before there is nothing left.
const SHARES: u64 = 32;

/// What a file may have of `all` bytes of offsets, on a machine with `memory` bytes: a fixed part,
/// or twice the memory, which is more than it can use, but never more than half.
pub(crate) fn share(all: u64, memory: u64) -> u64 {
    (all / SHARES).max(memory.saturating_mul(2)).min(all / 2)
}

/// What a file has of the offsets of its device.
///
/// It lives as long as the file and the buffers that have offsets out of it.
pub(crate) struct OffsetShare {
    /// Bytes.
    used: Atomic<u64>,
}

impl OffsetShare {
    /// Of a file that has none yet. `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                used: Atomic::new(0),
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Takes as much as a buffer of `bytes` needs. `ENOSPC` when there is no more for this file.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Result<Offset> {
        let memory = (swap::ram_pages() as u64).saturating_mul(PAGE_SIZE as u64);
        let limit = share(MMAP_OFFSETS, memory);
        let mut used = self.used.load(Relaxed);
        loop {
            let new = used
                .checked_add(bytes)
                .filter(|new| *new <= limit)
                .ok_or(ENOSPC)?;
            match self.used.cmpxchg(used, new, Relaxed) {
                Ok(_) => break,
                Err(now) => used = now,
            }
        }
        Ok(Offset {
            share: self.clone(),
            bytes,
        })
    }
}

/// The offset of a buffer, out of the share of a file, which gets it back when this is dropped.
pub(super) struct Offset {
    share: Arc<OffsetShare>,
    bytes: u64,
}

impl Drop for Offset {
    fn drop(&mut self) {
        self.share.used.fetch_sub(self.bytes, Relaxed);
    }
}
