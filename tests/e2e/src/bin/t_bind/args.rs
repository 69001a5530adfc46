// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What VM_BIND accepts and refuses, and how it answers.

use crate::vm::Vm;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

pub fn offsets() -> Res {
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

pub fn alignment() -> Res {
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
pub fn size_zero() -> Res {
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

pub fn bad_handle() -> Res {
    let v = Vm::new()?;
    for h in [0, 1000, u32::MAX] {
        err!(v.bind(Op::map(h, 0, M, PAGE)), EINVAL);
    }
    let bo = ok!(v.d.bo(PAGE, 0, 0));
    ok!(v.d.close(bo));
    err!(v.bind(Op::map(bo, 0, M, PAGE)), EINVAL);
    Ok(())
}

pub fn bad_flags() -> Res {
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

pub fn bad_unmap() -> Res {
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

pub fn bad_sparse() -> Res {
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

/// No sync objects in a synchronous bind, and no sync-only operation with a size.
pub fn no_syncs() -> Res {
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

/// The kernel's part of the VA space belongs to the kernel.
pub fn kernel_part() -> Res {
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

/// The flag bits of VM_BIND other than ASYNC are ignored (C does, so must we).
pub fn call_flags() -> Res {
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

/// Operations run in order; the first that fails stops the rest and its index is in `ops.count`.
pub fn arrays() -> Res {
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

pub fn strides() -> Res {
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
pub fn huge_count() -> Res {
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
