// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM_BIND, synchronous. What is mapped afterwards is read from debugfs `gpuvas` and, where our
//! driver gives the root of the tables away, checked by the model's own walk of them.

use e2e::debugfs::{GpuVa, VmResident};
use e2e::model::{Model, Translation};
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

/// A VM with a marker mapping that finds it again in `gpuvas`.
struct Vm {
    d: Dev,
    id: u32,
    marker: u64,
}

impl Vm {
    fn new() -> Res<Vm> {
        let d = Dev::open()?;
        let id = d.vm()?;
        let marker = (1 << 46) + (getpid() as u64) * PAGE;
        let bo = d.bo(PAGE, 0, 0)?;
        d.map(id, bo, 0, marker, PAGE)?;
        d.close(bo)?;
        Ok(Vm { d, id, marker })
    }

    fn bind(&self, op: Op) -> Result<()> {
        self.d.bind1(self.id, op)
    }

    fn vas(&self) -> Res<Vec<GpuVa>> {
        debugfs::vas_of(self.marker)
    }

    /// (start, size, offset) of all mappings.
    fn list(&self) -> Res<Vec<(u64, u64, u64)>> {
        Ok(self
            .vas()?
            .iter()
            .map(|a| (a.start, a.range, a.offset))
            .collect())
    }

    /// What the model finds by the tables, if it can be asked.
    fn walk(&self) -> Res<Option<Walk>> {
        let Ok(r) = VmResident::need() else {
            return Ok(None);
        };
        let Ok(model) = Model::open() else {
            return Ok(None);
        };
        let root = r.get(getpid(), self.id)?.root;
        Ok(if root == 0 {
            None
        } else {
            Some(Walk { model, root })
        })
    }

    /// The model's walk agrees with a list of mapped pages and one of holes.
    fn holes(&self, mapped: &[u64], holes: &[u64]) -> Res {
        let Some(mut w) = self.walk()? else {
            return Ok(());
        };
        for va in mapped {
            let t = w.at(*va)?;
            check!(t.pa().is_some(), "{va:#x}: {t:?}");
        }
        for va in holes {
            let t = w.at(*va)?;
            check!(t.pa().is_none(), "{va:#x}: {t:?}");
        }
        Ok(())
    }
}

struct Walk {
    model: Model,
    root: u64,
}

impl Walk {
    fn at(&mut self, va: u64) -> Res<Translation> {
        self.model.root(self.root, va, "r")
    }
}

fn map_unmap() -> Res {
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
fn pages() -> Res {
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

fn offsets() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(16 * PAGE, 0, 0));
    ok!(v.bind(Op::map(bo, 3 * PAGE, M, 5 * PAGE)));
    ok!(v.bind(Op::map(bo, 15 * PAGE, 2 * M, PAGE)));
    eq!(
        v.list()?,
        [(M, 5 * PAGE, 3 * PAGE), (2 * M, PAGE, 15 * PAGE)]
    );
    for (off, size) in [(15, 2), (16, 1), (0, 17), (17, 1), (1, 16), (1 << 40, 1)] {
        let r = v.bind(Op::map(bo, off * PAGE, 3 * M, size * PAGE));
        check!(r == Err(EINVAL), "offset {off} size {size}: {r:?}");
    }
    // An overflow of offset + size.
    err!(
        v.bind(Op::map(bo, u64::MAX - PAGE + 1, 3 * M, PAGE)),
        EINVAL
    );
    err!(
        v.bind(Op::map(bo, u64::MAX - PAGE + 1, 3 * M, 2 * PAGE)),
        EINVAL
    );
    eq!(v.list()?.len(), 2);
    Ok(())
}

