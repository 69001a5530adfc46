// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Process identifiers.
//!
//! C header: `include/linux/pid.h`

use super::bindings;
use core::ptr::NonNull;
use kernel::{
    sync::aref::{ARef, AlwaysRefCounted},
    types::Opaque,
};

/// A `struct pid`: the kernel's own name of a process, thread or group, the same in all PID
/// namespaces.
///
/// # Invariants
///
/// The reference count is not zero while a reference to this type exists.
#[repr(transparent)]
pub(crate) struct Pid(Opaque<bindings::pid>);

// SAFETY: A `struct pid` can be released from any thread.
unsafe impl Send for Pid {}

// SAFETY: Nothing in a `struct pid` is changed through this type but the reference count.
unsafe impl Sync for Pid {}

// SAFETY: `get_pid()` and `put_pid()` keep the count of a `struct pid`.
unsafe impl AlwaysRefCounted for Pid {
    fn inc_ref(&self) {
        // SAFETY: The existence of the reference shows that the count is not zero.
        unsafe { bindings::kx_get_pid(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own.
        unsafe { bindings::put_pid(obj.as_ptr().cast()) }
    }
}

impl Pid {
    /// Looks `nr` up in the PID namespace of the current task.
    pub(crate) fn find_vpid(nr: bindings::pid_t) -> Option<ARef<Self>> {
        // SAFETY: `find_get_pid()` takes any number.
        let ptr = NonNull::new(unsafe { bindings::find_get_pid(nr) })?;

        // SAFETY: `find_get_pid()` gave us a reference, which the `ARef` takes over.
        Some(unsafe { ARef::from_raw(ptr.cast()) })
    }

    /// Whether a process (not only a thread of one) has this identifier now.
    pub(crate) fn is_tgid(&self) -> bool {
        // SAFETY: The pointer is valid by the type invariants.
        unsafe { bindings::kx_pid_has_task(self.as_raw(), bindings::pid_type_PIDTYPE_TGID) }
    }

    /// Whether this is the thread group of the current task.
    pub(crate) fn is_current_tgid(&self) -> bool {
        // SAFETY: The thread group's identifier of the running task stays while it runs.
        core::ptr::eq(unsafe { bindings::kx_task_tgid_current() }, self.as_raw())
    }

    /// The number of this identifier in the initial PID namespace, for messages.
    pub(crate) fn nr(&self) -> bindings::pid_t {
        // SAFETY: The pointer is valid by the type invariants.
        unsafe { bindings::kx_pid_nr(self.as_raw()) }
    }

    /// The C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::pid {
        self.0.get()
    }
}
