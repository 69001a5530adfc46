// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Fault injection: the n-th allocation of a call fails, or all from the n-th on.

use crate::census;
use crate::ktap::{Fail, Res};
use crate::promise;
use crate::sys::{self, Errno};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const DEBUG: &str = "/sys/kernel/debug";

/// More failures than a sweep has. It counts down, so that one sees which kind it was, and it ends
/// a call that tries again for ever.
const TIMES: u64 = 1_000_000;

/// What allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `kmalloc()` and the caches: failslab.
    Slab,
    /// The page allocator: fail_page_alloc.
    Page,
    /// A mempool, which then takes from its reserve.
    Pool,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Slab, Kind::Page, Kind::Pool];

    fn dir(self) -> &'static str {
        match self {
            Kind::Slab => "failslab",
            Kind::Page => "fail_page_alloc",
            Kind::Pool => "fail_mempool_alloc",
        }
    }

    fn file(self, name: &str) -> String {
        format!("{DEBUG}/{}/{name}", self.dir())
    }

    fn set(self, name: &str, v: &str) -> Res {
        let p = self.file(name);
        sys::write_once(&p, v.as_bytes()).map_err(|e| format!("{p}: {e}"))?;
        Ok(())
    }

    fn exists(self) -> bool {
        std::path::Path::new(&self.file("times")).exists()
    }

    /// What is left of the failures.
    fn times(self) -> u64 {
        sys::read_text(self.file("times"))
            .ok()
            .and_then(|s| s.trim().parse().ok())
            .unwrap_or(0)
    }
}

/// Sets the fault injection up: every allocation counts but those of the kernel's own checkers,
/// nothing is printed. Skips the case on a kernel without it.
pub fn setup() -> Res {
    for k in [Kind::Slab, Kind::Page] {
        if !k.exists() {
            return Err(promise::missing("faults", format!("no {}", k.dir())));
        }
    }
    for k in Kind::ALL.into_iter().filter(|k| k.exists()) {
        k.set("verbose", "0")?;
        k.set("probability", "0")?;
        k.set("interval", "1")?;
        k.set("space", "0")?;
        k.set("task-filter", "Y")?;
        k.set("times", &TIMES.to_string())?;
    }
    Kind::Slab.set("ignore-gfp-wait", "N")?;
    Kind::Page.set("ignore-gfp-wait", "N")?;
    Kind::Page.set("ignore-gfp-highmem", "N")?;
    Kind::Page.set("min-order", "0")?;
    // It explains in the log what comes after it: checks that have no memory for themselves.
    sys::write_once("/dev/kmsg", b"board: allocations are made to fail\n")?;
    // kmemleak and debugobjects turn themselves off when they find no memory.
    Kind::Slab.set("cache-filter", "Y")?;
    for e in std::fs::read_dir("/sys/kernel/slab")
        .map_err(|e| format!("/sys/kernel/slab: {e}"))?
        .flatten()
    {
        let name = e.file_name().to_string_lossy().into_owned();
        let checker = name.starts_with("kmemleak") || name.starts_with("debug_objects");
        let _ = sys::write_once(e.path().join("failslab"), if checker { b"0" } else { b"1" });
    }
    Ok(())
}

/// How allocations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The n-th, once.
    Once,
    /// The n-th and all after it.
    Onwards,
}

/// The calling thread's switches.
struct Injector {
    nth: File,
    task: File,
}

