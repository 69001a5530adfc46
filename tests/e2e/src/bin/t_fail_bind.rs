// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every allocation of a VM_BIND fails once, and all from one on: the call says ENOMEM, the mappings
//! are as before, in the kernel's lists and in the page tables, nothing is lost, and the same call
//! then succeeds.

use e2e::debugfs::VmResident;
use e2e::fault::{setup, Sweep, Tally};
use e2e::model::Model;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::time::Duration;

const NOMEM: &[Errno] = &[ENOMEM];

/// Where a mapping is made that only uses something up.
const DRAIN: u64 = 1 << 45;

/// A VM with a marker, by which it is found in `gpuvas`, and a filled buffer.
struct Bind {
    d: Dev,
    vm: u32,
    marker: u64,
    /// A buffer of a page.
    page: u32,
    h: u32,
    /// The root of the page tables, and the model to read them.
    tables: Option<(u64, RefCell<Model>)>,
}

impl Bind {
    fn new(size: u64) -> Res<Bind> {
        setup()?;
        let d = Dev::open()?;
        let vm = d.vm()?;
        let marker = (1 << 46) + getpid() as u64 * PAGE;
        let p = d.bo(PAGE, 0, 0)?;
        d.map(vm, p, 0, marker, PAGE)?;
        let h = d.bo(size, BO_WB_MMAP, 0)?;
        pattern::fill(&d.mmap(h, size)?, 1);
        let tables = match VmResident::need() {
            Ok(r) => Some((r.get(getpid(), vm)?.root, RefCell::new(Model::need()?))),
            Err(_) => None,
        };
        Ok(Bind {
            d,
            vm,
            marker,
            page: p,
            h,
            tables,
        })
    }

    /// Our driver keeps some mappings and tables of a VM for its next operation, as many as that may
    /// need. Takes one away, so that this one allocates. What is mapped in all stays the same.
    fn drain(&self) -> Res {
        self.d.unmap(self.vm, DRAIN, PAGE)?;
        self.d.map(self.vm, self.page, 0, DRAIN, PAGE)?;
        Ok(())
    }

    /// A call on a VM that has not all kept that it needs.
    fn run(
        &self,
        sweep: Sweep<'_>,
        call: impl FnMut() -> Result<()>,
        mut undo: impl FnMut(bool) -> Res,
    ) -> Res<Tally> {
        self.drain()?;
        sweep.run(call, |good| {
            undo(good)?;
            self.drain()
        })
    }

    /// The same, and it must fail at least once.
    fn must_fail(
        &self,
        sweep: Sweep<'_>,
        call: impl FnMut() -> Result<()>,
        undo: impl FnMut(bool) -> Res,
    ) -> Res {
        let t = self.run(sweep, call, undo)?;
        check!(t.failed() > 0, "no fault point has an effect");
        Ok(())
    }

    /// Its mappings: start, range, offset.
    fn shown(&self) -> Res<Vec<(u64, u64, u64)>> {
        Ok(debugfs::vas_of(self.marker)?
            .iter()
            .filter(|a| a.start < DRAIN)
            .map(|a| (a.start, a.range, a.offset))
            .collect())
    }

    /// What `gpuvas` shows of it must be this; at these addresses, and at none of the others, the
    /// tables have a translation.
    fn is(&self, want: &[(u64, u64, u64)], there: &[u64], not_there: &[u64]) -> Res {
        eq!(self.shown()?, want);
        if let Some((root, m)) = &self.tables {
            let mut m = m.borrow_mut();
            for va in there {
                let t = m.root(*root, *va, "r")?;
                check!(t.pa().is_some(), "{va:#x} is not there: {t:?}");
            }
            for va in not_there {
                check!(m.root(*root, *va, "r")?.pa().is_none(), "{va:#x} is there");
            }
        }
        Ok(())
    }
}

fn map() -> Res {
    for (what, size, va) in [
        ("map of 4 KiB", PAGE, M),
        ("map of 4 MiB", 4 * M, 1 << 32),
        ("map of 1 MiB anywhere", M, 3 * PAGE),
    ] {
        let b = Bind::new(size)?;
        let last = va + size - PAGE;
        b.must_fail(
            Sweep::new(what, NOMEM),
            || b.d.map(b.vm, b.h, 0, va, size),
            |good| {
                if good {
                    b.is(&[(va, size, 0)], &[va, last], &[va - PAGE, last + PAGE])?;
                    ok!(b.d.unmap(b.vm, va, size));
                }
                b.is(&[], &[], &[va, last])
            },
        )?;
        eq!(ok!(b.d.vm_state(b.vm)), 0);
    }
    Ok(())
}

