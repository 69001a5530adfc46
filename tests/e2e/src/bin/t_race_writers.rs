// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Several writers on the same process, and the kernel's own shrinker beside them.

use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::time::Duration;

/// Buffers that are checked all the time.
fn target(d: &Dev, size: u64) -> Res<Vec<Map>> {
    let vm = d.vm()?;
    let mut v = Vec::new();
    for i in 0..12u64 {
        let h = d.bo(size, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 })?;
        let m = d.mmap(h, size)?;
        pattern::fill(&m, i);
        d.map(vm, h, 0, (i + 1) << 32, size)?;
        v.push(m);
    }
    Ok(v)
}

fn checker(v: &[Map]) -> Side<'_> {
    Box::new(move |r| {
        let mut n = 0;
        while r.on() {
            n += 1;
            for (i, m) in v.iter().enumerate() {
                pattern::check(m, i as u64).map_err(|e| format!("buffer {i}, round {n}: {e}"))?;
                r.count("checks", 1);
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Ok(())
    })
}

/// Reclaims only, from two sides: exactly one eviction a round.
fn nothing_twice() -> Res {
    sysfs::need("mem_reclaim")?;
    need_swap()?;
    let d = ok!(Dev::open());
    let v = target(&d, 512 * K)?;
    let me = getpid();
    let before: u64 = debugfs::Gems::read()?.of(me).map(|b| b.evictions).sum();
    let mut bytes = Bytes::start()?;
    let mut rounds = 0;
    let start = std::time::Instant::now();
    while start.elapsed() < ktap::race_time() {
        for (i, m) in v.iter().enumerate() {
            pattern::check(m, i as u64)?;
        }
        let r: Vec<Result<()>> = std::thread::scope(|s| {
            let t: Vec<_> = (0..3).map(|_| s.spawn(|| sysfs::reclaim(me))).collect();
            t.into_iter()
                .map(|t| t.join().unwrap_or(Err(EIO)))
                .collect()
        });
        // Each waits for the buffer that another one is writing out.
        check!(r.iter().all(|r| r.is_ok()), "round {rounds}: {r:?}");
        eq!(ok!(d.fdinfo()).resident(), 0);
        rounds += 1;
        bytes.take();
    }
    let after: u64 = debugfs::Gems::read()?.of(me).map(|b| b.evictions).sum();
    eq!(after - before, rounds * v.len() as u64);
    finish(
        start,
        ktap::race_time(),
        &["rounds of three writers", "evictions", OUT],
        &[
            ("rounds of three writers", rounds),
            ("evictions", after - before),
            bytes.out(),
        ],
    )
}

/// The driver's shrinker beside it, through debugfs and from the kernel.
fn and_shrinker() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let v = target(&d, 512 * K)?;
    let g = cgroup::Cgroup::need("e2e-press")?;
    // Page cache and anonymous memory in a group that is always over its limit: reclaim runs all
    // the time, and shrinkers with it.
    let mut c = child::Child::spawn(|e| {
        let m = Map::new(
            -1,
            0,
            64 * M,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        let _ = e.cmd();
        let Ok(m) = m else { return };
        loop {
            for i in (0..m.len() / 8).step_by(512) {
                m.set(i, i as u64 | 1);
            }
        }
    })?;
    ok!(g.add(c.pid));
    ok!(g.write("memory.high", "32M"));
    c.send("go")?;
    let r = run(
        ktap::race_time(),
        &disturbed(&["checks", "drops", "scans"]),
        vec![
            checker(&v),
            disturber(getpid(), &[]),
            Box::new(|r| {
                while r.on() {
                    // All shrinkers, of everything.
                    ok!(write_once("/proc/sys/vm/drop_caches", b"2"));
                    r.count("drops", 1);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(())
            }),
            Box::new(|r| {
                while r.on() {
                    ok!(debugfs::shrink(256));
                    r.count("scans", 1);
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            }),
        ],
    );
    c.kill()?;
    r
}

/// Two writers, hit by signals.
fn and_signals() -> Res {
    need_swap()?;
    sysfs::need("mem_reclaim")?;
    let d = ok!(Dev::open());
    // Small, so that a call can get through between two signals.
    let v = target(&d, 64 * K)?;
    ok!(catch_signal(libc::SIGUSR1));
    let tids: std::sync::Mutex<Vec<i32>> = std::sync::Mutex::new(Vec::new());
    let writer = || -> Side<'_> {
        Box::new(|r| {
            tids.lock()
                .unwrap_or_else(|p| p.into_inner())
                .push(gettid());
            while r.on() {
                tally(r, "reclaims", sysfs::reclaim(getpid()), &[EBUSY, EINTR])?;
                tally(r, "claims", sysfs::claim(getpid()), &[EINTR])?;
            }
            Ok(())
        })
    };
    run(
        ktap::race_time(),
        &["checks", "reclaims", "claims", "interrupted", OUT],
        vec![
            checker(&v),
            writer(),
            writer(),
            Box::new(|r| {
                let mut rng = pattern::Rng::new(1);
                while r.on() {
                    std::thread::sleep(Duration::from_micros(rng.below(20_000)));
                    // Now and then there is time to get through.
                    if rng.below(100) == 0 {
                        std::thread::sleep(ktap::race_time() / 4);
                        r.count("pauses", 1);
                    }
                    for t in tids.lock().unwrap_or_else(|p| p.into_inner()).iter() {
                        // SAFETY: no memory involved; a thread that has ended is not found.
                        unsafe { libc::syscall(libc::SYS_tgkill, getpid(), *t, libc::SIGUSR1) };
                    }
                }
                Ok(())
            }),
        ],
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT;
        nothing_twice, and_shrinker, and_signals
    ])
}
