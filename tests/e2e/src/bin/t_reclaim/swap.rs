// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Swap that is not there, full, failing, or turned off.

use e2e::child::Child;
use e2e::debugfs::{Gems, VmResident};
use e2e::model::Model;
use e2e::proc::MemInfo;
use e2e::reclaim::*;
use e2e::swapdev::Failing;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::*;
use std::time::Duration;

/// Swap turned off while memory is on it: the kernel brings the pages back, nothing is lost.
pub fn swapoff_after() -> Res {
    need()?;
    let mut c = target(2 * M)?;
    ok!(reclaim(c.pid));
    {
        let _off = NoSwap::new()?;
        check_target(&mut c)?;
        ok!(claim(c.pid));
        err!(reclaim(c.pid), ENOSPC);
    }
    check_target(&mut c)
}

/// The swap device fails to read: the claim says EIO, and does not pretend.
pub fn claim_eio() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    let mut c = target(M)?;
    let mut other = Child::holder()?;
    other.call("vm")?;
    other.call("bo 0x100000 2 1 3")?;
    other.call("bind 1 0 0x100000000")?;
    ok!(reclaim(c.pid));
    let fails = Failing::new("zram0")?;
    let r = claim(c.pid);
    let r2 = claim(other.pid);
    drop(fails);
    check!(r == Err(EIO), "claim: {r:?}");
    check!(r2.is_ok(), "another's claim: {r2:?}");
    // What could not be read is lost for good: shmem marks it so. Nothing else is.
    let again = claim(c.pid);
    check!(matches!(again, Err(EIO)), "claim after that: {again:?}");
    c.kill()?;
    other.call("check 0")?;
    let mut c = target(M)?;
    ok!(reclaim(c.pid));
    ok!(claim(c.pid));
    check_target(&mut c)
}

/// A VM whose memory cannot be read does not keep the claim from the others.
pub fn claim_eio_goes_on() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let mut c = Child::holder()?;
    for _ in 0..8 {
        c.call("vm")?;
    }
    // What the device failed to read once is lost for good: every other VM's.
    let lost = [1, 3, 5, 7];
    let good = [2, 4, 6, 8];
    for (i, vm) in lost.into_iter().enumerate() {
        c.call(&format!("bo 0x40000 2 {vm} {vm}"))?;
        c.call(&format!("bind {vm} {i} 0x100000000"))?;
    }
    ok!(reclaim(c.pid));
    {
        let _failing = Failing::new("zram0")?;
        err!(claim(c.pid), EIO);
    }
    for (i, vm) in good.into_iter().enumerate() {
        c.call(&format!("bo 0x40000 2 {vm} {vm}"))?;
        c.call(&format!("bind {vm} {} 0x100000000", lost.len() + i))?;
    }
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    err!(claim(c.pid), EIO);
    for (i, vm) in good.into_iter().enumerate() {
        let root = sw.get(c.pid, vm)?.root;
        let t = model.root(root, 1 << 32, "r")?;
        check!(t.pa().is_some(), "VM {vm} was not tried: {t:?}");
        c.call(&format!("check {}", lost.len() + i))?;
    }
    Ok(())
}

/// The pages are not in the swap cache: a few of the rest of the machine may be.
fn swap_cache_is_free() -> Res {
    let left = ok!(MemInfo::read()).get("SwapCached");
    check!(left < M / 4, "{left} bytes are left in the swap cache");
    Ok(())
}

/// The swap device fails to write: the reclaim says so, the data stays.
pub fn reclaim_eio() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is written");
    }
    let mut c = target(M)?;
    let fails = Failing::new("zram0")?;
    let r = reclaim(c.pid);
    drop(fails);
    check!(matches!(r, Err(EIO | ENOMEM)), "reclaim: {r:?}");
    // A second write goes on where the first one failed, and the memory is free then.
    ok!(reclaim(c.pid));
    swap_cache_is_free()?;
    check_target(&mut c)?;
    ok!(reclaim(c.pid));
    check_target(&mut c)
}

