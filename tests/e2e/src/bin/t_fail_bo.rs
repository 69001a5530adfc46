// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every allocation of a call fails once, and all from one on: the call says ENOMEM, nothing has
//! changed, nothing is lost, and the same call then succeeds. Here: buffers, CPU mappings, dma-bufs.

use e2e::fault::{self, setup, Sweep};
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const NOMEM: &[Errno] = &[ENOMEM];

/// For calls that make a file in shmem: that says ENOSPC when there is no memory for its inode, which
/// our driver does not pass on.
/// (C says EINVAL in one place more.)
fn create() -> &'static [Errno] {
    match ktap::driver() {
        ktap::Driver::C => &[ENOMEM, ENOSPC, EINVAL],
        _ => &[ENOMEM],
    }
}

fn refused(r: Result<()>, want: Errno) -> Result<()> {
    match r {
        Err(e) if e == want => Ok(()),
        Ok(()) => Err(Errno(0)),
        r => r,
    }
}

fn bo_create() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = Cell::new(0);
    for (what, flags, excl) in [
        ("BO_CREATE", 0, 0),
        ("BO_CREATE private", BO_WB_MMAP, vm),
        ("BO_CREATE without mmap", BO_NO_MMAP, 0),
    ] {
        let before = debugfs::Gems::read()?.of(getpid()).count();
        Sweep::new(what, create()).must_fail(
            || {
                h.set(d.bo(M, flags, excl)?);
                Ok(())
            },
            |good| {
                if good {
                    ok!(d.close(h.get()));
                }
                eq!(ok!(d.fdinfo()).total(), 0);
                Ok(())
            },
        )?;
        let gone = wait_for(Duration::from_secs(5), || {
            debugfs::Gems::read().is_ok_and(|g| g.of(getpid()).count() == before)
        });
        check!(gone, "buffers are left");
    }
    Sweep::new("BO_CREATE refused", NOMEM)
        .run(|| refused(d.bo(0, 0, 0).map(|_| ()), EINVAL), |_| Ok(()))?;
    Ok(())
}

fn gem_close() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let make = || -> Res<u32> {
        let h = d.bo(64 * K, BO_WB_MMAP, 0)?;
        d.mmap(h, PAGE)?.set(0, 1);
        Ok(h)
    };
    let h = Cell::new(make()?);
    Sweep::new("GEM_CLOSE", &[]).run(
        || d.close(h.get()),
        |_| {
            h.set(make()?);
            Ok(())
        },
    )?;
    Sweep::new("GEM_CLOSE refused", NOMEM).run(|| refused(d.close(99), EINVAL), |_| Ok(()))?;
    Ok(())
}

fn bo_mmap_offset() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = Cell::new(ok!(d.bo(M, 0, 0)));
    let none = ok!(d.bo(M, BO_NO_MMAP, 0));
    // The first call for a buffer is the one that may have to do something.
    Sweep::new("BO_MMAP_OFFSET", NOMEM).run(
        || d.offset(h.get()).map(|_| ()),
        |_| {
            ok!(d.close(h.get()));
            h.set(ok!(d.bo(M, 0, 0)));
            Ok(())
        },
    )?;
    Sweep::new("BO_MMAP_OFFSET refused", NOMEM)
        .run(|| refused(d.offset(none).map(|_| ()), EPERM), |_| Ok(()))?;
    Ok(())
}

fn labels() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, 0, 0));
    ok!(d.label(h, "e2e-before"));
    Sweep::new("BO_SET_LABEL", NOMEM).must_fail(
        || d.label(h, "e2e-after"),
        |good| {
            if good {
                debugfs::gem("e2e-after")?;
                ok!(d.label(h, "e2e-before"));
            } else {
                debugfs::gem("e2e-before")?;
            }
            Ok(())
        },
    )?;
    let unset = || {
        d.call(&mut BoSetLabel {
            handle: h,
            pad: 0,
            label: 0,
        })
    };
    Sweep::new("BO_SET_LABEL to none", NOMEM).run(unset, |good| {
        if good {
            ok!(d.label(h, "e2e-before"));
        }
        debugfs::gem("e2e-before")?;
        Ok(())
    })?;
    // The longest one there is, which is a page long.
    let long = "x".repeat(4095);
    Sweep::new("BO_SET_LABEL of 4095", NOMEM).must_fail(
        || d.label(h, &long),
        |good| {
            debugfs::gem(if good { &long } else { "e2e-before" })?;
            ok!(d.label(h, "e2e-before"));
            Ok(())
        },
    )
}

