// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The harness: every case runs in a process of its own with a time limit, the result is printed
//! as KTAP.
//!
//! Arguments of a test program: `--list` names the cases; `--limit` says how many seconds it may take;
//! any other argument selects the case of that name, or else those whose names contain it.

use crate::model::Model;
use crate::promise;
use crate::sys::{self, Errno};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Why a case did not pass.
#[derive(Debug)]
pub enum Fail {
    /// It does not apply here.
    Skip(String),
    /// What was found wrong.
    Fail(String),
}

/// The result of a case.
pub type Res<T = ()> = Result<T, Fail>;

/// A case: its name, its body, and its time limit in seconds.
pub struct Case {
    /// Name, unique in the program.
    pub name: &'static str,
    /// Body.
    pub f: fn() -> Res,
    /// Limit in seconds.
    pub limit: u64,
}

impl From<Errno> for Fail {
    fn from(e: Errno) -> Self {
        Fail::Fail(format!("unexpected {e}"))
    }
}

impl From<String> for Fail {
    fn from(s: String) -> Self {
        Fail::Fail(s)
    }
}

/// A list of cases from functions: `cases![a, b; limit 120 => c]`.
#[macro_export]
macro_rules! cases {
    ($($f:ident),* $(,)?) => {
        &[$($crate::Case { name: stringify!($f), f: $f, limit: 60 }),*]
    };
    (limit $l:expr; $($f:ident),* $(,)?) => {
        &[$($crate::Case { name: stringify!($f), f: $f, limit: $l }),*]
    };
}

/// Fails the case with a message.
#[macro_export]
macro_rules! fail {
    ($($a:tt)*) => {
        return Err($crate::Fail::Fail(format!("{}:{}: {}", file!(), line!(), format!($($a)*))))
    };
}

/// Skips the case with a reason.
#[macro_export]
macro_rules! skip {
    ($($a:tt)*) => { return Err($crate::Fail::Skip(format!($($a)*))) };
}

/// The value of a successful result, or the case fails.
#[macro_export]
macro_rules! ok {
    ($e:expr) => {
        match $e {
            Ok(v) => v,
            Err(e) => $crate::fail!("{}: {}", stringify!($e), e),
        }
    };
}

/// A condition that must hold.
#[macro_export]
macro_rules! check {
    ($c:expr) => {
        if !$c {
            $crate::fail!("not so: {}", stringify!($c));
        }
    };
    ($c:expr, $($a:tt)*) => {
        if !$c {
            $crate::fail!("{} (not so: {})", format!($($a)*), stringify!($c));
        }
    };
}

/// Two values that must be equal.
#[macro_export]
macro_rules! eq {
    ($a:expr, $b:expr) => {{
        let (a, b) = (&$a, &$b);
        if *a != *b {
            $crate::fail!("{} is {:x?}, want {:x?}", stringify!($a), a, b);
        }
    }};
}

/// A call that must fail with this error.
#[macro_export]
macro_rules! err {
    ($e:expr, $want:expr) => {
        match $e {
            Ok(v) => $crate::fail!("{} succeeded ({:x?}), want {}", stringify!($e), v, $want),
            Err(e) if e != $want => {
                $crate::fail!("{}: {}, want {}", stringify!($e), e, $want)
            }
            Err(_) => {}
        }
    };
}

/// Prints a diagnostic line.
#[macro_export]
macro_rules! note {
    ($($a:tt)*) => { $crate::sys::say(&format!("# {}", format!($($a)*))) };
}

/// Which driver is loaded, as the launcher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Ours.
    Rust,
    /// The kernel's.
    C,
    /// None.
    None,
}

/// The driver under test.
pub fn driver() -> Driver {
    match std::env::var("PANTHOR_DRIVER").as_deref() {
        Ok("c") => Driver::C,
        Ok("none") => Driver::None,
        _ => Driver::Rust,
    }
}

/// Skips the case unless our driver is the one under test.
pub fn only_rust(what: &str) -> Res {
    match driver() {
        Driver::Rust => Ok(()),
        _ => skip!("{what}: only in the Rust driver"),
    }
}

/// Whether the kernel has the mm addition of `patches/`, as the launcher says.
pub fn patched() -> bool {
    std::env::var("PANTHOR_PATCHES").as_deref() != Ok("no")
}

/// Whether long runs were asked for.
pub fn long() -> bool {
    ["PANTHOR_LONG", "LONG"]
        .iter()
        .any(|v| matches!(std::env::var(v).as_deref(), Ok("1" | "yes")))
}

/// How long a race runs.
pub fn race_time() -> Duration {
    match std::env::var("PANTHOR_RACE_SECS")
        .ok()
        .and_then(|s| s.parse().ok())
    {
        Some(s) => Duration::from_secs(s),
        None if long() => Duration::from_secs(120),
        // Without the attributes only the shrinker is there to race with.
        None if driver() == Driver::C => Duration::from_secs(3),
        None => Duration::from_secs(10),
    }
}

static CASE: OnceLock<&str> = OnceLock::new();

/// The name of the case that runs.
pub fn case() -> &'static str {
    CASE.get().copied().unwrap_or("")
}

enum Outcome {
    Pass,
    Skip(String),
    Fail(String),
}

/// A limit in seconds, for long runs where they were asked for.
fn scaled(limit: u64) -> u64 {
    limit * if long() { 4 } else { 1 }
}

