// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What the driver keeps for each open file of the device.

use crate::{
    kernel_ext::{
        drm::{driver::MmapKind, print::drm_print, Printer},
        mm_vma::MmapRequest,
        task::in_compat_syscall,
        uapi,
    },
    panthor_gem::{offsets::OffsetShare, ObjectSet},
    panthor_mmu::VmPool,
    PanthorDevice, PanthorDrmFile,
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc,
    },
};

/// Offset of the user MMIO area for a process with 32-bit file offsets, in bytes.
pub(crate) const USER_MMIO_OFFSET_32BIT: u64 = uapi::DRM_PANTHOR_USER_MMIO_OFFSET_32BIT;
/// Offset of the user MMIO area for a process with 64-bit file offsets, in bytes.
pub(crate) const USER_MMIO_OFFSET_64BIT: u64 = uapi::DRM_PANTHOR_USER_MMIO_OFFSET_64BIT;

/// The driver's data for an open file.
///
/// It can outlive the file: whoever reclaims the memory of a process holds references while the
/// process may be exiting.
#[pin_data]
pub(crate) struct PanthorFile {
    /// Where the user MMIO area starts in the offsets of the file.
    user_mmio_offset: Atomic<u64>,
    /// Its VMs.
    #[pin]
    pub(crate) vms: VmPool,
    /// The buffers that it has handles of.
    #[pin]
    pub(crate) objects: ObjectSet,
    /// The part of the device's offsets that its buffers have.
    pub(crate) offsets: Arc<OffsetShare>,
}

impl PanthorFile {
    /// A file was opened.
    pub(crate) fn new() -> Result<Arc<Self>> {
        // A 32-bit process can only express offsets of 44 bits.
        let user_mmio_offset = if in_compat_syscall() {
            USER_MMIO_OFFSET_32BIT
        } else {
            USER_MMIO_OFFSET_64BIT
        };

        let offsets = OffsetShare::new()?;
        Arc::pin_init(
            pin_init!(Self {
                user_mmio_offset: Atomic::new(user_mmio_offset),
                vms <- VmPool::new(),
                objects <- ObjectSet::new(),
                offsets,
            }),
            GFP_KERNEL_ACCOUNT,
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

/// `DRM_IOCTL_PANTHOR_SET_USER_MMIO_OFFSET`
pub(crate) fn set_user_mmio_offset(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_set_user_mmio_offset,
    file: &PanthorDrmFile,
) -> Result {
    file.driver().set_user_mmio_offset(args.offset)?;
    Ok(())
}

/// Checks a mapping of the user MMIO area, at `offset` in it. It has one page, which can be read:
/// that with the count of cache flushes.
pub(crate) fn check_user_mmio(offset: u64, req: &MmapRequest<'_>) -> Result<MmapKind> {
    if !req.is_shared() || offset != 0 || req.len() != PAGE_SIZE {
        return Err(EINVAL);
    }

    // Fails where the mapping is to be written or executed now, and forbids it for later.
    req.try_clear_maywrite()?;
    if req.executable() {
        return Err(EINVAL);
    }

    Ok(MmapKind::Io(offset))
}

/// Writes the fdinfo of a file.
pub(crate) fn show_fdinfo(dev: &PanthorDevice, file: &PanthorDrmFile, p: &Printer<'_>) {
    drm_print!(p, "drm-maxfreq-panthor:\t{} Hz\n", dev.freq.max.as_hz());
    drm_print!(p, "drm-curfreq-panthor:\t{} Hz\n", dev.freq.current.as_hz());

    // Buffers of the driver's own, for this file: none without groups and heaps.
    p.size(c"panthor", c"resident", c"memory", 0);
    p.size(c"panthor", c"active", c"memory", 0);

    // All of them at all times, which the DRM core's own function does not do: where nothing is
    // resident it leaves the line out, and tools take that for a driver that does not know.
    let stats = file.driver().objects.memory_stats();
    p.size(c"drm", c"total", c"memory", stats.total);
    p.size(c"drm", c"shared", c"memory", stats.shared);
    p.size(c"drm", c"active", c"memory", stats.active);
    p.size(c"drm", c"resident", c"memory", stats.resident);
}