/// Of a buffer that has no memory yet: the pages come with the mapping.
fn map_new() -> Res {
    let b = Bind::new(PAGE)?;
    let size = 64 * K;
    for (what, excl) in [
        ("map of a new buffer", 0),
        ("map of a new private buffer", b.vm),
    ] {
        let h = Cell::new(ok!(b.d.bo(size, BO_WB_MMAP, excl)));
        b.must_fail(
            Sweep::new(what, NOMEM),
            || b.d.map(b.vm, h.get(), 0, M, size),
            |good| {
                if !good {
                    b.is(&[], &[], &[M])?;
                    // Whatever it has by now.
                    ok!(b.d.map(b.vm, h.get(), 0, M, size));
                }
                b.is(&[(M, size, 0)], &[M, M + size - PAGE], &[])?;
                ok!(b.d.unmap(b.vm, M, size));
                b.is(&[], &[], &[M])?;
                pattern::zero_at(&ok!(b.d.mmap(h.get(), size)), 0, size)?;
                ok!(b.d.close(h.get()));
                h.set(ok!(b.d.bo(size, BO_WB_MMAP, excl)));
                Ok(())
            },
        )?;
        ok!(b.d.close(h.get()));
    }
    Ok(())
}

/// Of a buffer whose memory was given up: it comes back with the mapping.
fn map_evicted() -> Res {
    sysfs::need("mem_reclaim")?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    let b = Bind::new(8 * K)?;
    ok!(sysfs::reclaim(getpid()));
    b.must_fail(
        Sweep::new("map of an evicted buffer", NOMEM).repeat(Duration::ZERO),
        || b.d.map(b.vm, b.h, 0, M, 8 * K),
        |good| {
            if !good {
                b.is(&[], &[], &[M])?;
                // Whatever came back of it by now.
                ok!(b.d.map(b.vm, b.h, 0, M, 8 * K));
            }
            b.is(&[(M, 8 * K, 0)], &[M, M + 4 * K], &[])?;
            ok!(b.d.unmap(b.vm, M, 8 * K));
            b.is(&[], &[], &[M])?;
            pattern::check(&ok!(b.d.mmap(b.h, 8 * K)), 1)?;
            ok!(sysfs::reclaim(getpid()));
            Ok(())
        },
    )
}

fn map_imported() -> Res {
    let b = Bind::new(PAGE)?;
    let (buf, _mem) = ok!(drm::udmabuf(64 * K));
    let h = ok!(b.d.import(buf.as_fd()));
    b.must_fail(
        Sweep::new("map of an imported buffer", NOMEM),
        || b.d.map(b.vm, h, 0, M, 64 * K),
        |good| {
            if good {
                b.is(&[(M, 64 * K, 0)], &[M], &[])?;
                ok!(b.d.unmap(b.vm, M, 64 * K));
            }
            b.is(&[], &[], &[M])
        },
    )
}

fn sparse() -> Res {
    let b = Bind::new(PAGE)?;
    b.must_fail(
        Sweep::new("sparse map of 16 MiB", NOMEM),
        || b.d.bind1(b.vm, Op::sparse(M, 16 * M)),
        |good| {
            if good {
                ok!(b.d.unmap(b.vm, M, 16 * M));
            }
            b.is(&[], &[], &[M, 2 * M, 17 * M - PAGE])
        },
    )
}

fn unmap() -> Res {
    let b = Bind::new(4 * M)?;
    let va = 1 << 32;
    ok!(b.d.map(b.vm, b.h, 0, va, 4 * M));
    b.run(
        Sweep::new("unmap of all of it", NOMEM),
        || b.d.unmap(b.vm, va, 4 * M),
        |good| {
            if good {
                b.is(&[], &[], &[va])?;
                ok!(b.d.map(b.vm, b.h, 0, va, 4 * M));
            }
            b.is(&[(va, 4 * M, 0)], &[va, va + 4 * M - PAGE], &[])
        },
    )?;
    Ok(())
}

/// Unmapping in the middle needs memory for what remains.
fn split() -> Res {
    let b = Bind::new(8 * M)?;
    let va = 1 << 32;
    let hole = va + 3 * M;
    ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
    b.must_fail(
        Sweep::new("unmap of a page in a block", NOMEM),
        || b.d.unmap(b.vm, hole, PAGE),
        |good| {
            if good {
                let rest = [(va, 3 * M, 0), (hole + PAGE, 5 * M - PAGE, 3 * M + PAGE)];
                b.is(&rest, &[va, hole - PAGE, hole + PAGE], &[hole])?;
                ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
            }
            b.is(
                &[(va, 8 * M, 0)],
                &[va, hole - PAGE, hole, hole + PAGE],
                &[],
            )
        },
    )
}