fn sync() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = Cell::new(0);
    // With the memory mapped for the GPU, and without.
    for mapped in [true, false] {
        let make = || -> Res<u32> {
            let h = d.bo(64 * K, BO_WB_MMAP, 0)?;
            pattern::fill(&d.mmap(h, 64 * K)?, 1);
            Ok(h)
        };
        h.set(make()?);
        let what = format!(
            "BO_SYNC of {}",
            if mapped {
                "the same"
            } else {
                "another each time"
            }
        );
        Sweep::new(&what, NOMEM).run(
            || d.sync(h.get(), SYNC_FLUSH_INVALIDATE, 0, 64 * K),
            |_| {
                pattern::check(&ok!(d.mmap(h.get(), 64 * K)), 1)?;
                if !mapped {
                    ok!(d.close(h.get()));
                    h.set(make()?);
                }
                Ok(())
            },
        )?;
    }
    let ops: Vec<BoSyncOp> = (0..512)
        .map(|i| BoSyncOp {
            handle: h.get(),
            kind: SYNC_FLUSH,
            offset: (i % 16) * PAGE,
            size: PAGE,
        })
        .collect();
    Sweep::new("BO_SYNC of 512 ranges", NOMEM).must_fail(
        || d.sync_ops(&ops),
        |_| {
            pattern::check(&ok!(d.mmap(h.get(), 64 * K)), 1)?;
            Ok(())
        },
    )
}

fn bo_query_info() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    Sweep::new("BO_QUERY_INFO", NOMEM).run(|| d.bo_info(h).map(|_| ()), |_| Ok(()))?;
    Ok(())
}

fn mmap() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    pattern::fill(&ok!(d.mmap(h, 64 * K)), 1);
    let off = ok!(d.offset(h));
    let m = RefCell::new(None);
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    for (what, off, len, prot) in [
        ("mmap", off, 64 * K, rw),
        (
            "mmap of the flush page",
            MMIO_OFFSET_64,
            PAGE,
            libc::PROT_READ,
        ),
    ] {
        Sweep::new(what, NOMEM).must_fail(
            || {
                *m.borrow_mut() = Some(Map::new(d.fd(), off, len, prot, libc::MAP_SHARED)?);
                Ok(())
            },
            |good| {
                if let (true, Some(m)) = (good, m.borrow_mut().take()) {
                    if len > PAGE {
                        pattern::check(&m, 1)?;
                    }
                }
                Ok(())
            },
        )?;
    }
    // Unmapping may need memory, and then does nothing.
    let whole = RefCell::new(ok!(d.mmap(h, 64 * K)));
    Sweep::new("munmap", NOMEM).must_fail(
        || {
            let m = whole.borrow();
            // SAFETY: a mapping of ours, which is not accessed before it is replaced.
            cvt(unsafe { libc::munmap(m.ptr().cast(), m.len()) } as libc::c_long)?;
            Ok(())
        },
        |good| {
            if good {
                whole.replace(ok!(d.mmap(h, 64 * K))).leak();
            }
            pattern::check(&whole.borrow(), 1)?;
            Ok(())
        },
    )?;
    // Unmapping a part splits the mapping.
    let part = RefCell::new(ok!(d.mmap(h, 64 * K)));
    Sweep::new("munmap of a part", NOMEM).must_fail(
        || {
            let at = part.borrow().ptr() as u64 + 4 * PAGE;
            // SAFETY: a part of a mapping of ours, which is not accessed before it is replaced.
            cvt(unsafe { libc::munmap(at as *mut _, PAGE as usize) } as libc::c_long)?;
            Ok(())
        },
        |good| {
            if good {
                // The old one is unmapped with its hole.
                *part.borrow_mut() = ok!(d.mmap(h, 64 * K));
            }
            pattern::check(&part.borrow(), 1)?;
            Ok(())
        },
    )?;
    drop(part);
    drop(whole);
    // All mappings are counted: without them the buffer is as free to go as before.
    if ktap::driver() == ktap::Driver::Rust && !proc::swaps()?.is_empty() {
        ok!(d.label(h, "e2e-mapped"));
        ok!(sysfs::reclaim(getpid()));
        eq!(debugfs::gem("e2e-mapped")?.resident, 0);
        pattern::check(&ok!(d.mmap(h, 64 * K)), 1)?;
    }
    Ok(())
}

