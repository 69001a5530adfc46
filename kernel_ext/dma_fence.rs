// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DMA fences: what others wait for until the device has done it.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

use super::bindings;
use kernel::types::NotThreadSafe;

/// What a fence waits for is being done, as long as this lives: nothing may be allocated in a way that
/// waits for memory, no reservation lock nor `mmap_lock` be taken, no fence be waited for, nor any lock
/// be taken under which somebody does so. Where it is configured, lockdep looks whether that is kept.
///
/// Sections may be nested. They end in the opposite order.
///
/// # Invariants
///
/// `cookie` came from `dma_fence_begin_signalling()`, called by this thread.
#[must_use = "the section ends when this is dropped"]
pub(crate) struct Signalling {
    cookie: bool,
    _not_send: NotThreadSafe,
}

impl Signalling {
    /// Begins a section.
    pub(crate) fn begin() -> Self {
        // INVARIANT: It comes from there.
        Self {
            // SAFETY: May be called by any task.
            cookie: unsafe { bindings::kx_dma_fence_begin_signalling() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for Signalling {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::kx_dma_fence_end_signalling(self.cookie) };
    }
}
