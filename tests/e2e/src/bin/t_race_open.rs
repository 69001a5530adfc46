// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `open` and `close` of the device by others while a process is being reclaimed and claimed.

use e2e::child::Child;
use e2e::race::*;
use e2e::*;
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn opens(n: usize, v: &Mutex<Vec<u64>>) -> Res {
    for _ in 0..n {
        let t = Instant::now();
        drop(Dev::open()?);
        let us = t.elapsed().as_micros() as u64;
        v.lock().unwrap_or_else(|p| p.into_inner()).push(us);
    }
    Ok(())
}

fn latency() -> Res {
    need_swap()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..16u64 {
        c.call(&format!("bo 0x100000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
    }
    let idle = Mutex::new(Vec::new());
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        opens(1, &idle)?;
    }
    let busy = Mutex::new(Vec::new());
    run(
        ktap::race_time(),
        &["opens", disturbances()],
        vec![
            Box::new(|r| {
                while r.on() {
                    opens(1, &busy)?;
                    r.count("opens", 1);
                }
                Ok(())
            }),
            disturber(c.pid, &[]),
        ],
    )?;
    for i in 0..16 {
        c.call(&format!("check {i}"))?;
    }
    let (mut a, mut b) = (
        idle.into_inner().unwrap_or_else(|p| p.into_inner()),
        busy.into_inner().unwrap_or_else(|p| p.into_inner()),
    );
    let longest = b.iter().max().copied().unwrap_or(0);
    note!(
        "open and close: idle p50 {} p99 {} us, busy p50 {} p99 {} longest {longest} us",
        percentile(&mut a, 50),
        percentile(&mut a, 99),
        percentile(&mut b, 50),
        percentile(&mut b, 99)
    );
    // A call of the disturber takes longer than this on the debug kernel; the bench is stricter.
    check!(longest < 2_000_000, "an open took {longest} us");
    Ok(())
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
        &["opens", disturbances()],
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