fn alignment() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(M, 0, 0));
    for x in [1, 8, 512, PAGE - 1, PAGE / 2] {
        for op in [
            Op::map(bo, x, M, PAGE),
            Op::map(bo, 0, M + x, PAGE),
            Op::map(bo, 0, M, PAGE + x),
            Op::map(bo, 0, M, x),
            Op::unmap(M + x, PAGE),
            Op::unmap(M, PAGE + x),
            Op::unmap(M, x),
            Op::sparse(M + x, PAGE),
            Op::sparse(M, x),
        ] {
            let r = v.bind(op);
            check!(r == Err(EINVAL), "{op:x?}: {r:?}");
        }
    }
    eq!(v.list()?, []);
    Ok(())
}

/// Size 0 does nothing and asks no questions.
fn size_zero() -> Res {
    let v = Vm::new()?;
    ok!(v.bind(Op::map(4711, 3, 5, 0)));
    ok!(v.bind(Op::unmap(7, 0)));
    ok!(v.bind(Op {
        flags: OP_SYNC_ONLY,
        ..Op::default()
    }));
    ok!(v.bind(Op {
        flags: 0xffff_fff0,
        ..Op::default()
    }));
    eq!(v.list()?, []);
    Ok(())
}

fn bad_handle() -> Res {
    let v = Vm::new()?;
    for h in [0, 1000, u32::MAX] {
        err!(v.bind(Op::map(h, 0, M, PAGE)), EINVAL);
    }
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    ok!(v.d.close(bo));
    err!(v.bind(Op::map(bo, 0, M, PAGE)), EINVAL);
    Ok(())
}

fn bad_flags() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    for bit in 4..28 {
        let r = v.bind(Op::map(bo, 0, M, PAGE).with(1 << bit));
        check!(r == Err(EINVAL), "map flag {bit}: {r:?}");
    }
    for bit in 0..28 {
        let r = v.bind(Op::unmap(M, PAGE).with(1 << bit));
        check!(r == Err(EINVAL), "unmap flag {bit}: {r:?}");
    }
    for kind in 3..16u32 {
        let r = v.bind(Op {
            flags: kind << 28,
            va: M,
            size: PAGE,
            ..Op::default()
        });
        check!(r == Err(EINVAL), "type {kind}: {r:?}");
    }
    eq!(v.list()?, []);
    Ok(())
}

fn bad_unmap() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    ok!(v.bind(Op::map(bo, 0, M, PAGE)));
    err!(
        v.bind(Op {
            bo_handle: bo,
            ..Op::unmap(M, PAGE)
        }),
        EINVAL
    );
    err!(
        v.bind(Op {
            bo_offset: PAGE,
            ..Op::unmap(M, PAGE)
        }),
        EINVAL
    );
    eq!(v.list()?, [(M, PAGE, 0)]);
    Ok(())
}

/// No sync objects in a synchronous bind, and no sync-only operation with a size.
fn no_syncs() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    let s = [SyncOp::default()];
    let syncs = ObjArray::of(&s);
    err!(
        v.bind(Op {
            syncs,
            ..Op::map(bo, 0, M, PAGE)
        }),
        EINVAL
    );
    err!(
        v.bind(Op {
            syncs,
            ..Op::unmap(M, PAGE)
        }),
        EINVAL
    );
    err!(
        v.bind(Op {
            syncs,
            ..Op::default()
        }),
        EINVAL
    );
    err!(
        v.bind(Op {
            flags: OP_SYNC_ONLY,
            va: M,
            size: PAGE,
            ..Op::default()
        }),
        EINVAL
    );
    // A count of 0 with any stride and pointer is none: Mesa passes stride 16.
    for stride in [0, 16, 3] {
        let syncs = ObjArray {
            stride,
            count: 0,
            array: 0xdead,
        };
        ok!(v.bind(Op {
            syncs,
            ..Op::map(bo, 0, M, PAGE)
        }));
    }
    eq!(v.list()?, [(M, PAGE, 0)]);
    Ok(())
}