impl Injector {
    /// `how` all calls are going to fail.
    fn new(how: How) -> Res<Injector> {
        for k in Kind::ALL.into_iter().filter(|k| k.exists()) {
            // Only for a thread that says so.
            k.set("probability", if how == How::Onwards { "100" } else { "0" })?;
            k.set("times", &TIMES.to_string())?;
        }
        let open = |name: &str| {
            let p = format!("/proc/self/task/{}/{name}", sys::gettid());
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&p)
                .map_err(|e| Fail::Fail(format!("{p}: {e}")))
        };
        Ok(Injector {
            nth: open("fail-nth")?,
            task: open("make-it-fail")?,
        })
    }

    fn arm(&self, n: u32, how: How) -> Res {
        if how == How::Onwards {
            sys::write_fd(self.task.as_raw_fd(), b"1")?;
        }
        // Nothing but the call stands between this and the disarming.
        sys::write_fd(self.nth.as_raw_fd(), n.to_string().as_bytes())?;
        Ok(())
    }

    /// Whether the fault point was reached.
    fn disarm(&self, how: How) -> Res<bool> {
        if how == How::Onwards {
            let _ = self.task.write_at(b"0", 0);
        }
        let mut b = [0u8; 32];
        let len = self.nth.read_at(&mut b, 0).unwrap_or(0);
        let left: u32 = String::from_utf8_lossy(&b[..len])
            .trim()
            .parse()
            .unwrap_or(0);
        // What is left would hit a later call.
        let _ = self.nth.write_at(b"0", 0);
        Ok(left == 0)
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        for k in Kind::ALL.into_iter().filter(|k| k.exists()) {
            let _ = k.set("probability", "0");
        }
    }
}

/// Runs `f` with its `n`-th fault point failing; its result and whether that point was reached.
pub fn nth<T>(n: u32, f: impl FnOnce() -> T) -> Res<(T, bool)> {
    run(n, How::Once, f)
}

/// The same with all fault points from the `n`-th on failing.
pub fn from_nth<T>(n: u32, f: impl FnOnce() -> T) -> Res<(T, bool)> {
    run(n, How::Onwards, f)
}

fn run<T>(n: u32, how: How, f: impl FnOnce() -> T) -> Res<(T, bool)> {
    let i = Injector::new(how)?;
    i.arm(n, how)?;
    let r = f();
    Ok((r, i.disarm(how)?))
}

/// Fault points, and how many of them made the call fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Fault points reached.
    pub points: u32,
    /// Calls that failed.
    pub failed: u32,
}

/// What became of all fault points of a call.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// One allocation failed, by kind.
    once: [Count; 3],
    /// All failed from one on.
    onwards: Count,
    errors: BTreeMap<i32, u32>,
    sweeps: u64,
}

impl Tally {
    /// How many calls failed.
    pub fn failed(&self) -> u32 {
        self.once.iter().map(|c| c.failed).sum::<u32>() + self.onwards.failed
    }

    /// How many fault points there were.
    pub fn points(&self) -> u32 {
        self.once.iter().map(|c| c.points).sum::<u32>() + self.onwards.points
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, c) in Kind::ALL.iter().zip(self.once) {
            if c.points > 0 || *k != Kind::Pool {
                let k = format!("{k:?}").to_lowercase();
                write!(f, "{k} {} ({} fail the call), ", c.points, c.failed)?;
            }
        }
        let o = self.onwards;
        write!(f, "all from one on {} ({})", o.points, o.failed)?;
        for (i, (e, n)) in self.errors.iter().enumerate() {
            let sep = if i == 0 { ';' } else { ',' };
            write!(f, "{sep} {} {n}", Errno(*e))?;
        }
        Ok(())
    }
}

/// A call whose allocations are made to fail.
///
/// `call` makes it; `undo(true)` takes a success back and `undo(false)` looks whether a failure
/// left no traces, so that every round starts from the same state.
pub struct Sweep<'a> {
    /// Its name.
    pub what: &'a str,
    /// The errors that it may have then.
    pub allowed: &'a [Errno],
    /// How long to repeat it, to see whether memory is lost.
    pub repeat: Duration,
}

impl<'a> Sweep<'a> {
    /// Repeated for most of a second.
    pub fn new(what: &'a str, allowed: &'a [Errno]) -> Self {
        Sweep {
            what,
            allowed,
            repeat: Duration::from_millis(700),
        }
    }

    /// Repeated for as long as this.
    pub fn repeat(mut self, d: Duration) -> Self {
        self.repeat = d;
        self
    }

