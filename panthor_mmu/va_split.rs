// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! How the addresses of a VM are split between userspace and the kernel.

use kernel::{prelude::*, sizes::SZ_256M};

/// What the kernel needs at least, for its own objects: ring buffers, heap chunks.
const MIN_KERNEL_RANGE: u64 = SZ_256M as u64;

/// Returns where the kernel's part of `1 << va_bits` bytes of addresses begins; it goes up to the
/// end, and its size is a power of two.
///
/// `wanted` is the size of the part that userspace asked for, zero for a default: then it is as
/// large as the address space of the process, `task_size`, so that CPU and GPU addresses can be
/// the same, or one half. `EINVAL` when too little would be left for the kernel.
pub(crate) fn kernel_va_start(va_bits: u32, wanted: u64, task_size: u64) -> Result<u64> {
    let full = 1u64.checked_shl(va_bits).ok_or(EINVAL)?;
    let max_user = full.checked_sub(MIN_KERNEL_RANGE).ok_or(EINVAL)?;

    let user = match wanted {
        0 if task_size < full => task_size,
        0 if full > 1 << 32 => full / 2,
        0 => max_user,
        wanted if wanted > max_user => return Err(EINVAL),
        wanted => wanted,
    }
    .min(max_user);
    if user == 0 {
        return Err(EINVAL);
    }

    let left = full - user;
    let kernel_range = 1u64 << left.ilog2();
    Ok(full - kernel_range)
}
