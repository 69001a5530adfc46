// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What `mem_reclaim` and `mem_claim` are worth: section by section.

use super::clock::{Clock, Span};
use super::drivers::{Driver, Loaded};
use super::target::{self, MemFd};
use super::values;
use e2e::bystander::{now, Bystander};
use e2e::child::Child;
use e2e::proc::{self, MemInfo};
use e2e::sys::{self, Map};
use e2e::uapi::BO_WB_MMAP;
use e2e::{sysfs, Dev, Fail, Res, K, M, PAGE};
use std::time::Duration;

/// How much is done.
#[derive(Clone, Copy)]
pub struct Amount {
    /// Memory of the target.
    pub bytes: u64,
    /// Repetitions.
    pub rounds: usize,
    /// Whether the clock counts instructions. What is a matter of time is left out then.
    pub instructions: bool,
}

/// Memory in use on swap, by zram, and free.
fn memory() -> Res<(u64, u64, u64)> {
    // Only the page cache: asked for more, the kernel would evict GPU memory as well.
    sys::write_once("/proc/sys/vm/drop_caches", b"1")?;
    let m = MemInfo::read()?;
    Ok((
        m.swapped(),
        proc::zram_used(),
        m.get("MemFree") + proc::cpu_free(),
    ))
}

fn timed(clock: &Clock, f: impl FnOnce() -> sys::Result<()>, what: &str) -> Res<f64> {
    let mut span = Span::default();
    span.add(f).map_err(|e| format!("{what}: {e}"))?;
    Ok(clock.each(span, 1))
}

/// Speed and effect, in turn with the same on a memfd.
fn speed(clock: &Clock, amount: Amount) -> Res {
    let n = amount.bytes / target::LIKE_MEMFD;
    let mut gpu = target::gpu(n, target::LIKE_MEMFD, true)?;
    let mut mem = target::memfd(amount.bytes)?;
    let bytes = amount.bytes as f64;
    for round in 0..amount.rounds {
        super::progress(&format!(
            "  speed: round {} of {}",
            round + 1,
            amount.rounds
        ));
        for ours in [round % 2 == 0, round % 2 == 1] {
            let before = memory()?;
            if ours {
                let out = timed(clock, || sysfs::reclaim(gpu.pid), "mem_reclaim")?;
                let after = memory()?;
                let swapped = after.0.saturating_sub(before.0) as f64;
                let given = (after.1 as f64 - before.1 as f64) + (after.2 as f64 - before.2 as f64);
                values("swapped_share", &[swapped / bytes]);
                values("freed_share", &[given / bytes]);
                values("mem_reclaim", &[out / bytes]);
                values("zram_share", &[(after.1 as f64 - before.1 as f64) / bytes]);
                let back = timed(clock, || sysfs::claim(gpu.pid), "mem_claim")?;
                values("mem_claim", &[back / bytes]);
                gpu.call("check")?;
            } else {
                let out = mem.num("out")? as f64;
                let swapped = memory()?.0.saturating_sub(before.0) as f64;
                // By what it did: it may leave pages.
                values("pageout", &[out / swapped]);
                values("pageout_share", &[swapped / bytes]);
                let back = mem.num("in")? as f64;
                values("populate", &[back / swapped]);
                mem.call("check")?;
            }
        }
    }
    Ok(())
}

/// Opens and closes by others.
fn latency(amount: Amount) -> Res {
    let n = amount.bytes / target::LIKE_MEMFD;
    let gpu = target::gpu(n, target::LIKE_MEMFD, true)?;
    let mut mem = target::memfd(amount.bytes)?;
    let mut others = Bystander::start()?;
    let mut took = |what: &str, f: &mut dyn FnMut() -> Res| -> Res {
        others.news()?;
        let from = now();
        f()?;
        let to = now();
        // The last one is still to come.
        std::thread::sleep(Duration::from_millis(50));
        let v: Vec<f64> = others
            .news()?
            .iter()
            .filter(|o| o.at + o.took >= from && o.at < to)
            .map(|o| o.took as f64)
            .collect();
        values(what, &v);
        Ok(())
    };
    for round in 0..amount.rounds {
        super::progress(&format!(
            "  latency: round {} of {}",
            round + 1,
            amount.rounds
        ));
        took("open_idle", &mut || {
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        })?;
        took("open_reclaim", &mut || Ok(sysfs::reclaim(gpu.pid)?))?;
        took("open_claim", &mut || Ok(sysfs::claim(gpu.pid)?))?;
        took("open_pageout", &mut || mem.call("out").map(drop))?;
        mem.call("in")?;
    }
    others.stop()
}

