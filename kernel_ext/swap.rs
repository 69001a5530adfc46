// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Swap space, and what else the reclaim path needs to know.
//!
//! C header: [`include/linux/swap.h`](srctree/include/linux/swap.h)

use super::{bindings, drm};

/// How many free pages of swap space there are.
pub(crate) fn free_pages() -> usize {
    // SAFETY: Reads a counter.
    let count = unsafe { bindings::kx_get_nr_swap_pages() };
    usize::try_from(count).unwrap_or(0)
}

/// Tells lockdep that the locks of a device's lists of objects are taken in reclaim, so that an
/// allocation under one of them is reported even if memory is never short.
pub(crate) fn teach_lock_order<D: drm::Driver>(dev: &drm::Device<D>) {
    // SAFETY: The device is valid, and so is its mutex.
    unsafe { bindings::kx_teach_reclaim_order(&raw mut (*dev.as_raw()).gem_lru_mutex) };
}

/// Runs `f` as if memory were being reclaimed, so that lockdep sees whatever it takes as locks of
/// the reclaim path.
pub(crate) fn as_reclaim<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: Tells lockdep, and takes it back below.
    unsafe { bindings::kx_fs_reclaim_acquire() };
    let ret = f();
    // SAFETY: Acquired above.
    unsafe { bindings::kx_fs_reclaim_release() };
    ret
}
