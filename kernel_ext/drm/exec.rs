// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Locking the reservation locks of many objects at once.
//!
//! C header: [`include/drm/drm_exec.h`](srctree/include/drm/drm_exec.h)

use crate::kernel_ext::bindings;
use kernel::{
    prelude::*,
    types::{NotThreadSafe, Opaque},
};

/// A set of held reservation locks.
///
/// They are taken in any order; when two threads want the same ones, one of them gives all of its
/// locks back and tries again, see [`Exec::lock_all`]. What is done with them held takes a proof of
/// it, such as [`VmLocked`].
///
/// [`VmLocked`]: super::gpuvm::VmLocked
///
/// # Invariants
///
/// `exec` is initialised, and all locks in it are held by the current thread.
#[pin_data(PinnedDrop)]
pub(super) struct Exec {
    #[pin]
    exec: Opaque<bindings::drm_exec>,
    _not_send: NotThreadSafe,
}

impl Exec {
    /// An empty set. Waits for locks end with `EINTR` when a signal arrives.
    pub(super) fn new_interruptible() -> impl PinInit<Self> {
        pin_init!(Self {
            exec <- Opaque::ffi_init(|slot| {
                // SAFETY: The slot is valid for an exec object, and pinned.
                unsafe {
                    bindings::drm_exec_init(slot, bindings::KX_DRM_EXEC_FLAGS, 0)
                }
            }),
            _not_send: NotThreadSafe,
        })
    }

    /// Runs `f`, which locks what is needed and returns the first error, until all of it is locked.
    /// `f` may run several times, with nothing locked when it starts again. To be called once.
    pub(super) fn lock_all(self: Pin<&Self>, mut f: impl FnMut(&LockSet<'_>) -> Result) -> Result {
        let exec = self.exec.get();
        // SAFETY: `exec` is initialised.
        while unsafe { bindings::drm_exec_cleanup(exec) } {
            let ret = f(&LockSet { exec: &self });
            // SAFETY: As above.
            if unsafe { bindings::kx_drm_exec_is_contended(exec) } {
                continue;
            }
            ret?;
        }
        Ok(())
    }

    pub(super) fn as_raw(&self) -> *mut bindings::drm_exec {
        self.exec.get()
    }
}

#[pinned_drop]
impl PinnedDrop for Exec {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `exec` is initialised; this gives all locks back.
        unsafe { bindings::drm_exec_fini(self.exec.get()) };
    }
}

/// A set of locks that is being taken.
pub(super) struct LockSet<'a> {
    exec: &'a Exec,
}

impl LockSet<'_> {
    pub(super) fn as_raw(&self) -> *mut bindings::drm_exec {
        self.exec.as_raw()
    }
}
