// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What mem_reclaim and mem_claim do to others while they work, and when the process dies meanwhile.

use e2e::child::Child;
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

/// A process with `count` buffers of `each` bytes in one VM, and the time that a call for all of it
/// takes: both out and back once.
fn process(count: u64, each: u64) -> Res<(Child, [Duration; 2])> {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..count {
        c.call(&format!("bo {each} 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    let mut took = [Duration::ZERO; 2];
    let t = Instant::now();
    ok!(reclaim(c.pid));
    took[0] = t.elapsed();
    let t = Instant::now();
    ok!(claim(c.pid));
    took[1] = t.elapsed();
    Ok((c, took))
}

/// How many of `pages` that a call moves for a process it has moved when the process is killed early in
/// it. `counter` is that of the pages, in vmstat.
fn moved_after_death(
    mut c: Child,
    took: Duration,
    counter: &str,
    call: fn(i32) -> Result<()>,
) -> Res<(u64, Result<()>)> {
    let pid = c.pid;
    let before = proc::vmstat(counter);
    let writer = std::thread::spawn(move || call(pid));
    std::thread::sleep(took / 8);
    check!(!writer.is_finished(), "the call ended too soon");
    c.kill()?;
    let r = writer.join().map_err(|_| "thread".to_string())?;
    Ok((proc::vmstat(counter) - before, r))
}

const EACH: u64 = M;
const COUNT: u64 = 96;

/// The memory of a process that was killed is not brought back for nobody.
fn claim_of_killed() -> Res {
    let (c, took) = process(COUNT, EACH)?;
    ok!(reclaim(c.pid));
    let (pages, r) = moved_after_death(c, took[1], "pswpin", claim)?;
    let all = COUNT * EACH / PAGE;
    note!("{pages} of {all} pages read in: {r:?}");
    check!(pages < all / 10 * 6, "{pages} of {all} pages read in");
    Ok(())
}

/// Nor is it written to swap.
fn reclaim_of_killed() -> Res {
    let (c, took) = process(COUNT, EACH)?;
    let (pages, r) = moved_after_death(c, took[0], "pswpout", reclaim)?;
    let all = COUNT * EACH / PAGE;
    note!("{pages} of {all} pages written: {r:?}");
    check!(pages < all / 10 * 6, "{pages} of {all} pages written");
    Ok(())
}

/// Who shares one buffer with a process does not wait until all of its memory is back.
fn others_do_not_wait() -> Res {
    let (mut c, took) = process(COUNT, EACH)?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    let map = ok!(d.mmap(h, 64 * K));
    pattern::fill(&map, 7);
    // The process gets it by the file that it inherits: a helper that answers for it.
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
    c.kill()?;
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
    let (r, took_now) = writer.join().map_err(|_| "thread".to_string())?;
    ok!(r);
    note!(
        "mem_claim took {} ms ({} ms before), the longest of {times} turns with a buffer of it {} ms",
        took_now.as_millis(),
        took[1].as_millis(),
        longest.as_millis()
    );
    check!(times > 3);
    check!(longest < took_now / 2, "{longest:?} of {took_now:?}");
    pattern::check(&map, 7)?;
    Ok(())
}

/// A buffer whose content cannot be read does not keep the others of its VM from the GPU.
fn unreadable_beside_others() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    c.call("bo 0x40000 2 1 1")?;
    c.call(&format!("bind 1 0 {:#x}", va(0)))?;
    ok!(reclaim(c.pid));
    {
        let _failing = Failing::new("zram0")?;
        err!(claim(c.pid), EIO);
    }
    // What the device failed to read once is lost for good. These come behind it in the VM's list.
    for i in 1..4u64 {
        c.call(&format!("bo 0x40000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    err!(claim(c.pid), EIO);
    let root = sw.get(c.pid, 1)?.root;
    check!(model.root(root, va(0), "r")?.pa().is_none());
    for i in 1..4u64 {
        let t = model.root(root, va(i), "r")?;
        check!(t.pa().is_some(), "buffer {i} is not mapped: {t:?}");
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        claim_of_killed,
        reclaim_of_killed,
        others_do_not_wait,
        unreadable_beside_others,
    ])
}