/// The address space is copied with all its mappings.
fn forks() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    let maps: Vec<Map> = ok!((0..8).map(|_| d.mmap(h, 64 * K)).collect());
    pattern::fill(&maps[0], 1);
    // Far too many allocations to try them all: every 23rd, and those of the end.
    let (mut failed, mut last) = (0, 0);
    for n in (1..4000).step_by(23) {
        let (r, hit) = fault::nth(n, || {
            // SAFETY: the child does nothing but end.
            match unsafe { libc::fork() } {
                0 => unsafe { libc::_exit(0) },
                -1 => Err(Errno::last()),
                pid => Ok(pid),
            }
        })?;
        match r {
            Ok(pid) => {
                waitpid(pid, 0)?;
            }
            Err(ENOMEM | EAGAIN) if hit => failed += 1,
            Err(e) => fail!("fork: fault point {n}: {e}"),
        }
        if !hit {
            break;
        }
        last = n;
    }
    note!("fork: about {last} fault points, {failed} of those tried fail the call");
    check!(failed > 0);
    for m in &maps {
        pattern::check(m, 1)?;
    }
    drop(maps);
    Ok(())
}

/// A CPU fault that finds no memory is SIGBUS (or tried again), never wrong data; the next one
/// works.
fn cpu_fault() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let swap = ktap::driver() == ktap::Driver::Rust && !proc::swaps()?.is_empty();
    for (what, flags, evicted) in [
        ("CPU fault, write-combined", 0, false),
        ("CPU fault, cached", BO_WB_MMAP, false),
        ("CPU fault, swapped out", BO_WB_MMAP, true),
    ] {
        if evicted && !swap {
            continue;
        }
        let (mut bus, mut points) = (0, 0);
        for n in 1..2000 {
            let h = ok!(d.bo(64 * K, flags, 0));
            let m = ok!(d.mmap(h, 64 * K));
            if evicted {
                pattern::fill(&m, 7);
                ok!(sysfs::reclaim(getpid()));
            }
            let r = fork();
            let pid = match r? {
                0 => {
                    let hit = fault::nth(n, || m.set(5, 6)).is_ok_and(|(_, hit)| hit);
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(if hit { 3 } else { 4 }) }
                }
                pid => pid,
            };
            let st = waitpid(pid, 0)?.unwrap_or(0);
            let sigbus = libc::WIFSIGNALED(st) && libc::WTERMSIG(st) == libc::SIGBUS;
            check!(
                sigbus || libc::WIFEXITED(st),
                "{what}, fault point {n}: status {st:#x}"
            );
            points += 1;
            // Whatever happened: now it works.
            if sigbus {
                bus += 1;
                eq!(m.get(5), if evicted { pattern::mix(7 + 5) } else { 0 });
                m.set(5, 6);
            }
            eq!(m.get(5), 6);
            if evicted {
                m.set(5, pattern::mix(7 + 5));
                pattern::check(&m, 7)?;
            } else {
                pattern::zero_at(&m, PAGE, 60 * K)?;
            }
            drop(m);
            ok!(d.close(h));
            if libc::WIFEXITED(st) && libc::WEXITSTATUS(st) == 4 {
                break;
            }
        }
        note!("{what}: {points} fault points, {bus} of them SIGBUS");
        check!(points > 2, "{what}: only {points} fault points");
    }
    Ok(())
}

