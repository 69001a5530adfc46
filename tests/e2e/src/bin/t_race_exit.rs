// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Targets that exit, are killed, fork, or pass their file on while they are being reclaimed.

use e2e::child::Child;
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::sync::atomic::{AtomicI32, Ordering};

/// The file is the other process's at times.
const FINE: &[Errno] = &[ESRCH, EBUSY];

/// A disturber of whoever is in `pid` at the moment.
fn follow(pid: &AtomicI32) -> Side<'_> {
    let ours = sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists());
    Box::new(move |r| {
        while r.on() {
            let p = pid.load(Ordering::Relaxed);
            if ours {
                for (what, x) in [("reclaims", sysfs::reclaim(p)), ("claims", sysfs::claim(p))] {
                    match x {
                        Ok(()) => r.count(what, 1),
                        Err(ESRCH | EINVAL) => r.count("not there", 1),
                        Err(e) => fail!("{what} of {p}: {e}"),
                    }
                }
            } else {
                ok!(debugfs::shrink(1 << 20));
                r.count("shrinks", 1);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        Ok(())
    })
}

/// The target is killed or exits.
fn dies() -> Res {
    need_swap()?;
    let pid = AtomicI32::new(0);
    // Children are forked by this thread alone; the writer is a process of its own, so that no
    // lock of a thread is copied half way.
    let mut writer = Child::spawn(|e| {
        e.serve(|cmd| {
            let p: i32 = cmd.parse().map_err(|_| "number")?;
            let mut n = 0;
            loop {
                for (what, r) in [("reclaim", sysfs::reclaim(p)), ("claim", sysfs::claim(p))] {
                    match r {
                        Ok(()) => n += 1,
                        Err(ESRCH) => return Ok(n.to_string()),
                        Err(e) => return Err(format!("{what}: {e}")),
                    }
                }
            }
        })
    })?;
    let ours = sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists());
    if !ours {
        skip!("needs mem_reclaim");
    }
    let mut bytes = Bytes::start()?;
    let start = std::time::Instant::now();
    let (mut kills, mut ends, mut writes) = (0, 0, 0);
    let mut rng = pattern::Rng::new(1);
    let time = ktap::race_time();
    // Longer if no write met a target yet.
    while start.elapsed() < time || (writes == 0 && start.elapsed() < time * 3) {
        let mut c = Child::holder()?;
        pid.store(c.pid, Ordering::Relaxed);
        c.call("vm")?;
        for i in 0..4u64 {
            c.call(&format!("bo 0x80000 2 {} {}", i % 2, i + 1))?;
            c.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
        }
        writer.send(&c.pid.to_string())?;
        std::thread::sleep(std::time::Duration::from_micros(rng.below(150_000)));
        if kills == ends {
            c.kill()?;
            kills += 1;
        } else {
            c.end()?;
            ends += 1;
        }
        match writer.recv(std::time::Duration::from_secs(20))? {
            Ok(n) => writes += n.parse::<u64>().unwrap_or(0),
            Err(e) => fail!("the writer: {e}"),
        }
        bytes.take();
    }
    finish(
        start,
        time,
        &["kills", "exits", "writes that met it", OUT],
        &[
            ("kills", kills),
            ("exits", ends),
            ("writes that met it", writes),
            bytes.out(),
            bytes.back(),
        ],
    )?;
    let gone = wait_for(std::time::Duration::from_secs(5), || {
        debugfs::Gems::read().is_ok_and(|g| !g.bos.iter().any(|b| b.size == 512 * K))
    });
    check!(gone, "buffers of the dead are left");
    Ok(())
}

fn closes_and_opens() -> Res {
    need_swap()?;
    let pid = AtomicI32::new(getpid());
    run(
        ktap::race_time(),
        &disturbed(&["files"]),
        vec![
            Box::new(|r| {
                while r.on() {
                    let d = ok!(Dev::open());
                    let vm = ok!(d.vm());
                    let h = ok!(d.bo(256 * K, BO_WB_MMAP, vm));
                    ok!(d.map(vm, h, 0, M, 256 * K));
                    let m = ok!(d.mmap(h, 256 * K));
                    pattern::fill(&m, 3);
                    drop(d);
                    pattern::check(&m, 3)?;
                    r.count("files", 1);
                }
                Ok(())
            }),
            follow(&pid),
        ],
    )
}

/// The file's user changes between two processes all the time.
fn changes_hands() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, vm));
    ok!(d.map(vm, h, 0, M, M));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 9);
    let mut c = Child::spawn(|e| {
        let _ = e.cmd();
        loop {
            if d.vm_state(vm).is_err() {
                return;
            }
            std::thread::yield_now();
        }
    })?;
    c.send("go")?;
    let me = getpid();
    run(
        ktap::race_time(),
        &disturbed(&["calls"]),
        vec![
            Box::new(|r| {
                while r.on() {
                    ok!(d.vm_state(vm));
                    pattern::check(&m, 9)?;
                    r.count("calls", 1);
                }
                Ok(())
            }),
            disturber(me, FINE),
            disturber(c.pid, FINE),
        ],
    )?;
    c.kill()?;
    pattern::check(&m, 9)?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; dies, closes_and_opens, changes_hands])
}
