// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Buffer objects: creation, CPU mappings, labels, information, handles.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Sizes are rounded up to pages and reported so.
fn sizes() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    for (ask, want) in [
        (1, page),
        (page - 1, page),
        (page, page),
        (page + 1, 2 * page),
        (2 * M - 1, 2 * M),
        (2 * M + 1, 2 * M + page),
        (256 * M, 256 * M),
    ] {
        let mut a = BoCreate {
            size: ask,
            ..BoCreate::default()
        };
        ok!(d.call(&mut a));
        check!(a.size == want, "asked {ask:#x}, got {:#x}", a.size);
        check!(a.handle != 0);
        ok!(d.close(a.handle));
    }
    Ok(())
}

/// Memory is taken when it is touched, not when the buffer is created.
fn lazy() -> Res {
    let d = ok!(Dev::open());
    let bo = ok!(d.bo(512 * M, 0, 0));
    eq!(ok!(d.fdinfo()).resident(), 0);
    eq!(ok!(d.fdinfo()).total(), 512 * M);
    let _m = ok!(d.mmap(bo, 512 * M));
    eq!(ok!(d.fdinfo()).resident(), 0);
    Ok(())
}

fn bad_sizes() -> Res {
    let d = ok!(Dev::open());
    err!(d.bo(0, 0, 0), EINVAL);
    err!(d.bo(0, BO_WB_MMAP, 0), EINVAL);
    for size in [u64::MAX, u64::MAX - PAGE, 1 << 63] {
        // Whatever the reason given, it is refused.
        let r = d.bo(size, 0, 0);
        check!(r.is_err(), "{size:#x}: {r:?}");
    }
    Ok(())
}

fn flags() -> Res {
    let d = ok!(Dev::open());
    for flags in [0, BO_NO_MMAP, BO_WB_MMAP] {
        let h = ok!(d.bo(PAGE, flags, 0));
        eq!(ok!(d.bo_info(h)), (0, flags));
    }
    for flags in [
        BO_NO_MMAP | BO_WB_MMAP,
        4,
        8,
        0x8000_0000,
        u32::MAX,
        4 | BO_WB_MMAP,
    ] {
        let r = d.bo(PAGE, flags, 0);
        check!(r == Err(EINVAL), "flags {flags:#x}: {r:?}");
    }
    Ok(())
}

fn pad() -> Res {
    let d = ok!(Dev::open());
    for pad in [1, 0x8000_0000] {
        let mut a = BoCreate {
            size: PAGE,
            pad,
            ..BoCreate::default()
        };
        err!(d.call(&mut a), EINVAL);
    }
    Ok(())
}

fn exclusive() -> Res {
    let d = ok!(Dev::open());
    for bad in [1, 2, 33, u32::MAX] {
        err!(d.bo(PAGE, 0, bad), EINVAL);
    }
    let a = ok!(d.vm());
    let b = ok!(d.vm());
    let h = ok!(d.bo(PAGE, 0, a));
    ok!(d.map(a, h, 0, M, PAGE));
    err!(d.map(b, h, 0, M, PAGE), EINVAL);
    err!(d.export(h), EINVAL);
    // It outlives its VM, but can be mapped nowhere any more.
    ok!(d.vm_destroy(a));
    err!(d.map(b, h, 0, M, PAGE), EINVAL);
    let m = ok!(d.mmap(h, PAGE));
    m.set(0, 1);
    eq!(m.get(0), 1);
    // A new VM with the same number is another one.
    eq!(ok!(d.vm()), a);
    err!(d.map(a, h, 0, M, PAGE), EINVAL);
    Ok(())
}

