// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Where the memory is: given up, on swap, back again.

use e2e::child::Child;
use e2e::debugfs::{gem, Gems};
use e2e::proc::{free_memory, MemInfo};
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;

/// Bytes that the zram device takes for what is on it.
fn zram_used() -> u64 {
    let t = read_text("/sys/block/zram0/mm_stat").unwrap_or_default();
    t.split_whitespace()
        .nth(2)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// The memory comes free, but for what zram takes to keep the data.
pub fn memory_comes_free() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("the kernel lacks the addition in patches/");
    }
    let size = 96 * M;
    // The pattern does not compress; a buffer that nobody touched is all zero.
    for seed in [7, 0] {
        let mut c = Child::holder()?;
        c.call("vm")?;
        c.call(&format!("bo {size} 2 0 {seed}"))?;
        c.call("bind 1 0 0x100000000")?;
        proc::drop_caches();
        let read = || -> Res<_> { Ok((ok!(MemInfo::read()), ok!(free_memory()), zram_used())) };
        let (before, free, zram) = read()?;
        ok!(reclaim(c.pid));
        let (after, free_after, zram_after) = read()?;
        let freed = free_after as i64 - free as i64;
        // With the book-keeping for it, which is large in a debug kernel.
        let slab = after.get("Slab") as i64 - before.get("Slab") as i64;
        let held = zram_after as i64 - zram as i64 + slab.max(0);
        note!("free memory grew by {freed} of {size}, zram and slabs by {held}");
        check!(before.get("Shmem") as i64 - after.get("Shmem") as i64 > size as i64 * 98 / 100);
        check!(freed + if seed == 0 { 0 } else { held } >= size as i64 * 95 / 100);
    }
    Ok(())
}

/// A CPU access brings a buffer back by itself, and only that one.
pub fn cpu_fault_restores() -> Res {
    need()?;
    let mut c = target(M)?;
    ok!(reclaim(c.pid));
    for i in 0..6u64 {
        c.call(&format!("check {i}"))?;
        eq!(c.resident()?, (i + 1) * M);
    }
    check_target(&mut c)?;
    eq!(c.resident()?, 7 * M);
    Ok(())
}

/// A claim brings all back, mapped or not; contents are right.
pub fn claim_restores() -> Res {
    need()?;
    let mut c = target(2 * M)?;
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    ok!(claim(c.pid));
    eq!(c.resident()?, 16 * M);
    for b in Gems::read()?.of(c.pid) {
        if b.label.starts_with("e2e-") {
            check!(
                b.resident == b.size,
                "{}: {} of {}",
                b.label,
                b.resident,
                b.size
            );
            eq!(b.evictions, 1);
            eq!(b.state & 4, 0);
        }
    }
    check_target(&mut c)
}

/// The same over and over, with new contents each time.
pub fn cycles() -> Res {
    need()?;
    let mut c = target(M)?;
    for round in 1..=10u64 {
        for i in 0..6 {
            c.call(&format!("fill {i} {}", round * 1_000_000 + i * 1000))?;
        }
        ok!(reclaim(c.pid));
        eq!(c.resident()?, 0);
        if round % 2 == 0 {
            ok!(claim(c.pid));
        }
        for i in 0..6 {
            c.call(&format!("check {i}"))?;
        }
        let g = gem(&format!("e2e-both-{}", c.pid))?;
        eq!(g.evictions, round);
    }
    Ok(())
}

/// Nothing left to do is no error.
pub fn twice() -> Res {
    need()?;
    let mut c = target(M)?;
    ok!(claim(c.pid));
    ok!(reclaim(c.pid));
    ok!(reclaim(c.pid));
    eq!(gem(&format!("e2e-x1-{}", c.pid))?.evictions, 1);
    ok!(claim(c.pid));
    ok!(claim(c.pid));
    check_target(&mut c)?;
    // A process with the device open and nothing in it.
    let e = Child::holder()?;
    ok!(reclaim(e.pid));
    ok!(claim(e.pid));
    Ok(())
}

