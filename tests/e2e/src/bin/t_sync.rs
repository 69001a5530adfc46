// SPDX-License-Identifier: GPL-2.0 OR MIT
//! BO_SYNC.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

fn whole_and_part() -> Res {
    let d = ok!(Dev::open());
    for flags in [0, BO_WB_MMAP, BO_NO_MMAP] {
        let size = 3 * M;
        let h = ok!(d.bo(size, flags, 0));
        let m = if flags & BO_NO_MMAP == 0 {
            Some(ok!(d.mmap(h, size)))
        } else {
            None
        };
        if let Some(m) = &m {
            pattern::fill(m, 21);
        }
        for kind in [SYNC_FLUSH, SYNC_FLUSH_INVALIDATE] {
            for (off, len) in [
                (0, size),
                (0, 1),
                (5, 7),
                (size - 1, 1),
                (size / 2, PAGE),
                (PAGE - 1, 2),
            ] {
                ok!(d.sync(h, kind, off, len));
            }
        }
        // It moves caches, not contents.
        if let Some(m) = &m {
            pattern::check(m, 21)?;
        }
    }
    Ok(())
}

fn empty_ranges() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    let h = ok!(d.bo(page, BO_WB_MMAP, 0));
    ok!(d.sync(h, SYNC_FLUSH, 0, 0));
    ok!(d.sync(h, SYNC_FLUSH, page, 0));
    err!(d.sync(h, SYNC_FLUSH, page + 1, 0), EINVAL);
    Ok(())
}

fn bad_ranges() -> Res {
    let d = ok!(Dev::open());
    for flags in [0, BO_WB_MMAP] {
        let h = ok!(d.bo(4 * PAGE, flags, 0));
        for (off, len) in [
            (0, 4 * PAGE + 1),
            (1, 4 * PAGE),
            (4 * PAGE, 1),
            (u64::MAX, 1),
            (u64::MAX, 2),
            (1, u64::MAX),
            (PAGE, u64::MAX - PAGE + 1),
            (u64::MAX, u64::MAX),
        ] {
            let r = d.sync(h, SYNC_FLUSH, off, len);
            check!(r == Err(EINVAL), "{off:#x} {len:#x}: {r:?}");
        }
    }
    Ok(())
}

fn bad_type() -> Res {
    let d = ok!(Dev::open());
    for flags in [0, BO_WB_MMAP] {
        let h = ok!(d.bo(PAGE, flags, 0));
        for kind in [2, 3, 0x100, u32::MAX] {
            err!(d.sync(h, kind, 0, PAGE), EINVAL);
        }
    }
    Ok(())
}

fn bad_handle() -> Res {
    let d = ok!(Dev::open());
    for h in [0, 1000, u32::MAX] {
        err!(d.sync(h, SYNC_FLUSH, 0, PAGE), ENOENT);
    }
    Ok(())
}

fn imported() -> Res {
    use std::os::fd::AsFd;
    let d = ok!(Dev::open());
    let (fd, _mem) = ok!(drm::udmabuf(4 * PAGE));
    let h = ok!(d.import(fd.as_fd()));
    err!(d.sync(h, SYNC_FLUSH, 0, PAGE), EINVAL);
    Ok(())
}

/// Nothing is made resident for it.
fn not_populated() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(8 * M, BO_WB_MMAP, 0));
    ok!(d.sync(h, SYNC_FLUSH_INVALIDATE, 0, 8 * M));
    eq!(ok!(d.fdinfo()).resident(), 0);
    Ok(())
}

fn arrays() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    let a = ok!(d.bo(page, BO_WB_MMAP, 0));
    let b = ok!(d.bo(2 * page, BO_WB_MMAP, 0));
    let op = |handle, offset, size| BoSyncOp {
        handle,
        kind: SYNC_FLUSH,
        offset,
        size,
    };
    ok!(d.sync_ops(&[op(a, 0, page), op(b, page, page), op(a, 9, 9)]));
    err!(
        d.sync_ops(&[op(a, 0, page), op(1000, 0, 1), op(a, 0, page + 1)]),
        ENOENT
    );
    err!(d.sync_ops(&[op(a, 0, page + 1), op(1000, 0, 1)]), EINVAL);
    ok!(d.sync_ops(&[]));
    // A count of 0 asks no questions.
    ok!(d.call(&mut BoSync {
        ops: ObjArray {
            stride: 1,
            count: 0,
            array: 8
        }
    }));
    let ops = [op(a, 0, page)];
    for stride in [0, 8, 23] {
        let mut o = ObjArray::of(&ops);
        o.stride = stride;
        err!(d.call(&mut BoSync { ops: o }), EINVAL);
    }
    err!(
        d.call(&mut BoSync {
            ops: ObjArray {
                stride: 24,
                count: 1,
                array: 8
            }
        }),
        EFAULT
    );
    // Longer with a tail of zeroes, and with something else.
    let mut long = [[a as u64, 0, page, 0], [a as u64, 0, page, 0]];
    ok!(d.call(&mut BoSync {
        ops: ObjArray::of(&long)
    }));
    long[1][3] = 1;
    err!(
        d.call(&mut BoSync {
            ops: ObjArray::of(&long)
        }),
        E2BIG
    );
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        whole_and_part,
        empty_ranges,
        bad_ranges,
        bad_type,
        bad_handle,
        imported,
        not_populated,
        arrays,
    ])
}
