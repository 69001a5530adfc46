// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Mutexes that a signal need not wait for.
//!
//! C header: `include/linux/mutex.h`

use super::bindings;
use kernel::{
    prelude::*,
    sync::{Mutex, MutexGuard},
};

/// Takes a mutex; a signal ends the wait with `EINTR`.
pub(crate) fn lock_interruptible<T: ?Sized>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    // The kernel's mutex is at the start of the structure (`repr(C)`).
    let raw = core::ptr::from_ref(mutex).cast::<bindings::mutex>();

    // SAFETY: The mutex is initialised.
    if unsafe { bindings::kx_mutex_lock_interruptible(raw.cast_mut()) } != 0 {
        return Err(EINTR);
    }
    // SAFETY: Locked above.
    Ok(unsafe { MutexGuard::new(mutex, ()) })
}