fn mmap_offset() -> Res {
    let d = ok!(Dev::open());
    let a = ok!(d.bo(PAGE, 0, 0));
    let b = ok!(d.bo(PAGE, 0, 0));
    let (oa, ob) = (ok!(d.offset(a)), ok!(d.offset(b)));
    check!(oa != 0 && ob != 0 && oa != ob, "{oa:#x} {ob:#x}");
    check!(oa % PAGE == 0 && ob % PAGE == 0);
    check!(oa < MMIO_OFFSET_32, "{oa:#x}");
    // The same every time.
    eq!(ok!(d.offset(a)), oa);
    for bad in [0, 1000, u32::MAX] {
        err!(d.offset(bad), ENOENT);
    }
    let mut q = BoMmapOffset {
        handle: a,
        pad: 1,
        offset: 0,
    };
    err!(d.call(&mut q), EINVAL);
    // `pad` is looked at before the handle.
    let mut q = BoMmapOffset {
        handle: 1000,
        pad: 1,
        offset: 0,
    };
    err!(d.call(&mut q), EINVAL);
    Ok(())
}

fn no_mmap() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(PAGE, BO_NO_MMAP, 0));
    err!(d.offset(h), EPERM);
    // It can be mapped on the GPU.
    let vm = ok!(d.vm());
    ok!(d.map(vm, h, 0, M, PAGE));
    Ok(())
}

