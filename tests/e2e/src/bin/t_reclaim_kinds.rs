// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Faults of one kind each that public reports, suites and a fuzzer found in mem_reclaim, mem_claim and
//! the shrinker.

use e2e::cgroup::Cgroup;
use e2e::child::Child;
use e2e::debugfs::{self, gem, VmResident};
use e2e::model::{num, Model};
use e2e::reclaim::{need, va};
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;
use std::time::Duration;

/// A writer that is stopped and goes on sees nothing of it: only a handler that ran is a reason for
/// EINTR.
fn stopped_and_continued() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let mut maps = Vec::new();
    for i in 0..32 {
        let m = ok!(d.mmap(ok!(d.bo(M, BO_WB_MMAP, 0)), M));
        pattern::fill(&m, i);
        maps.push(m);
    }
    let target = getpid();
    let mut writer = Child::spawn(|e| {
        e.serve(|_| {
            let mut answers = [0u32; 2];
            for _ in 0..6 {
                for r in [reclaim(target), claim(target)] {
                    match r {
                        Ok(()) => answers[0] += 1,
                        Err(EINTR) => answers[1] += 1,
                        Err(e) => return Err(e.to_string()),
                    }
                }
            }
            Ok(format!("{} {}", answers[0], answers[1]))
        });
    })?;
    writer.send("go")?;
    let mut stops = 0;
    while !writer.ready(Duration::from_millis(15)) {
        ok!(kill(writer.pid, libc::SIGSTOP));
        std::thread::sleep(Duration::from_millis(5));
        ok!(kill(writer.pid, libc::SIGCONT));
        stops += 1;
    }
    let said = writer.recv(Duration::from_secs(1))?;
    note!("stopped {stops} times: {said:?}");
    check!(stops > 10);
    eq!(said, Ok("12 0".to_string()));
    for (i, m) in maps.iter().enumerate() {
        pattern::check(m, i as u64)?;
    }
    Ok(())
}

/// A child that inherits the file, and uses it last, owns it as long as it lives. After that it is its
/// parent's, who opened it.
fn used_last_by_a_child() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let mut child = Child::spawn(|e| {
        e.serve(|_| {
            d.version()
                .map(|_| String::new())
                .map_err(|e| e.to_string())
        });
    })?;
    child.call("use it")?;
    err!(reclaim(getpid()), ESRCH);
    ok!(reclaim(child.pid));
    pattern::check(&m, 1)?;
    let pid = child.pid;
    child.end()?;
    err!(reclaim(pid), ESRCH);
    ok!(reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    pattern::check(&m, 1)?;
    Ok(())
}

/// How many buffers the shrinker asked so far.
fn asked() -> Res<u64> {
    let s = read_text(debugfs::dir()?.join("shrink_asked"))
        .map_err(|e| promise::missing("switches", format!("shrink_asked: {e}")))?;
    num(s.trim()).ok_or(Fail::Fail(s))
}

/// A task that asks for memory while it has the lock of its own buffers: each is asked a few times in
/// vain, not thousands of times.
fn asked_in_vain() -> Res {
    need()?;
    ktap::only_rust("shrink_asked")?;
    const COUNT: u64 = 10_000;
    let cg = Cgroup::need("e2e-asked")?;
    let mut c = Child::spawn(|e| {
        let mut held = None;
        e.serve(|cmd| {
            let s = |e: Errno| e.to_string();
            if cmd == "make" {
                let d = Dev::open().map_err(s)?;
                let vm = d.vm().map_err(s)?;
                for _ in 0..COUNT {
                    let h = d.bo(PAGE, BO_WB_MMAP, vm).map_err(s)?;
                    let m = d.mmap(h, PAGE).map_err(s)?;
                    m.set(0, 1);
                    drop(m);
                }
                // More than a cgroup is charged in advance.
                let h = d.bo(2 * M, BO_WB_MMAP, vm).map_err(s)?;
                let m = d.mmap(h, 2 * M).map_err(s)?;
                held = Some((d, m));
            } else if let Some((_, m)) = &held {
                for i in (0..m.len() / 8).step_by(512) {
                    m.set(i, 1);
                }
            }
            Ok(String::new())
        });
    })?;
    ok!(cg.add(c.pid));
    c.call("make")?;
    let before = asked()?;
    // No more than it has now.
    ok!(cg.write("memory.max", &cg.current()?.to_string()));
    let limited = asked()?;
    c.call("touch")?;
    let after = asked()?;
    note!(
        "figure: {COUNT} private buffers: {} asked to set the limit, {} for a fault with their lock",
        limited - before,
        after - limited
    );
    check!(after > limited);
    check!(after - limited < 5 * COUNT, "{} asked", after - limited);
    Ok(())
}

