// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `open` and `close` of the device by others while a process is being reclaimed and claimed.

use e2e::child::Child;
use e2e::race::*;
use e2e::sys::Result;
use e2e::*;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// An open and close: when it began, in microseconds of the race, and how long it took.
struct Open {
    at: u64,
    took: u64,
}

fn open_close(start: Instant) -> Res<Open> {
    let at = start.elapsed().as_micros() as u64;
    drop(Dev::open()?);
    let took = start.elapsed().as_micros() as u64 - at;
    Ok(Open { at, took })
}

fn percentiles<'a>(v: impl Iterator<Item = &'a Open>) -> (usize, u64, u64, u64) {
    let mut v: Vec<u64> = v.map(|o| o.took).collect();
    let (p50, p99) = (percentile(&mut v, 50), percentile(&mut v, 99));
    (v.len(), p50, p99, v.last().copied().unwrap_or(0))
}

/// As without it: somebody who opens does not wait until a call is through.
fn latency() -> Res {
    sysfs::need("mem_reclaim")?;
    need_swap()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..16u64 {
        c.call(&format!("bo 0x100000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
    }
    let start = Instant::now();
    let mut idle = Vec::new();
    while start.elapsed() < Duration::from_secs(2) {
        idle.push(open_close(start)?);
    }
    let opens = Mutex::new(Vec::new());
    let calls = Mutex::new(Vec::new());
    let pid = c.pid;
    run(
        ktap::race_time(),
        &disturbed(&["opens", BACK]),
        vec![
            Box::new(|r| {
                let mut v = Vec::new();
                while r.on() {
                    v.push(open_close(start)?);
                    r.count("opens", 1);
                }
                *lock(&opens) = v;
                Ok(())
            }),
            Box::new(|r| {
                let mut v = Vec::new();
                while r.on() {
                    for (what, f) in [
                        ("reclaims", sysfs::reclaim as fn(i32) -> Result<()>),
                        ("claims", sysfs::claim),
                    ] {
                        let from = start.elapsed().as_micros() as u64;
                        ok!(f(pid));
                        v.push((from, start.elapsed().as_micros() as u64));
                        r.count(what, 1);
                    }
                }
                *lock(&calls) = v;
                Ok(())
            }),
        ],
    )?;
    for i in 0..16 {
        c.call(&format!("check {i}"))?;
    }
    let (opens, calls) = (lock(&opens), lock(&calls));
    let during: Vec<&Open> = opens
        .iter()
        .filter(|o| calls.iter().any(|(a, b)| o.at < *b && o.at + o.took > *a))
        .collect();
    let within = during
        .iter()
        .filter(|o| calls.iter().any(|(a, b)| o.at > *a && o.at + o.took < *b))
        .count();
    let (_, idle50, idle99, _) = percentiles(idle.iter());
    let (n, p50, p99, longest) = percentiles(during.iter().copied());
    let mut took: Vec<u64> = calls.iter().map(|(a, b)| b - a).collect();
    let call = percentile(&mut took, 50);
    // Some are long because the machine has other things to do.
    let long = during.iter().filter(|o| o.took > call / 2).count();
    note!("figure: open and close, idle: p50 {idle50} p99 {idle99} us");
    note!(
        "figure: {n} during {} calls of p50 {call} us: p50 {p50} p99 {p99} longest {longest} us, {long} longer than half a call",
        took.len()
    );
    note!("{within} of them began and ended within one call");
    // Who waited for calls would be through at most once in each, and take as long as they do.
    check!(
        within > 4 * took.len(),
        "{within} opens in {} calls",
        took.len()
    );
    check!(
        long * 20 <= took.len(),
        "{long} opens took longer than half of one of {} calls",
        took.len()
    );
    check!(p50 < 4 * idle50, "p50 {p50} us, idle {idle50} us");
    Ok(())
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|p| p.into_inner())
}

/// Many files come and go, with something in them.
fn churn() -> Res {
    need_swap()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    c.call("bo 0x400000 2 1 7")?;
    c.call("bind 1 0 0x100000000")?;
    let side = |n: u64| -> Side<'static> {
        Box::new(move |r| {
            let mut rng = pattern::Rng::new(n);
            let mut v: Vec<Dev> = Vec::new();
            while r.on() {
                if v.len() < 20 && rng.below(3) > 0 {
                    let d = ok!(Dev::open());
                    let vm = ok!(d.vm());
                    let h = ok!(d.bo(16 * K, uapi::BO_WB_MMAP, vm));
                    ok!(d.map(vm, h, 0, M, 16 * K));
                    v.push(d);
                    r.count("opens", 1);
                } else if !v.is_empty() {
                    v.swap_remove(rng.below(v.len() as u64) as usize);
                }
            }
            Ok(())
        })
    };
    // The target, and ourselves: the list of files changes under the search for ours.
    run(
        ktap::race_time(),
        &disturbed(&["opens"]),
        vec![
            side(1),
            disturber(c.pid, &[]),
            disturber(sys::getpid(), &[sys::ESRCH]),
        ],
    )?;
    c.call("check 0")?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; latency, churn])
}
