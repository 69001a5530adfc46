// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Counts of what the kernel holds: objects of each slab cache, pages of some kinds, buffers and
//! mappings. Taken before and after many failing calls, they show what is lost each time.

use crate::ktap::Res;
use crate::{debugfs, proc, sys};
use std::collections::BTreeMap;
use std::time::Duration;

/// Caches of objects that the kernel keeps in order to find them again, and those of its checkers,
/// whose objects are as many as those of the others.
const KEPT: &[&str] = &[
    "dentry",
    "inode_cache",
    "proc_inode_cache",
    "debugfs_inode_cache",
    "kernfs_node_cache",
    "kmemleak_object",
    "kmemleak_scan_area",
    "debug_objects_cache",
    "v9fs_inode_cache",
    // Freed a good many at a time.
    "vmap_area",
    "total",
];

/// Counters of `/proc/vmstat`, in pages.
const PAGES: &[&str] = &[
    "nr_shmem",
    "nr_iommu_pages",
    "nr_sec_page_table_pages",
    "nr_unevictable",
];

/// Free memory that may come and go by itself, in pages.
const SLACK: u64 = 2048;

/// The counts at a moment.
#[derive(Clone, Debug)]
pub struct Census {
    slabs: BTreeMap<String, u64>,
    others: BTreeMap<&'static str, u64>,
    free: u64,
}

/// Waits until what is freed after a grace period is freed. (Not by `drop_caches`, which asks the
/// driver's shrinker as well, and that evicts.)
fn settle() {
    const MEMBARRIER_CMD_GLOBAL: i32 = 1;
    for _ in 0..2 {
        // SAFETY: no memory involved.
        unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    }
}

/// Empties the CPUs' lists of free objects of a cache, which count as used.
fn shrink(cache: &str) {
    let _ = sys::write_once(format!("/sys/kernel/slab/{cache}/shrink"), b"1");
}

/// Objects by cache.
fn slabs() -> Res<BTreeMap<String, u64>> {
    Ok(sys::read_text("/proc/slabinfo")?
        .lines()
        .filter_map(|l| {
            let mut w = l.split_whitespace();
            let name = w.next().filter(|n| !KEPT.contains(n))?;
            Some((name.to_string(), w.next()?.parse().ok()?))
        })
        .collect())
}

fn others() -> Res<BTreeMap<&'static str, u64>> {
    let mut counts = BTreeMap::new();
    for k in PAGES {
        counts.insert(*k, proc::vmstat(k));
    }
    let vas = debugfs::gpuvas()?;
    counts.insert("buffers", debugfs::Gems::read()?.bos.len() as u64);
    counts.insert("VMs", vas.len() as u64);
    counts.insert("mappings", vas.iter().map(|s| s.vas.len() as u64).sum());
    Ok(counts)
}

impl Census {
    /// Takes it.
    pub fn take() -> Res<Census> {
        Ok(Census {
            others: others()?,
            ..Self::of_slabs()?
        })
    }

    /// Without what the driver has to say.
    pub fn of_slabs() -> Res<Census> {
        settle();
        for (cache, n) in slabs()? {
            if n > 0 {
                shrink(&cache);
            }
        }
        Ok(Census {
            slabs: slabs()?,
            others: BTreeMap::new(),
            free: proc::vmstat("nr_free_pages"),
        })
    }

    /// What has grown since by one for each of `rounds`, and whether free memory has shrunk by half
    /// a page for each of `calls`. What is freed with a delay is waited for.
    pub fn growth(&self, rounds: u64, calls: u64) -> Res<Vec<String>> {
        let least = rounds.max(2);
        let mut grown = Vec::new();
        for wait in [0, 20, 200, 1000] {
            std::thread::sleep(Duration::from_millis(wait));
            settle();
            grown.clear();
            let more = |cache: &str, n: u64| {
                n.saturating_sub(self.slabs.get(cache).copied().unwrap_or(0)) >= least
            };
            for (cache, n) in slabs()? {
                if more(&cache, n) {
                    shrink(&cache);
                }
            }
            for (cache, n) in slabs()? {
                if more(&cache, n) {
                    grown.push(format!("objects of {cache}"));
                }
            }
            let now = others()?;
            for (k, n) in &self.others {
                if now.get(k).copied().unwrap_or(0).saturating_sub(*n) >= least {
                    grown.push(k.to_string());
                }
            }
            if self.free.saturating_sub(proc::vmstat("nr_free_pages")) > SLACK + calls / 2 {
                grown.push("used memory".to_string());
            }
            if grown.is_empty() {
                break;
            }
        }
        Ok(grown)
    }
}