/// The same by a system call, which says EFAULT in place of the signal: so all of the memory may be
/// gone.
fn kernel_fault() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let zero = std::fs::File::open("/dev/zero").map_err(|e| format!("/dev/zero: {e}"))?;
    let swap = ktap::driver() == ktap::Driver::Rust && !proc::swaps()?.is_empty();
    for (what, flags, evicted) in [
        ("fault in a system call, write-combined", 0, false),
        ("fault in a system call, cached", BO_WB_MMAP, false),
        ("fault in a system call, swapped out", BO_WB_MMAP, true),
    ] {
        if evicted && !swap {
            continue;
        }
        let size = if evicted { 8 * K } else { 64 * K };
        let make = || -> Res<(u32, Map)> {
            let h = d.bo(size, flags, 0)?;
            let m = d.mmap(h, size)?;
            if evicted {
                pattern::fill(&m, 7);
                m.set(5, 0);
                sysfs::reclaim(getpid())?;
            }
            Ok((h, m))
        };
        let bo = RefCell::new(make()?);
        let mut sweep = Sweep::new(what, &[EFAULT]);
        if evicted {
            sweep = sweep.repeat(Duration::ZERO);
        }
        sweep.must_fail(
            || {
                let at = bo.borrow().1.ptr() as u64 + 5 * 8;
                // SAFETY: eight bytes of a mapping of ours.
                cvt(unsafe { libc::read(zero.as_raw_fd(), at as *mut _, 8) } as libc::c_long)?;
                Ok(())
            },
            |_| {
                // Whatever happened: now it works.
                let (h, m) = bo.replace(make()?);
                eq!(m.get(5), 0);
                if evicted {
                    m.set(5, pattern::mix(7 + 5));
                    pattern::check(&m, 7)?;
                } else {
                    pattern::zero_at(&m, 0, size)?;
                }
                ok!(d.close(h));
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn prime_export() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = Cell::new(ok!(d.bo(64 * K, BO_WB_MMAP, 0)));
    let fd = Cell::new(None);
    Sweep::new("PRIME export", NOMEM).must_fail(
        || {
            fd.set(Some(d.export(h.get())?));
            Ok(())
        },
        |good| {
            if good {
                let Some(fd) = fd.take() else { fail!("no fd") };
                eq!(ok!(d.import(fd.as_fd())), h.get());
            }
            // A second export of the same is cheaper: take a new one.
            ok!(d.close(h.get()));
            h.set(ok!(d.bo(64 * K, BO_WB_MMAP, 0)));
            Ok(())
        },
    )?;
    let private = {
        let vm = ok!(d.vm());
        ok!(d.bo(PAGE, 0, vm))
    };
    Sweep::new("PRIME export refused", NOMEM).run(
        || refused(d.export(private).map(|_| ()), EINVAL),
        |_| Ok(()),
    )?;
    Ok(())
}

/// From another driver, and our own from another file.
fn prime_import() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = Cell::new(0);
    let (buf, mem) = ok!(drm::udmabuf(64 * K));
    Sweep::new("PRIME import", NOMEM).must_fail(
        || {
            h.set(d.import(buf.as_fd())?);
            Ok(())
        },
        |good| {
            if good {
                eq!(ok!(d.bo_info(h.get())).0, BO_IS_IMPORTED);
                ok!(d.close(h.get()));
            }
            eq!(ok!(d.fdinfo()).total(), 0);
            Ok(())
        },
    )?;
    drop(mem);
    let other = ok!(Dev::open());
    let o = ok!(other.bo(64 * K, BO_WB_MMAP, 0));
    pattern::fill(&ok!(other.mmap(o, 64 * K)), 3);
    let buf = ok!(other.export(o));
    Sweep::new("PRIME import of our own", NOMEM).must_fail(
        || {
            h.set(d.import(buf.as_fd())?);
            Ok(())
        },
        |good| {
            if good {
                pattern::check(&ok!(d.mmap(h.get(), 64 * K)), 3)?;
                ok!(d.close(h.get()));
            }
            eq!(ok!(d.fdinfo()).total(), 0);
            Ok(())
        },
    )
}

/// What an importer does with a buffer of ours: udmabuf and the heaps import nothing, so it is the
/// CPU that uses the dma-buf.
fn dmabuf_use() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    let buf = ok!(d.export(h));
    pattern::fill(&ok!(d.mmap(h, 64 * K)), 2);
    let m = RefCell::new(None);
    Sweep::new("mmap of a dma-buf", NOMEM).must_fail(
        || {
            let fd = buf.as_raw_fd();
            *m.borrow_mut() = Some(Map::new(fd, 0, 64 * K, libc::PROT_READ, libc::MAP_SHARED)?);
            Ok(())
        },
        |good| {
            if let (true, Some(m)) = (good, m.borrow_mut().take()) {
                pattern::check(&m, 2)?;
            }
            Ok(())
        },
    )?;
    // DMA_BUF_IOCTL_SYNC: start, end, read and write.
    for flags in [3u64, 4 | 3] {
        Sweep::new("DMA_BUF_IOCTL_SYNC", NOMEM).run(
            || {
                let mut f = flags;
                let code = (1u64 << 30) | (8 << 16) | ((b'b' as u64) << 8);
                // SAFETY: the argument of DMA_BUF_IOCTL_SYNC.
                unsafe { ioctl_raw(buf.as_raw_fd(), code, std::ptr::from_mut(&mut f).cast()) }?;
                Ok(())
            },
            |_| Ok(()),
        )?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 60;
        bo_create,
        gem_close,
        bo_mmap_offset,
        labels,
        sync,
        bo_query_info,
        mmap,
        forks,
        cpu_fault,
        kernel_fault,
        prime_export,
        prime_import,
        dmabuf_use,
    ])
}