/// New memory is zero, in every kind of mapping.
fn zeroed() -> Res {
    let d = ok!(Dev::open());
    // Make some dirty pages that the kernel may hand out again.
    let b = ok!(d.bo(16 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(b, 16 * M));
    pattern::fill(&m, 99);
    drop(m);
    ok!(d.close(b));
    for flags in [0, BO_WB_MMAP] {
        for size in [PAGE, 64 * K, 3 * M + PAGE] {
            let b = ok!(d.bo(size, flags, 0));
            let m = ok!(d.mmap(b, size));
            pattern::zero_at(&m, 0, size)?;
        }
    }
    Ok(())
}

/// What is written is there, through a second mapping and from another process too.
fn contents() -> Res {
    let d = ok!(Dev::open());
    for (i, flags) in [0, BO_WB_MMAP].into_iter().enumerate() {
        let size = 5 * M + PAGE;
        let b = ok!(d.bo(size, flags, 0));
        let m = ok!(d.mmap(b, size));
        pattern::fill(&m, i as u64 * 1000 + 1);
        let n = ok!(d.mmap(b, size));
        pattern::check(&n, i as u64 * 1000 + 1)?;
        eq!(pattern::hash(&n, 0, size), pattern::hash(&m, 0, size));
        let mut c = child::Child::spawn(|e| {
            e.serve(|_| {
                pattern::check(&m, i as u64 * 1000 + 1)?;
                pattern::fill_at(&m, 0, PAGE, 7);
                Ok(String::new())
            })
        })?;
        c.call("go")?;
        pattern::check_at(&n, 0, PAGE, 7)?;
        eq!(
            n.get(PAGE as usize / 8),
            pattern::mix(i as u64 * 1000 + 1 + PAGE / 8)
        );
        drop(c);
        drop(n);
        pattern::check_at(&m, 0, PAGE, 7)?;
    }
    Ok(())
}

/// Buffers do not run into each other.
fn separate() -> Res {
    let d = ok!(Dev::open());
    let mut v = Vec::new();
    for i in 0..32u64 {
        let size = (i % 7 + 1) * 64 * K;
        let b = ok!(d.bo(size, if i % 2 == 0 { BO_WB_MMAP } else { 0 }, 0));
        let m = ok!(d.mmap(b, size));
        pattern::fill(&m, i << 32);
        v.push((b, m));
    }
    for (i, (_, m)) in v.iter().enumerate() {
        pattern::check(m, (i as u64) << 32)?;
    }
    // Every second one goes; the others stay.
    let mut keep = Vec::new();
    for (i, (b, m)) in v.into_iter().enumerate() {
        if i % 2 == 0 {
            ok!(d.close(b));
        } else {
            keep.push((i, m));
        }
    }
    for (i, m) in keep {
        pattern::check(&m, (i as u64) << 32)?;
    }
    Ok(())
}

/// Part of a buffer can be mapped; not beyond its end, and not from an offset of nothing.
fn partial() -> Res {
    let d = ok!(Dev::open());
    let size = 16 * PAGE;
    let b = ok!(d.bo(size, BO_WB_MMAP, 0));
    let off = ok!(d.offset(b));
    let all = ok!(d.mmap(b, size));
    pattern::fill(&all, 5);
    let part = ok!(Map::new(d.fd(), off, 3 * PAGE, RW, libc::MAP_SHARED));
    pattern::check(&part, 5)?;
    err!(
        Map::new(d.fd(), off, size + PAGE, RW, libc::MAP_SHARED).map(|_| ()),
        EINVAL
    );
    err!(
        Map::new(d.fd(), off + size, PAGE, RW, libc::MAP_SHARED).map(|_| ()),
        EINVAL
    );
    err!(
        Map::new(d.fd(), 0, PAGE, RW, libc::MAP_SHARED).map(|_| ()),
        EINVAL
    );
    err!(
        Map::new(d.fd(), off + (1 << 40), PAGE, RW, libc::MAP_SHARED).map(|_| ()),
        EINVAL
    );
    Ok(())
}

/// Offsets belong to the files that have a handle.
fn mmap_of_others() -> Res {
    let d = ok!(Dev::open());
    let b = ok!(d.bo(PAGE, 0, 0));
    let off = ok!(d.offset(b));
    let e = ok!(Dev::open());
    err!(
        Map::new(e.fd(), off, PAGE, RW, libc::MAP_SHARED).map(|_| ()),
        EACCES
    );
    Ok(())
}

/// A private writable mapping would be copied on write: refused. A private read-only one is no
/// such thing only if it can never become writable.
fn private() -> Res {
    let d = ok!(Dev::open());
    let b = ok!(d.bo(PAGE, BO_WB_MMAP, 0));
    let off = ok!(d.offset(b));
    err!(
        Map::new(d.fd(), off, PAGE, RW, libc::MAP_PRIVATE).map(|_| ()),
        EINVAL
    );
    // Nothing of it is left: the shared mapping still works.
    let m = ok!(d.mmap(b, PAGE));
    m.set(3, 4);
    eq!(m.get(3), 4);
    Ok(())
}

/// Protection is the mapping's: read-only means read-only.
fn read_only() -> Res {
    let d = ok!(Dev::open());
    let b = ok!(d.bo(PAGE, BO_WB_MMAP, 0));
    let off = ok!(d.offset(b));
    let w = ok!(d.mmap(b, PAGE));
    w.set(1, 2);
    let r = ok!(Map::new(
        d.fd(),
        off,
        PAGE,
        libc::PROT_READ,
        libc::MAP_SHARED
    ));
    eq!(r.get(1), 2);
    eq!(
        ok!(try_access(|| r.set(1, 3))),
        Access::Signal(libc::SIGSEGV)
    );
    eq!(w.get(1), 2);
    ok!(r.mprotect(RW));
    r.set(1, 3);
    eq!(w.get(1), 3);
    Ok(())
}

/// A mapping that was split, moved and partly unmapped still shows the right pages.
fn split_mapping() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    let size = 8 * page;
    let b = ok!(d.bo(size, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(b, size));
    pattern::fill(&m, 11);
    // SAFETY: a page in the middle of a mapping of ours.
    unsafe { libc::munmap(m.ptr().add(3 * page as usize).cast(), page as usize) };
    pattern::check_at(&m, 0, 3 * page, 11)?;
    for i in (4 * page as usize / 8)..(size as usize / 8) {
        eq!(m.get(i), pattern::mix(11 + i as u64));
    }
    eq!(
        ok!(try_access(|| {
            m.get(3 * page as usize / 8);
        })),
        Access::Signal(libc::SIGSEGV)
    );
    // The kernel may not merge or grow such mappings.
    // SAFETY: on a mapping of ours; refused or moved, both are seen below.
    let p = unsafe {
        libc::mremap(
            m.ptr().cast(),
            3 * page as usize,
            6 * page as usize,
            libc::MREMAP_MAYMOVE,
        )
    };
    check!(p == libc::MAP_FAILED, "a PFN mapping could be grown");
    Ok(())
}

/// Pages that are first touched after the mapping was split are the right ones too.
fn split_before_touch() -> Res {
    let page = page_size();
    ktap::only_rust("C shows the pages of the first part in the second")?;
    let d = ok!(Dev::open());
    let size = 8 * page;
    let b = ok!(d.bo(size, BO_WB_MMAP, 0));
    pattern::fill(&ok!(d.mmap(b, size)), 11);
    let m = ok!(d.mmap(b, size));
    // SAFETY: a page in the middle of a mapping of ours.
    unsafe { libc::munmap(m.ptr().add(3 * page as usize).cast(), page as usize) };
    for i in (0..3 * page as usize / 8).chain(4 * page as usize / 8..size as usize / 8) {
        eq!(m.get(i), pattern::mix(11 + i as u64));
    }
    Ok(())
}

/// Mappings in a child of fork are the same memory.
fn fork_shares() -> Res {
    let d = ok!(Dev::open());
    let b = ok!(d.bo(4 * PAGE, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(b, 4 * PAGE));
    m.set(0, 1);
    // The child also touches pages that the parent never did.
    let r = try_access(|| {
        for i in 0..4 {
            m.set(i * 512 + 9, 77 + i as u64);
        }
    });
    eq!(ok!(r), Access::Done);
    for i in 0..4 {
        eq!(m.get(i * 512 + 9), 77 + i as u64);
    }
    eq!(m.get(0), 1);
    Ok(())
}

/// Kernel code can read from and write to a mapping (`read`/`write` system calls on it).
fn kernel_access() -> Res {
    use std::os::fd::AsRawFd;
    let d = ok!(Dev::open());
    let b = ok!(d.bo(4 * PAGE, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(b, 4 * PAGE));
    let f = ok!(memfd(4 * PAGE));
    pattern::fill_at(&m, 0, PAGE, 3);
    // SAFETY: ranges inside of the mapping.
    unsafe {
        let n = libc::pwrite(f.as_raw_fd(), m.ptr().cast(), PAGE as usize, 0);
        eq!(n, PAGE as isize);
        // Into a page that nobody touched yet.
        let n = libc::pread(
            f.as_raw_fd(),
            m.ptr().add(2 * PAGE as usize).cast(),
            PAGE as usize,
            0,
        );
        eq!(n, PAGE as isize);
    }
    pattern::check_at(&m, 2 * PAGE, PAGE, 3)?;
    Ok(())
}

/// A large buffer in an aligned mapping is faulted in by huge pages where the kernel has them.
fn huge_faults() -> Res {
    let thp = sys::read_text("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if thp.is_empty() {
        skip!("no transparent huge pages in the kernel");
    }
    // The Rust module's parameters are not in sysfs.
    if let Ok(on) = sys::read_text("/sys/module/panthor/parameters/transparent_hugepage") {
        eq!(on.trim(), "Y");
    }
    let huge = ok!(sys::read_text(
        "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"
    ));
    let huge = huge.trim().parse::<u64>().map_err(|e| e.to_string())?;
    let size = (2 * huge).max(16 * M);
    let d = ok!(Dev::open());
    // Memory may be fragmented: one good try is enough.
    let mut least = u64::MAX;
    let mut most = 0;
    for _ in 0..4 {
        let b = ok!(d.bo(size, BO_WB_MMAP, 0));
        let m = ok!(Map::aligned(d.fd(), ok!(d.offset(b)), size, huge));
        let before = minor_faults();
        pattern::fill(&m, 1);
        least = least.min(minor_faults() - before);
        most = most.max(ok!(proc::MemInfo::read()).get("ShmemHugePages"));
        pattern::check(&m, 1)?;
    }
    note!(
        "{least} faults for {} pages, {most} bytes in huge pages",
        size / page_size()
    );
    check!(
        least < size / page_size() / 2,
        "{least} faults for {} pages",
        size / page_size()
    );
    Ok(())
}

/// Closing a handle frees the buffer when nothing else holds it.
fn close() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-close"));
    let m = ok!(d.mmap(h, 4 * M));
    pattern::fill(&m, 8);
    ok!(d.close(h));
    err!(d.close(h), EINVAL);
    err!(d.offset(h), ENOENT);
    err!(d.bo_info(h), ENOENT);
    err!(d.label(h, "x"), ENOENT);
    // Kept by its mapping.
    pattern::check(&m, 8)?;
    debugfs::gem("e2e-close")?;
    drop(m);
    let gone = wait_for(std::time::Duration::from_secs(2), || {
        debugfs::Gems::read().is_ok_and(|g| g.bos.iter().all(|b| b.label != "e2e-close"))
    });
    check!(gone, "the buffer outlives its last user");
    eq!(ok!(d.fdinfo()).total(), 0);
    Ok(())
}

/// A buffer with three handles in one file and one in another lives until the last is closed,
/// whichever that is.
fn several_handles() -> Res {
    let (a, b) = (ok!(Dev::open_primary()), ok!(Dev::open_primary()));
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let others = [ok!(a.bo(PAGE, 0, 0)), ok!(a.bo(PAGE, 0, 0))];
        let h = ok!(a.bo(M, BO_WB_MMAP, 0));
        ok!(a.label(h, "e2e-several"));
        let mut name = GemFlink { handle: h, name: 0 };
        ok!(a.call(&mut name));
        let second = |d: &Dev| -> Res<u32> {
            let mut open = GemOpen {
                name: name.name,
                ..GemOpen::default()
            };
            ok!(d.call(&mut open));
            eq!(open.size, M);
            Ok(open.handle)
        };
        let handles = [
            (&a, h),
            (&a, second(&a)?),
            (&b, second(&b)?),
            (&a, second(&a)?),
        ];
        let exists =
            || debugfs::Gems::read().is_ok_and(|g| g.bos.iter().any(|b| b.label == "e2e-several"));
        for i in order {
            check!(
                exists(),
                "gone before its last handle, in the order {order:?}"
            );
            let (d, h) = handles[i];
            ok!(d.close(h));
        }
        let gone = wait_for(std::time::Duration::from_secs(2), || !exists());
        check!(gone, "outlives its last handle, in the order {order:?}");
        for h in others {
            ok!(a.close(h));
        }
    }
    Ok(())
}

/// The memory really comes back.
fn no_leak() -> Res {
    let round = || -> Res {
        let d = ok!(Dev::open());
        let vm = ok!(d.vm());
        let b = ok!(d.bo(32 * M, BO_WB_MMAP, 0));
        ok!(d.map(vm, b, 0, 0, 32 * M));
        let m = ok!(d.mmap(b, 32 * M));
        for i in 0..32 {
            m.set(i * M as usize / 8, 1);
        }
        Ok(())
    };
    round()?;
    proc::drop_caches();
    let before = ok!(proc::MemInfo::read());
    for _ in 0..40 {
        round()?;
    }
    let free = wait_for(std::time::Duration::from_secs(5), || {
        proc::MemInfo::read().is_ok_and(|m| m.get("MemFree") + 24 * M > before.get("MemFree"))
    });
    let after = ok!(proc::MemInfo::read());
    check!(
        free,
        "MemFree {} before, {} after",
        before.get("MemFree"),
        after.get("MemFree")
    );
    check!(
        after.get("Shmem") < before.get("Shmem") + 8 * M,
        "Shmem grew"
    );
    Ok(())
}

fn labels() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    let h = ok!(d.bo(page, 0, 0));
    let raw = |label: u64| {
        d.call(&mut BoSetLabel {
            handle: h,
            pad: 0,
            label,
        })
    };
    ok!(d.label(h, "e2e label with blanks"));
    eq!(debugfs::gem("e2e label with blanks")?.size, page);
    ok!(d.label(h, "e2e-second"));
    eq!(debugfs::gem("e2e-second")?.size, page);
    // 4096 bytes with the NUL are the limit.
    let max = vec![b'x'; 4095];
    ok!(d.label(h, &String::from_utf8_lossy(&max)));
    eq!(debugfs::gem(&String::from_utf8_lossy(&max))?.size, page);
    let over = vec![b'y'; 4096];
    err!(d.label(h, &String::from_utf8_lossy(&over)), E2BIG);
    // The old one stays after a refusal.
    eq!(debugfs::gem(&String::from_utf8_lossy(&max))?.size, page);
    err!(raw(8), EFAULT);
    // Empty, and none.
    ok!(d.label(h, ""));
    ok!(raw(0));
    check!(debugfs::Gems::read()?
        .of(getpid())
        .any(|b| b.label.is_empty()));
    err!(
        d.call(&mut BoSetLabel {
            handle: h,
            pad: 1,
            label: 0
        }),
        EINVAL
    );
    err!(
        d.call(&mut BoSetLabel {
            handle: 1000,
            pad: 0,
            label: 0
        }),
        ENOENT
    );
    Ok(())
}

