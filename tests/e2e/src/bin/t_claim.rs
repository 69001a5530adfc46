// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What mem_reclaim and mem_claim do to others while they work, and when the process dies meanwhile.

use e2e::child::{said, Child};
use e2e::debugfs::VmResident;
use e2e::model::Model;
use e2e::reclaim::{need, va};
use e2e::swapdev::Failing;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

const EACH: u64 = M;
const COUNT: u64 = 96;

fn need_swap_out() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    Ok(())
}

/// What a call moves of a process that is killed early in it: `how` is the call, after `before`, and
/// `counter` that of the pages, in vmstat.
fn of_killed(before: fn(i32) -> Result<()>, how: fn(i32) -> Result<()>, counter: &str) -> Res {
    need_swap_out()?;
    let mut c = Child::holder()?;
    let pid = c.pid;
    c.call("vm")?;
    for i in 0..COUNT {
        c.call(&format!("bo {EACH} 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    // Once for the time that it takes.
    ok!(before(pid));
    let t = Instant::now();
    ok!(how(pid));
    let took = t.elapsed();
    ok!(before(pid));
    let moved = proc::vmstat(counter);
    let writer = std::thread::spawn(move || how(pid));
    std::thread::sleep(took / 8);
    check!(!writer.is_finished(), "the call ended too soon");
    c.kill()?;
    let r = writer.join().map_err(|_| "thread".to_string())?;
    let moved = proc::vmstat(counter) - moved;
    let all = COUNT * EACH / PAGE;
    note!("{moved} of {all} pages ({counter}): {r:?}");
    check!(moved < all / 10 * 6, "{moved} of {all} pages ({counter})");
    Ok(())
}

/// The memory of a process that was killed is not brought back for nobody.
fn claim_of_killed() -> Res {
    of_killed(reclaim, claim, "pswpin")
}

/// Nor is it written to swap.
fn reclaim_of_killed() -> Res {
    of_killed(claim, reclaim, "pswpout")
}

/// Who shares one buffer with a process does not wait until all of its memory is back.
fn others_do_not_wait() -> Res {
    need_swap_out()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    let map = ok!(d.mmap(h, 64 * K));
    pattern::fill(&map, 7);
    let (ours, theirs) = ok!(socketpair());
    let mut shares = Child::spawn(|e| {
        let mut held = None;
        e.serve(|cmd| {
            let s = |e: Errno| e.to_string();
            match cmd {
                "take" => {
                    let d = Dev::open().map_err(s)?;
                    let fd = recv_fd(theirs.as_raw_fd()).map_err(s)?;
                    let vm = d.vm().map_err(s)?;
                    let h = d.import(fd.as_fd()).map_err(s)?;
                    d.map(vm, h, 0, 1 << 32, 64 * K).map_err(s)?;
                    let mut all = Vec::new();
                    for i in 1..=COUNT {
                        let h = d.bo(EACH, BO_WB_MMAP, vm).map_err(s)?;
                        let m = d.mmap(h, EACH).map_err(s)?;
                        pattern::fill(&m, i);
                        d.map(vm, h, 0, (i + 1) << 32, EACH).map_err(s)?;
                        all.push(m);
                    }
                    held = Some((d, all));
                    Ok(held.is_some().to_string())
                }
                _ => Err(cmd.into()),
            }
        })
    })?;
    let fd = ok!(d.export(h));
    ok!(send_fd(ours.as_raw_fd(), fd.as_raw_fd()));
    shares.call("take")?;
    let pid = shares.pid;
    ok!(reclaim(pid));
    let writer = std::thread::spawn(move || {
        let t = Instant::now();
        (claim(pid), t.elapsed())
    });
    let vm = ok!(d.vm());
    let (mut longest, mut times) = (Duration::ZERO, 0u32);
    while !writer.is_finished() {
        let t = Instant::now();
        // Each needs the lock of the buffer.
        ok!(d.map(vm, h, 0, 1 << 32, 64 * K));
        ok!(d.unmap(vm, 1 << 32, 64 * K));
        ok!(d.sync(h, 0, 0, 64 * K));
        longest = longest.max(t.elapsed());
        times += 1;
    }
    let (r, took) = writer.join().map_err(|_| "thread".to_string())?;
    ok!(r);
    note!(
        "mem_claim took {} ms, the longest of {times} turns with a buffer of it {} ms",
        took.as_millis(),
        longest.as_millis()
    );
    check!(times > 3);
    check!(longest < took / 2, "{longest:?} of {took:?}");
    pattern::check(&map, 7)?;
    Ok(())
}

/// A VM_BIND that waits for what `mem_claim` reads in ends when its process is killed: it is one of a
/// process that has inherited the file, so that nothing of the target ends with it.
fn bind_is_killed() -> Res {
    need_swap_out()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    // All private buffers have one lock, which this one has while it is read in.
    let size = 64 * M;
    let h = ok!(d.bo(size, BO_WB_MMAP, vm));
    let m = ok!(d.mmap(h, size));
    pattern::fill(&m, 3);
    let shared = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    ok!(d.label(shared, "e2e-shared"));
    for what in ["map", "unmap"] {
        if what == "unmap" {
            ok!(d.map(vm, shared, 0, 1 << 32, 64 * K));
        }
        let mut waited = false;
        for _ in 0..3 {
            // The file is found as that of whoever used it last.
            ok!(d.vm_state(vm));
            ok!(reclaim(getpid()));
            let mut c = Child::spawn(|e| {
                e.serve(|cmd| {
                    let r = match cmd {
                        "ready" => Ok(()),
                        "map" => d.map(vm, shared, 0, 1 << 32, 64 * K),
                        _ => d.unmap(vm, 1 << 32, 64 * K),
                    };
                    Ok(said(r))
                })
            })?;
            c.call("ready")?;
            let pid = getpid();
            let before = proc::vmstat("pswpin");
            let writer = std::thread::spawn(move || claim(pid));
            let reading = wait_for(Duration::from_secs(20), || proc::vmstat("pswpin") > before);
            check!(reading, "nothing is read in");
            c.send(what)?;
            let answered = c.ready(Duration::from_millis(200));
            ok!(kill(c.pid, libc::SIGKILL));
            ok!(waitpid(c.pid, 0));
            c.pid = 0;
            // Else it found the lock free, or the last bit of it came just now.
            waited = !answered && !writer.is_finished();
            ok!(ok!(writer.join().map_err(|_| "thread".to_string())));
            if waited {
                break;
            }
        }
        check!(waited, "{what}: it ended when all was back");
    }
    // What it left is done by the next one.
    ok!(d.unmap(vm, 1 << 32, 64 * K));
    ok!(d.close(shared));
    check!(debugfs::gem("e2e-shared").is_err());
    ok!(d.vm_destroy(vm));
    pattern::check(&m, 3)?;
    Ok(())
}

/// A buffer whose content cannot be read does not keep the others of its VMs from the GPU: `shared` ones
/// in two VMs, or private ones in one.
fn unreadable(shared: bool) -> Res {
    need_swap_out()?;
    let vms = if shared { 2 } else { 1 };
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let mut c = Child::holder()?;
    for _ in 0..vms {
        c.call("vm")?;
    }
    let make = |c: &mut Child, i: u64| -> Res {
        c.call(&format!("bo 0x40000 2 {} {}", u32::from(!shared), i + 1))?;
        for vm in 1..=vms {
            c.call(&format!("bind {vm} {i} {:#x}", va(i)))?;
        }
        Ok(())
    };
    make(&mut c, 0)?;
    ok!(reclaim(c.pid));
    {
        let _failing = Failing::new("zram0")?;
        err!(claim(c.pid), EIO);
    }
    // What the device failed to read once is lost for good. These come behind it in the VMs' lists.
    for i in 1..4 {
        make(&mut c, i)?;
    }
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    err!(claim(c.pid), EIO);
    for vm in 1..=vms {
        let root = sw.get(c.pid, vm)?.root;
        check!(model.root(root, va(0), "r")?.pa().is_none());
        for i in 1..4u64 {
            let t = model.root(root, va(i), "r")?;
            check!(
                t.pa().is_some(),
                "buffer {i} is not mapped in VM {vm}: {t:?}"
            );
        }
    }
    for i in 1..4 {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

fn unreadable_beside_others() -> Res {
    unreadable(true)?;
    unreadable(false)
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        claim_of_killed,
        reclaim_of_killed,
        others_do_not_wait,
        unreadable_beside_others,
        bind_is_killed,
    ])
}