/// A buffer that is mapped a thousand times is evicted with one flush of the GPU's caches.
fn one_flush_for_a_vm() -> Res {
    need()?;
    const COUNT: u64 = 1000;
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, vm));
    ok!(d.label(h, "e2e-thousand"));
    let m = ok!(d.mmap(h, 64 * K));
    pattern::fill(&m, 1);
    let ops: Vec<Op> = (0..COUNT)
        .map(|i| Op::map(h, 0, (1 << 32) + i * M, 64 * K))
        .collect();
    ok!(d.bind(vm, &ops).map_err(|(e, _)| e));
    let slot = sw.on(getpid(), vm)?;
    for i in [0, COUNT - 1] {
        model.check(slot, (1 << 32) + i * M, 64 * K, 1)?;
    }
    let count = |model: &mut Model, what: &str| -> Res<u64> {
        Ok(model
            .ask("counters")?
            .iter()
            .find_map(|l| l.strip_suffix(what)?.trim().parse().ok())
            .unwrap_or(0))
    };
    for how in ["mem_reclaim", "shrink"] {
        let flushes = count(&mut model, "flushes")?;
        let evictions = gem("e2e-thousand")?.evictions;
        if how == "shrink" {
            ok!(debugfs::shrink(1 << 20));
        } else {
            ok!(reclaim(getpid()));
        }
        eq!(gem("e2e-thousand")?.evictions, evictions + 1);
        let flushes = count(&mut model, "flushes")? - flushes;
        note!("figure: {how} of a buffer with {COUNT} mappings: {flushes} flushes");
        for i in [0, COUNT / 2, COUNT - 1] {
            let t = model.translate(slot, (1 << 32) + i * M, "r")?;
            check!(t.pa().is_none(), "{how}: {t:?}");
        }
        check!(flushes > 0 && flushes < 10, "{how}: {flushes} flushes");
        ok!(claim(getpid()));
        for i in [0, COUNT - 1] {
            model.check(slot, (1 << 32) + i * M, 64 * K, 1)?;
        }
    }
    ok!(sw.set(getpid(), vm, false));
    Ok(())
}

/// A process that uses its buffers again and again, before it is done with them: each use is short, and
/// there is always one. Its memory goes all the same.
fn never_all_idle() -> Res {
    need()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..4 {
        c.call(&format!("bo 0x10000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    // One that uses nothing any more: not busy, and there is the switch.
    debugfs::busy(c.pid, false)?;
    let path = debugfs::dir()?.join("bo_busy");
    let mut users = Vec::new();
    for i in 0..8 {
        let (path, pid) = (path.clone(), c.pid);
        let mut user = Child::spawn(move |e| {
            while let Some(cmd) = e.cmd() {
                let mut times = 0u32;
                while std::path::Path::new(&cmd).exists() {
                    let r = write_once(&path, format!("{pid} for 5\n").as_bytes());
                    times += u32::from(r.is_ok());
                }
                e.answer(&Ok(times.to_string()));
            }
        })?;
        std::thread::sleep(Duration::from_millis(5 * i));
        user.send("/tmp/e2e-in-use")?;
        users.push(user);
        ok!(std::fs::write("/tmp/e2e-in-use", b"").map_err(Errno::from));
    }
    std::thread::sleep(Duration::from_millis(100));
    let r = reclaim(c.pid);
    let resident = c.resident()?;
    ok!(std::fs::remove_file("/tmp/e2e-in-use").map_err(Errno::from));
    for user in &mut users {
        let said = user.recv(Duration::from_secs(10))?;
        note!("uses of 5 ms: {said:?}");
    }
    note!("mem_reclaim: {r:?}, {resident} bytes resident");
    ok!(r);
    eq!(resident, 0);
    for i in 0..4 {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        stopped_and_continued,
        used_last_by_a_child,
        asked_in_vain,
        one_flush_for_a_vm,
        never_all_idle,
    ])
}
