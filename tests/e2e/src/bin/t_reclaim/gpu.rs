// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the GPU sees, and what can be done with buffers that are evicted.

use e2e::child::Child;
use e2e::debugfs::{gem, VmResident};
use e2e::model::Model;
use e2e::proc::swap_used;
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// What happens to evicted buffers: every operation on them works.
pub fn use_evicted() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let me = getpid();
    let make = |seed: u64, va: u64| -> Res<u32> {
        let h = d.bo(2 * M, BO_WB_MMAP, 0)?;
        pattern::fill(&d.mmap(h, 2 * M)?, seed);
        d.map(vm, h, 0, va, 2 * M)?;
        Ok(h)
    };
    let v: Vec<u32> = (0..8)
        .map(|i| make(i, (i + 1) * 16 * M))
        .collect::<Res<_>>()?;
    ok!(reclaim(me));
    eq!(ok!(d.fdinfo()).resident(), 0);
    // Unmapped; partly unmapped; mapped over; mapped again; synced; named; exported; closed.
    ok!(d.unmap(vm, 16 * M, 2 * M));
    ok!(d.unmap(vm, 33 * M, PAGE));
    ok!(d.map(vm, v[7], 0, 48 * M, M));
    ok!(d.map(vm, v[3], 0, 1 << 40, 2 * M));
    ok!(d.sync(v[4], SYNC_FLUSH_INVALIDATE, 0, 2 * M));
    ok!(d.label(v[4], "e2e-still-evicted"));
    eq!(gem("e2e-still-evicted")?.resident, 0);
    let fd = ok!(d.export(v[5]));
    let x = ok!(Map::new(
        fd.as_raw_fd(),
        0,
        2 * M,
        libc::PROT_READ,
        libc::MAP_SHARED
    ));
    pattern::check(&x, 5)?;
    ok!(d.close(v[6]));
    ok!(claim(me));
    for i in [0, 1, 2, 3, 4, 5, 7] {
        pattern::check(&ok!(d.mmap(v[i], 2 * M)), i as u64)?;
    }
    // Gone while on swap: the swap space comes back.
    drop(x);
    drop(fd);
    ok!(reclaim(me));
    let before = ok!(swap_used());
    ok!(d.vm_destroy(vm));
    drop(d);
    if ktap::patched() {
        let freed = wait_for(Duration::from_secs(5), || {
            swap_used().is_ok_and(|s| s + 8 * M < before)
        });
        check!(
            freed,
            "swap {} before, {} after the end of its owner",
            before,
            ok!(swap_used())
        );
    }
    Ok(())
}

/// Sparse mappings and their dummy survive.
pub fn sparse() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    ok!(d.bind1(vm, Op::sparse(1 << 32, 64 * M)));
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    ok!(d.map(vm, h, 0, (1 << 32) + 8 * M + PAGE, M));
    for _ in 0..3 {
        ok!(reclaim(getpid()));
        ok!(claim(getpid()));
    }
    ok!(d.unmap(vm, (1 << 32) + 8 * M + PAGE, PAGE));
    ok!(reclaim(getpid()));
    ok!(d.unmap(vm, (1 << 32) + 3 * M, 2 * M));
    ok!(claim(getpid()));
    ok!(d.unmap(vm, 0, 1 << 40));
    pattern::check(&m, 1)?;
    Ok(())
}

