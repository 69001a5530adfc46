// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Completions that can be used again, with a limit on the wait.
//!
//! C header: `include/linux/completion.h`

use super::bindings;
use kernel::{prelude::*, time::Delta, types::Opaque};

/// Something that happens again and again, and that others wait for each time.
#[pin_data]
pub(crate) struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A `struct completion` may be used, and given away, by any thread.
unsafe impl Send for Completion {}

// SAFETY: A `struct completion` has a lock of its own, but for the word that `reinit_completion()`
// sets, which the C side allows.
unsafe impl Sync for Completion {}

impl Completion {
    /// Makes one for something that has not happened yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: The slot is valid and pinned.
                unsafe { bindings::kx_init_completion(slot) };
            }),
        })
    }

    /// Forgets that it has happened. Nobody may be waiting; whether [`Self::complete_all()`] at the
    /// same time comes before or after this is open.
    pub(crate) fn rearm(&self) {
        // SAFETY: It is initialised.
        unsafe { bindings::kx_reinit_completion(self.inner.get()) };
    }

    /// It has happened: wakes all who wait and will wait until [`Self::rearm()`].
    pub(crate) fn complete_all(&self) {
        // SAFETY: It is initialised.
        unsafe { bindings::complete_all(self.inner.get()) };
    }

    /// Whether it has happened.
    pub(crate) fn is_done(&self) -> bool {
        // SAFETY: It is initialised.
        unsafe { bindings::completion_done(self.inner.get()) }
    }

    /// Waits until it has happened, but no longer than `limit`, which is rounded up; returns whether
    /// it has.
    pub(crate) fn wait_for(&self, limit: Delta) -> bool {
        let ms = u32::try_from(limit.as_millis_ceil().max(0)).unwrap_or(u32::MAX);
        let jiffies = kernel::time::msecs_to_jiffies(ms);

        // SAFETY: It is initialised.
        unsafe { bindings::wait_for_completion_timeout(self.inner.get(), jiffies) != 0 }
    }
}
