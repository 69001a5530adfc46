// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What a mapping is: its pages, flags and blocks, and how long it lives.

use crate::vm::Vm;
use e2e::debugfs::VmResident;
use e2e::model::Translation;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

pub fn map_unmap() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(M, 0, 0));
    ok!(v.bind(Op::map(bo, 0, M, M)));
    eq!(v.list()?, [(M, M, 0)]);
    v.holes(&[M, 2 * M - PAGE], &[M - PAGE, 2 * M])?;
    ok!(v.bind(Op::unmap(M, M)));
    eq!(v.list()?, []);
    v.holes(&[], &[M, 2 * M - PAGE])?;
    // Unmapping nothing is fine.
    ok!(v.bind(Op::unmap(M, M)));
    ok!(v.bind(Op::unmap(0, 1 << 46)));
    Ok(())
}

/// Every page of a buffer is where it belongs, and different from every other.
pub fn pages() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(3 * M, 0, 0));
    ok!(v.bind(Op::map(bo, 0, 5 * M, 3 * M)));
    let Some(mut w) = v.walk()? else {
        skip!("needs vm_resident and the model")
    };
    let mut seen = std::collections::HashSet::new();
    for i in 0..3 * M / PAGE {
        let t = w.at(5 * M + i * PAGE)?;
        let Some(pa) = t.pa() else {
            fail!("page {i}: {t:?}")
        };
        check!(seen.insert(pa), "page {i} at {pa:#x} twice");
    }
    // A second mapping has the same pages.
    ok!(v.bind(Op::map(bo, M, 64 * M, M)));
    for i in 0..M / PAGE {
        eq!(w.at(64 * M + i * PAGE)?.pa(), w.at(6 * M + i * PAGE)?.pa());
    }
    Ok(())
}

/// All combinations of the map flags; with the model: they are in the entries.
pub fn map_flags() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(4 * M, 0, 0));
    let mut walk = v.walk()?;
    for (n, flags) in [
        0,
        MAP_READONLY,
        MAP_NOEXEC,
        MAP_UNCACHED,
        MAP_READONLY | MAP_NOEXEC,
        MAP_READONLY | MAP_UNCACHED,
        MAP_NOEXEC | MAP_UNCACHED,
        MAP_READONLY | MAP_NOEXEC | MAP_UNCACHED,
    ]
    .into_iter()
    .enumerate()
    {
        let va = (n as u64 + 1) * 16 * M;
        ok!(v.bind(Op::map(bo, 0, va, 4 * M).with(flags)));
        let Some(w) = walk.as_mut() else { continue };
        for off in [0, PAGE, 2 * M, 4 * M - PAGE] {
            let t = w.at(va + off)?;
            let Translation::Pa { attr, ro, nx, .. } = t else {
                fail!("flags {flags:#x}: {t:?}")
            };
            eq!(ro, flags & MAP_READONLY != 0);
            eq!(nx, flags & MAP_NOEXEC != 0);
            eq!(attr, u64::from(flags & MAP_UNCACHED == 0));
        }
        let t = w.model.root(w.root, va, "w")?;
        check!(
            t.pa().is_none() == (flags & MAP_READONLY != 0),
            "write {flags:#x}: {t:?}"
        );
        let t = w.model.root(w.root, va, "x")?;
        check!(
            t.pa().is_none() == (flags & MAP_NOEXEC != 0),
            "exec {flags:#x}: {t:?}"
        );
    }
    eq!(v.list()?.len(), 8);
    Ok(())
}

/// Blocks are used where address and memory allow it.
pub fn blocks() -> Res {
    let v = Vm::new()?;
    let Some(mut w) = v.walk()? else {
        skip!("needs vm_resident and the model")
    };
    let mut found = false;
    for _ in 0..4 {
        let bo = ok!(v.d.bo(8 * M, 0, 0));
        ok!(v.bind(Op::map(bo, 0, 1 << 32, 8 * M)));
        ok!(v.bind(Op::map(bo, 0, (1 << 33) + PAGE, 8 * M)));
        for i in 0..4 {
            let a = w.at((1 << 32) + i * BLOCK)?;
            if let Translation::Pa { pa, size, .. } = a {
                found |= size == BLOCK;
                check!(size != BLOCK || pa % BLOCK == 0, "{a:?}");
            }
            // Not aligned in VA: pages.
            let b = w.at((1 << 33) + PAGE + i * BLOCK)?;
            check!(matches!(b, Translation::Pa { size: PAGE, .. }), "{b:?}");
        }
    }
    check!(found, "no 2 MiB block in 32 MiB of aligned mappings");
    Ok(())
}