/// A label at the very end of a mapping: not one byte behind it is read.
fn label_at_edge() -> Res {
    let page = page_size();
    let d = ok!(Dev::open());
    let h = ok!(d.bo(page, 0, 0));
    let m = ok!(Map::new(
        -1,
        0,
        2 * page,
        RW,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    ));
    // SAFETY: the second page of a mapping of ours.
    unsafe { libc::munmap(m.ptr().add(page as usize).cast(), page as usize) };
    // SAFETY: eight bytes inside of the first page.
    unsafe {
        std::ptr::copy_nonoverlapping(
            c"e2e-edg".as_ptr().cast(),
            m.ptr().add(page as usize - 8),
            8,
        )
    };
    let label = m.ptr() as u64 + page - 8;
    ok!(d.call(&mut BoSetLabel {
        handle: h,
        pad: 0,
        label
    }));
    debugfs::gem("e2e-edg")?;
    // Without its NUL it runs into the hole.
    // SAFETY: the last byte of the first page.
    unsafe { m.ptr().add(page as usize - 1).write(b'e') };
    err!(
        d.call(&mut BoSetLabel {
            handle: h,
            pad: 0,
            label
        }),
        EFAULT
    );
    Ok(())
}

fn query_info() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    for (flags, x) in [(0, 0), (BO_WB_MMAP, vm), (BO_NO_MMAP, vm)] {
        let h = ok!(d.bo(PAGE, flags, x));
        eq!(ok!(d.bo_info(h)), (0, flags));
    }
    for bad in [0, 1000, u32::MAX] {
        err!(d.bo_info(bad), ENOENT);
    }
    Ok(())
}