fn over() -> Res {
    let b = Bind::new(8 * M)?;
    let g = ok!(b.d.bo(M, BO_WB_MMAP, 0));
    let va = 1 << 32;
    ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
    b.must_fail(
        Sweep::new("map over a block", NOMEM),
        || b.d.map(b.vm, g, 0, va + M + PAGE, M),
        |good| {
            if good {
                eq!(b.shown()?.len(), 3);
                ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
            }
            b.is(&[(va, 8 * M, 0)], &[va, va + M, va + 2 * M + PAGE], &[])
        },
    )
}

/// Several operations: those before the failing one are done, `ops.count` says how many.
fn array() -> Res {
    let b = Bind::new(M)?;
    let ops: Vec<Op> = (1..=4).map(|i| Op::map(b.h, 0, i << 32, M)).collect();
    let done = Cell::new(0);
    b.must_fail(
        Sweep::new("four maps", NOMEM),
        || {
            done.set(4);
            b.d.bind(b.vm, &ops).map_err(|(e, n)| {
                done.set(n);
                e
            })
        },
        |good| {
            let n = b.shown()?.len() as u32;
            // If the array itself could not be copied in, nothing was done and the count stands.
            check!(
                n == done.get() || (!good && n == 0 && done.get() == 4),
                "{n} mapped, count {}",
                done.get()
            );
            ok!(b.d.unmap(b.vm, 0, 1 << 40));
            b.is(&[], &[], &[1 << 32, 4 << 32])
        },
    )
}

/// In a VM that has a slot every step flushes.
fn in_a_slot() -> Res {
    let sw = VmResident::need()?;
    let b = Bind::new(M)?;
    let slot = sw.on(getpid(), b.vm)?;
    let Some((_, m)) = &b.tables else {
        skip!("no model")
    };
    let va = 1 << 32;
    b.must_fail(
        Sweep::new("map in a slot", NOMEM),
        || b.d.map(b.vm, b.h, 0, va, M),
        |good| {
            let t = m.borrow_mut().translate(slot, va, "r")?;
            check!(t.pa().is_some() == good, "{t:?}");
            if good {
                m.borrow_mut().check(slot, va, M, 1)?;
                ok!(b.d.unmap(b.vm, va, M));
            }
            Ok(())
        },
    )?;
    ok!(b.d.map(b.vm, b.h, 0, va, M));
    b.run(
        Sweep::new("unmap in a slot", NOMEM),
        || b.d.unmap(b.vm, va + PAGE, PAGE),
        |good| {
            let t = m.borrow_mut().translate(slot, va + PAGE, "r")?;
            check!(t.pa().is_some() != good, "{t:?}");
            if good {
                ok!(b.d.map(b.vm, b.h, 0, va, M));
            }
            m.borrow_mut().check(slot, va, M, 1)
        },
    )?;
    Ok(())
}

/// Calls that only check, and refuse.
fn refused() -> Res {
    let b = Bind::new(M)?;
    let bad = Op::map(b.h, 0, 1, M);
    let expect = |r: std::result::Result<(), (Errno, u32)>, want: Errno| match r {
        Err((e, _)) if e == want => Ok(()),
        Err((e, _)) => Err(e),
        Ok(()) => Err(Errno(0)),
    };
    for n in [1, 64] {
        let ops = vec![bad; n];
        Sweep::new("a bad map", NOMEM).run(|| expect(b.d.bind(b.vm, &ops), EINVAL), |_| Ok(()))?;
    }
    let ops = [Op::map(99, 0, M, M)];
    Sweep::new("no such buffer", NOMEM).run(|| expect(b.d.bind(b.vm, &ops), EINVAL), |_| Ok(()))?;
    Sweep::new("no such VM", NOMEM).run(|| expect(b.d.bind(31, &ops), EINVAL), |_| Ok(()))?;
    if ktap::driver() == ktap::Driver::Rust {
        let mut ops = [Op::map(b.h, 0, M, M)];
        Sweep::new("an asynchronous map", NOMEM).run(
            || {
                let mut a = VmBind {
                    vm_id: b.vm,
                    flags: BIND_ASYNC,
                    ops: ObjArray::of(&ops),
                };
                expect(b.d.call(&mut a).map_err(|e| (e, 0)), EOPNOTSUPP)
            },
            |_| Ok(()),
        )?;
        ops[0].flags = OP_SYNC_ONLY;
    }
    b.is(&[], &[], &[M])
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 60;
        map,
        map_new,
        map_evicted,
        map_imported,
        sparse,
        unmap,
        split,
        over,
        array,
        in_a_slot,
        refused,
    ])
}