/// CPU time of this process.
fn cpu_time() -> f64 {
    // SAFETY: a valid place for the answer.
    let t = unsafe {
        let mut t: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t);
        t
    };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

/// A process that is not the target: it has memory, which it reads, and makes, maps, unmaps and
/// frees a buffer.
struct Victim {
    dev: Dev,
    vm: u32,
    own: Map,
}

impl Victim {
    const OWN: u64 = 16 * M;
    const SIZE: u64 = 64 * K;

    fn new() -> sys::Result<Victim> {
        let dev = Dev::open()?;
        let vm = dev.vm()?;
        let bo = dev.bo(Self::OWN, BO_WB_MMAP, vm)?;
        dev.map(vm, bo, 0, 1 << 32, Self::OWN)?;
        let own = dev.mmap(bo, Self::OWN)?;
        e2e::pattern::fill(&own, 1);
        Ok(Victim { dev, vm, own })
    }

    fn work(&self) -> sys::Result<()> {
        for _ in 0..8 {
            let bo = self.dev.bo(Self::SIZE, BO_WB_MMAP, self.vm)?;
            let m = self.dev.mmap(bo, Self::SIZE)?;
            (0..m.len() / 8).step_by(512).for_each(|i| m.set(i, 1));
            self.dev.map(self.vm, bo, 0, 1 << 30, Self::SIZE)?;
            self.dev.unmap(self.vm, 1 << 30, Self::SIZE)?;
            self.dev.close(bo)?;
        }
        let words = self.own.len() / 8;
        let sum = (0..words).step_by(512).fold(0, |a, i| a ^ self.own.get(i));
        std::hint::black_box(sum);
        Ok(())
    }
}

/// A [`Victim`] on the last CPU. It answers `run N` with the CPU time and the time of each of `N`
/// turns.
fn victim(clock: &Clock, cpu: usize) -> Res<Child> {
    Child::spawn(|end| {
        let mut v = None;
        end.serve(|cmd| {
            let e = |e: sys::Errno| e.to_string();
            if cmd == "setup" {
                target::pin(cpu).map_err(|_| "sched_setaffinity")?;
                v = Some(Victim::new().map_err(e)?);
                return Ok(String::new());
            }
            let v = v.as_ref().ok_or("not set up")?;
            let n = cmd.strip_prefix("run ").and_then(|n| n.parse().ok());
            let mut s = String::new();
            for _ in 0..n.unwrap_or(1) {
                let from = cpu_time();
                let mut span = Span::default();
                span.add(|| v.work()).map_err(e)?;
                s += &format!("{} {:.0} ", cpu_time() - from, clock.each(span, 1));
            }
            Ok(s)
        });
    })
}

/// What a process that is not the target pays.
fn others(clock: &Clock, amount: Amount) -> Res {
    let bytes = amount.bytes / 4;
    let gpu = target::gpu(bytes / target::LIKE_MEMFD, target::LIKE_MEMFD, true)?;
    let cpu = usize::from(!amount.instructions);
    let mut victim = victim(clock, cpu)?;
    victim.call("setup")?;
    let turns = if amount.instructions { 60 } else { 200 };
    let mut turn = |what: &str| -> Res {
        let s = victim.call(&format!("run {turns}"))?;
        let v: Vec<f64> = s
            .split_whitespace()
            .filter_map(|w| w.parse().ok())
            .collect();
        let (cpu, wall): (Vec<f64>, Vec<f64>) = v.chunks_exact(2).map(|c| (c[0], c[1])).unzip();
        values(&format!("others_cpu_{what}"), &[crate::stats::median(&cpu)]);
        values(&format!("others_{what}"), &[crate::stats::median(&wall)]);
        Ok(())
    };
    turn("first")?;
    for round in 0..amount.rounds {
        super::progress(&format!(
            "  others: round {} of {}",
            round + 1,
            amount.rounds
        ));
        turn("idle")?;
        let mut w = target::writer(|| {
            sysfs::reclaim(gpu.pid)?;
            sysfs::claim(gpu.pid)
        })?;
        std::thread::sleep(Duration::from_millis(300));
        turn("reclaim")?;
        w.kill()?;
        let mut w = Child::spawn(|_| {
            let Ok(m) = MemFd::new(bytes) else { return };
            if target::pin(0).is_ok() {
                while m.page_out().and_then(|()| m.populate()).is_ok() {}
            }
        })?;
        std::thread::sleep(Duration::from_millis(1500));
        turn("pageout")?;
        w.kill()?;
    }
    Ok(())
}

