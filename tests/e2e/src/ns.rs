// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Capabilities, namespaces and cgroups.

use crate::sys::{self, cvt, Result};
use std::path::PathBuf;

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

/// The next child of the caller will be process 1 of a new PID namespace.
pub fn new_pid_ns() -> Result<()> {
    // SAFETY: no memory involved.
    cvt(unsafe { libc::unshare(libc::CLONE_NEWPID) } as libc::c_long)?;
    Ok(())
}

/// A cgroup of the tests' own, removed when dropped (it must be empty then).
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below the root with the memory controller.
    pub fn new(name: &str) -> Result<Cgroup> {
        let root = PathBuf::from("/sys/fs/cgroup");
        sys::write_once(root.join("cgroup.subtree_control"), b"+memory")?;
        let path = root.join(format!("{name}-{}", sys::getpid()));
        std::fs::create_dir(&path)?;
        Ok(Cgroup { path })
    }

    /// Moves a process into it.
    pub fn add(&self, pid: i32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Moves a process back to the root group.
    pub fn leave(pid: i32) -> Result<()> {
        sys::write_once("/sys/fs/cgroup/cgroup.procs", pid.to_string().as_bytes()).map(|_| ())
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, v: &str) -> Result<()> {
        sys::write_once(self.path.join(file), v.as_bytes()).map(|_| ())
    }

    /// Reads one of its files.
    pub fn get(&self, file: &str) -> Result<String> {
        sys::read_text(self.path.join(file))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}
