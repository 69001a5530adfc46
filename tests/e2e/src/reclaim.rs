// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What tests of `mem_reclaim` and `mem_claim` share: a process with every kind of buffer, swap
//! that can be off, the tracepoints.

use crate::child::Child;
use crate::ktap::{Fail, Res};
use crate::sys::{self, Errno, Result};
use crate::*;
use std::time::{Duration, Instant};

/// An address for buffer `i`.
pub fn va(i: u64) -> u64 {
    (i + 1) << 32
}

/// Skips the case where there are no attributes, or no swap.
pub fn need() -> Res {
    sysfs::need("mem_reclaim")?;
    sysfs::need("mem_claim")?;
    if proc::swaps()?.is_empty() {
        return Err(promise::missing("swap", "no swap"));
    }
    Ok(())
}

/// All swap devices, off until dropped.
pub struct NoSwap(Vec<String>);

impl NoSwap {
    /// Turns them off.
    pub fn new() -> Res<NoSwap> {
        let v = proc::swaps()?;
        for s in &v {
            sys::swapoff(s)?;
        }
        Ok(NoSwap(v))
    }
}

impl Drop for NoSwap {
    fn drop(&mut self) {
        for s in &self.0 {
            if let Err(e) = sys::swapon(s) {
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

/// Checks the content of all buffers of a [`target`] that the CPU can see.
pub fn check_target(c: &mut Child) -> Res {
    for i in 0..6 {
        c.call(&format!("check {i}"))?;
    }
    c.call("cpu 7")?;
    c.call("check 7")?;
    c.call("nocpu 7")?;
    Ok(())
}

/// What a tracepoint said of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Buffers that are now as was asked.
    pub buffers_done: u64,
    /// Buffers that stayed as they were.
    pub buffers_skipped: u64,
    /// Bytes of the former.
    pub bytes_done: u64,
    /// Bytes of the latter.
    pub bytes_skipped: u64,
    /// 0 or a negative errno.
    pub result: i64,
}

/// The tracepoints `panthor:mem_reclaim` and `panthor:mem_claim`, off when dropped.
pub struct Trace(());

impl Trace {
    const BASE: &'static str = "/sys/kernel/tracing";

    fn enable(on: bool) -> Result<()> {
        for e in ["mem_reclaim", "mem_claim"] {
            let p = format!("{}/events/panthor/{e}/enable", Self::BASE);
            sys::write_once(p, if on { b"1" } else { b"0" })?;
        }
        Ok(())
    }

    /// Turns them on.
    pub fn on() -> Res<Trace> {
        Self::enable(true).map_err(|e| format!("tracepoints: {e}"))?;
        Ok(Trace(()))
    }

    /// What the last call `what` (`mem_reclaim`, `mem_claim`) for a process did.
    pub fn last(&self, what: &str, tgid: i32) -> Res<Amounts> {
        let t = sys::read_text(format!("{}/trace", Self::BASE))?;
        let Some(line) = t
            .lines()
            .filter(|l| l.contains(&format!(" {what}: tgid={tgid} ")))
            .next_back()
        else {
            return Err(Fail::Fail(format!("no line for {what} of {tgid}:\n{t}")));
        };
        let get = |k: &str| {
            line.split_whitespace()
                .find_map(|w| w.strip_prefix(k)?.strip_prefix('=')?.parse::<i64>().ok())
                .ok_or_else(|| Fail::Fail(format!("no {k}: {line}")))
        };
        Ok(Amounts {
            buffers_done: get("buffers_done")? as u64,
            buffers_skipped: get("buffers_skipped")? as u64,
            bytes_done: get("bytes_done")? as u64,
            bytes_skipped: get("bytes_skipped")? as u64,
            result: get("result")?,
        })
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = Self::enable(false);
    }
}

/// Calls `f` while a signal (of which the handler does nothing) comes to this thread after `delay`.
/// Returns what it said, and how long after the signal that was.
pub fn interrupted<T>(
    delay: Duration,
    f: impl FnOnce() -> std::result::Result<T, Errno>,
) -> Res<(std::result::Result<T, Errno>, Duration)> {
    sys::catch_signal(libc::SIGUSR1)?;
    // SAFETY: no memory involved.
    let me = unsafe { libc::pthread_self() };
    let (tx, rx) = std::sync::mpsc::channel();
    let t = std::thread::spawn(move || {
        let _ = tx.send(());
        std::thread::sleep(delay);
        let sent = Instant::now();
        // SAFETY: the thread waits for us, its handle is valid.
        unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
        sent
    });
    let _ = rx.recv();
    let r = f();
    let end = Instant::now();
    let sent = t.join().map_err(|_| Fail::Fail("thread".into()))?;
    Ok((r, end.saturating_duration_since(sent)))
}
