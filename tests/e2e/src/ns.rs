// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Capabilities and namespaces.

use crate::sys::{cvt, write_once, Result};

/// `CAP_SYS_NICE`.
pub const CAP_SYS_NICE: u32 = 23;
/// `CAP_SYS_RESOURCE`.
pub const CAP_SYS_RESOURCE: u32 = 24;

/// Takes a capability out of the calling thread's effective and permitted sets.
pub fn drop_cap(cap: u32) -> Result<()> {
    #[repr(C)]
    struct Hdr {
        version: u32,
        pid: i32,
    }
    let mut h = Hdr {
        version: 0x2008_0522,
        pid: 0,
    };
    // Effective, permitted, inheritable; low words, then high words.
    let mut d = [[0u32; 3]; 2];
    // SAFETY: version 3 of the interface has two of these.
    unsafe {
        cvt(libc::syscall(libc::SYS_capget, &mut h, d.as_mut_ptr()))?;
        let w = &mut d[(cap / 32) as usize];
        w[0] &= !(1 << (cap % 32));
        w[1] &= !(1 << (cap % 32));
        cvt(libc::syscall(libc::SYS_capset, &mut h, d.as_ptr()))?;
    }
    Ok(())
}

/// The calling process, which has one thread, becomes root of a user namespace of its own, with all
/// capabilities there and none outside. What it owned outside it still does.
pub fn new_user_ns() -> Result<()> {
    // SAFETY: no memory involved.
    cvt(unsafe { libc::unshare(libc::CLONE_NEWUSER) } as libc::c_long)?;
    for (file, text) in [
        ("setgroups", "deny"),
        ("uid_map", "0 0 1"),
        ("gid_map", "0 0 1"),
    ] {
        write_once(format!("/proc/self/{file}"), text.as_bytes())?;
    }
    Ok(())
}

/// The next child of the caller will be process 1 of a new PID namespace.
pub fn new_pid_ns() -> Result<()> {
    // SAFETY: no memory involved.
    cvt(unsafe { libc::unshare(libc::CLONE_NEWPID) } as libc::c_long)?;
    Ok(())
}
