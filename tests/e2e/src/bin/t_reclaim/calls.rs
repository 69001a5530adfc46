// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The calls themselves: tracepoints, and who waits for them.

use crate::common::*;
use e2e::child::Child;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::*;

/// A tracepoint for each call, with what was done.
pub fn tracepoints() -> Res {
    need()?;
    let base = "/sys/kernel/tracing";
    let mut found = Vec::new();
    for sys in std::fs::read_dir(format!("{base}/events"))
        .map_err(|e| e.to_string())?
        .flatten()
    {
        if !sys.file_name().to_string_lossy().starts_with("panthor") {
            continue;
        }
        for e in std::fs::read_dir(sys.path())
            .map_err(|e| e.to_string())?
            .flatten()
        {
            let n = e.file_name().to_string_lossy().into_owned();
            if n.contains("claim") {
                found.push((n, e.path()));
            }
        }
    }
    check!(!found.is_empty(), "no tracepoints of reclaim and claim");
    for (n, p) in &found {
        write_once(p.join("enable"), b"1").map_err(|e| format!("{n}: {e}"))?;
    }
    ok!(write_once(format!("{base}/trace"), b"\n"));
    let c = target(M)?;
    ok!(reclaim(c.pid));
    ok!(claim(c.pid));
    let t = ok!(read_text(format!("{base}/trace")));
    for (_, p) in &found {
        ok!(write_once(p.join("enable"), b"0"));
    }
    let lines: Vec<&str> = t
        .lines()
        .filter(|l| l.contains("claim: ") && !l.starts_with('#'))
        .collect();
    for l in &lines {
        note!("{}", l.trim());
    }
    let pid = c.pid.to_string();
    let has = |l: &&&str, n: u64| {
        l.split(|c: char| !c.is_ascii_digit())
            .any(|w| w == n.to_string())
    };
    let of = |k: &str| lines.iter().find(|l| l.contains(k) && l.contains(&pid));
    let Some(r) = of(" mem_reclaim: ") else {
        fail!("no line for the reclaim of {pid}:\n{t}")
    };
    check!(
        has(&r, 8) && has(&r, 8 * M),
        "8 buffers, {} bytes: {r}",
        8 * M
    );
    let Some(k) = of(" mem_claim: ") else {
        fail!("no line for the claim of {pid}:\n{t}")
    };
    check!(
        has(&k, 7) && has(&k, 7 * M) || has(&k, 8) && has(&k, 8 * M),
        "{k}"
    );
    Ok(())
}

/// Opening the device does not wait for a reclaim.
pub fn opens_do_not_wait() -> Res {
    need()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..16u64 {
        c.call(&format!("bo 0x600000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    let pid = c.pid;
    let open = || -> Res<u64> {
        let t = std::time::Instant::now();
        drop(Dev::open()?);
        Ok(t.elapsed().as_micros() as u64)
    };
    let mut idle: Vec<u64> = (0..200).map(|_| open()).collect::<Res<_>>()?;
    let t = std::time::Instant::now();
    let w = std::thread::spawn(move || reclaim(pid));
    let mut busy = Vec::new();
    while !w.is_finished() {
        busy.push(open()?);
    }
    let took = t.elapsed();
    ok!(w.join().map_err(|_| "thread".to_string())?);
    eq!(c.resident()?, 0);
    let max = busy.iter().max().copied().unwrap_or(0);
    note!(
        "{} opens in {} ms of reclaim: p50 {} us (idle {}), longest {} us",
        busy.len(),
        took.as_millis(),
        race::percentile(&mut busy, 50),
        race::percentile(&mut idle, 50),
        max
    );
    check!(
        busy.len() >= 5,
        "only {} opens in {} ms",
        busy.len(),
        took.as_millis()
    );
    // One that waited for the whole call would have taken as long.
    check!(
        (max as u128) < took.as_micros() / 2,
        "an open took {max} us of {} us",
        took.as_micros()
    );
    Ok(())
}
