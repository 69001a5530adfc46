// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Swap that is full, goes away or fails, in the middle of `mem_reclaim` and `mem_claim`: the answer
//! is the one documented, nothing is lost, and when swap works again, so do they.

use e2e::child::Child;
use e2e::debugfs::Gems;
use e2e::proc::MemInfo;
use e2e::reclaim::NoSwap;
use e2e::swapdev::{Failing, Zram};
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::tables::{label, Tables};
use e2e::*;
use std::time::{Duration, Instant};

fn need() -> Res {
    sysfs::need("mem_reclaim")?;
    if !ktap::patched() {
        skip!("without the addition to the kernel nothing is written");
    }
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    Ok(())
}

/// A process with `n` buffers of 1 MiB in a VM.
fn target(n: u64) -> Res<Child> {
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..n {
        let label = label(c.pid, i);
        c.call(&format!("bo 0x100000 2 {} {} {label}", i % 2, i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
    }
    Ok(c)
}

fn check_all(c: &mut Child, n: u64) -> Res {
    for i in 0..n {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

/// Everything out, everything back, everything right.
fn works(c: &mut Child, tables: &mut Tables, n: u64) -> Res {
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    tables.all_gone()?;
    ok!(claim(c.pid));
    eq!(c.resident()?, n * M);
    tables.all_there()?;
    check_all(c, n)
}

/// A device smaller than what there is: what fits goes. A second one takes the rest.
fn too_small() -> Res {
    need()?;
    let z = Zram::new(6 * M)?;
    let mut c = target(16)?;
    let mut tables = Tables::of_row(c.pid, 16, M)?;
    {
        let _off = NoSwap::new()?;
        ok!(z.on());
        let r = reclaim(c.pid);
        note!(
            "16 MiB to 6 MiB of swap: {r:?}, {} bytes resident",
            c.resident()?
        );
        check!(r == Err(ENOSPC), "{r:?}");
        // What fits goes, and no more than that is torn down.
        let there = c.resident()?;
        check!((8 * M..=11 * M).contains(&there), "{there} bytes resident");
        let used = ok!(proc::swap_used());
        check!(used >= 6 * M * 95 / 100, "{used} bytes on swap");
        let mapped = tables.half_way()?;
        check!(mapped as u64 * M <= there, "{mapped} are mapped");
        let again = reclaim(c.pid);
        check!(again == Err(ENOSPC), "again: {again:?}");
        tables.half_way()?;
        check_all(&mut c, 16)?;
        check!(reclaim(c.pid) == Err(ENOSPC));
        tables.half_way()?;
    }
    // With the other device on again the rest goes, without anybody touching it before.
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    tables.all_gone()?;
    check_all(&mut c, 16)?;
    ok!(z.off());
    works(&mut c, &mut tables, 16)
}

/// Another process has filled it: nothing is torn down. It goes: all fits.
fn filled_by_another() -> Res {
    need()?;
    let z = Zram::new(8 * M)?;
    let mut c = target(8)?;
    let mut tables = Tables::of_row(c.pid, 8, M)?;
    let off = NoSwap::new()?;
    ok!(z.on());
    let mut hog = Child::spawn(|e| {
        let anon = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let m = Map::new(-1, 0, 16 * M, libc::PROT_READ | libc::PROT_WRITE, anon);
        e.serve(|_| {
            let m = m.as_ref().map_err(|e| e.to_string())?;
            pattern::fill(m, 9);
            let _ = m.madvise(libc::MADV_PAGEOUT);
            Ok(String::new())
        });
    })?;
    // What did not go at once, as a page was in use for a moment, goes the next time.
    let mut free = u64::MAX;
    for _ in 0..5 {
        hog.call("fill")?;
        free = ok!(MemInfo::read()).get("SwapFree");
        if free == 0 {
            break;
        }
    }
    eq!(free, 0);
    for _ in 0..2 {
        err!(reclaim(c.pid), ENOSPC);
    }
    eq!(c.resident()?, 8 * M);
    for g in Gems::read()?.of(c.pid) {
        eq!(g.evictions, 0);
    }
    tables.all_there()?;
    check_all(&mut c, 8)?;
    hog.kill()?;
    let room = wait_for(Duration::from_secs(10), || {
        MemInfo::read().is_ok_and(|m| m.get("SwapFree") > 7 * M)
    });
    check!(room, "swap does not come free");
    // All but what the swap header takes of the device.
    let r = reclaim(c.pid);
    check!(matches!(r, Ok(()) | Err(ENOSPC)), "{r:?}");
    check!(c.resident()? <= 2 * M);
    tables.half_way()?;
    check_all(&mut c, 8)?;
    drop(off);
    works(&mut c, &mut tables, 8)
}

/// The clock that all processes share.
fn now() -> Duration {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid place.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// What a call and a swapoff beside it came to.
struct Beside {
    call: Result<()>,
    off: Result<()>,
    /// How long the call took.
    took: Duration,
    /// Whether the swapoff began while it went on.
    began_within: bool,
    /// Whether it ended while it went on.
    ended_within: bool,
}

/// A writer of `name`, and a swapoff after `delay`.
fn against_swapoff(c: &mut Child, name: &str, delay: Duration) -> Res<Beside> {
    let mut off = Child::spawn(|e| {
        e.serve(|cmd| {
            if cmd == "ready" {
                return Ok(String::new());
            }
            let swaps = proc::swaps().map_err(|e| e.to_string())?;
            std::thread::sleep(Duration::from_micros(cmd.parse().unwrap_or(0)));
            let from = now().as_nanos();
            let r: Result<()> = swaps.iter().try_for_each(|s| swapoff(s));
            Ok(format!("{from} {} {}", now().as_nanos(), child::said(r)))
        });
    })?;
    off.call("ready")?;
    let from = now();
    off.send(&delay.as_micros().to_string())?;
    let call = match name {
        "mem_reclaim" => reclaim(c.pid),
        _ => claim(c.pid),
    };
    let to = now();
    let answer = match off.recv(Duration::from_secs(60))? {
        Ok(s) => s,
        Err(e) => fail!("swapoff: {e}"),
    };
    let w: Vec<&str> = answer.split(' ').collect();
    let [began, ended, said] = w[..] else {
        fail!("swapoff: {answer}");
    };
    let within = |t: &str| {
        let t = Duration::from_nanos(t.parse().unwrap_or(0));
        (from..to).contains(&t)
    };
    if said != "ok" {
        note!("swapoff: {said}");
    }
    Ok(Beside {
        call,
        off: if said == "ok" { Ok(()) } else { Err(EIO) },
        took: to - from,
        began_within: within(began),
        ended_within: within(ended),
    })
}

/// Swap goes at every moment of a call, and comes again.
fn off_in_the_middle(name: &str, allowed: &[Errno]) -> Res {
    need()?;
    let n = 8;
    let mut c = target(n)?;
    let mut tables = Tables::of_row(c.pid, n, M)?;
    let swaps = proc::swaps()?;
    let start = Instant::now();
    let (mut rounds, mut refused, mut half, mut within, mut ended) = (0, 0, 0, 0, 0);
    // Of a call that swap is not taken from.
    let mut took = Duration::ZERO;
    // Where in it swap goes, in thousandths: each lands in the largest gap left.
    let mut at = 0;
    // On a machine with other things to do it takes longer.
    let go_on = |within| {
        let time = start.elapsed();
        time < Duration::from_secs(12) || (within < 3 && time < Duration::from_secs(50))
    };
    while go_on(within) {
        if name == "mem_claim" {
            ok!(reclaim(c.pid));
            tables.all_gone()?;
        }
        if rounds % 8 == 0 {
            let t = Instant::now();
            ok!(match name {
                "mem_reclaim" => reclaim(c.pid),
                _ => claim(c.pid),
            });
            took = t.elapsed();
            ok!(claim(c.pid));
            tables.all_there()?;
            if name == "mem_claim" {
                ok!(reclaim(c.pid));
            }
        }
        at = (at + 618) % 1000;
        let delay = took * at / 1000;
        let b = against_swapoff(&mut c, name, delay)?;
        rounds += 1;
        check!(
            b.call.is_ok() || b.call.is_err_and(|e| allowed.contains(&e)),
            "{name} of {:?}, swap off after {delay:?}: {:?}",
            b.took,
            b.call
        );
        check!(b.off.is_ok(), "swapoff fails");
        refused += u32::from(b.call.is_err());
        within += u32::from(b.began_within);
        ended += u32::from(b.began_within && b.ended_within);
        let resident = c.resident()?;
        half += u32::from(resident > 0 && resident < n * M);
        tables.half_way()?;
        // With no swap at all: it is there, or comes back, for the GPU as well.
        if rounds % 2 == 0 {
            check_all(&mut c, n)?;
        }
        ok!(claim(c.pid));
        eq!(c.resident()?, n * M);
        tables.all_there()?;
        check_all(&mut c, n)?;
        for s in &swaps {
            ok!(swapon(s));
        }
    }
    note!("figure: {name}: swap turned off {rounds} times, {within} in the middle of a call, {ended} of those ended before it; {refused} calls refused, {half} half done");
    check!(within >= 3, "swap was never turned off in the middle");
    if name == "mem_reclaim" {
        check!(refused > 0, "no call notices that swap goes");
        check!(half > 0, "all of it or nothing, always");
    }
    works(&mut c, &mut tables, n)
}

fn off_during_reclaim() -> Res {
    off_in_the_middle("mem_reclaim", &[ENOSPC, EBUSY])
}

fn off_during_claim() -> Res {
    off_in_the_middle("mem_claim", &[])
}

/// All of it on swap, and swap goes: it comes back into memory, and stays evicted until somebody
/// wants it.
fn off_while_evicted() -> Res {
    need()?;
    let mut c = target(8)?;
    let mut tables = Tables::of_row(c.pid, 8, M)?;
    ok!(reclaim(c.pid));
    {
        let _off = NoSwap::new()?;
        eq!(c.resident()?, 0);
        eq!(ok!(proc::swap_used()), 0);
        // The kernel has it in the page cache; the driver has nothing resident to give up.
        err!(reclaim(c.pid), ENOSPC);
        c.call("check 0")?;
        c.call("check 1")?;
    }
    // Half of it is resident, half of it ordinary pages: all of it goes.
    let before = ok!(proc::swap_used());
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    let went = ok!(proc::swap_used()) - before;
    check!(went >= 8 * M * 98 / 100, "{went} bytes on swap");
    works(&mut c, &mut tables, 8)
}

/// The device fails and works again; nobody touches the memory between.
fn writes_fail_for_a_while() -> Res {
    need()?;
    let mut c = target(8)?;
    let mut tables = Tables::of_row(c.pid, 8, M)?;
    {
        let _f = Failing::new("zram0")?;
        for _ in 0..2 {
            let r = reclaim(c.pid);
            check!(r == Err(EIO), "{r:?}");
            tables.half_way()?;
        }
    }
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    let used = ok!(proc::swap_used());
    check!(used >= 8 * M * 98 / 100, "{used} bytes on swap");
    check_all(&mut c, 8)?;
    // And with somebody touching it: what could not be written is in memory still.
    {
        let _f = Failing::new("zram0")?;
        err!(reclaim(c.pid), EIO);
        check_all(&mut c, 8)?;
    }
    works(&mut c, &mut tables, 8)
}

/// zram with a limit on its own memory takes a part, and fails the rest.
fn zram_limit() -> Res {
    need()?;
    let z = Zram::new(64 * M)?;
    z.set("mem_limit", "4M")?;
    let mut c = target(16)?;
    let mut tables = Tables::of_row(c.pid, 16, M)?;
    {
        let _off = NoSwap::new()?;
        ok!(z.on());
        let r = reclaim(c.pid);
        let used = ok!(proc::swap_used());
        note!("16 MiB to zram with 4 MiB of memory: {r:?}, {used} bytes of swap used");
        check!(r == Err(EIO), "{r:?}");
        tables.half_way()?;
        check_all(&mut c, 16)?;
        err!(reclaim(c.pid), EIO);
        z.set("mem_limit", "0")?;
        ok!(reclaim(c.pid));
        eq!(c.resident()?, 0);
        check_all(&mut c, 16)?;
    }
    ok!(z.off());
    works(&mut c, &mut tables, 16)
}

/// Of one buffer, a part is in the swap cache, as the device did not take it, and a part ordinary
/// pages, as bringing it back ended half-way: both go.
fn leftovers() -> Res {
    need()?;
    fault::setup()?;
    let mut c = Child::holder()?;
    c.call("vm")?;
    c.call("bo 0x800000 2 1 3")?;
    c.call("bind 1 0 0x100000000")?;
    let mem = || -> Res<(u64, u64)> {
        let m = ok!(MemInfo::read());
        Ok((m.get("Shmem"), m.get("SwapCached")))
    };
    // More and more of it comes back before memory is short.
    let (mut file, mut cached) = (0, 0);
    for n in (2..80).step_by(2) {
        ok!(claim(c.pid));
        {
            let _f = Failing::every("zram0", 2)?;
            err!(reclaim(c.pid), EIO);
        }
        let before = mem()?;
        let (r, _) = fault::from_nth(n, || claim(c.pid))?;
        let after = mem()?;
        (file, cached) = (after.0.saturating_sub(before.0), after.1);
        if r == Err(ENOMEM) && file > 0 && cached >= M {
            break;
        }
    }
    note!("{file} bytes are in the file, {cached} in the swap cache");
    check!(file > 0 && cached >= M, "never half-way");
    eq!(c.resident()?, 0);
    ok!(reclaim(c.pid));
    let left = mem()?.1;
    check!(left < M / 16, "{left} bytes are left in the swap cache");
    c.call("check 0")?;
    ok!(reclaim(c.pid));
    c.call("check 0")?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 90;
        too_small,
        filled_by_another,
        off_during_reclaim,
        off_during_claim,
        off_while_evicted,
        writes_fail_for_a_while,
        zram_limit,
        leftovers,
    ])
}
