// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Who waits for whom.

use e2e::child::Child;
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::reclaim;
use e2e::*;
use std::time::{Duration, Instant};

/// `filelist_mutex` is not held during swap I/O: opens and closes by others never wait for a call.
pub fn filelist_mutex_during_swap_io() -> Res {
    need()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    // One large buffer, and smaller ones.
    for i in 0..5u64 {
        let size = if i == 0 { 32 * M } else { 6 * M };
        c.call(&format!("bo {size} 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    let pid = c.pid;
    let open = || -> Res<u64> {
        let t = Instant::now();
        drop(Dev::open()?);
        Ok(t.elapsed().as_micros() as u64)
    };
    let mut idle: Vec<u64> = (0..200).map(|_| open()).collect::<Res<_>>()?;
    let t = Instant::now();
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

/// Nobody waits for each buffer on its own, nor deaf to signals: with many buffers that the GPU is
/// using the call ends after 200 ms in all, and at once when a signal comes.
pub fn uninterruptible_wait_per_buffer() -> Res {
    need()?;
    let buffers = 50u64;
    let mut c = Child::holder()?;
    for i in 0..buffers {
        c.call(&format!("bo 0x10000 2 0 {}", i + 1))?;
    }
    let total = c.resident()?;
    // The least of a few tries: what is asked does not depend on what else this machine does, and a
    // wait for each buffer takes its time in each of them.
    let mut least = Duration::MAX;
    for _ in 0..3 {
        debugfs::busy(c.pid, true)?;
        let t = Instant::now();
        err!(reclaim(c.pid), EBUSY);
        let took = t.elapsed();
        check!(took >= Duration::from_millis(190), "no wait: {took:?}");
        least = least.min(took);
        debugfs::busy(c.pid, false)?;
    }
    note!(
        "{buffers} busy buffers: EBUSY after {} ms",
        least.as_millis()
    );
    check!(least < Duration::from_millis(800), "EBUSY after {least:?}");
    eq!(c.resident()?, total);

    let mut late = Duration::MAX;
    for _ in 0..8 {
        debugfs::busy(c.pid, true)?;
        let pid = c.pid;
        let (r, after) = interrupted(Duration::from_millis(20), || reclaim(pid))?;
        check!(r == Err(EINTR), "{r:?} {after:?} after a signal");
        late = late.min(after);
        debugfs::busy(c.pid, false)?;
    }
    note!("EINTR {} us after a signal", late.as_micros());
    check!(
        late < Duration::from_millis(100),
        "EINTR {late:?} after the signal"
    );

    // Busy for a moment: waited for.
    debugfs::busy(c.pid, true)?;
    let pid = c.pid;
    let idle = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(60));
        debugfs::busy(pid, false)
    });
    ok!(reclaim(c.pid));
    idle.join().map_err(|_| "thread".to_string())??;
    eq!(c.resident()?, 0);
    for i in 0..buffers {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}