/// All combinations of the map flags; with the model: they are in the entries.
fn map_flags() -> Res {
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

fn sparse() -> Res {
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

fn sparse_large() -> Res {
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

fn bad_sparse() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(M, 0, 0));
    // Not executable, no handle, no offset.
    err!(
        v.bind(Op {
            flags: MAP_SPARSE,
            ..Op::sparse(M, M)
        }),
        EINVAL
    );
    err!(
        v.bind(Op {
            bo_handle: bo,
            ..Op::sparse(M, M)
        }),
        EINVAL
    );
    err!(
        v.bind(Op {
            bo_offset: PAGE,
            ..Op::sparse(M, M)
        }),
        EINVAL
    );
    err!(v.bind(Op::unmap(M, M).with(MAP_SPARSE)), EINVAL);
    eq!(v.vas()?, []);
    Ok(())
}

/// A new mapping takes the place of what it overlaps; what remains keeps its offsets.
fn overlaps() -> Res {
    let v = Vm::new()?;
    let a = ok!(v.d.bo(16 * PAGE, 0, 0));
    let b = ok!(v.d.bo(16 * PAGE, 0, 0));
    let page = |n: u64| M + n * PAGE;
    // Middle.
    ok!(v.bind(Op::map(a, 0, page(0), 16 * PAGE)));
    ok!(v.bind(Op::map(b, 2 * PAGE, page(4), 4 * PAGE)));
    eq!(
        v.list()?,
        [
            (page(0), 4 * PAGE, 0),
            (page(4), 4 * PAGE, 2 * PAGE),
            (page(8), 8 * PAGE, 8 * PAGE)
        ]
    );
    let l = v.vas()?;
    check!(l[0].object == l[2].object && l[0].object != l[1].object);
    // Over an edge of both.
    ok!(v.bind(Op::map(b, 0, page(6), 4 * PAGE)));
    eq!(
        v.list()?,
        [
            (page(0), 4 * PAGE, 0),
            (page(4), 2 * PAGE, 2 * PAGE),
            (page(6), 4 * PAGE, 0),
            (page(10), 6 * PAGE, 10 * PAGE)
        ]
    );
    // Over everything.
    ok!(v.bind(Op::map(b, 0, page(0), 16 * PAGE)));
    eq!(v.list()?, [(page(0), 16 * PAGE, 0)]);
    // The same again.
    ok!(v.bind(Op::map(b, 0, page(0), 16 * PAGE)));
    eq!(v.list()?, [(page(0), 16 * PAGE, 0)]);
    // The same buffer with another offset.
    ok!(v.bind(Op::map(b, 8 * PAGE, page(0), 8 * PAGE)));
    eq!(
        v.list()?,
        [(page(0), 8 * PAGE, 8 * PAGE), (page(8), 8 * PAGE, 8 * PAGE)]
    );
    Ok(())
}

fn unmap_splits() -> Res {
    let v = Vm::new()?;
    let a = ok!(v.d.bo(16 * PAGE, 0, 0));
    let page = |n: u64| M + n * PAGE;
    ok!(v.bind(Op::map(a, 0, page(0), 16 * PAGE)));
    ok!(v.bind(Op::unmap(page(5), PAGE)));
    eq!(
        v.list()?,
        [(page(0), 5 * PAGE, 0), (page(6), 10 * PAGE, 6 * PAGE)]
    );
    v.holes(&[page(4), page(6)], &[page(5)])?;
    ok!(v.bind(Op::unmap(page(0), PAGE)));
    ok!(v.bind(Op::unmap(page(15), PAGE)));
    eq!(
        v.list()?,
        [(page(1), 4 * PAGE, PAGE), (page(6), 9 * PAGE, 6 * PAGE)]
    );
    // Across the hole.
    ok!(v.bind(Op::unmap(page(3), 5 * PAGE)));
    eq!(
        v.list()?,
        [(page(1), 2 * PAGE, PAGE), (page(8), 7 * PAGE, 8 * PAGE)]
    );
    v.holes(
        &[page(1), page(2), page(8), page(14)],
        &[page(0), page(3), page(7), page(15)],
    )?;
    // Everything, and more.
    ok!(v.bind(Op::unmap(0, 16 * M)));
    eq!(v.list()?, []);
    Ok(())
}

/// A mapping of 2 MiB blocks is split anywhere, and what remains is right page by page.
fn block_splits() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(8 * M, 0, 0));
    let other = ok!(v.d.bo(8 * M, 0, 0));
    let base = 1 << 32;
    let mut walk = v.walk()?;
    ok!(v.bind(Op::map(bo, 0, base, 8 * M)));
    // Where the pages are.
    let mut at = Vec::new();
    if let Some(w) = walk.as_mut() {
        let mut blocks = 0;
        for i in 0..8 * M / PAGE {
            let t = w.at(base + i * PAGE)?;
            let Translation::Pa { pa, size, .. } = t else {
                fail!("page {i}: {t:?}")
            };
            at.push(pa & !(PAGE - 1));
            if size == BLOCK {
                blocks += 1;
            }
        }
        note!("{} of 4 blocks are mapped as such", blocks * PAGE / BLOCK);
    }
    let cuts = [
        (0, 1),
        (511, 1),
        (512, 1),
        (700, 3),
        (1023, 2),
        (1300, 512),
        (2047, 1),
    ];
    for (first, n) in cuts {
        ok!(v.bind(Op::map(bo, 0, base, 8 * M)));
        ok!(v.bind(Op::unmap(base + first * PAGE, n * PAGE)));
        eq!(v.list()?.iter().map(|a| a.1).sum::<u64>(), 8 * M - n * PAGE);
        if let Some(w) = walk.as_mut() {
            for i in 0..8 * M / PAGE {
                // All around the cut, and samples elsewhere.
                if i % 61 != 0 && !(first.saturating_sub(2)..=first + n + 2).contains(&i) {
                    continue;
                }
                let got = w.at(base + i * PAGE)?.pa().map(|p| p & !(PAGE - 1));
                let want = if (first..first + n).contains(&i) {
                    None
                } else {
                    Some(at[i as usize])
                };
                check!(
                    got == want,
                    "cut {first}+{n}, page {i}: {got:x?}, want {want:x?}"
                );
            }
        }
        // The same with another buffer put in.
        ok!(v.bind(Op::map(bo, 0, base, 8 * M)));
        ok!(v.bind(Op::map(other, first * PAGE, base + first * PAGE, n * PAGE)));
        if let Some(w) = walk.as_mut() {
            for i in 0..8 * M / PAGE {
                if i % 61 != 0 && !(first.saturating_sub(2)..=first + n + 2).contains(&i) {
                    continue;
                }
                let t = w.at(base + i * PAGE)?;
                let Some(pa) = t.pa() else {
                    fail!("page {i}: {t:?}")
                };
                let same = pa & !(PAGE - 1) == at[i as usize];
                check!(
                    same != (first..first + n).contains(&i),
                    "cut {first}+{n}, page {i}"
                );
            }
        }
    }
    Ok(())
}

