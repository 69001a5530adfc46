// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory that a device can reach.

use core::marker::PhantomData;

/// Addresses at which a device reaches memory, as long as `'a`.
///
/// Only who has mapped the memory for the device makes one, so that page tables lead to nothing else.
///
/// # Invariants
///
/// The memory behind it is mapped for DMA during `'a`, and belongs to an object that the device may
/// access.
#[derive(Clone, Copy)]
pub(crate) struct DmaRange<'a> {
    addr: u64,
    len: u64,
    _memory: PhantomData<&'a ()>,
}

impl DmaRange<'_> {
    /// # Safety
    ///
    /// The invariants of the type hold.
    pub(super) unsafe fn new(addr: u64, len: u64) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            addr,
            len,
            _memory: PhantomData,
        }
    }

    /// The first address.
    pub(crate) fn addr(self) -> u64 {
        self.addr
    }

    /// The number of bytes.
    pub(crate) fn len(self) -> u64 {
        self.len
    }
}