/// Handles of another file do not work here.
fn handles_of_others() -> Res {
    let d = ok!(Dev::open());
    let e = ok!(Dev::open());
    let mut h = 0;
    for _ in 0..5 {
        h = ok!(d.bo(PAGE, 0, 0));
    }
    let vm = ok!(e.vm());
    err!(e.offset(h), ENOENT);
    err!(e.bo_info(h), ENOENT);
    err!(e.label(h, "x"), ENOENT);
    err!(e.map(vm, h, 0, M, PAGE), EINVAL);
    err!(e.sync(h, SYNC_FLUSH, 0, PAGE), ENOENT);
    err!(e.export(h), ENOENT);
    err!(e.close(h), EINVAL);
    ok!(d.close(h));
    Ok(())
}

/// Larger than memory and swap: never resident, so there is none.
fn too_large() -> Res {
    ktap::only_rust("the C driver takes any size")?;
    let d = ok!(Dev::open());
    let mem = ok!(proc::MemInfo::read());
    let all = mem.get("MemTotal") + mem.get("SwapTotal");
    for size in [
        all + 256 * M,
        2 * all,
        1023 << 30,
        1 << 40,
        1 << 46,
        1 << 62,
    ] {
        for vm in [0, ok!(d.vm())] {
            let r = d.bo(size, 0, vm);
            check!(r == Err(ENOMEM), "{size:#x}: {r:?}");
        }
    }
    ok!(d.bo(mem.get("MemTotal"), 0, 0));
    Ok(())
}