    fn once(
        &self,
        how: How,
        tally: &mut Tally,
        call: &mut impl FnMut() -> Result<(), Errno>,
        undo: &mut impl FnMut(bool) -> Res,
    ) -> Res {
        let i = Injector::new(how)?;
        let mut left = Kind::ALL.map(Kind::times);
        for n in 1..20_000 {
            i.arm(n, how)?;
            let r = call();
            let hit = i.disarm(how)?;
            let count = match how {
                How::Onwards => &mut tally.onwards,
                // Which kind is of interest once.
                How::Once if tally.sweeps > 0 => &mut tally.once[0],
                How::Once => {
                    let now = Kind::ALL.map(Kind::times);
                    let k = (0..3).find(|k| now[*k] != left[*k]).unwrap_or(0);
                    left = now;
                    &mut tally.once[k]
                }
            };
            count.points += u32::from(hit);
            let done = match r {
                Ok(()) => undo(true),
                Err(e) if hit && self.allowed.contains(&e) => {
                    count.failed += 1;
                    *tally.errors.entry(e.0).or_default() += 1;
                    undo(false)
                }
                Err(_) => Err(Fail::Fail("that error is not documented".to_string())),
            };
            if let Err(Fail::Fail(s)) = done {
                return Err(Fail::Fail(format!(
                    "{}: fault point {n} ({how:?}, {}), result {r:?}: {s}",
                    self.what,
                    if hit { "hit" } else { "not reached" }
                )));
            }
            done?;
            if !hit {
                return Ok(());
            }
        }
        Err(Fail::Fail(format!("{}: no end of fault points", self.what)))
    }

    /// Fails each allocation of the call in turn until it runs through untouched, and the same with
    /// all allocations from one on; then again and again, to see whether something is lost each
    /// time. Prints the counts.
    pub fn run(
        &self,
        mut call: impl FnMut() -> Result<(), Errno>,
        mut undo: impl FnMut(bool) -> Res,
    ) -> Res<Tally> {
        // What the first call of its kind sets up for good is no leak.
        let mut first = Tally::default();
        for how in [How::Once, How::Onwards] {
            self.once(how, &mut first, &mut call, &mut undo)?;
        }
        if first.points() == 0 {
            crate::note!("{}: allocates nothing", self.what);
            return Ok(first);
        }
        let mut sink = Tally::default();
        let mut sweeps = 0;
        let mut suspects: Option<Vec<String>> = None;
        // A count may grow by chance, as the CPUs keep free objects in lists, but not four times.
        for _ in 0..4 {
            let before = census::Census::take()?;
            let start = Instant::now();
            let (mut rounds, failed) = (0, sink.failed());
            while start.elapsed() < self.repeat || rounds < 2 {
                rounds += 1;
                sink.sweeps += 1;
                for how in [How::Once, How::Onwards] {
                    self.once(how, &mut sink, &mut call, &mut undo)?;
                }
            }
            sweeps += rounds;
            let mut grown = before.growth(rounds, (sink.failed() - failed).into())?;
            if let Some(old) = suspects {
                grown.retain(|g| old.contains(g));
            }
            if grown.is_empty() {
                crate::note!(
                    "{}: {first}; {sweeps} more sweeps, {} failed calls",
                    self.what,
                    sink.failed()
                );
                return Ok(first);
            }
            suspects = Some(grown);
        }
        Err(Fail::Fail(format!(
            "{}: in four times {} sweeps and {} failed calls there were more and more {}",
            self.what,
            sweeps / 4,
            sink.failed() / 4,
            suspects.unwrap_or_default().join(", ")
        )))
    }

    /// [`Self::run`], and at least one failure, or the test tests nothing.
    pub fn must_fail(
        &self,
        call: impl FnMut() -> Result<(), Errno>,
        undo: impl FnMut(bool) -> Res,
    ) -> Res {
        let t = self.run(call, undo)?;
        if t.failed() == 0 {
            return Err(Fail::Fail(format!(
                "{}: no fault point has an effect",
                self.what
            )));
        }
        Ok(())
    }
}
