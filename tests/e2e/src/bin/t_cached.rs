// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the CPU has written, and not told anybody yet, when memory is taken from the GPU.
//!
//! QEMU has no caches to lose. With the parameter `copies` of the board's bridge mapping for the device
//! makes a copy, and unmapping copies back over what was not handed over: as a cache that is dropped
//! would do.

use e2e::sys::{getpid, write_once};
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;

const COPIES: &str = "/sys/module/mali_bridge/parameters/copies";

/// Memory that is mapped for the device meanwhile is copied.
struct Copies(());

impl Copies {
    fn new() -> Res<Copies> {
        ok!(write_once(COPIES, b"1"));
        Ok(Copies(()))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = write_once(COPIES, b"0");
    }
}

/// Writes to a cached buffer after it was mapped for the GPU, has it evicted by `evict`, and reads it.
/// BO_SYNC maps it: page tables, and so VMs, do not work with copies.
fn written_before(evict: impl Fn() -> Res) -> Res {
    reclaim::need()?;
    let _copies = Copies::new()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-cached"));
    let m = ok!(d.mmap(h, 64 * K));
    for seed in 1..4 {
        pattern::fill(&m, 100);
        ok!(d.sync(h, SYNC_FLUSH, 0, 64 * K));
        pattern::fill(&m, seed);
        let before = debugfs::gem("e2e-cached")?.evictions;
        evict()?;
        eq!(debugfs::gem("e2e-cached")?.evictions, before + 1);
        pattern::check(&m, seed)?;
    }
    Ok(())
}

/// By mem_reclaim.
fn reclaimed() -> Res {
    written_before(|| {
        ok!(reclaim(getpid()));
        Ok(())
    })
}

/// By mem_reclaim, and back by mem_claim.
fn claimed() -> Res {
    written_before(|| {
        ok!(reclaim(getpid()));
        ok!(claim(getpid()));
        Ok(())
    })
}

/// By the kernel's shrinker.
fn shrunk() -> Res {
    written_before(|| {
        ok!(debugfs::shrink(1 << 20));
        Ok(())
    })
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 60;
        reclaimed,
        claimed,
        shrunk,
    ])
}
