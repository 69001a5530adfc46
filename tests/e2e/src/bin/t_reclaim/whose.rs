// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Whose memory goes, and whose stays.

use crate::common::*;
use e2e::child::Child;
use e2e::debugfs::{gem, Gems};
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;
use std::os::fd::{AsFd, AsRawFd};

/// Other processes keep what they have, also when there is nothing left at the target.
pub fn no_spill() -> Res {
    need()?;
    let mut a = target(2 * M)?;
    let mut b = target(2 * M)?;
    let mut third = Child::holder()?;
    third.call("bo 0x400000 2 0 5 e2e-third")?;
    for _ in 0..5 {
        ok!(reclaim(a.pid));
    }
    eq!(a.resident()?, 0);
    eq!(b.resident()?, 16 * M);
    eq!(third.resident()?, 4 * M);
    for g in Gems::read()?.of(b.pid) {
        eq!(g.evictions, 0);
    }
    eq!(gem("e2e-third")?.evictions, 0);
    // The other way round.
    ok!(reclaim(b.pid));
    ok!(claim(a.pid));
    eq!(b.resident()?, 0);
    check_target(&mut a)?;
    check_target(&mut b)?;
    third.call("check 0")?;
    Ok(())
}

/// A buffer shared with another process stays, for both of them.
pub fn foreign_shared_stays() -> Res {
    need()?;
    let (sa, sb) = ok!(socketpair());
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(2 * M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-foreign-shared"));
    let m = ok!(d.mmap(h, 2 * M));
    pattern::fill(&m, 1);
    ok!(d.map(vm, h, 0, M, 2 * M));
    let own = ok!(d.bo(M, BO_WB_MMAP, vm));
    let m2 = ok!(d.mmap(own, M));
    pattern::fill(&m2, 2);
    let mut c = Child::spawn(|e| {
        let mut held = None;
        e.serve(|_| {
            let s = |e: Errno| e.to_string();
            let fd = recv_fd(sb.as_raw_fd()).map_err(s)?;
            let d = Dev::open().map_err(s)?;
            let vm = d.vm().map_err(s)?;
            let h = d.import(fd.as_fd()).map_err(s)?;
            d.map(vm, h, 0, 4 * M, 2 * M).map_err(s)?;
            held = Some(d);
            Ok(held.is_some().to_string())
        })
    })?;
    {
        let fd = ok!(d.export(h));
        ok!(send_fd(sa.as_raw_fd(), fd.as_raw_fd()));
    }
    c.call("take")?;
    let ev = gem("e2e-foreign-shared")?.evictions;
    ok!(reclaim(getpid()));
    let g = gem("e2e-foreign-shared")?;
    eq!((g.resident, g.evictions), (2 * M, ev));
    // The private one went.
    eq!(ok!(d.fdinfo()).resident(), 2 * M);
    ok!(reclaim(c.pid));
    let g = gem("e2e-foreign-shared")?;
    eq!((g.resident, g.evictions), (2 * M, ev));
    pattern::check(&m, 1)?;
    pattern::check(&m2, 2)?;
    Ok(())
}

/// Exported and imported buffers stay.
pub fn exported_and_imported_stay() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-exp"));
    ok!(d.map(vm, h, 0, M, M));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let fd = ok!(d.export(h));
    let (buf, _mem) = ok!(drm::udmabuf(256 * K));
    let i = ok!(d.import(buf.as_fd()));
    ok!(d.map(vm, i, 0, 8 * M, 256 * K));
    let n = ok!(d.mmap(i, 256 * K));
    pattern::fill(&n, 2);
    let p = ok!(d.bo(M, BO_WB_MMAP, vm));
    ok!(d.label(p, "e2e-priv"));
    ok!(d.map(vm, p, 0, 16 * M, M));
    ok!(reclaim(getpid()));
    eq!(
        (gem("e2e-exp")?.resident, gem("e2e-exp")?.evictions),
        (M, 0)
    );
    eq!(
        (gem("e2e-priv")?.resident, gem("e2e-priv")?.evictions),
        (0, 1)
    );
    pattern::check(&m, 1)?;
    pattern::check(&n, 2)?;
    ok!(claim(getpid()));
    eq!(gem("e2e-priv")?.resident, M);
    drop(fd);
    Ok(())
}

/// Each plain kind by itself, so that a complaint says which.
pub fn kinds() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let (v1, v2) = (ok!(d.vm()), ok!(d.vm()));
    type Setup = fn(&Dev, u32, u32, u32) -> Result<()>;
    let list: [(&str, u32, bool, bool, Setup); 9] = [
        ("private to a VM", BO_WB_MMAP, true, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)
        }),
        ("in one VM", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)
        }),
        ("in two VMs", BO_WB_MMAP, false, true, |d, a, b, h| {
            d.map(a, h, 0, M, M)?;
            d.map(b, h, 0, M, M)
        }),
        ("twice in one VM", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)?;
            d.map(a, h, 0, 64 * M, M)
        }),
        ("in part", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, PAGE, M, PAGE)
        }),
        ("read-only", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.bind1(a, Op::map(h, 0, M, M).with(MAP_READONLY))
        }),
        ("no longer mapped", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)?;
            d.unmap(a, M, M)
        }),
        ("CPU-mapped only", BO_WB_MMAP, false, true, |_, _, _, _| {
            Ok(())
        }),
        (
            "not CPU-mapped any more",
            BO_WB_MMAP,
            false,
            false,
            |_, _, _, _| Ok(()),
        ),
    ];
    for (i, (what, flags, excl, keep, setup)) in list.into_iter().enumerate() {
        let h = ok!(d.bo(M, flags, if excl { v1 } else { 0 }));
        let label = format!("e2e-kind-{i}");
        ok!(d.label(h, &label));
        let mut m = Some(ok!(d.mmap(h, M)));
        if let Some(m) = &m {
            pattern::fill(m, i as u64);
        }
        setup(&d, v1, v2, h).map_err(|e| format!("{what}: {e}"))?;
        if !keep {
            m = None;
        }
        eq!(gem(&label)?.resident, M);
        ok!(reclaim(getpid()));
        let g = gem(&label)?;
        check!(
            g.resident == 0 && g.evictions == 1,
            "{what}: {} resident, {} evictions",
            g.resident,
            g.evictions
        );
        ok!(claim(getpid()));
        let m = match m {
            Some(m) => m,
            None => ok!(d.mmap(h, M)),
        };
        pattern::check(&m, i as u64).map_err(|e| format!("{what}: {e}"))?;
        drop(m);
        ok!(d.unmap(v1, 0, 1 << 40));
        ok!(d.unmap(v2, 0, 1 << 40));
        ok!(d.close(h));
    }
    Ok(())
}