/// What nothing but a CPU mapping leads to: all handles are closed.
pub fn only_mapped() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let size = 8 * M;
    let mut maps = Vec::new();
    for (i, flags) in [BO_WB_MMAP, 0].into_iter().enumerate() {
        let h = ok!(d.bo(size, flags, 0));
        ok!(d.label(h, &format!("e2e-only-mapped-{i}")));
        let m = ok!(d.mmap(h, size));
        pattern::fill(&m, i as u64 + 1);
        ok!(d.close(h));
        maps.push(m);
    }
    // One that is not mapped any more is gone, and one that has a handle is found by that.
    let h = ok!(d.bo(size, BO_WB_MMAP, 0));
    drop(ok!(d.mmap(h, size)));
    ok!(d.close(h));
    let gem = |i: usize| gem(&format!("e2e-only-mapped-{i}"));
    for i in 0..2 {
        eq!((gem(i)?.resident, gem(i)?.evictions), (size, 0));
    }
    ok!(reclaim(getpid()));
    for i in 0..2 {
        eq!((gem(i)?.resident, gem(i)?.evictions), (0, 1));
    }
    ok!(claim(getpid()));
    for (i, m) in maps.iter().enumerate() {
        eq!((gem(i)?.resident, gem(i)?.evictions), (size, 1));
        pattern::check(m, i as u64 + 1)?;
    }
    drop(maps);
    check!(gem(0).is_err() && gem(1).is_err());
    Ok(())
}

/// Buffers that only a handle keeps are found, whichever handles were closed before, and in which
/// order.
pub fn handles_closed_before() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let n = 61;
    let mut handles = Vec::new();
    for i in 0..n {
        let h = ok!(d.bo(PAGE, BO_WB_MMAP, 0));
        ok!(d.label(h, &format!("e2e-handle-{i}")));
        pattern::fill(&ok!(d.mmap(h, PAGE)), i);
        handles.push(h);
    }
    // 7 is no divisor of their number: these are all different, and in no order.
    let order: Vec<u64> = (0..n).map(|i| i * 7 % n).collect();
    let (closed, kept) = order.split_at(30);
    for &i in closed {
        ok!(d.close(handles[i as usize]));
    }
    ok!(reclaim(getpid()));
    let gems = Gems::read()?;
    for i in 0..n {
        let label = format!("e2e-handle-{i}");
        let found = gems.bos.iter().find(|b| b.label == label);
        match found {
            None => check!(closed.contains(&i), "{label} is not there"),
            Some(g) => {
                check!(kept.contains(&i), "{label} was closed, and is there: {g:?}");
                eq!((g.resident, g.evictions), (0, 1));
            }
        }
    }
    for &i in kept {
        pattern::check(&ok!(d.mmap(handles[i as usize], PAGE)), i)?;
    }
    Ok(())
}

pub fn never_touched() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(64 * M, BO_WB_MMAP, 0));
    ok!(reclaim(getpid()));
    ok!(claim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    let g = ok!(d.bo(M, BO_NO_MMAP, vm));
    ok!(d.map(vm, g, 0, M, M));
    ok!(reclaim(getpid()));
    ok!(claim(getpid()));
    pattern::zero_at(&ok!(d.mmap(h, 64 * M)), 0, PAGE)?;
    Ok(())
}

/// A thousand small buffers.
pub fn many_small() -> Res {
    let page = page_size();
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let n = 1000u64;
    let mut maps = Vec::new();
    for i in 0..n {
        let h = ok!(d.bo(2 * page, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 }));
        let m = ok!(d.mmap(h, 2 * page));
        pattern::fill(&m, i * 1024);
        ok!(d.map(vm, h, 0, (i + 1) * M, 2 * page));
        maps.push(m);
    }
    ok!(reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    ok!(claim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), n * 2 * page);
    for (i, m) in maps.iter().enumerate() {
        pattern::check(m, i as u64 * 1024)?;
    }
    Ok(())
}
