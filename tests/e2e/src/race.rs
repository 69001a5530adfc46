// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Frame of the race programs: several sides run against each other for a time, and say what they
//! did.

use crate::ktap::{Fail, Res};
use crate::sys;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
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
/// counts named in `must` stayed at 0: a race that never ran proves nothing. So does one whose calls
/// found nothing to do: what they did is counted, where there are tracepoints that tell.
pub fn run(time: Duration, must: &[&'static str], sides: Vec<Side<'_>>) -> Res {
    let start = Instant::now();
    let mut bytes = Bytes::start()?;
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
        while race.on() {
            std::thread::sleep(Duration::from_millis(50));
            bytes.count(&race);
        }
    });
    bytes.count(&race);
    let counts = race.counts.into_inner().unwrap_or_else(|p| p.into_inner());
    let error = race.error.into_inner().unwrap_or_else(|p| p.into_inner());
    if let Some(e) = error {
        say(start.elapsed(), &counts);
        return Err(Fail::Fail(e));
    }
    finish(start, time, must, &counts)
}

/// Says what a race did since `start`; fails when it was shorter than it had to be, when more than
/// four and one of twenty reclaims were `EBUSY`, or when one of the counts named in `must` is 0.
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
    // Some may be in use for a moment, the longer the more else the machine has to do: not all of
    // it, all the time.
    let of = |what: &str| {
        let found = counts.iter().find(|(k, _)| *k == what);
        found.map_or(0, |(_, v)| *v)
    };
    if of("busy") > 4 && of("busy") * 20 > of("reclaims") {
        let (busy, reclaims) = (of("busy"), of("reclaims"));
        return Err(Fail::Fail(format!(
            "{busy} calls left something behind, {reclaims} did not"
        )));
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

/// The counts named, and those without which [`disturber`] did nothing. Not [`BACK`]: those who use
/// the memory bring it back before a claim does.
pub fn disturbed(must: &[&'static str]) -> Vec<&'static str> {
    let both: &[&'static str] = match has_reclaim() {
        true => &["reclaims", "claims", OUT],
        false => &["shrinks"],
    };
    [must, both].concat()
}

/// Whether the driver has `mem_reclaim`.
pub fn has_reclaim() -> bool {
    crate::sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists())
}

/// Names of what [`Bytes`] counts.
pub const OUT: &str = "KiB out";
/// As above.
pub const BACK: &str = "KiB back";

/// What all calls of `mem_reclaim` and `mem_claim` do while it lives, by their tracepoints; nothing
/// where there are none.
pub struct Bytes {
    pipe: Option<File>,
    text: String,
    out: u64,
    back: u64,
}

impl Bytes {
    const BASE: &'static str = "/sys/kernel/tracing";

    fn enable(on: bool) -> sys::Result<()> {
        for e in ["mem_reclaim", "mem_claim"] {
            let p = format!("{}/events/panthor/{e}/enable", Self::BASE);
            sys::write_once(p, if on { b"1" } else { b"0" })?;
        }
        Ok(())
    }

    /// From now on.
    pub fn start() -> Res<Bytes> {
        let pipe = if has_reclaim() {
            Self::enable(true).map_err(|e| format!("tracepoints: {e}"))?;
            let pipe = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(format!("{}/trace_pipe", Self::BASE));
            Some(pipe.map_err(|e| format!("trace_pipe: {e}"))?)
        } else {
            None
        };
        Ok(Bytes {
            pipe,
            text: String::new(),
            out: 0,
            back: 0,
        })
    }

    /// Reads what was said since it was asked last. To be called now and then: the kernel keeps the
    /// latest ten thousand or so.
    pub fn take(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut b = [0; 16384];
        while let Ok(n @ 1..) = pipe.read(&mut b) {
            self.text.push_str(&String::from_utf8_lossy(&b[..n]));
            while let Some((line, rest)) = self.text.split_once('\n') {
                let done = line
                    .split_once(" bytes_done=")
                    .and_then(|(_, n)| n.split(' ').next()?.parse().ok())
                    .unwrap_or(0);
                if line.contains(" mem_reclaim: ") {
                    self.out += done;
                } else if line.contains(" mem_claim: ") {
                    self.back += done;
                }
                self.text = rest.to_string();
            }
        }
    }

    /// Adds what was new to the counts of a race.
    fn count(&mut self, race: &Race) {
        let before = (self.out / 1024, self.back / 1024);
        self.take();
        if self.pipe.is_some() {
            race.count(OUT, self.out / 1024 - before.0);
            race.count(BACK, self.back / 1024 - before.1);
        }
    }

    /// For [`finish`].
    pub fn out(&self) -> (&'static str, u64) {
        (OUT, self.out / 1024)
    }

    /// For [`finish`].
    pub fn back(&self) -> (&'static str, u64) {
        (BACK, self.back / 1024)
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if self.pipe.is_some() {
            let _ = Self::enable(false);
        }
    }
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
