// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The memory attributes that page table entries refer to, in the encoding of the GPU (AS_MEMATTR).

/// Inner and outer non-cacheable, shareable inside the GPU, no allocation.
const NON_CACHEABLE: u8 = (1 << 6) | ALLOC_EXPLICIT;
/// Inner and outer write-back.
const WRITE_BACK: u8 = 2 << 6;
/// Shareable with the CPU's inner domain.
const SHARE_CPU_INNER: u8 = 1 << 4;
/// Allocation in the caches as bits 0 (write) and 1 (read) say.
const ALLOC_EXPLICIT: u8 = 3 << 2;

/// Converts one attribute from the encoding of a CPU (one byte of `MAIR_ELx`).
///
/// The GPU knows write-back and nothing else that is cached: write-through and device memory are
/// non-cacheable to it. A coherent GPU snoops the CPU's inner domain, one that is not must not ask
/// for it.
fn from_cpu(attr: u8, coherent: bool) -> u8 {
    let (outer, inner) = (attr >> 4, attr & 0xf);
    let write_back = outer & 3 != 0 && outer & 4 != 0 && inner & 4 != 0;

    if !write_back {
        return NON_CACHEABLE;
    }
    let shareability = if coherent { SHARE_CPU_INNER } else { 0 };
    WRITE_BACK | shareability | ALLOC_EXPLICIT | (inner & 3)
}

/// Converts all eight attributes.
pub(crate) fn from_mair(mair: u64, coherent: bool) -> u64 {
    u64::from_le_bytes(mair.to_le_bytes().map(|attr| from_cpu(attr, coherent)))
}
