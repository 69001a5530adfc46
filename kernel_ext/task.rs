// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the current task may do, and what it is.
//!
//! C header: `include/linux/capability.h`

use super::bindings;
use kernel::ffi::c_int;

/// A capability.
#[derive(Clone, Copy)]
pub(crate) enum Capability {
    /// `CAP_SYS_NICE`.
    SysNice,
    /// `CAP_SYS_RESOURCE`.
    SysResource,
}

/// Whether the current task has a capability in the initial user namespace.
pub(crate) fn capable(cap: Capability) -> bool {
    let cap = match cap {
        Capability::SysNice => bindings::CAP_SYS_NICE,
        Capability::SysResource => bindings::CAP_SYS_RESOURCE,
    };

    // SAFETY: Asks about the current task, which is always there.
    unsafe { bindings::capable(cap as c_int) }
}

/// Whether the current system call was made by a 32-bit process on a 64-bit kernel.
pub(crate) fn in_compat_syscall() -> bool {
    // SAFETY: Asks about the current task, which is always there.
    unsafe { bindings::kx_in_compat_syscall() }
}
