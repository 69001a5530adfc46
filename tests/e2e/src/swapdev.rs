// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Swap devices for tests: small ones, and such that fail.

use crate::ktap::Res;
use crate::promise;
use crate::sys::{self, Errno};

/// A zram device of the test's own, removed when dropped.
pub struct Zram {
    n: u32,
}

impl Zram {
    /// Makes one of `size` bytes, not yet in use.
    pub fn new(size: u64) -> Res<Zram> {
        let n = sys::read_text("/sys/class/zram-control/hot_add")
            .ok()
            .and_then(|s| s.trim().parse().ok())
            .ok_or_else(|| promise::missing("swap", "no zram"))?;
        let z = Zram { n };
        z.set("disksize", &size.to_string())?;
        z.format(size)?;
        Ok(z)
    }

    /// The device's node.
    pub fn node(&self) -> String {
        format!("/dev/zram{}", self.n)
    }

    /// Writes one of its attributes.
    pub fn set(&self, attr: &str, v: &str) -> Res {
        let p = format!("/sys/block/zram{}/{attr}", self.n);
        sys::write_once(&p, v.as_bytes()).map_err(|e| format!("{p}: {e}"))?;
        Ok(())
    }

    /// The header of a swap area of version 1, as `mkswap` makes it.
    fn format(&self, size: u64) -> Res {
        let mut page = vec![0u8; crate::PAGE as usize];
        let last = (size / crate::PAGE - 1) as u32;
        page[1024..1028].copy_from_slice(&1u32.to_le_bytes());
        page[1028..1032].copy_from_slice(&last.to_le_bytes());
        let end = page.len();
        page[end - 10..].copy_from_slice(b"SWAPSPACE2");
        std::fs::write(self.node(), &page).map_err(|e| format!("{}: {e}", self.node()))?;
        Ok(())
    }

    /// In use as swap.
    pub fn on(&self) -> Result<(), Errno> {
        sys::swapon(&self.node())
    }

    /// No more.
    pub fn off(&self) -> Result<(), Errno> {
        sys::swapoff(&self.node())
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let _ = self.off();
        let _ = self.set("reset", "1");
        let n = self.n.to_string();
        let _ = sys::write_once("/sys/class/zram-control/hot_remove", n.as_bytes());
    }
}

/// Makes requests to a block device fail, until dropped.
pub struct Failing {
    switch: String,
}

const FAIL: &str = "/sys/kernel/debug/fail_make_request";

impl Failing {
    /// Of `/dev/NAME`. Skips the case on a kernel that cannot do that.
    pub fn new(name: &str) -> Res<Failing> {
        Self::every(name, 1)
    }

    /// Only every `n`-th request.
    pub fn every(name: &str, n: u32) -> Res<Failing> {
        let interval = n.to_string();
        let switch = format!("/sys/block/{name}/make-it-fail");
        for (f, v) in [
            ("probability", "100"),
            ("times", "-1"),
            ("verbose", "0"),
            ("space", "0"),
            ("interval", &interval),
        ] {
            if sys::write_once(format!("{FAIL}/{f}"), v.as_bytes()).is_err() {
                return Err(promise::missing("faults", "no fail_make_request"));
            }
        }
        if sys::write_once(&switch, b"1").is_err() {
            return Err(promise::missing("faults", format!("no {switch}")));
        }
        Ok(Failing { switch })
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = sys::write_once(&self.switch, b"0");
        let _ = sys::write_once(format!("{FAIL}/probability"), b"0");
    }
}