/// Blocks are used where address and memory allow it.
fn blocks() -> Res {
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

/// Operations run in order; the first that fails stops the rest and its index is in `ops.count`.
fn arrays() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(M, 0, 0));
    let m = |va: u64| Op::map(bo, 0, va, PAGE);
    let bad = Op::map(bo, 0, 1, PAGE);
    for i in 0..5 {
        let mut ops: Vec<Op> = (0..5).map(|n| m((n + 1) * M)).collect();
        ops[i] = bad;
        eq!(v.d.bind(v.id, &ops), Err((EINVAL, i as u32)));
        eq!(v.list()?.len(), i);
        ok!(v.bind(Op::unmap(0, 16 * M)));
    }
    // Success leaves the count alone.
    let ops: Vec<Op> = (0..100).map(|n| m((n + 1) * M)).collect();
    let mut a = VmBind {
        vm_id: v.id,
        flags: 0,
        ops: ObjArray::of(&ops),
    };
    ok!(v.d.call(&mut a));
    eq!(a.ops.count, 100);
    eq!(v.list()?.len(), 100);
    // Later ones see what earlier ones did.
    let ops = [Op::unmap(0, 200 * M), m(M), m(2 * M), Op::unmap(M, PAGE)];
    ok!(v.d.bind(v.id, &ops).map_err(|e| e.0));
    eq!(v.list()?, [(2 * M, PAGE, 0)]);
    // None at all.
    ok!(v.d.bind(v.id, &[]).map_err(|e| e.0));
    let mut a = VmBind {
        vm_id: v.id,
        flags: 0,
        ops: ObjArray {
            stride: 0,
            count: 0,
            array: 0xdead_0000,
        },
    };
    ok!(v.d.call(&mut a));
    Ok(())
}

