// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Frame of the race programs: several sides run against each other for a time, and say what they
//! did.

use crate::ktap::{Fail, Res};
use crate::sys;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What the sides of a race share.
pub struct Race {
    stop: AtomicBool,
    error: Mutex<Option<String>>,
    counts: Mutex<Vec<(&'static str, u64)>>,
    must: Vec<&'static str>,
    end: Instant,
    last_end: Instant,
}

impl Race {
    /// Whether to go on: until the time is up; where somebody did nothing so far, as on a machine
    /// that has much else to do, a while longer.
    pub fn on(&self) -> bool {
        let now = Instant::now();
        !self.stop.load(Ordering::Relaxed)
            && (now < self.end || now < self.last_end && self.idle().is_some())
    }

    /// A count that has to be more than 0 and is not.
    fn idle(&self) -> Option<&'static str> {
        let c = self.counts.lock().unwrap_or_else(|p| p.into_inner());
        idle(&self.must, &c)
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
    let start = Instant::now();
    let race = Race {
        stop: AtomicBool::new(false),
        error: Mutex::new(None),
        counts: Mutex::new(Vec::new()),
        must: must.to_vec(),
        end: start + time,
        last_end: start + time * 2 + Duration::from_secs(10),
    };
    std::thread::scope(|s| {
        for side in sides {
            s.spawn(|| match side(&race) {
                Ok(()) => {}
                Err(Fail::Skip(m) | Fail::Fail(m)) => race.fail(m),
            });
        }
    });
    let counts = race.counts.into_inner().unwrap_or_else(|p| p.into_inner());
    let error = race.error.into_inner().unwrap_or_else(|p| p.into_inner());
    if let Some(e) = error {
        say(start.elapsed(), &counts);
        return Err(Fail::Fail(e));
    }
    finish(start, time, must, &counts)
}

/// Says what a race did since `start`; fails when it was shorter than it had to be, or when one of
/// the counts named in `must` is 0.
pub fn finish(
    start: Instant,
    time: Duration,
    must: &[&'static str],
    counts: &[(&'static str, u64)],
) -> Res {
    let took = start.elapsed();
    say(took, counts);
    if took < time {
        return Err(Fail::Fail(format!("the race ended after {took:?}")));
    }
    match idle(must, counts) {
        Some(m) => Err(Fail::Fail(format!("the race ran without any {m}"))),
        None => Ok(()),
    }
}

fn idle(must: &[&'static str], counts: &[(&'static str, u64)]) -> Option<&'static str> {
    let none = |m: &&str| !counts.iter().any(|(k, v)| k == m && *v > 0);
    must.iter().copied().find(none)
}

/// The line that `make test` shows.
fn say(took: Duration, counts: &[(&'static str, u64)]) {
    let text: Vec<String> = counts.iter().map(|(k, v)| format!("{v} {k}")).collect();
    sys::say(&format!(
        "# race {} in {:.1} s: {}",
        crate::ktap::case(),
        took.as_secs_f64(),
        text.join(", ")
    ));
}

/// Percentile `p` (0 to 100) of a list that this sorts.
pub fn percentile(v: &mut [u64], p: usize) -> u64 {
    v.sort_unstable();
    match v.len() {
        0 => 0,
        n => v[((n - 1) * p) / 100],
    }
}

/// Counts what a call did, as `what` or by its error. An error that is not in `fine` is a failure.
///
/// `EBUSY` of `mem_reclaim` means that others had some of the memory in their hands for all of the
/// 200 ms that the call waits: a VM_BIND that is preempted for so long, with its pages pinned.
pub fn tally(r: &Race, what: &'static str, res: sys::Result<()>, fine: &[sys::Errno]) -> Res {
    let Err(e) = res else {
        r.count(what, 1);
        return Ok(());
    };
    if !fine.contains(&e) {
        return Err(Fail::Fail(format!("{what}: {e}")));
    }
    r.count(
        match e {
            sys::EBUSY => "busy",
            sys::EINTR => "interrupted",
            sys::ESRCH => "not there",
            _ => "other errors",
        },
        1,
    );
    Ok(())
}

/// The side that reclaims and claims the memory of a process again and again; where there is no
/// `mem_reclaim`, the driver's shrinker is asked instead. The errors in `fine` are no failure
/// ([`tally`]).
pub fn disturber(pid: i32, fine: &[sys::Errno]) -> Side<'_> {
    let ours = has_reclaim();
    Box::new(move |r| {
        // That is no answer of mem_claim.
        let of_claim: Vec<_> = fine.iter().copied().filter(|e| *e != sys::EBUSY).collect();
        while r.on() {
            if ours {
                tally(r, "reclaims", crate::sysfs::reclaim(pid), fine)?;
                tally(r, "claims", crate::sysfs::claim(pid), &of_claim)?;
            } else {
                crate::debugfs::shrink(1 << 20)?;
                r.count("shrinks", 1);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    })
}

/// The counts named, and those without which [`disturber`] did nothing.
pub fn disturbed(must: &[&'static str]) -> Vec<&'static str> {
    let both: &[&'static str] = match has_reclaim() {
        true => &["reclaims", "claims"],
        false => &["shrinks"],
    };
    [must, both].concat()
}

/// Whether the driver has `mem_reclaim`.
pub fn has_reclaim() -> bool {
    crate::sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists())
}

/// Skips the case where nothing can be evicted.
pub fn need_swap() -> Res {
    if crate::proc::swaps()?.is_empty() {
        return Err(crate::promise::missing("swap", "no swap"));
    }
    Ok(())
}

/// The limit of a case that races, in seconds: enough for `PANTHOR_LONG` as well, which the
/// harness multiplies by four.
pub const LIMIT: u64 = 90;
