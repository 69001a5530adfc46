// SPDX-License-Identifier: GPL-2.0 OR MIT
//! DEV_QUERY: every type, every size.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

/// Type, full size, smallest size.
const TYPES: [(u32, u32, u32); 5] = [
    (QUERY_GPU_INFO, 112, 96),
    (QUERY_CSIF_INFO, 24, 24),
    (QUERY_TIMESTAMP_INFO, 56, 16),
    (QUERY_GROUP_PRIORITIES_INFO, 4, 4),
    (QUERY_MMU_INFO, 8, 8),
];

fn query(d: &Dev, kind: u32, size: u32, pointer: u64) -> (sys::Result<()>, DevQuery) {
    let mut q = DevQuery {
        kind,
        size,
        pointer,
    };
    (d.call(&mut q), q)
}

fn sizes() -> Res {
    let d = ok!(Dev::open());
    for (kind, full, _) in TYPES {
        let (r, q) = query(&d, kind, 0, 0);
        check!(r.is_ok(), "type {kind}: {r:?}");
        check!(q.size == full, "type {kind}: size {}, want {full}", q.size);
        // Whatever size was passed in.
        let (r, q) = query(&d, kind, 7, 0);
        check!(r.is_ok() && q.size == full, "type {kind}: {r:?} {q:?}");
    }
    Ok(())
}

fn unknown_type() -> Res {
    let d = ok!(Dev::open());
    let mut b = [0u8; 128];
    for kind in [5, 6, 0x100, u32::MAX] {
        check!(
            query(&d, kind, 0, 0).0 == Err(EINVAL),
            "type {kind}, no pointer"
        );
        let r = query(&d, kind, 128, b.as_mut_ptr() as u64).0;
        check!(r == Err(EINVAL), "type {kind}: {r:?}");
    }
    Ok(())
}

fn gpu_info() -> Res {
    let d = ok!(Dev::open());
    let mut g = GpuInfo::default();
    ok!(d.query(QUERY_GPU_INFO, &mut g));
    // Mali-G610, architecture 10.8, product 7.
    eq!(g.gpu_id >> 16, 0xa867);
    eq!(g.gpu_id >> 28, 10);
    eq!(g.shader_present, 0x50005);
    eq!(g.l2_present, 1);
    eq!(g.tiler_present, 1);
    eq!(g.as_present, 0xff);
    eq!(g.mmu_features & 0xff, 48);
    eq!((g.mmu_features >> 8) & 0xff, 40);
    check!(g.l2_features != 0 && g.tiler_features != 0 && g.mem_features != 0);
    check!(g.max_threads != 0 && g.thread_max_workgroup_size != 0);
    check!(g.thread_max_barrier_size != 0);
    // The board is not coherent.
    eq!(g.selected_coherency, 31);
    eq!(g.pad, 0);
    // The same every time.
    let mut h = GpuInfo::default();
    ok!(d.query(QUERY_GPU_INFO, &mut h));
    eq!(g, h);
    Ok(())
}

fn csif_info() -> Res {
    let d = ok!(Dev::open());
    let mut c = [0u32; 6];
    let r = d.query(QUERY_CSIF_INFO, &mut c);
    ok!(r);
    check!(c[0] > 0 && c[0] <= 31, "group slots {}", c[0]);
    check!(c[1] > 0 && c[1] <= 32, "stream slots {}", c[1]);
    check!(
        c[2] > 0 && c[3] > 0,
        "registers {}, scoreboards {}",
        c[2],
        c[3]
    );
    eq!(c[4], 4);
    eq!(c[5], 0);
    Ok(())
}

fn mmu_info() -> Res {
    let d = ok!(Dev::open());
    let mut m = 0u64;
    ok!(d.query(QUERY_MMU_INFO, &mut m));
    eq!(m, 0x20_1000);
    Ok(())
}

fn group_priorities() -> Res {
    let d = ok!(Dev::open());
    let mut m = [0xffu8; 4];
    ok!(d.query(QUERY_GROUP_PRIORITIES_INFO, &mut m));
    eq!(m, [0xf, 0, 0, 0]);
    Ok(())
}

fn group_priorities_unprivileged() -> Res {
    let d = ok!(Dev::open());
    ok!(ns::drop_cap(ns::CAP_SYS_NICE));
    let mut m = [0xffu8; 4];
    ok!(d.query(QUERY_GROUP_PRIORITIES_INFO, &mut m));
    eq!(m, [0x3, 0, 0, 0]);
    Ok(())
}

