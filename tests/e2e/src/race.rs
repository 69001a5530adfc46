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
