// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Readers of the kernel's accounting: meminfo, fdinfo, swap, zram, slab.

use crate::sys::{self, Result};
use std::collections::BTreeMap;

/// `/proc/meminfo` in bytes.
#[derive(Clone, Debug)]
pub struct MemInfo(BTreeMap<String, u64>);

impl MemInfo {
    /// Reads it now.
    pub fn read() -> Result<MemInfo> {
        let mut m = BTreeMap::new();
        for l in sys::read_text("/proc/meminfo")?.lines() {
            if let Some((k, v)) = l.split_once(':') {
                let mut w = v.split_whitespace();
                let n: u64 = w.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                m.insert(
                    k.to_string(),
                    if w.next() == Some("kB") { n * 1024 } else { n },
                );
            }
        }
        Ok(MemInfo(m))
    }

    /// A line's value; 0 when there is no such line.
    pub fn get(&self, k: &str) -> u64 {
        self.0.get(k).copied().unwrap_or(0)
    }

    /// Bytes of swap in use (also by pages that are in the swap cache).
    pub fn swapped(&self) -> u64 {
        self.get("SwapTotal") - self.get("SwapFree")
    }
}

/// Bytes of memory that nobody has: `MemFree`, and what waits in the lists of the CPUs, which may be
/// tens of MiB after much was freed.
pub fn free_memory() -> Result<u64> {
    let listed: u64 = sys::read_text("/proc/zoneinfo")?
        .lines()
        .filter_map(|l| l.trim_start().strip_prefix("count:"))
        .filter_map(|n| n.trim().parse::<u64>().ok())
        .sum();
    Ok(MemInfo::read()?.get("MemFree") + listed * sys::page_size())
}

/// Bytes of swap in use now.
pub fn swap_used() -> Result<u64> {
    Ok(MemInfo::read()?.swapped())
}

/// The fdinfo of a DRM file.
#[derive(Clone, Debug)]
pub struct FdInfo(Vec<(String, String)>);

impl FdInfo {
    /// Of descriptor `fd` of process `pid`.
    pub fn read(pid: i32, fd: i32) -> Result<FdInfo> {
        Self::at(&format!("/proc/{pid}/fdinfo/{fd}"))
    }

    /// Of a descriptor of ours, whatever our number is in this PID namespace.
    pub fn own(fd: i32) -> Result<FdInfo> {
        Self::at(&format!("/proc/self/fdinfo/{fd}"))
    }

    fn at(path: &str) -> Result<FdInfo> {
        let t = sys::read_text(path)?;
        Ok(FdInfo(
            t.lines()
                .filter_map(|l| l.split_once(':'))
                .map(|(k, v)| (k.to_string(), v.trim().to_string()))
                .collect(),
        ))
    }

    /// The value of a key as printed.
    pub fn text(&self, k: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == k).map(|(_, v)| v.as_str())
    }

    /// The keys, in order.
    pub fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(k, _)| k.as_str()).collect()
    }

    /// A size in bytes.
    pub fn bytes(&self, k: &str) -> Option<u64> {
        let mut w = self.text(k)?.split_whitespace();
        let n: u64 = w.next()?.parse().ok()?;
        match w.next() {
            None | Some("B") => Some(n),
            Some("KiB") => Some(n << 10),
            Some("MiB") => Some(n << 20),
            Some("GiB") => Some(n << 30),
            Some(_) => None,
        }
    }

    /// `drm-resident-memory`; absent means none.
    pub fn resident(&self) -> u64 {
        self.bytes("drm-resident-memory").unwrap_or(0)
    }

    /// `drm-total-memory`.
    pub fn total(&self) -> u64 {
        self.bytes("drm-total-memory").unwrap_or(0)
    }

    /// `drm-shared-memory`.
    pub fn shared(&self) -> u64 {
        self.bytes("drm-shared-memory").unwrap_or(0)
    }
}

/// The swap devices in use.
pub fn swaps() -> Result<Vec<String>> {
    Ok(sys::read_text("/proc/swaps")?
        .lines()
        .skip(1)
        .filter_map(|l| l.split_whitespace().next().map(str::to_string))
        .collect())
}

/// `VmSwap`-like number of a process from its status.
pub fn status_kb(pid: i32, key: &str) -> Option<u64> {
    sys::read_text(format!("/proc/{pid}/status"))
        .ok()?
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|v| v.split_whitespace().next()?.parse().ok())
}

/// A counter of `/proc/vmstat`.
pub fn vmstat(key: &str) -> u64 {
    sys::read_text("/proc/vmstat")
        .unwrap_or_default()
        .lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or(0)
}

/// What zram needs for all that it holds, in bytes.
pub fn zram_used() -> u64 {
    sys::read_text("/sys/block/zram0/mm_stat")
        .ok()
        .and_then(|s| s.split_whitespace().nth(2)?.parse().ok())
        .unwrap_or(0)
}

/// Free pages in the lists of the CPUs, in bytes. MemFree does not count them, and after much was
/// freed at once they hold tens of MiB for some seconds.
pub fn cpu_free() -> u64 {
    sys::read_text("/proc/zoneinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|l| l.trim().strip_prefix("count:")?.trim().parse::<u64>().ok())
        .sum::<u64>()
        * crate::PAGE
}

/// Lets the kernel free what it only caches, so that memory figures stand still.
pub fn drop_caches() {
    let _ = sys::write_once("/proc/sys/vm/drop_caches", b"3");
}