fn timestamp() -> Res {
    let d = ok!(Dev::open());
    let mut a = TimestampInfo::default();
    ok!(d.query(QUERY_TIMESTAMP_INFO, &mut a));
    check!(a.frequency > 0, "no frequency");
    check!(a.current > 0, "no time");
    eq!(a.cpu_sec, 0);
    eq!(a.cpu_nsec, 0);
    eq!(a.duration_nsec, 0);
    eq!(a.cycle_count, 0);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut b = TimestampInfo::default();
    ok!(d.query(QUERY_TIMESTAMP_INFO, &mut b));
    check!(
        b.current > a.current,
        "time stands still: {} {}",
        a.current,
        b.current
    );
    eq!(b.frequency, a.frequency);
    Ok(())
}

fn timestamp_flags() -> Res {
    let d = ok!(Dev::open());
    let ask = |flags: u32| {
        let mut t = TimestampInfo {
            frequency: 1,
            current: 2,
            offset: 3,
            flags,
            duration_nsec: 5,
            cycle_count: 6,
            cpu_sec: 7,
            cpu_nsec: 8,
        };
        let r = d.query(QUERY_TIMESTAMP_INFO, &mut t);
        (r, t)
    };
    // Only what was asked for is filled in, the rest is zero.
    let (r, t) = ask(1);
    check!(r.is_ok() && t.current > 0, "{t:?}");
    eq!(
        (t.frequency, t.offset, t.cycle_count, t.cpu_sec, t.cpu_nsec),
        (0, 0, 0, 0, 0)
    );
    let (r, t) = ask(1 << 6);
    check!(r.is_ok() && t.frequency > 0 && t.current == 0, "{t:?}");
    for clock in [1 << 1, 2 << 1] {
        let (r, t) = ask(clock);
        check!(r.is_ok(), "{r:?}");
        let id = if clock == 2 {
            libc::CLOCK_MONOTONIC
        } else {
            libc::CLOCK_MONOTONIC_RAW
        };
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: a valid place.
        unsafe { libc::clock_gettime(id, &mut now) };
        let got = t.cpu_sec as i128 * 1_000_000_000 + t.cpu_nsec as i128;
        let want = now.tv_sec as i128 * 1_000_000_000 + now.tv_nsec as i128;
        check!(
            got <= want && want - got < 5_000_000_000,
            "clock {clock}: {got}, now {want}"
        );
        check!(t.cpu_nsec < 1_000_000_000);
        eq!(t.current, 0);
    }
    let (r, t) = ask(0xf1 | 2);
    check!(
        r.is_ok() && t.current > 0 && t.frequency > 0 && t.duration_nsec > 0,
        "{t:?}"
    );
    // A second GPU cycle count is not smaller.
    let (_, a) = ask(1 << 5);
    let (_, b) = ask(1 << 5);
    check!(
        b.cycle_count >= a.cycle_count,
        "cycles {} {}",
        a.cycle_count,
        b.cycle_count
    );
    // Bad clocks, unknown bits.
    for bad in [3 << 1, 4 << 1, 7 << 1, 1 << 8, 1 << 31, 0x100 | 1] {
        let (r, _) = ask(bad);
        check!(r == Err(EINVAL), "flags {bad:#x}: {r:?}");
    }
    Ok(())
}

/// The short layout of the first version: 24 bytes, and the smallest one of 16.
fn timestamp_short() -> Res {
    let d = ok!(Dev::open());
    for size in [16u32, 24] {
        let mut b = [0u64, 0, 0, 0xaaaa, 0xbbbb];
        let (r, q) = query(&d, QUERY_TIMESTAMP_INFO, size, b.as_mut_ptr() as u64);
        check!(r.is_ok(), "size {size}: {r:?}");
        eq!(q.size, size);
        check!(b[0] > 0 && b[1] > 0, "size {size}: {b:?}");
        eq!(b[3], 0xaaaa);
        eq!(b[4], 0xbbbb);
    }
    Ok(())
}