fn strides() -> Res {
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Longer {
        op: Op,
        tail: [u64; 2],
    }
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(M, 0, 0));
    let call = |ops: ObjArray| {
        let mut a = VmBind {
            vm_id: v.id,
            flags: 0,
            ops,
        };
        let r = v.d.call(&mut a);
        (r, a.ops.count)
    };
    let mut l = [Longer::default(); 3];
    for (i, x) in l.iter_mut().enumerate() {
        x.op = Op::map(bo, 0, (i as u64 + 1) * M, PAGE);
    }
    eq!(call(ObjArray::of(&l)), (Ok(()), 3));
    eq!(v.list()?.len(), 3);
    // A tail that means something is from a future we do not know; nothing is done at all.
    ok!(v.bind(Op::unmap(0, 16 * M)));
    l[2].tail[1] = 1;
    eq!(call(ObjArray::of(&l)).0, Err(E2BIG));
    eq!(v.list()?.len(), 0);
    // Too short.
    let ops = [Op::map(bo, 0, M, PAGE); 2];
    for stride in [0, 1, 16, 40, 47] {
        let mut o = ObjArray::of(&ops);
        o.stride = stride;
        eq!(call(o).0, Err(EINVAL));
    }
    // Bad pointers.
    for array in [8, 0x7fff_ffff_f000, u64::MAX - 47] {
        eq!(
            call(ObjArray {
                stride: 48,
                count: 1,
                array
            })
            .0,
            Err(EFAULT)
        );
        eq!(
            call(ObjArray {
                stride: 64,
                count: 1,
                array
            })
            .0,
            Err(EFAULT)
        );
    }
    eq!(v.list()?.len(), 0);
    Ok(())
}

/// An absurd count is refused without a complaint in the kernel log.
fn huge_count() -> Res {
    ktap::only_rust("C warns in the log")?;
    let v = Vm::new()?;
    for count in [u32::MAX, 1 << 30, 100_000_000] {
        let mut a = VmBind {
            vm_id: v.id,
            flags: 0,
            ops: ObjArray {
                stride: 48,
                count,
                array: 8,
            },
        };
        let r = v.d.call(&mut a);
        check!(matches!(r, Err(ENOMEM | EFAULT)), "{count}: {r:?}");
    }
    Ok(())
}