/// One buffer of several swap-out steps of 16 MiB, all of which fail: each is tried.
pub fn reclaim_eio_goes_on() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is written");
    }
    let size = 48 * M;
    let mut c = Child::holder()?;
    c.call("vm")?;
    c.call(&format!("bo {size:#x} 2 1 3"))?;
    c.call("bind 1 0 0x100000000")?;
    let shmem = || -> Res<u64> { Ok(ok!(MemInfo::read()).get("Shmem")) };
    let before = shmem()?;
    let fails = Failing::new("zram0")?;
    let r = reclaim(c.pid);
    drop(fails);
    // What was tried is in the swap cache, and not in the file any more.
    let left = shmem()?;
    err!(r, EIO);
    check!(
        before - left >= size / 10 * 9,
        "shmem: {before}, then {left}"
    );
    ok!(reclaim(c.pid));
    swap_cache_is_free()?;
    c.call("check 0")?;
    Ok(())
}

/// The cgroup has no room: ENOMEM, nobody is killed, nothing is lost.
pub fn claim_enomem() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    let g = cgroup::Cgroup::need("e2e")?;
    let mut c = Child::holder()?;
    ok!(g.add(c.pid));
    c.call("vm")?;
    for i in 0..16u64 {
        c.call(&format!("bo 0x100000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    ok!(reclaim(c.pid));
    // Room for half of it, beside what the helper itself needs, which grows with the size of pages.
    // The helper must not need more meanwhile, or it would be killed for that.
    let needs = g.current()?;
    ok!(g.write("memory.max", &(needs + 8 * M).to_string()));
    let r = claim(c.pid);
    let resident: u64 = Gems::read()?.of(c.pid).map(|g| g.resident).sum();
    ok!(g.write("memory.max", "max"));
    note!("{resident} of {} bytes came back: {r:?}", 16 * M);
    check!(r == Err(ENOMEM), "{r:?}");
    check!(resident < 16 * M);
    ok!(claim(c.pid));
    eq!(c.resident()?, 16 * M);
    for i in 0..16 {
        c.call(&format!("check {i}"))?;
    }
    c.kill()?;
    Ok(())
}

/// Swap that is too small: what fits goes, the answer is ENOSPC, the rest is as it was.
pub fn swap_full() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is written");
    }
    let total = ok!(MemInfo::read()).get("SwapTotal");
    let free = ok!(MemInfo::read()).get("SwapFree");
    if total > 600 * M || free < 64 * M {
        skip!("swap of {total} bytes, {free} free");
    }
    // Fill swap up to some 16 MiB by another process' evicted memory.
    let mut hog = Child::holder()?;
    hog.call("vm")?;
    let mut n = 0u64;
    while ok!(MemInfo::read()).get("SwapFree") > 24 * M && n < 600 {
        hog.call("bo 0x800000 2 1 0")?;
        hog.call(&format!("bind 1 {n} {:#x}", va(n)))?;
        n += 1;
        match reclaim(hog.pid) {
            Ok(()) => {}
            Err(ENOSPC) => break,
            Err(e) => fail!("hog: {e}"),
        }
    }
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..10u64 {
        c.call(&format!("bo 0x400000 2 1 {}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", va(i)))?;
    }
    let r = reclaim(c.pid);
    let left = ok!(MemInfo::read()).get("SwapFree");
    note!(
        "40 MiB into {left} bytes of swap: {r:?}, {} resident",
        c.resident()?
    );
    check!(r == Err(ENOSPC), "{r:?}");
    // What fits goes.
    check!(left < M, "{left} bytes of swap are left");
    check!(c.resident()? > 0);
    for i in 0..10 {
        c.call(&format!("check {i}"))?;
    }
    hog.kill()?;
    let room = wait_for(Duration::from_secs(10), || {
        MemInfo::read().is_ok_and(|m| m.get("SwapFree") > 100 * M)
    });
    check!(room, "swap does not come free");
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    for i in 0..10 {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}
