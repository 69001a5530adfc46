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

/// Whether the current task is being killed.
pub(crate) fn fatal_signal_pending() -> bool {
    // SAFETY: Asks about the current task.
    unsafe { bindings::kx_fatal_signal_pending() }
}

/// Lets others run, if they should. No spin lock may be held.
pub(crate) fn cond_resched() {
    // SAFETY: The caller may sleep.
    unsafe { bindings::kx_cond_resched() };
}

/// The name of a process, as `/proc/PID/comm` shows it.
#[derive(Clone, Copy)]
pub(crate) struct Comm([u8; bindings::TASK_COMM_LEN as usize]);

impl Comm {
    /// The bytes of the name.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&c| c == 0).unwrap_or(self.0.len());
        self.0.get(..len).unwrap_or(&[])
    }
}

/// The name of the current process: of the leader of its thread group.
pub(crate) fn current_group_comm() -> Comm {
    let mut comm = Comm([0; bindings::TASK_COMM_LEN as usize]);
    // SAFETY: The buffer has the length that the function fills.
    unsafe { bindings::kx_current_group_comm(comm.0.as_mut_ptr().cast()) };
    comm
}

/// The identifier of the current process in the initial PID namespace.
pub(crate) fn current_tgid() -> i32 {
    // SAFETY: Asks about the current task.
    unsafe { bindings::kx_current_tgid() }
}

/// The size of the current process's address space in bytes.
pub(crate) fn current_task_size() -> u64 {
    // SAFETY: Asks about the current task.
    unsafe { bindings::kx_current_task_size() }
}