/// Two files, two VMs of the same number: nothing is shared.
fn separate_vms() -> Res {
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
fn shared() -> Res {
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
fn outlives_handle() -> Res {
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
fn makes_resident() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(4 * M, BO_NO_MMAP, 0));
    let before = ok!(v.d.fdinfo()).resident();
    ok!(v.bind(Op::map(bo, M, M, PAGE)));
    // Whole buffers, even for one page.
    eq!(ok!(v.d.fdinfo()).resident() - before, 4 * M);
    Ok(())
}

/// The flag bits of VM_BIND other than ASYNC are ignored (C does, so must we).
fn call_flags() -> Res {
    let v = Vm::new()?;
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    let ops = [Op::map(bo, 0, M, PAGE)];
    let mut a = VmBind {
        vm_id: v.id,
        flags: 0x8000_0002,
        ops: ObjArray::of(&ops),
    };
    ok!(v.d.call(&mut a));
    eq!(v.list()?, [(M, PAGE, 0)]);
    Ok(())
}

/// The kernel's part of the VA space belongs to the kernel.
fn kernel_part() -> Res {
    let d = ok!(Dev::open());
    let (id, end) = ok!(d.vm_range(1 << 40));
    let bo = ok!(d.bo(PAGE, 0, 0));
    for va in [end, end + M, (1 << 48) - PAGE, 1 << 48, 1 << 60] {
        err!(d.map(id, bo, 0, va, PAGE), EINVAL);
        err!(d.unmap(id, va, PAGE), EINVAL);
        err!(d.bind1(id, Op::sparse(va, PAGE)), EINVAL);
    }
    err!(d.unmap(id, 0, end + PAGE), EINVAL);
    err!(d.unmap(id, PAGE, u64::MAX - PAGE + 1), EINVAL);
    ok!(d.unmap(id, 0, end));
    Ok(())
}

/// Random maps and unmaps against a simple book of what must be mapped.
fn random() -> Res {
    let v = Vm::new()?;
    const PAGES: usize = 3000;
    let base = 2 * M - 7 * PAGE;
    let bos: Vec<u32> = (0..4)
        .map(|_| v.d.bo(PAGES as u64 * PAGE, 0, 0))
        .collect::<Result<_>>()?;
    let mut book: Vec<Option<(u32, u64)>> = vec![None; PAGES];
    let mut rng = pattern::Rng::new(42);
    let mut objects: std::collections::HashMap<u64, u32> = Default::default();
    for step in 0..300 {
        let first = rng.below(PAGES as u64) as usize;
        let n = (rng.below(900) as usize + 1).min(PAGES - first);
        let va = base + first as u64 * PAGE;
        if rng.below(3) == 0 {
            ok!(v.bind(Op::unmap(va, n as u64 * PAGE)));
            book[first..first + n].fill(None);
        } else {
            let b = bos[rng.below(4) as usize];
            let off = rng.below((PAGES - n) as u64 + 1);
            ok!(v.bind(Op::map(b, off * PAGE, va, n as u64 * PAGE)));
            for i in 0..n {
                book[first + i] = Some((b, off + i as u64));
            }
        }
        if step % 20 != 19 {
            continue;
        }
        let mut seen: Vec<Option<(u32, u64)>> = vec![None; PAGES];
        for a in v.vas()? {
            for i in 0..a.range / PAGE {
                let p = ((a.start - base) / PAGE + i) as usize;
                check!(seen[p].is_none(), "step {step}: page {p} twice");
                // Learn which object is which buffer from the first page that says so.
                if let Some((b, _)) = book[p] {
                    let o = *objects.entry(a.object).or_insert(b);
                    seen[p] = Some((o, a.offset / PAGE + i));
                } else {
                    seen[p] = Some((0, 0));
                }
            }
        }
        for p in 0..PAGES {
            check!(
                seen[p] == book[p],
                "step {step}, page {p}: {:?}, want {:?}",
                seen[p],
                book[p]
            );
        }
        if let Some(mut w) = v.walk()? {
            for p in (step % 7..PAGES).step_by(53) {
                let got = w.at(base + p as u64 * PAGE)?.pa().is_some();
                check!(got == book[p].is_some(), "step {step}, page {p}: {got}");
            }
        }
    }
    eq!(objects.len(), 4);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        map_unmap,
        pages,
        offsets,
        alignment,
        size_zero,
        bad_handle,
        bad_flags,
        bad_unmap,
        no_syncs,
        map_flags,
        sparse,
        sparse_large,
        bad_sparse,
        overlaps,
        unmap_splits,
        block_splits,
        blocks,
        arrays,
        strides,
        huge_count,
        separate_vms,
        shared,
        outlives_handle,
        makes_resident,
        call_flags,
        kernel_part,
        random,
    ])
}