/// Resident on the GPU: the translations go with the memory and come back with it, those of
/// another process stay.
pub fn gpu_side() -> Res {
    need()?;
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let size = 5 * M + PAGE;
    let mut bos = Vec::new();
    for (i, excl) in [vm, 0, 0].into_iter().enumerate() {
        let h = ok!(d.bo(size, BO_WB_MMAP, excl));
        let m = ok!(d.mmap(h, size));
        pattern::fill(&m, 50 + i as u64);
        ok!(d.map(vm, h, 0, (i as u64 + 1) << 32, size));
        bos.push(m);
    }
    let mut other = Child::holder()?;
    other.call("vm")?;
    other.call("bo 0x200000 2 1 9")?;
    other.call("bind 1 0 0x100000000")?;
    let slot2 = sw.on(other.pid, 1)?;
    let slot = sw.on(getpid(), vm)?;
    for i in 0..3u64 {
        model.check(slot, (i + 1) << 32, size, 50 + i)?;
    }
    model.check(slot2, 1 << 32, 2 * M, 9)?;
    for round in 0..5u64 {
        ok!(reclaim(getpid()));
        eq!(ok!(d.fdinfo()).resident(), 0);
        for i in 0..3u64 {
            for off in [0, 2 * M, size - PAGE] {
                let t = model.translate(slot, ((i + 1) << 32) + off, "r")?;
                check!(
                    t.pa().is_none(),
                    "round {round}: buffer {i} at {off:#x} still translates: {t:?}"
                );
            }
        }
        model.check(slot2, 1 << 32, 2 * M, 9)?;
        ok!(claim(getpid()));
        for i in 0..3u64 {
            model.check(slot, (i + 1) << 32, size, 50 + i + round * 100)?;
            // New contents, by the GPU or the CPU in turn.
            if round % 2 == 0 {
                model.fill(slot, (i + 1) << 32, size, 50 + i + (round + 1) * 100)?;
            } else {
                pattern::fill(&bos[i as usize], 50 + i + (round + 1) * 100);
            }
        }
        for (i, m) in bos.iter().enumerate() {
            pattern::check(m, 50 + i as u64 + (round + 1) * 100)?;
        }
    }
    // Partly unmapped while it is on swap.
    ok!(reclaim(getpid()));
    ok!(d.unmap(vm, (1 << 32) + 3 * PAGE, PAGE));
    ok!(d.unmap(vm, (2 << 32) + 2 * M - PAGE, 2 * PAGE));
    ok!(claim(getpid()));
    check!(model
        .translate(slot, (1 << 32) + 3 * PAGE, "r")?
        .pa()
        .is_none());
    check!(model
        .translate(slot, (2 << 32) + 2 * M, "r")?
        .pa()
        .is_none());
    model.check(slot, 1 << 32, 3 * PAGE, 550)?;
    model.check(
        slot,
        (1 << 32) + 4 * PAGE,
        size - 4 * PAGE,
        550 + 4 * PAGE / 8,
    )?;
    model.check(slot, 2 << 32, 2 * M - PAGE, 551)?;
    model.check(
        slot,
        (2 << 32) + 2 * M + PAGE,
        size - 2 * M - PAGE,
        551 + (2 * M + PAGE) / 8,
    )?;
    ok!(sw.set(getpid(), vm, false));
    ok!(sw.set(other.pid, 1, false));
    other.call("check 0")?;
    Ok(())
}

/// A VM that gets a slot gets its memory back with it.
pub fn slot_restores() -> Res {
    need()?;
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    for i in 0..2u64 {
        let h = ok!(d.bo(3 * M, BO_WB_MMAP, if i == 0 { vm } else { 0 }));
        pattern::fill(&ok!(d.mmap(h, 3 * M)), 8 + i);
        ok!(d.map(vm, h, 0, va(i), 3 * M));
    }
    ok!(reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    let slot = sw.on(getpid(), vm)?;
    eq!(ok!(d.fdinfo()).resident(), 6 * M);
    for i in 0..2 {
        model.check(slot, va(i), 3 * M, 8 + i)?;
    }
    ok!(sw.set(getpid(), vm, false));
    Ok(())
}

/// What is left of an evicted mapping that was cut comes back, also beside a mapping of the same
/// buffer that was made meanwhile and is there.
pub fn parts_beside_others() -> Res {
    need()?;
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, vm));
    pattern::fill(&ok!(d.mmap(h, M)), 8);
    ok!(d.map(vm, h, 0, va(0), M));
    ok!(reclaim(getpid()));
    ok!(d.map(vm, h, 0, va(1), M));
    ok!(d.unmap(vm, va(0) + 64 * K, 64 * K));
    ok!(claim(getpid()));
    let slot = sw.on(getpid(), vm)?;
    model.check(slot, va(1), M, 8)?;
    model.check(slot, va(0), 64 * K, 8)?;
    model.check(slot, va(0) + 128 * K, M - 128 * K, 8 + 128 * K / 8)?;
    check!(model.translate(slot, va(0) + 64 * K, "r")?.pa().is_none());
    ok!(sw.set(getpid(), vm, false));
    Ok(())
}

/// A claim brings the memory of a VM without a slot back; the tables then say the same as before.
pub fn reclaimed_while_idle() -> Res {
    need()?;
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(3 * M, BO_WB_MMAP, vm));
    pattern::fill(&ok!(d.mmap(h, 3 * M)), 8);
    ok!(d.map(vm, h, 0, 1 << 32, 3 * M));
    ok!(reclaim(getpid()));
    let root = sw.get(getpid(), vm)?.root;
    check!(model.root(root, 1 << 32, "r")?.pa().is_none());
    ok!(claim(getpid()));
    check!(model.root(root, 1 << 32, "r")?.pa().is_some());
    let slot = sw.on(getpid(), vm)?;
    model.check(slot, 1 << 32, 3 * M, 8)?;
    ok!(sw.set(getpid(), vm, false));
    Ok(())
}
