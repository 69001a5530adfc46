// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What the driver keeps for each open file of the device.

use crate::PanthorDevice;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
    uapi,
};

/// Offset of the user MMIO area for a process with 32-bit file offsets, in bytes.
pub(crate) const USER_MMIO_OFFSET_32BIT: u64 = uapi::DRM_PANTHOR_USER_MMIO_OFFSET_32BIT as u64;
/// Offset of the user MMIO area for a process with 64-bit file offsets, in bytes.
pub(crate) const USER_MMIO_OFFSET_64BIT: u64 = uapi::DRM_PANTHOR_USER_MMIO_OFFSET_64BIT as u64;

/// The driver's data for an open file.
///
/// It can outlive the file: whoever reclaims the memory of a process holds references while the
/// process may be exiting.
#[pin_data]
pub(crate) struct PanthorFile {
    /// Where the user MMIO area starts in the offsets of the file.
    user_mmio_offset: Atomic<u64>,
}

impl PanthorFile {
    /// A file was opened.
    pub(crate) fn new(_dev: &PanthorDevice) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                user_mmio_offset: Atomic::new(USER_MMIO_OFFSET_64BIT),
            }),
            GFP_KERNEL,
        )
    }

    /// Where the user MMIO area starts in the offsets of the file, in bytes.
    pub(crate) fn user_mmio_offset(&self) -> u64 {
        self.user_mmio_offset.load(Relaxed)
    }

    /// Moves the user MMIO area; buffers lie below it.
    pub(crate) fn set_user_mmio_offset(&self, offset: u64) -> Result {
        match offset {
            USER_MMIO_OFFSET_32BIT | USER_MMIO_OFFSET_64BIT => {
                self.user_mmio_offset.store(offset, Relaxed);
                Ok(())
            }
            _ => Err(EINVAL),
        }
    }
}