fn timestamp_oversized() -> Res {
    let d = ok!(Dev::open());
    // A tail of zeroes is fine, anything else is from a future we do not know.
    let mut b = [0u64; 9];
    let p = b.as_mut_ptr() as u64;
    check!(query(&d, QUERY_TIMESTAMP_INFO, 72, p).0.is_ok());
    let mut b = [0u64, 0, 0, 0, 0, 0, 0, 1, 0];
    let p = b.as_mut_ptr() as u64;
    let r = query(&d, QUERY_TIMESTAMP_INFO, 72, p).0;
    check!(r == Err(E2BIG), "{r:?}");
    Ok(())
}

fn too_short() -> Res {
    let d = ok!(Dev::open());
    let mut b = [0u8; 256];
    for (kind, _, min) in TYPES {
        for size in [0, 1, min - 1] {
            let r = query(&d, kind, size, b.as_mut_ptr() as u64).0;
            check!(r == Err(EINVAL), "type {kind}, size {size}: {r:?}");
        }
        check!(
            b.iter().all(|x| *x == 0),
            "type {kind}: something was written"
        );
        let r = query(&d, kind, min, b.as_mut_ptr() as u64).0;
        check!(r.is_ok(), "type {kind}, size {min}: {r:?}");
        b = [0; 256];
    }
    Ok(())
}

/// A short buffer gets a prefix, and nothing behind it is touched; `size` stays.
fn prefix() -> Res {
    let d = ok!(Dev::open());
    let mut whole = [0u8; 112];
    check!(query(&d, QUERY_GPU_INFO, 112, whole.as_mut_ptr() as u64)
        .0
        .is_ok());
    for size in [96u32, 100, 104, 111] {
        let mut b = [0xa5u8; 128];
        let (r, q) = query(&d, QUERY_GPU_INFO, size, b.as_mut_ptr() as u64);
        check!(r.is_ok(), "size {size}: {r:?}");
        eq!(q.size, size);
        let n = size as usize;
        check!(b[..n] == whole[..n], "size {size}: another content");
        check!(
            b[n..].iter().all(|x| *x == 0xa5),
            "size {size}: written behind the end"
        );
    }
    Ok(())
}

/// What the kernel does not have is zeroed.
fn longer() -> Res {
    let d = ok!(Dev::open());
    for (kind, full, _) in TYPES {
        if kind == QUERY_TIMESTAMP_INFO {
            continue;
        }
        let mut b = [0xa5u8; 256];
        let (r, q) = query(&d, kind, full + 40, b.as_mut_ptr() as u64);
        check!(r.is_ok(), "type {kind}: {r:?}");
        eq!(q.size, full + 40);
        let (f, e) = (full as usize, full as usize + 40);
        check!(
            b[f..e].iter().all(|x| *x == 0),
            "type {kind}: tail not zeroed"
        );
        check!(
            b[e..].iter().all(|x| *x == 0xa5),
            "type {kind}: written behind the end"
        );
    }
    Ok(())
}

fn bad_pointer() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    for (kind, full, _) in TYPES {
        for p in [8u64, 0x7fff_ffff_f000, u64::MAX - 7] {
            let r = query(&d, kind, full, p).0;
            check!(r == Err(EFAULT), "type {kind}, {p:#x}: {r:?}");
        }
    }
    // Read-only memory.
    let m = ok!(Map::new(
        -1,
        0,
        page,
        libc::PROT_READ,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    ));
    let r = query(&d, QUERY_GPU_INFO, 112, m.ptr() as u64).0;
    check!(r == Err(EFAULT), "{r:?}");
    // Half of it behind the end of the mapping.
    let m = ok!(Map::new(
        -1,
        0,
        2 * page,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    ));
    // SAFETY: the second half of a mapping of ours.
    unsafe { libc::munmap(m.ptr().add(page as usize).cast(), page as usize) };
    let r = query(&d, QUERY_GPU_INFO, 112, m.ptr() as u64 + page - 64).0;
    check!(r == Err(EFAULT), "{r:?}");
    // An odd address is no fault.
    let r = query(&d, QUERY_GPU_INFO, 112, m.ptr() as u64 + 1).0;
    check!(r.is_ok(), "{r:?}");
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        sizes,
        unknown_type,
        gpu_info,
        csif_info,
        mmu_info,
        group_priorities,
        group_priorities_unprivileged,
        timestamp,
        timestamp_flags,
        timestamp_short,
        timestamp_oversized,
        too_short,
        prefix,
        longer,
        bad_pointer,
    ])
}
