// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Frame of the race programs: several sides run against each other for a time, and say what they
//! did.

use crate::ktap::{Fail, Res};
use crate::sys;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What the sides of a race share.
pub struct Race {
    stop: AtomicBool,
    error: Mutex<Option<String>>,
    counts: Mutex<Vec<(&'static str, u64)>>,
    end: Instant,
}

impl Race {
    /// Whether to go on.
    pub fn on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && Instant::now() < self.end
    }

    /// Ends the race with a failure.
    pub fn fail(&self, why: impl Into<String>) {
        let mut e = self.error.lock().unwrap_or_else(|p| p.into_inner());
        if e.is_none() {
            *e = Some(why.into());
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Adds to a count that is printed at the end.
    pub fn count(&self, what: &'static str, n: u64) {
        let mut c = self.counts.lock().unwrap_or_else(|p| p.into_inner());
        match c.iter_mut().find(|(k, _)| *k == what) {
            Some((_, v)) => *v += n,
            None => c.push((what, n)),
        }
    }
}

/// A side of a race: runs while [`Race::on`] says so.
pub type Side<'a> = Box<dyn FnOnce(&Race) -> Res + Send + 'a>;

/// Runs the sides as threads for the configured time. Fails when a side fails, or when one of the
/// counts named in `must` stayed at 0: a race that never ran proves nothing.
pub fn run(time: Duration, must: &[&'static str], sides: Vec<Side<'_>>) -> Res {
    let race = Race {
        stop: AtomicBool::new(false),
        error: Mutex::new(None),
        counts: Mutex::new(Vec::new()),
        end: Instant::now() + time,
    };
    let left = AtomicU64::new(sides.len() as u64);
    std::thread::scope(|s| {
        for side in sides {
            s.spawn(|| {
                match side(&race) {
                    Ok(()) => {}
                    Err(Fail::Skip(m) | Fail::Fail(m)) => race.fail(m),
                }
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    let counts = race.counts.into_inner().unwrap_or_else(|p| p.into_inner());
    let text: Vec<String> = counts.iter().map(|(k, v)| format!("{k} {v}")).collect();
    sys::say(&format!("# in {} s: {}", time.as_secs(), text.join(", ")));
    if let Some(e) = race.error.into_inner().unwrap_or_else(|p| p.into_inner()) {
        return Err(Fail::Fail(e));
    }
    for m in must {
        if !counts.iter().any(|(k, v)| k == m && *v > 0) {
            return Err(Fail::Fail(format!("the race ran without any {m}")));
        }
    }
    Ok(())
}

/// Percentile `p` (0 to 100) of a list that this sorts.
pub fn percentile(v: &mut [u64], p: usize) -> u64 {
    v.sort_unstable();
    match v.len() {
        0 => 0,
        n => v[((n - 1) * p) / 100],
    }
}

/// The side that reclaims and claims the memory of a process again and again; where there is no
/// `mem_reclaim`, the driver's shrinker is asked instead. Answers in `fine` are no failure.
pub fn disturber(pid: i32, fine: &[sys::Errno]) -> Side<'_> {
    let ours = crate::sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists());
    Box::new(move |r| {
        while r.on() {
            if ours {
                for (what, res) in [
                    ("reclaims", crate::sysfs::reclaim(pid)),
                    ("claims", crate::sysfs::claim(pid)),
                ] {
                    match res {
                        Ok(()) => r.count(what, 1),
                        Err(e) if fine.contains(&e) => r.count("refusals", 1),
                        Err(e) => return Err(Fail::Fail(format!("{what} of {pid}: {e}"))),
                    }
                }
            } else {
                crate::debugfs::shrink(1 << 20)?;
                r.count("shrinks", 1);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    })
}

/// What [`disturber`] must have done for a race to count.
pub fn disturbances() -> &'static str {
    if crate::sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists()) {
        "reclaims"
    } else {
        "shrinks"
    }
}

/// Skips the case where nothing can be evicted.
pub fn need_swap() -> Res {
    if crate::proc::swaps()?.is_empty() {
        return Err(Fail::Skip("no swap".to_string()));
    }
    Ok(())
}

/// The limit of a case that races, in seconds: enough for `PANTHOR_LONG` as well, which the
/// harness multiplies by four.
pub const LIMIT: u64 = 90;
