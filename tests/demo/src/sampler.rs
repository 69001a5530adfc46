// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A thread that takes the figures every 50 ms and keeps them.

use crate::plan::APPS;
use e2e::bystander::{now, Bystander, Latency, Open};
use e2e::proc::{self, FdInfo, MemInfo};
use e2e::{Fail, Res};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(50);

/// The figures at one time, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Microseconds of the monotonic clock.
    pub at: u64,
    /// GPU memory of each process.
    pub total: [u64; 3],
    /// What of it is resident.
    pub resident: [u64; 3],
    /// SwapTotal - SwapFree.
    pub swap: u64,
    /// What zram needs for it.
    pub zram: u64,
    /// Free memory: MemFree and the free pages that the CPUs keep for themselves.
    pub free: u64,
}

/// What was seen so far.
#[derive(Default)]
pub struct Seen {
    /// The figures.
    pub rows: Vec<Row>,
    /// What the bystander did.
    pub opens: Vec<Open>,
    error: Option<String>,
}

impl Seen {
    /// The latest figures.
    pub fn last(&self) -> Row {
        self.rows.last().copied().unwrap_or_default()
    }

    /// Latency of the opens that overlap a time.
    pub fn latency(&self, from: u64, to: u64) -> Latency {
        Latency::of(
            self.opens
                .iter()
                .filter(|o| o.at + o.took >= from && o.at < to),
        )
    }

    /// The figures as CSV, times from `start`.
    pub fn figures_csv(&self, start: u64) -> String {
        let mut s = String::from("time_s");
        for a in &APPS {
            let _ = write!(s, ",resident_{}_bytes", a.name);
        }
        s += ",swap_used_bytes,zram_used_bytes,free_bytes,opens,open_p50_us,open_p99_us,open_max_us\n";
        let mut before = start;
        for r in self.rows.iter().filter(|r| r.at >= start) {
            let _ = write!(s, "{:.3}", (r.at - start) as f64 / 1e6);
            for n in r.resident {
                let _ = write!(s, ",{n}");
            }
            let l = self.latency(before, r.at);
            let _ = writeln!(
                s,
                ",{},{},{},{},{},{},{}",
                r.swap, r.zram, r.free, l.count, l.p50, l.p99, l.max
            );
            before = r.at;
        }
        s
    }

    /// Every open as CSV, times from `start`.
    pub fn opens_csv(&self, start: u64) -> String {
        let mut s = String::from("time_s,open_and_close_us\n");
        for o in self.opens.iter().filter(|o| o.at >= start) {
            let _ = writeln!(s, "{:.6},{}", (o.at - start) as f64 / 1e6, o.took);
        }
        s
    }
}

/// The thread.
pub struct Sampler {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Res>>,
}

fn lock(m: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    m.lock().unwrap_or_else(|p| p.into_inner())
}

/// Takes the figures once. `files` names process and descriptor.
fn sample(files: &[(i32, i32); 3]) -> Res<Row> {
    let mut r = Row {
        at: now(),
        ..Row::default()
    };
    for (i, (pid, fd)) in files.iter().enumerate() {
        let f = FdInfo::read(*pid, *fd)?;
        (r.total[i], r.resident[i]) = (f.total(), f.resident());
    }
    let m = MemInfo::read()?;
    (r.swap, r.free) = (m.swapped(), m.get("MemFree") + proc::cpu_free());
    r.zram = proc::zram_used();
    Ok(r)
}

impl Sampler {
    /// Starts it.
    pub fn start(files: [(i32, i32); 3], mut bystander: Bystander) -> Sampler {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let (s, e) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !e.load(Ordering::Relaxed) {
                let r = sample(&files).and_then(|r| Ok((r, bystander.news()?)));
                let mut seen = lock(&s);
                match r {
                    Ok((row, opens)) => {
                        seen.rows.push(row);
                        seen.opens.extend(opens);
                    }
                    Err(Fail::Fail(m) | Fail::Skip(m)) => {
                        seen.error.get_or_insert(m);
                    }
                }
                drop(seen);
                std::thread::sleep(PERIOD);
            }
            bystander.stop()
        });
        Sampler {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Waits until figures taken after now are there, and returns them.
    pub fn fresh(&self) -> Res<Row> {
        let from = now();
        let done = || self.seen().last().at >= from;
        if !e2e::sys::wait_for(Duration::from_secs(20), done) {
            let why = self.seen().error.clone().unwrap_or_default();
            return Err(Fail::Fail(format!("no figures: {why}")));
        }
        Ok(self.seen().last())
    }

    /// Ends it and the bystander.
    pub fn stop(mut self) -> Res<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            t.join()
                .map_err(|_| Fail::Fail("the sampler panicked".into()))??;
        }
        let seen = std::mem::take(&mut *self.seen());
        match &seen.error {
            Some(m) => Err(Fail::Fail(m.clone())),
            None => Ok(seen),
        }
    }
}
