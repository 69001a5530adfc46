// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Memory cgroups of the tests' own.

use crate::ktap::Res;
use crate::promise;
use crate::sys::{self, Result};
use std::path::PathBuf;
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup";

/// A cgroup with the memory controller; removed when dropped, which needs its processes gone.
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below the root.
    pub fn new(name: &str) -> Result<Cgroup> {
        Self::below(PathBuf::from(ROOT), name)
    }

    /// The same; skips the case where it cannot be made.
    pub fn need(name: &str) -> Res<Cgroup> {
        Self::new(name).map_err(|e| promise::missing("cgroup", format!("no cgroup: {e}")))
    }

    /// Makes one below this one, which may have no processes of its own then.
    pub fn child(&self, name: &str) -> Result<Cgroup> {
        Self::below(self.path.clone(), name)
    }

    fn below(parent: PathBuf, name: &str) -> Result<Cgroup> {
        sys::write_once(parent.join("cgroup.subtree_control"), b"+memory")?;
        let path = parent.join(name);
        let _ = std::fs::remove_dir(&path);
        std::fs::create_dir(&path)?;
        Ok(Cgroup { path })
    }

    /// Moves a process into it. What it was charged for stays where it was.
    pub fn add(&self, pid: i32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Moves a process back to the root.
    pub fn leave(pid: i32) -> Result<()> {
        let p = PathBuf::from(ROOT).join("cgroup.procs");
        sys::write_once(p, pid.to_string().as_bytes()).map(|_| ())
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        sys::write_once(self.path.join(file), value.as_bytes()).map(|_| ())
    }

    /// A file that is one number.
    pub fn num(&self, file: &str) -> Res<u64> {
        let s = sys::read_text(self.path.join(file))?;
        Ok(s.trim()
            .parse()
            .map_err(|_| format!("{file} of {}: {s}", self.path.display()))?)
    }

    /// A key of a file of `key value` lines; 0 when there is none.
    pub fn key(&self, file: &str, key: &str) -> Res<u64> {
        let s = sys::read_text(self.path.join(file))?;
        Ok(s.lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0))
    }

    /// Bytes charged to it.
    pub fn current(&self) -> Res<u64> {
        self.num("memory.current")
    }

    /// Bytes of swap charged to it.
    pub fn swap(&self) -> Res<u64> {
        self.num("memory.swap.current")
    }

    /// Asks the kernel to reclaim so many bytes from it; `EAGAIN` when it found less.
    pub fn reclaim(&self, bytes: u64) -> Result<()> {
        self.write("memory.reclaim", &bytes.to_string())
    }

    /// Removes it now. `EBUSY` while it has processes.
    pub fn remove(self) -> Result<()> {
        let path = self.path.clone();
        std::mem::forget(self);
        Ok(std::fs::remove_dir(path)?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was just killed leaves it a moment later.
        sys::wait_for(Duration::from_secs(5), || {
            std::fs::remove_dir(&self.path).is_ok()
        });
    }
}
