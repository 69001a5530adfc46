// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A process that has nothing to do with the others: it opens and closes the render node, and
//! leaves in shared memory how long that took.

use crate::child::Child;
use crate::sys::Map;
use crate::{Fail, Res};
use std::fs::OpenOptions;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many results there is room for.
const ROOM: u64 = 1 << 18;

/// Time between two opens.
const PAUSE: Duration = Duration::from_millis(1);

/// An `open()` and `close()`.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// When it began, in microseconds of the monotonic clock.
    pub at: u64,
    /// How long it took, in microseconds.
    pub took: u64,
}

/// Microseconds of the monotonic clock, which all processes share.
pub fn now() -> u64 {
    // SAFETY: a valid place for the answer.
    let t = unsafe {
        let mut t: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t);
        t
    };
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

/// The process; it ends when this is dropped.
pub struct Bystander {
    child: Child,
    results: Map,
    seen: u64,
}

fn count(m: &Map) -> &AtomicU64 {
    // SAFETY: the first word of the mapping, which is only used through this.
    unsafe { &*m.ptr().cast::<AtomicU64>() }
}

impl Bystander {
    /// Starts it.
    pub fn start() -> Res<Bystander> {
        let node = crate::drm::nodes()
            .into_iter()
            .next()
            .ok_or_else(|| Fail::Fail("there is no render node".into()))?;
        let results = Map::new(
            -1,
            0,
            (1 + 2 * ROOM) * 8,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        )?;
        let child = Child::spawn(|_| {
            for i in 0..ROOM {
                let at = now();
                let file = OpenOptions::new().read(true).write(true).open(&node);
                let ok = file.is_ok();
                drop(file);
                let took = now() - at;
                results.set(1 + 2 * i as usize, at);
                results.set(2 + 2 * i as usize, if ok { took } else { u64::MAX });
                count(&results).store(i + 1, Ordering::Release);
                std::thread::sleep(PAUSE);
            }
        })?;
        Ok(Bystander {
            child,
            results,
            seen: 0,
        })
    }

    /// What it did since the last call. An open that failed is an error.
    pub fn news(&mut self) -> Res<Vec<Open>> {
        let n = count(&self.results).load(Ordering::Acquire);
        let mut v = Vec::new();
        for i in self.seen as usize..n as usize {
            let (at, took) = (self.results.get(1 + 2 * i), self.results.get(2 + 2 * i));
            if took == u64::MAX {
                return Err(Fail::Fail("the bystander could not open the node".into()));
            }
            v.push(Open { at, took });
        }
        self.seen = n;
        Ok(v)
    }

    /// Ends it.
    pub fn stop(mut self) -> Res {
        self.child.kill()
    }
}

/// Median, 99th percentile and longest, in microseconds, of a number of opens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// How many.
    pub count: usize,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Longest.
    pub max: u64,
}

impl Latency {
    /// Of some opens.
    pub fn of<'a>(opens: impl Iterator<Item = &'a Open>) -> Latency {
        let mut v: Vec<u64> = opens.map(|o| o.took).collect();
        Latency {
            count: v.len(),
            p50: crate::race::percentile(&mut v, 50),
            p99: crate::race::percentile(&mut v, 99),
            max: v.last().copied().unwrap_or(0),
        }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |us: u64| us as f64 / 1000.0;
        write!(
            f,
            "p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms ({} opens)",
            ms(self.p50),
            ms(self.p99),
            ms(self.max),
            self.count
        )
    }
}
