// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Whose memory goes, and whose stays.

use e2e::child::Child;
use e2e::debugfs::gem;
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;
use std::os::fd::{AsFd, AsRawFd};

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

/// A buffer with a global name stays: whoever knows the name can open it.
pub fn named_stays() -> Res {
    need()?;
    let d = ok!(Dev::open_primary());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-named"));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let mut name = GemFlink { handle: h, name: 0 };
    ok!(d.call(&mut name));
    ok!(reclaim(getpid()));
    let g = gem("e2e-named")?;
    eq!((g.resident, g.evictions), (M, 0));
    pattern::check(&m, 1)?;
    Ok(())
}

/// Exported and imported buffers stay, also when nobody has the dma-buf any more.
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
    // With the last handle the dma-buf is forgotten, but not that there was one.
    let was = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.label(was, "e2e-was-exp"));
    ok!(d.map(vm, was, 0, 32 * M, M));
    let w = ok!(d.mmap(was, M));
    pattern::fill(&w, 3);
    drop(ok!(d.export(was)));
    ok!(d.close(was));
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
    let g = gem("e2e-was-exp")?;
    eq!((g.resident, g.evictions), (M, 0));
    pattern::check(&w, 3)?;
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