pub fn sparse() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    ok!(v.bind(Op::sparse(16 * M + 3 * PAGE, 7 * M)));
    let l = v.vas()?;
    eq!(l.iter().map(|a| a.range).sum::<u64>(), 7 * M);
    eq!(l[0].start, 16 * M + 3 * PAGE);
    eq!(l[0].offset, 3 * PAGE);
    if let Some(mut w) = v.walk()? {
        // Every page shows the page of the dummy at the same place modulo 2 MiB.
        let base = 16 * M + 3 * PAGE;
        for va in (base..base + 2 * M).step_by(37 * PAGE as usize) {
            let t = w.at(va)?;
            check!(t.pa().is_some(), "{va:#x}: {t:?}");
            check!(
                matches!(t, Translation::Pa { nx: true, .. }),
                "{va:#x}: {t:?}"
            );
            eq!(
                w.at(va + 2 * M)?.pa().map(|p| p & !(PAGE - 1)),
                t.pa().map(|p| p & !(PAGE - 1))
            );
        }
        check!(w.at(base - PAGE)?.pa().is_none());
        check!(w.at(base + 7 * M)?.pa().is_none());
    }
    // A real mapping in the middle of it, and gone again.
    ok!(v.bind(Op::map(bo, 0, 18 * M, PAGE)));
    eq!(v.vas()?.len(), 3);
    ok!(v.bind(Op::unmap(18 * M, PAGE)));
    eq!(v.vas()?.len(), 2);
    v.holes(&[18 * M - PAGE, 18 * M + PAGE], &[18 * M])?;
    ok!(v.bind(Op::sparse(18 * M, PAGE)));
    v.holes(&[18 * M - PAGE, 18 * M, 18 * M + PAGE], &[])?;
    ok!(v.bind(Op::unmap(0, 32 * M)));
    eq!(v.vas()?, []);
    Ok(())
}

pub fn sparse_large() -> Res {
    let v = Vm::new()?;
    ok!(v.bind(Op::sparse(1 << 32, 1 << 30)));
    v.holes(
        &[1 << 32, (1 << 32) + (1 << 30) - PAGE],
        &[(1 << 32) - PAGE, (1 << 32) + (1 << 30)],
    )?;
    ok!(v.bind(Op::unmap(1 << 32, 1 << 30)));
    eq!(v.vas()?, []);
    Ok(())
}

/// A sparse mapping of all that a VM may have is too much for the memory, and that is known soon.
pub fn sparse_huge() -> Res {
    ktap::only_rust("C sets all tables aside that there are")?;
    let d = ok!(Dev::open());
    let (id, range) = ok!(d.vm_range(1 << 46));
    check!(range >= 1 << 46, "{range:#x}");
    let start = std::time::Instant::now();
    err!(d.bind1(id, Op::sparse(0, 1 << 46)), ENOMEM);
    let took = start.elapsed();
    check!(took.as_millis() < 500, "{took:?}");
    ok!(d.bind1(id, Op::sparse(0, 2 * M)));
    Ok(())
}

/// Two files, two VMs of the same number: nothing is shared.
pub fn separate_vms() -> Res {
    let a = Vm::new()?;
    let d = ok!(Dev::open());
    let id = ok!(d.vm());
    eq!(id, a.id);
    let other = ok!(d.vm());
    let bo = ok!(a.d.bo(M, 0, 0));
    let bo2 = ok!(d.bo(M, 0, 0));
    ok!(a.bind(Op::map(bo, 0, M, M)));
    ok!(d.map(id, bo2, 0, 64 * M, M));
    ok!(d.map(other, bo2, 0, 128 * M, M));
    eq!(a.list()?, [(M, M, 0)]);
    ok!(d.unmap(id, 0, 1 << 40));
    ok!(d.unmap(other, 0, 1 << 40));
    eq!(a.list()?, [(M, M, 0)]);
    Ok(())
}

/// A buffer in several VMs and several times in one: the same pages everywhere.
pub fn shared() -> Res {
    let v = Vm::new()?;
    let second = ok!(v.d.vm());
    let bo = ok!(v.d.bo(M, 0, 0));
    ok!(v.d.map(v.id, bo, 0, M, M));
    ok!(v.d.map(v.id, bo, 0, 8 * M, M));
    ok!(v.d.map(second, bo, 0, 4 * M, M));
    let l = v.vas()?;
    check!(l.len() == 2 && l[0].object == l[1].object, "{l:x?}");
    if let Some(mut w) = v.walk()? {
        let root2 = VmResident::need()?.get(getpid(), second)?.root;
        check!(root2 != w.root && root2 != 0);
        for off in [0, 5 * PAGE, M - PAGE] {
            let pa = w.at(M + off)?.pa();
            check!(pa.is_some());
            eq!(w.at(8 * M + off)?.pa(), pa);
            eq!(w.model.root(root2, 4 * M + off, "r")?.pa(), pa);
        }
    }
    // Gone from one, still in the other.
    ok!(v.d.unmap(v.id, M, M));
    eq!(v.list()?, [(8 * M, M, 0)]);
    ok!(v.d.vm_destroy(second));
    eq!(v.list()?, [(8 * M, M, 0)]);
    v.holes(&[8 * M], &[M])?;
    Ok(())
}

/// A mapping keeps its buffer alive when the handle is closed.
pub fn outlives_handle() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(M, BO_WB_MMAP, v.id));
    ok!(v.d.label(bo, "e2e-alive"));
    ok!(v.bind(Op::map(bo, 0, M, M)));
    ok!(v.d.close(bo));
    eq!(v.list()?, [(M, M, 0)]);
    debugfs::gem("e2e-alive")?;
    ok!(v.bind(Op::unmap(M, M)));
    let gone = wait_for(std::time::Duration::from_secs(2), || {
        debugfs::Gems::read().is_ok_and(|g| g.bos.iter().all(|b| b.label != "e2e-alive"))
    });
    check!(gone, "the buffer outlives its mapping");
    Ok(())
}

/// Mapping takes memory, as `resident` shows.
pub fn makes_resident() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(4 * M, BO_NO_MMAP, 0));
    let before = ok!(v.d.fdinfo()).resident();
    ok!(v.bind(Op::map(bo, M, M, PAGE)));
    // Whole buffers, even for one page.
    eq!(ok!(v.d.fdinfo()).resident() - before, 4 * M);
    Ok(())
}