/// Time over the number of buffers, the bytes being the same.
fn buffers(clock: &Clock, rounds: usize) -> Res {
    const TOTAL: u64 = 10_000 * 2 * PAGE;
    for n in [1, 10, 100, 1_000, 2_500, 5_000, 10_000] {
        super::progress(&format!("  {n} buffers of {} KiB", TOTAL / n / K));
        let t = target::gpu(n, TOTAL / n, false)?;
        for _ in 0..rounds {
            let before = proc::swap_used()?;
            let out = timed(clock, || sysfs::reclaim(t.pid), "mem_reclaim")?;
            let swapped = proc::swap_used()?.saturating_sub(before);
            if swapped * 100 < TOTAL * 98 {
                return Err(Fail::Fail(format!("{n} buffers: {swapped} bytes swapped")));
            }
            let back = timed(clock, || sysfs::claim(t.pid), "mem_claim")?;
            values(&format!("buffers/{n}/reclaim"), &[out]);
            values(&format!("buffers/{n}/claim"), &[back]);
        }
    }
    Ok(())
}

/// Time over the number of processes that have the device open.
fn processes(clock: &Clock, bytes: u64, rounds: usize) -> Res {
    let t = target::gpu(bytes / target::LIKE_MEMFD, target::LIKE_MEMFD, false)?;
    let mut all = Crowd(Vec::new());
    for n in [1, 10, 100, 1_000] {
        super::progress(&format!("  {n} processes with the device open"));
        // The target is one of them.
        all.grow(n - 1)?;
        for _ in 0..rounds {
            let out = timed(clock, || sysfs::reclaim(t.pid), "mem_reclaim")?;
            let back = timed(clock, || sysfs::claim(t.pid), "mem_claim")?;
            values(&format!("processes/{n}/reclaim"), &[out]);
            values(&format!("processes/{n}/claim"), &[back]);
        }
    }
    Ok(())
}

/// Processes that have the device open and do nothing.
struct Crowd(Vec<i32>);

impl Crowd {
    fn grow(&mut self, to: usize) -> Res {
        use std::io::{Read, Write};
        let (mut rx, mut tx) = sys::pipe()?;
        while self.0.len() < to {
            match sys::fork()? {
                0 => {
                    let dev = Dev::open();
                    let _ = tx.write_all(&[u8::from(dev.is_ok())]);
                    loop {
                        // SAFETY: waits for the signal that ends it.
                        unsafe { libc::pause() };
                    }
                }
                pid => self.0.push(pid),
            }
            let mut ok = [0];
            if rx.read_exact(&mut ok).is_err() || ok != [1] {
                return Err(Fail::Fail(format!("process {} cannot open", self.0.len())));
            }
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = sys::kill(*pid, libc::SIGKILL);
        }
        for pid in &self.0 {
            let _ = sys::waitpid(*pid, 0);
        }
    }
}

/// All of it, on our driver.
pub fn run(amount: Amount) -> Res {
    let clock = Clock::default();
    let loaded = Loaded::new(Driver::Rust)?;
    speed(&clock, amount)?;
    if !amount.instructions {
        latency(amount)?;
    }
    others(&clock, amount)?;
    // Instructions hardly differ from one time to the next.
    let rounds = if amount.instructions { 2 } else { 3 };
    buffers(&clock, rounds)?;
    processes(&clock, 32 * M, rounds)?;
    loaded.unload()
}