/// One file does not get all the offsets for `mmap()`.
fn offsets_for_others() -> Res {
    ktap::only_rust("in the C driver the first who asks gets all of them")?;
    let d = ok!(Dev::open());
    let other = ok!(Dev::open());
    let size = ok!(proc::MemInfo::read()).get("MemTotal") / M * M;
    let mut handles = Vec::new();
    // 1 TiB is all there is.
    let last = loop {
        check!(handles.len() as u64 * size <= 1 << 40, "no end");
        let h = ok!(d.bo(size, 0, 0));
        match d.offset(h) {
            Ok(_) => handles.push(h),
            Err(e) => {
                eq!(e, ENOSPC);
                break h;
            }
        }
    };
    let share = handles.len() as u64 * size;
    note!("{} buffers of {} MiB have offsets", handles.len(), size / M);
    check!(share <= 512 << 30 && share + size > 2 * size);
    // Others get theirs, and who has one keeps it.
    let h = ok!(other.bo(size, 0, 0));
    ok!(other.offset(h));
    let first = ok!(d.offset(handles[0]));
    eq!(ok!(d.offset(handles[0])), first);
    err!(d.offset(last), ENOSPC);
    // It comes back.
    for again in [0, 1] {
        ok!(d.close(handles[again]));
        let h = ok!(d.bo(size, 0, 0));
        ok!(d.offset(h));
        err!(d.offset(last), ENOSPC);
    }
    drop(d);
    let d = ok!(Dev::open());
    let h = ok!(d.bo(size, 0, 0));
    ok!(d.offset(h));
    Ok(())
}

