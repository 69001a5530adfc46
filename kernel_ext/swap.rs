// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Swap space, and what else the reclaim path needs to know.
//!
//! C header: [`include/linux/swap.h`](srctree/include/linux/swap.h)

use super::{bindings, shrinker::Scope};

/// How many free pages of swap space there are.
pub(crate) fn free_pages() -> usize {
    // SAFETY: Reads a counter.
    let count = unsafe { bindings::kx_get_nr_swap_pages() };
    usize::try_from(count).unwrap_or(0)
}

/// How many pages of memory the machine has.
pub(crate) fn ram_pages() -> usize {
    // SAFETY: Reads a counter.
    unsafe { bindings::kx_totalram_pages() }
}

/// How many pages of swap space are free for the memory that a shrinker is asked for: a cgroup may
/// have a limit.
pub(crate) fn free_pages_for(scope: Scope<'_>) -> usize {
    match scope {
        Scope::All => free_pages(),
        Scope::Group(group) => {
            // SAFETY: The cgroup is valid, and so are those above it.
            let count = unsafe { bindings::kx_memcg_swap_pages(group.as_raw()) };
            usize::try_from(count).unwrap_or(0)
        }
    }
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
