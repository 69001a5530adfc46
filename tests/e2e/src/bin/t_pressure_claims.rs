// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Short of memory, the buffers of processes are reclaimed and claimed while they use them.

use e2e::pressure::*;
use e2e::sys::{EBUSY, ENOMEM};
use e2e::*;
use std::time::Duration;

/// Somebody else pushes memory out and brings it back: claims, faults, binds and
/// allocations that reclaim memory, all at once. It ends, and no byte is wrong.
fn claims_in_between() -> Res {
    let total = need(true)?;
    // A claim of all of one fits, all of all do not.
    let share = total / WORKERS as u64;
    let mut ws = Vec::new();
    for n in 0..WORKERS {
        ws.push(Handle::spawn(n as u64 + 11)?);
    }
    grow(&mut ws, &mut None, share)?;
    let pids: Vec<i32> = ws.iter().map(|w| w.child.pid).collect();
    let mut sides: Vec<race::Side<'_>> = vec![Box::new(|_| {
        all(&mut ws, &mut None, &format!("work {}", work_ms() / 2))?;
        all(&mut ws, &mut None, "check")?;
        Ok(())
    })];
    let must: &[&str] = if race::has_reclaim() {
        sides.push(Box::new(move |r| push_and_pull(r, &pids)));
        &["reclaims", "claims"]
    } else {
        sides.push(race::disturber(0, &[]));
        &["shrinks"]
    };
    race::run(Duration::from_millis(work_ms() / 2), must, sides)
}

/// Reclaims and claims the memory of processes, one after the other, which go on using it: each
/// once at least.
fn push_and_pull(r: &race::Race, pids: &[i32]) -> Res {
    for (i, &pid) in pids.iter().cycle().enumerate() {
        if i >= pids.len() && !r.on() {
            break;
        }
        match sysfs::reclaim(pid) {
            Ok(()) => r.count("reclaims", 1),
            // All the time somebody had some of it in hand.
            Err(EBUSY) => r.count("busy", 1),
            Err(e) => fail!("mem_reclaim of {pid}: {e}"),
        }
        match sysfs::claim(pid) {
            Ok(()) => r.count("claims", 1),
            // There is not enough for all of them.
            Err(ENOMEM) => r.count("too much", 1),
            Err(e) => fail!("mem_claim of {pid}: {e}"),
        }
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 240;
        claims_in_between,
    ])
}