/// Runs one case in a child and waits for it.
fn run_one(c: &Case) -> Outcome {
    let (mut rx, mut tx) = match sys::pipe() {
        Ok(p) => p,
        Err(e) => return Outcome::Fail(format!("pipe: {e}")),
    };
    let limit = scaled(c.limit);
    let pid = match sys::fork() {
        Ok(0) => {
            drop(rx);
            // A group of its own, so that a case that hangs goes away with its helpers.
            // SAFETY: no memory involved.
            unsafe { libc::setpgid(0, 0) };
            let _ = CASE.set(c.name);
            let r = std::panic::catch_unwind(c.f);
            let msg = match r {
                Ok(Ok(())) => "p".to_string(),
                Ok(Err(Fail::Skip(s))) => format!("s{s}"),
                Ok(Err(Fail::Fail(s))) => format!("f{s}"),
                Err(p) => {
                    let s = p
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| p.downcast_ref::<&str>().map(|s| s.to_string()));
                    format!("fpanic: {}", s.unwrap_or_default())
                }
            };
            let _ = tx.write_all(msg.as_bytes());
            let _ = tx.flush();
            let _ = std::io::stdout().flush();
            // SAFETY: ends the child, without destructors of the parent's objects.
            unsafe { libc::_exit(0) }
        }
        Ok(pid) => pid,
        Err(e) => return Outcome::Fail(format!("fork: {e}")),
    };
    drop(tx);
    // SAFETY: no memory involved; both sides set the group, whoever comes first.
    unsafe { libc::setpgid(pid, pid) };
    let end = Instant::now() + Duration::from_secs(limit);
    let mut wait = Duration::from_micros(200);
    let mut late = false;
    let status = loop {
        match sys::waitpid(pid, libc::WNOHANG) {
            Ok(Some(st)) => break st,
            Ok(None) => {}
            Err(e) => return Outcome::Fail(format!("waitpid: {e}")),
        }
        if Instant::now() > end {
            late = true;
            break 0;
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(20));
    };
    if late {
        let stack = sys::read_text(format!("/proc/{pid}/stack")).unwrap_or_default();
        let _ = sys::kill(-pid, libc::SIGKILL);
        let gone = sys::wait_for(Duration::from_secs(10), || {
            !matches!(sys::waitpid(pid, libc::WNOHANG), Ok(None))
        });
        return Outcome::Fail(format!(
            "no end within {limit} s{}\n{stack}",
            if gone {
                ""
            } else {
                ", and SIGKILL does not end it"
            }
        ));
    }
    // Helpers that outlived the case.
    let _ = sys::kill(-pid, libc::SIGKILL);
    if libc::WIFSIGNALED(status) {
        return Outcome::Fail(format!("killed by signal {}", libc::WTERMSIG(status)));
    }
    let mut msg = String::new();
    // A helper killed above may hold the pipe for another moment; the message is already in it.
    let _ = rx.read_to_string(&mut msg);
    match msg.split_at_checked(1) {
        Some(("p", _)) => Outcome::Pass,
        Some(("s", m)) => Outcome::Skip(m.to_string()),
        Some(("f", m)) => Outcome::Fail(m.to_string()),
        _ => Outcome::Fail("the case ended without a word".to_string()),
    }
}

/// Runs the cases that the arguments select; the exit status is 0 when none failed.
///
/// A last case, `no_violations`, asks the model whether the driver broke a rule of the hardware
/// meanwhile, where there is a model.
pub fn run(cases: &[Case]) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--list") {
        for c in cases {
            sys::say(c.name);
        }
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|a| a == "--limit") {
        // Longer than a case that hangs, or both of two: so it is the case that is named.
        let sum: u64 = cases.iter().map(|c| c.limit).sum();
        sys::say(&format!("{}", scaled(300 + sum / 2)));
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|i| sys::say(&format!("# {i}"))));
    let is_name = |a: &String| cases.iter().any(|c| c.name == a);
    let sel: Vec<&Case> = cases
        .iter()
        .filter(|c| {
            args.is_empty()
                || args
                    .iter()
                    .any(|a| c.name == a || !is_name(a) && c.name.contains(a.as_str()))
        })
        .collect();
    sys::say("KTAP version 1");
    sys::say(&format!("1..{}", sel.len() + 1));
    let before = Model::open().and_then(|mut m| m.violations()).ok();
    let (mut bad, mut n) = (0, 0);
    for c in &sel {
        n += 1;
        let t = Instant::now();
        let o = match (run_one(c), promise::broken()) {
            // Skipped for want of it, or it was there before the case.
            (Outcome::Pass | Outcome::Skip(_), Some(what)) => Outcome::Fail(format!(
                "the launcher promised: {what}; after the case it is not there"
            )),
            (o, _) => o,
        };
        let ms = t.elapsed().as_millis();
        report(n, c.name, o, &mut bad);
        if ms > 5000 {
            note!("{} took {ms} ms", c.name);
        }
    }
    let v = match (before, Model::open().and_then(|mut m| m.violations())) {
        (Some(a), Ok(b)) if b.total <= a.total => Outcome::Pass,
        (Some(a), Ok(b)) => Outcome::Fail(format!(
            "{} violations: {}",
            b.total - a.total,
            b.lines.join("; ")
        )),
        _ => match promise::missing("model", "no model") {
            Fail::Skip(s) => Outcome::Skip(s),
            Fail::Fail(s) => Outcome::Fail(s),
        },
    };
    report(n + 1, "no_violations", v, &mut bad);
    if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(n: usize, name: &str, o: Outcome, bad: &mut u32) {
    match o {
        Outcome::Pass => sys::say(&format!("ok {n} {name}")),
        Outcome::Skip(s) => sys::say(&format!("ok {n} {name} # SKIP {s}")),
        Outcome::Fail(s) => {
            *bad += 1;
            for l in s.lines() {
                sys::say(&format!("# {l}"));
            }
            sys::say(&format!("not ok {n} {name}"));
        }
    }
}
