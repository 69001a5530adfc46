// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Short of memory, the buffers of processes are reclaimed and claimed while they use them.

use e2e::child::Child;
use e2e::pressure::*;
use e2e::proc::vmstat;
use e2e::sys::{write_once, EBUSY, ENOMEM};
use e2e::uapi::BO_WB_MMAP;
use e2e::*;
use std::time::{Duration, Instant};

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
    let mut claimed = false;
    for (i, &pid) in pids.iter().cycle().enumerate() {
        // Each of them once; and up to four times, until one claim has found room.
        let rounds = i / pids.len();
        if !r.on() && rounds > 0 && (claimed || rounds == 4) {
            break;
        }
        match sysfs::reclaim(pid) {
            Ok(()) => r.count("reclaims", 1),
            // All the time somebody had some of it in hand.
            Err(EBUSY) => r.count("busy", 1),
            Err(e) => fail!("mem_reclaim of {pid}: {e}"),
        }
        match sysfs::claim(pid) {
            Ok(()) => {
                r.count("claims", 1);
                claimed = true;
            }
            // There is not enough for all of them.
            Err(ENOMEM) => r.count("too much", 1),
            Err(e) => fail!("mem_claim of {pid}: {e}"),
        }
    }
    Ok(())
}

/// A process that holds ordinary memory, `pages` of it, which it reads when it is told to.
fn ordinary(pages: usize) -> Res<Child> {
    let mut c = Child::spawn(|e| {
        // The first one to go, if somebody must.
        let _ = write_once("/proc/self/oom_score_adj", b"900");
        let mut held = vec![0u64; pages * (PAGE / 8) as usize];
        for (i, page) in held.chunks_mut((PAGE / 8) as usize).enumerate() {
            page[0] = pattern::mix(i as u64);
        }
        e.serve(|_| {
            for (i, page) in held.chunks((PAGE / 8) as usize).enumerate() {
                if page[0] != pattern::mix(i as u64) {
                    return Err(format!("page {i}: {:#x}", page[0]));
                }
            }
            Ok(String::new())
        });
    })?;
    c.call("read")?;
    Ok(c)
}

/// A process with a VM and `count` buffers of `each` bytes in it, `private` to it or not. What it is told:
/// `next`, to make one more; `check`, to look at the content of all, one after the other; `resident`.
fn holder(each: u64, private: bool) -> Res<Child> {
    Child::spawn(|e| {
        let text = |e: sys::Errno| e.to_string();
        let made = Dev::open().and_then(|d| Ok((d.vm()?, d)));
        let mut maps: Vec<Map> = Vec::new();
        e.serve(|cmd| {
            let (vm, d) = made.as_ref().map_err(|e| text(*e))?;
            let n = maps.len() as u64;
            match cmd {
                "next" => {
                    let h = d
                        .bo(each, BO_WB_MMAP, if private { *vm } else { 0 })
                        .map_err(text)?;
                    let m = d.mmap(h, each).map_err(text)?;
                    fill(&m, n);
                    d.map(*vm, h, 0, reclaim::va(n), each).map_err(text)?;
                    maps.push(m);
                }
                "check" => {
                    for (i, m) in maps.iter().enumerate() {
                        check(m, i as u64).map_err(|e| format!("buffer {i}: {e}"))?;
                    }
                }
                _ => return Ok(d.fdinfo().map_err(text)?.resident().to_string()),
            }
            Ok(String::new())
        });
    })
}

/// More than fits is brought back, as `count` buffers of `each` bytes: `private` ones have one lock. It
/// ends, nobody is killed for it, and all that was there is there.
fn too_much(count: u64, each: u64, private: bool) -> Res {
    let kills = vmstat("oom_kill");
    let mut c = holder(each, private)?;
    for _ in 0..count {
        c.call("next")?;
        // All at once would not fit.
        match sysfs::reclaim(c.pid) {
            Ok(()) | Err(EBUSY) => (),
            Err(e) => fail!("mem_reclaim: {e}"),
        }
    }
    let mut other = ordinary((24 * M / PAGE) as usize)?;
    let start = Instant::now();
    let r = sysfs::claim(c.pid);
    note!(
        "figure: mem_claim of {count} buffers of {} KiB{}: {r:?} after {} ms, {} MiB resident",
        each / K,
        if private { ", private" } else { "" },
        start.elapsed().as_millis(),
        c.resident()? / M
    );
    check!(matches!(r, Ok(()) | Err(ENOMEM)), "mem_claim: {r:?}");
    other.call("read")?;
    eq!(vmstat("oom_kill"), kills);
    // One by one they have room.
    c.call("check")?;
    eq!(vmstat("oom_kill"), kills);
    Ok(())
}

/// Swap is free, so that nobody has to go for a claim of more than there is room for.
fn nobody_is_killed() -> Res {
    reclaim::need()?;
    let total = need(true)?;
    if std::env::var("PANTHOR_KERNEL").as_deref() == Ok("debug") {
        skip!("takes minutes on the debug kernel: KERNEL=fast");
    }
    let all = total / 100 * 85;
    too_much(all / M, M, true)?;
    too_much(4, all / 4 / M * M, true)?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 240;
        claims_in_between,
        nobody_is_killed,
    ])
}
