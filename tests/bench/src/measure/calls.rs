// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What single calls cost.

use super::clock::{Clock, Span};
use super::drivers::{Driver, Loaded};
use e2e::cgroup::Cgroup;
use e2e::proc::{self, MemInfo};
use e2e::sys::{self, say, Result};
use e2e::uapi::BO_WB_MMAP;
use e2e::{debugfs, Dev, Fail, Res, K, M, PAGE};
use std::fs::OpenOptions;

/// Address of the mappings: a multiple of 2 MiB.
const VA: u64 = 1 << 32;

/// The largest buffer that is mapped.
const LARGE: u64 = 64 * M;

/// How much is done.
#[derive(Clone, Copy)]
pub struct Amount {
    /// Calls that are put together in a sample.
    pub calls: usize,
    /// Samples taken in a round.
    pub samples: usize,
}

/// A round of one driver.
struct Round<'a> {
    driver: Driver,
    number: usize,
    amount: Amount,
    clock: &'a Clock,
    group: &'a Cgroup,
    /// The only call to measure.
    only: Option<&'a str>,
}

impl Round<'_> {
    /// Prints the samples that `f` takes: a sample is the mean over a number of calls, of which there
    /// are no more than `most`.
    fn series(&self, name: &str, most: usize, mut f: impl FnMut(usize) -> Res<Span>) -> Res {
        if self.only.is_some_and(|o| o != name) {
            return Ok(());
        }
        let Round {
            driver,
            number,
            amount,
            clock,
            ..
        } = self;
        let n = amount.calls.min(most);
        // What is there once is made now.
        f(n.min(8))?;
        let mut line = format!("call {driver} {number} {name}");
        for _ in 0..amount.samples {
            let span = f(n).map_err(|e| match e {
                Fail::Fail(m) | Fail::Skip(m) => Fail::Fail(format!("{name}: {m}")),
            })?;
            line += &format!(" {:.1}", clock.each(span, n));
        }
        say(&line);
        Ok(())
    }
}

/// Samples of two calls, of which the second takes back what the first did.
fn pairs(
    n: usize,
    mut first: impl FnMut() -> Result<()>,
    mut second: impl FnMut() -> Result<()>,
) -> Res<(Span, Span)> {
    let (mut a, mut b) = (Span::default(), Span::default());
    for _ in 0..n {
        a.add(&mut first)?;
        b.add(&mut second)?;
    }
    Ok((a, b))
}

/// Buffers of a huge page each, of which every second one is closed again: huge pages come in pairs, so
/// that those that are free now have no free neighbour.
///
/// A mapping of a large buffer is made range by range of memory, and how many of them there are would be
/// chance: 1 to 32 for 64 MiB, of which each costs some hundred instructions.
fn scatter(dev: &Dev, vm: u32, bytes: u64) -> Res<Vec<u32>> {
    let mut kept = Vec::new();
    let mut gone = Vec::new();
    for _ in 0..bytes / (2 * M) {
        kept.push(in_huge_pages(dev, vm, 2 * M)?);
        gone.push(in_huge_pages(dev, vm, 2 * M)?);
    }
    for bo in gone {
        dev.close(bo)?;
    }
    Ok(kept)
}

/// A buffer with its memory, mapped nowhere. All of what can be in huge pages is: which ones are free is
/// chance, and a mapping of small ones is another measurement.
fn in_huge_pages(dev: &Dev, vm: u32, size: u64) -> Res<u32> {
    const TRIES: u32 = 20;
    for _ in 0..TRIES {
        let before = proc::vmstat("thp_file_alloc");
        let bo = dev.bo(size, BO_WB_MMAP, vm)?;
        // Brings its memory in, which stays while the buffer is there.
        dev.map(vm, bo, 0, VA, size)?;
        dev.unmap(vm, VA, size)?;
        if proc::vmstat("thp_file_alloc") - before >= size / (2 * M) {
            return Ok(bo);
        }
        dev.close(bo)?;
        let _ = sys::write_once("/proc/sys/vm/compact_memory", b"1");
    }
    Err(Fail::Fail(format!(
        "no {size} bytes in huge pages after {TRIES} tries"
    )))
}

fn bind(round: &Round<'_>) -> Res {
    let dev = Dev::open()?;
    let vm = dev.vm()?;
    for (name, size, most) in [("4k", 4 * K, 1000), ("2m", 2 * M, 1000), ("64m", LARGE, 60)] {
        let neighbours = match size {
            // More than it needs: some of what is free has neighbours that were free before.
            LARGE => scatter(&dev, vm, 2 * LARGE)?,
            _ => Vec::new(),
        };
        let bo = in_huge_pages(&dev, vm, size)?;
        for bo in neighbours {
            dev.close(bo)?;
        }
        let map = || dev.map(vm, bo, 0, VA, size);
        let unmap = || dev.unmap(vm, VA, size);
        round.series(
            &format!("map_{name}"),
            most,
            |n| Ok(pairs(n, map, unmap)?.0),
        )?;
        round.series(&format!("unmap_{name}"), most, |n| {
            Ok(pairs(n, map, unmap)?.1)
        })?;
        dev.close(bo)?;
    }
    Ok(())
}

/// The first touch of buffers that have no memory yet.
fn first_faults(dev: &Dev, size: u64, n: usize) -> Res<Span> {
    let mut span = Span::default();
    // Who uses a GPU has other buffers: not each is the first one of its control group.
    let other = dev.bo(size, BO_WB_MMAP, 0)?;
    let map = dev.mmap(other, size)?;
    map.set(0, 1);
    for _ in 0..n {
        let bo = dev.bo(size, BO_WB_MMAP, 0)?;
        let map = dev.mmap(bo, size)?;
        span.add(|| map.set(0, 1));
        drop(map);
        dev.close(bo)?;
    }
    drop(map);
    dev.close(other)?;
    Ok(span)
}

