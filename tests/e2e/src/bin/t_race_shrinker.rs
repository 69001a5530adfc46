// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A kernel that is short of memory and calls the driver's shrinker, against reclaim and claim: no
//! deadlock, no lost page.

use e2e::child::{Child, End};
use e2e::debugfs::Gems;
use e2e::proc::MemInfo;
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::time::Duration;

/// The kernel's own reserve. Raised to about what is free it makes memory short without anybody
/// having to fill it.
const RESERVE: &str = "/proc/sys/vm/min_free_kbytes";

/// What the eater takes at a time, and how much before it gives all of it back.
const BITE: u64 = 4 * M;
const MEAL: u64 = 96 * M;

fn set_reserve(bytes: u64) -> Result<()> {
    write_once(RESERVE, (bytes / K).to_string().as_bytes()).map(|_| ())
}

/// A process that takes a bite at each command, and is the first that the OOM killer takes.
fn eater() -> Res<Child> {
    Child::spawn(|e: &mut End| {
        let _ = write_once("/proc/self/oom_score_adj", b"1000");
        let mut held = Vec::new();
        e.serve(|_| {
            if held.len() as u64 == MEAL / BITE {
                held.clear();
            }
            let m = Map::new(
                -1,
                0,
                BITE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            )
            .map_err(|e| e.to_string())?;
            for i in (0..m.len() / 8).step_by(512) {
                m.set(i, i as u64 | 1);
            }
            held.push(m);
            Ok(String::new())
        });
    })
}

fn memory_is_short() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut maps = Vec::new();
    for i in 0..24u64 {
        let h = ok!(d.bo(512 * K, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 }));
        let m = ok!(d.mmap(h, 512 * K));
        pattern::fill(&m, i << 32);
        if i % 4 != 3 {
            ok!(d.map(vm, h, 0, (i + 1) << 32, 512 * K));
        }
        maps.push(m);
    }
    // Nobody but the kernel takes this one's memory away.
    let mut other = Child::holder()?;
    other.call("vm")?;
    for i in 0..24u64 {
        other.call(&format!("bo 0x80000 2 {} {}", i % 2, i + 1))?;
        other.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
    }
    let pid = other.pid;
    let evictions = || -> Res<u64> { Ok(Gems::read()?.of(pid).map(|b| b.evictions).sum()) };

    let free = ok!(MemInfo::read()).get("MemFree");
    let mut hungry = eater()?;
    let stalls = || proc::vmstat("allocstall_normal") + proc::vmstat("allocstall_dma");
    let (before, stalled, woken) = (evictions()?, stalls(), proc::vmstat("pageoutrun"));

    let mut must = vec!["checks", "bites", "squeezes", "evictions by the kernel"];
    if has_reclaim() {
        // Without them nobody allocates under the driver's locks and finds nothing.
        must.push("stalls");
    }
    run(
        ktap::race_time(),
        &disturbed(&must),
        vec![
            disturber(getpid(), &[EBUSY]),
            Box::new(|r| {
                let mut seeds: Vec<u64> = (0..maps.len() as u64).map(|i| i << 32).collect();
                let mut rng = pattern::Rng::new(3);
                while r.on() {
                    let i = rng.below(maps.len() as u64) as usize;
                    pattern::check(&maps[i], seeds[i]).map_err(|e| format!("buffer {i}: {e}"))?;
                    seeds[i] = rng.draw();
                    pattern::fill(&maps[i], seeds[i]);
                    r.count("checks", 1);
                }
                for (i, m) in maps.iter().enumerate() {
                    pattern::check(m, seeds[i]).map_err(|e| format!("buffer {i}, end: {e}"))?;
                }
                Ok(())
            }),
            Box::new(|r| {
                while r.on() {
                    // It answers, or the OOM killer took it, as it was asked to.
                    if hungry.ask("eat").is_err() {
                        r.count("kills", 1);
                        hungry = eater()?;
                    }
                    r.count("bites", 1);
                }
                Ok(())
            }),
            Box::new(|r| {
                // At the first kswapd runs, at the second those who allocate soon have to help.
                while r.on() {
                    for percent in [80, 94] {
                        ok!(set_reserve(free / 100 * percent));
                        r.count("squeezes", 1);
                        std::thread::sleep(Duration::from_millis(200));
                    }
                }
                ok!(set_reserve(free / 16));
                Ok(())
            }),
            Box::new(|r| {
                let (mut n, mut seen, mut stalled) = (0, before, stalled);
                while r.on() {
                    // What was evicted comes back, and can be evicted again.
                    other.call(&format!("check {}", n % 24))?;
                    n += 1;
                    r.count("checks", 1);
                    if n % 24 == 0 {
                        let now = evictions()?;
                        r.count("evictions by the kernel", now - seen);
                        seen = now;
                        let now = stalls();
                        r.count("stalls", now - stalled);
                        stalled = now;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                for i in 0..24 {
                    other.call(&format!("check {i}"))?;
                }
                r.count("runs of kswapd", proc::vmstat("pageoutrun") - woken);
                Ok(())
            }),
        ],
    )?;
    drop(hungry);
    if has_reclaim() {
        // Nothing was left behind in a state of its own.
        ok!(sysfs::reclaim(getpid()));
        eq!(ok!(d.fdinfo()).resident(), 0);
        ok!(sysfs::claim(getpid()));
        eq!(ok!(d.fdinfo()).resident(), ok!(d.fdinfo()).total());
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    // Whatever becomes of the case, those that follow find it as it was.
    let reserve = read_text(RESERVE).unwrap_or_default();
    let ret = ktap::run(cases![limit LIMIT; memory_is_short]);
    if let Err(e) = write_once(RESERVE, reserve.trim().as_bytes()) {
        note!("{RESERVE}: {e}");
    }
    ret
}
