// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the firmware node of a device says.
//!
//! C header: `include/linux/property.h`

use super::bindings;
use kernel::device;

/// Whether DMA of the device is coherent with the caches of the CPU.
pub(crate) fn is_dma_coherent(dev: &device::Device) -> bool {
    // SAFETY: The device is valid; it is the only field of its type.
    let attr = unsafe { bindings::device_get_dma_attr(core::ptr::from_ref(dev).cast()) };

    attr == bindings::dev_dma_attr_DEV_DMA_COHERENT
}