/// Puts this process into a control group of its own, and locks what memory it has.
fn enter_cgroup() -> Res<Cgroup> {
    let group = Cgroup::new("bench")?;
    group.add(sys::getpid())?;
    // SAFETY: no memory involved.
    sys::cvt(unsafe { libc::mlockall(libc::MCL_CURRENT) } as libc::c_long)?;
    Ok(group)
}

/// Has the kernel write out `bytes` in buffers of this process: by the driver's shrinker they become
/// ordinary memory, which `memory.reclaim` of the control group swaps out. All else that the process
/// has is locked.
fn swap_out(group: &Cgroup, bytes: u64) -> Res {
    let before = MemInfo::read()?.swapped();
    debugfs::shrink(1 << 20)?;
    let mut swapped = 0;
    for _ in 0..100 {
        let _ = group.write("memory.reclaim", "4M swappiness=max");
        swapped = MemInfo::read()?.swapped().saturating_sub(before);
        if swapped >= bytes {
            return Ok(());
        }
    }
    Err(Fail::Fail(format!(
        "only {swapped} of {bytes} bytes go to swap"
    )))
}

/// The first read of buffers that are on swap.
fn swapped_faults(group: &Cgroup, dev: &Dev, size: u64, n: usize) -> Res<Span> {
    let mut span = Span::default();
    let mut all = Vec::new();
    for _ in 0..n {
        let bo = dev.bo(size, BO_WB_MMAP, 0)?;
        let map = dev.mmap(bo, size)?;
        e2e::pattern::fill(&map, 1);
        all.push((bo, map));
    }
    let bytes = n as u64 * size;
    swap_out(group, bytes)?;
    let before = proc::vmstat("pswpin");
    for (bo, map) in all {
        if span.add(|| map.get(0)) != e2e::pattern::mix(1) {
            return Err(Fail::Fail("what was read is wrong".into()));
        }
        drop(map);
        dev.close(bo)?;
    }
    let read = (proc::vmstat("pswpin") - before) * PAGE;
    if read < bytes {
        return Err(Fail::Fail(format!(
            "{read} of {bytes} bytes came from swap"
        )));
    }
    Ok(span)
}

/// All calls, of the driver that is loaded.
fn all(round: &Round<'_>) -> Res {
    let node = e2e::drm::nodes()
        .into_iter()
        .next()
        .ok_or_else(|| Fail::Fail("there is no render node".into()))?;
    round.series("open_close", 1000, |n| {
        let mut span = Span::default();
        for _ in 0..n {
            span.add(|| {
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&node)
                    .map(drop)
            })
            .map_err(|e| e.to_string())?;
        }
        Ok(span)
    })?;
    let dev = Dev::open()?;
    round.series("bo_create_close", 1000, |n| {
        let mut span = Span::default();
        for _ in 0..n {
            span.add(|| dev.bo(PAGE, BO_WB_MMAP, 0).and_then(|bo| dev.close(bo)))?;
        }
        Ok(span)
    })?;
    round.series("vm_create_destroy", 1000, |n| {
        let mut span = Span::default();
        for _ in 0..n {
            span.add(|| dev.vm().and_then(|vm| dev.vm_destroy(vm)))?;
        }
        Ok(span)
    })?;
    bind(round)?;
    for (name, size, most) in [("4k", 4 * K, 200), ("2m", 2 * M, 8)] {
        round.series(&format!("first_fault_{name}"), most, |n| {
            first_faults(&dev, size, n)
        })?;
    }
    for (name, size, most) in [("4k", 4 * K, 100), ("2m", 2 * M, 4)] {
        round.series(&format!("swap_fault_{name}"), most, |n| {
            swapped_faults(round.group, &dev, size, n)
        })?;
    }
    Ok(())
}

/// The other driver and ours in turn, `rounds` times, and the other one once more at the end.
pub fn run(rounds: usize, amount: Amount) -> Res {
    let clock = Clock::default();
    let group = enter_cgroup()?;
    for n in [1_000u64, 100_000] {
        let mut span = Span::default();
        let mut known = 0;
        for _ in 0..20 {
            known += span.add(|| super::clock::spin(n));
        }
        say(&format!("known {} {:.1}", known / 20, clock.each(span, 20)));
    }
    for turn in 0..=2 * rounds {
        let driver = match turn % 2 {
            0 => Driver::C,
            _ => Driver::Rust,
        };
        let number = turn / 2;
        super::progress(&format!("round {} of {rounds}: {driver}", number + 1));
        let loaded = Loaded::new(driver)?;
        all(&Round {
            driver,
            number,
            amount,
            clock: &clock,
            group: &group,
            only: None,
        })?;
        loaded.unload()?;
    }
    Ok(())
}

/// One call of one driver for a time, to be profiled. The symbols of the kernel go to `symbols`.
pub fn one(driver: Driver, name: &str, samples: usize, symbols: &str) -> Res {
    let group = enter_cgroup()?;
    let loaded = Loaded::new(driver)?;
    std::fs::copy("/proc/kallsyms", symbols).map_err(|e| format!("{symbols}: {e}"))?;
    all(&Round {
        driver,
        number: 0,
        amount: Amount {
            calls: 100,
            samples,
        },
        clock: &Clock::default(),
        group: &group,
        only: Some(name),
    })?;
    loaded.unload()
}
