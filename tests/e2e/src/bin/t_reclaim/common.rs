// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the cases share: a process with every kind of buffer, swap that can be off.

use e2e::child::Child;
use e2e::sys::*;
use e2e::*;

/// An address for buffer `i`.
pub fn va(i: u64) -> u64 {
    (i + 1) << 32
}

pub fn need() -> Res {
    sysfs::need("mem_reclaim")?;
    sysfs::need("mem_claim")?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    Ok(())
}

/// The first swap device, off until dropped.
pub struct NoSwap(Vec<String>);

impl NoSwap {
    pub fn new() -> Res<NoSwap> {
        let v = proc::swaps()?;
        for s in &v {
            swapoff(s)?;
        }
        Ok(NoSwap(v))
    }
}

impl Drop for NoSwap {
    fn drop(&mut self) {
        for s in &self.0 {
            if let Err(e) = swapon(s) {
                note!("swapon {s}: {e}");
            }
        }
    }
}

/// A process that owns GPU memory of every plain kind; `each` bytes for each of the eight buffers.
/// Two VMs.
pub fn target(each: u64) -> Res<Child> {
    let mut c = Child::holder()?;
    c.call("vm")?;
    c.call("vm")?;
    let name = |k: &str| format!("e2e-{k}-{}", c.pid);
    let names: Vec<String> = [
        "x1", "x2", "s1", "both", "unmapped", "wc", "nommap", "nocpu",
    ]
    .iter()
    .map(|k| name(k))
    .collect();
    for (i, (flags, vm, seed)) in [
        (2, 1, 1001),
        (2, 2, 1002),
        (2, 0, 1003),
        (2, 0, 1004),
        (2, 0, 1005),
        (0, 0, 1006),
        (1, 1, 0),
        (2, 0, 1008),
    ]
    .into_iter()
    .enumerate()
    {
        c.call(&format!("bo {each} {flags} {vm} {seed} {}", names[i]))?;
    }
    // Private in each VM, one shared by both, write-combined, without a CPU mapping.
    for (vm, bo, va) in [
        (1, 0, 1),
        (2, 1, 1),
        (1, 2, 2),
        (1, 3, 3),
        (2, 3, 4),
        (2, 5, 5),
        (1, 6, 6),
        (1, 7, 7),
    ] {
        c.call(&format!("bind {vm} {bo} {:#x}", va * (1u64 << 32)))?;
    }
    c.call("nocpu 7")?;
    eq!(c.resident()?, 8 * each);
    Ok(c)
}

pub fn check_target(c: &mut Child) -> Res {
    for i in 0..6 {
        c.call(&format!("check {i}"))?;
    }
    c.call("cpu 7")?;
    c.call("check 7")?;
    c.call("nocpu 7")?;
    Ok(())
}