/// A file is closed that shares all of its buffers, whose handles are in no order: the time for each
/// does not grow with their number.
fn many_shared() -> Res {
    let time = |n: usize| -> Res<std::time::Duration> {
        let (a, b) = (ok!(Dev::open_primary()), ok!(Dev::open_primary()));
        let mut names = Vec::new();
        for _ in 0..n {
            let handle = ok!(a.bo(PAGE, 0, 0));
            let mut name = GemFlink { handle, name: 0 };
            ok!(a.call(&mut name));
            names.push(name.name);
        }
        // A prime that divides no number of theirs.
        for i in 0..n {
            let name = names[i * 7919 % n];
            ok!(b.call(&mut GemOpen {
                name,
                ..GemOpen::default()
            }));
        }
        let start = thread_cpu_time();
        drop(a);
        let took = thread_cpu_time() - start;
        eq!(ok!(b.fdinfo()).total(), n as u64 * page_size());
        Ok(took)
    };
    time(100)?;
    let (few, many) = (time(500)?, time(4000)?);
    note!(
        "figure: closing a file with shared buffers: 500 of them {} us, 4000 {} us",
        few.as_micros(),
        many.as_micros()
    );
    check!(
        many < few * 8 * 5 / 2,
        "eight times the buffers take {many:?}, not {few:?}"
    );
    Ok(())
}

/// Thousands of small buffers.
fn many() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let v: Vec<u32> = (0..2000)
        .map(|i| d.bo(PAGE, 0, if i % 2 == 0 { vm } else { 0 }))
        .collect::<Result<_>>()?;
    for (i, h) in v.iter().enumerate() {
        ok!(d.map(vm, *h, 0, i as u64 * 2 * PAGE, PAGE));
    }
    eq!(ok!(d.fdinfo()).total(), 2000 * page_size());
    for (i, h) in v.iter().enumerate() {
        if i % 3 == 0 {
            ok!(d.unmap(vm, i as u64 * 2 * PAGE, PAGE));
        }
        ok!(d.close(*h));
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        sizes,
        lazy,
        bad_sizes,
        flags,
        pad,
        exclusive,
        mmap_offset,
        no_mmap,
        zeroed,
        contents,
        separate,
        partial,
        mmap_of_others,
        private,
        read_only,
        split_mapping,
        split_before_touch,
        fork_shares,
        kernel_access,
        huge_faults,
        close,
        several_handles,
        no_leak,
        labels,
        label_at_edge,
        query_info,
        handles_of_others,
        many,
        too_large,
        offsets_for_others,
        many_shared,
    ])
}
