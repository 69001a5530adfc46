// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The user MMIO page (flush id) and SET_USER_MMIO_OFFSET.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

const R: i32 = libc::PROT_READ;

fn page(d: &Dev, off: u64, len: u64, prot: i32, flags: i32) -> Result<Map> {
    Map::new(d.fd(), off, len, prot, flags)
}

fn flush_id() -> Res {
    let d = ok!(Dev::open());
    let m = ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    // SAFETY: the first word of the page.
    let id = || unsafe { m.ptr().cast::<u32>().read_volatile() };
    // 1 while suspended, the register otherwise; never a value with the top bits set.
    check!(id() & 0x7f00_0000 == 0, "{:#x}", id());
    // After the device went to sleep by itself it reads 1; keep it awake now and then.
    let mut g = GpuInfo::default();
    for _ in 0..5 {
        ok!(d.query(QUERY_GPU_INFO, &mut g));
        let mut t = TimestampInfo::default();
        ok!(d.query(QUERY_TIMESTAMP_INFO, &mut t));
        check!(id() & 0x7f00_0000 == 0, "{:#x}", id());
        std::thread::sleep(std::time::Duration::from_millis(80));
    }
    Ok(())
}

/// Suspended, the page holds 1.
fn asleep() -> Res {
    let d = ok!(Dev::open());
    let p = ok!(sysfs::attr("power/runtime_status"));
    let asleep = wait_for(std::time::Duration::from_secs(2), || {
        sys::read_text(&p).is_ok_and(|s| s.trim() == "suspended")
    });
    if !asleep {
        skip!(
            "the device does not suspend: {}",
            sys::read_text(&p).unwrap_or_default().trim()
        );
    }
    let m = ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    // SAFETY: the first word of the page.
    eq!(unsafe { m.ptr().cast::<u32>().read_volatile() }, 1);
    Ok(())
}

fn mapping_rules() -> Res {
    let one = page_size();
    let d = ok!(Dev::open());
    let s = libc::MAP_SHARED;
    for (off, len, prot, flags, what) in [
        (0, one, R, libc::MAP_PRIVATE, "private"),
        (0, 2 * one, R, s, "two pages"),
        (0, one, R | libc::PROT_WRITE, s, "writable"),
        (0, one, libc::PROT_WRITE, s, "write-only"),
        (0, one, R | libc::PROT_EXEC, s, "executable"),
        (one, one, R, s, "second page"),
        (1 << 20, one, R, s, "far behind"),
        (1 << 57, one, R, s, "very far behind"),
    ] {
        let r = page(&d, MMIO_OFFSET_64 + off, len, prot, flags).map(|_| ());
        check!(r == Err(EINVAL), "{what}: {r:?}");
    }
    ok!(page(&d, MMIO_OFFSET_64, one, R, s));
    Ok(())
}

/// It cannot become writable later.
fn stays_read_only() -> Res {
    let d = ok!(Dev::open());
    let m = ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    err!(m.mprotect(R | libc::PROT_WRITE), EACCES);
    eq!(
        ok!(try_access(|| m.set(0, 1))),
        Access::Signal(libc::SIGSEGV)
    );
    Ok(())
}

/// It is not passed on to children.
fn not_inherited() -> Res {
    let d = ok!(Dev::open());
    let m = ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    m.get(0);
    eq!(
        ok!(try_access(|| {
            m.get(0);
        })),
        Access::Signal(libc::SIGSEGV)
    );
    Ok(())
}

fn outlives_file() -> Res {
    let d = ok!(Dev::open());
    let m = ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    drop(d);
    eq!(ok!(try_access(|| {})), Access::Done);
    m.get(0);
    Ok(())
}

fn set_offset() -> Res {
    let d = ok!(Dev::open());
    for bad in [
        0,
        1,
        PAGE,
        1 << 42,
        (1 << 43) + 1,
        1 << 44,
        1 << 55,
        1 << 57,
        u64::MAX,
    ] {
        let r = d.call(&mut SetUserMmioOffset { offset: bad });
        check!(r == Err(EINVAL), "{bad:#x}: {r:?}");
    }
    // By default the 64-bit place.
    ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    err!(
        page(&d, MMIO_OFFSET_32, PAGE, R, libc::MAP_SHARED).map(|_| ()),
        EINVAL
    );
    ok!(d.call(&mut SetUserMmioOffset {
        offset: MMIO_OFFSET_32
    }));
    ok!(page(&d, MMIO_OFFSET_32, PAGE, R, libc::MAP_SHARED));
    err!(
        page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED).map(|_| ()),
        EINVAL
    );
    ok!(d.call(&mut SetUserMmioOffset {
        offset: MMIO_OFFSET_64
    }));
    ok!(page(&d, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    // It is the file's, not the device's.
    ok!(d.call(&mut SetUserMmioOffset {
        offset: MMIO_OFFSET_32
    }));
    let e = ok!(Dev::open());
    ok!(page(&e, MMIO_OFFSET_64, PAGE, R, libc::MAP_SHARED));
    // Buffers are mapped as ever.
    let h = ok!(d.bo(PAGE, BO_WB_MMAP, 0));
    ok!(d.mmap(h, PAGE)).set(0, 1);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        flush_id,
        asleep,
        mapping_rules,
        stays_read_only,
        not_inherited,
        outlives_file,
        set_offset,
    ])
}
