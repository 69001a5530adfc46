// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every allocation of every call fails once: the call says ENOMEM, nothing has changed, and the
//! same call then succeeds.

use e2e::fault::{each, setup};
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::cell::Cell;
use std::os::fd::AsFd;

const NOMEM: &[Errno] = &[ENOMEM];

/// For calls that make a file in shmem: that says ENOSPC when there is no memory for its inode.
/// (C says EINVAL in one place more.)
fn create() -> &'static [Errno] {
    match ktap::driver() {
        ktap::Driver::C => &[ENOMEM, ENOSPC, EINVAL],
        _ => &[ENOMEM, ENOSPC],
    }
}

fn report(what: &str, r: (u32, u32)) {
    note!(
        "{what}: {} fault points, {} of them fail the call",
        r.0,
        r.1
    );
}

/// At least one fault point made the call fail, or the test tests nothing.
fn need_failures(what: &str, r: (u32, u32)) -> Res {
    report(what, r);
    check!(r.1 > 0, "{what}: no fault point had any effect");
    Ok(())
}

fn open() -> Res {
    setup()?;
    let path = drm::nodes().pop().ok_or_else(|| "no node".to_string())?;
    let last = Cell::new(None);
    let r = each(
        "open",
        create(),
        || {
            let f = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)?;
            last.set(Some(Dev::from_fd(f.into())));
            Ok(())
        },
        |good| {
            if good {
                let Some(d) = last.take() else {
                    fail!("no file")
                };
                ok!(d.vm());
            }
            Ok(())
        },
    )?;
    need_failures("open", r)
}

fn vm_create() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let id = Cell::new(0);
    let r = each(
        "VM_CREATE",
        create(),
        || {
            id.set(d.vm()?);
            Ok(())
        },
        |good| {
            if good {
                // No number was lost by the failures before.
                eq!(id.get(), 1);
                ok!(d.vm_destroy(id.get()));
            } else {
                err!(d.vm_state(1), EINVAL);
            }
            Ok(())
        },
    )?;
    need_failures("VM_CREATE", r)
}

/// Destroying cannot fail.
fn vm_destroy() -> Res {
    ktap::only_rust("C warns in the log")?;
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
    let make = || -> Res<u32> {
        let vm = d.vm()?;
        d.map(vm, h, 0, M, 3 * M)?;
        d.map(vm, h, 0, 1 << 32, 4 * M)?;
        Ok(vm)
    };
    let vm = Cell::new(make()?);
    let r = each(
        "VM_DESTROY",
        &[],
        || d.vm_destroy(vm.get()),
        |_| {
            err!(d.vm_state(vm.get()), EINVAL);
            vm.set(make()?);
            Ok(())
        },
    )?;
    report("VM_DESTROY", r);
    Ok(())
}

fn vm_get_state() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let r = each(
        "VM_GET_STATE",
        NOMEM,
        || d.vm_state(vm).map(|_| ()),
        |_| Ok(()),
    )?;
    report("VM_GET_STATE", r);
    Ok(())
}

fn bo_create() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = Cell::new(0);
    for (flags, excl) in [(0, 0), (BO_WB_MMAP, vm), (BO_NO_MMAP, 0)] {
        let before = debugfs::Gems::read()?.of(getpid()).count();
        let r = each(
            "BO_CREATE",
            create(),
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
        need_failures("BO_CREATE", r)?;
        let gone = wait_for(std::time::Duration::from_secs(5), || {
            debugfs::Gems::read().is_ok_and(|g| g.of(getpid()).count() == before)
        });
        check!(gone, "buffers are left");
    }
    Ok(())
}

fn bo_mmap_offset() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, 0, 0));
    let r = each(
        "BO_MMAP_OFFSET",
        NOMEM,
        || d.offset(h).map(|_| ()),
        |_| Ok(()),
    )?;
    report("BO_MMAP_OFFSET", r);
    Ok(())
}

fn mmap() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    pattern::fill(&ok!(d.mmap(h, M)), 1);
    let off = ok!(d.offset(h));
    let m = Cell::new(None);
    for (what, off, len, prot) in [
        ("mmap", off, M, libc::PROT_READ | libc::PROT_WRITE),
        (
            "mmap of the flush page",
            MMIO_OFFSET_64,
            PAGE,
            libc::PROT_READ,
        ),
    ] {
        let r = each(
            what,
            NOMEM,
            || {
                m.set(Some(Map::new(d.fd(), off, len, prot, libc::MAP_SHARED)?));
                Ok(())
            },
            |good| {
                if good {
                    if let (Some(m), true) = (m.take(), len == M) {
                        pattern::check(&m, 1)?;
                    }
                }
                Ok(())
            },
        )?;
        need_failures(what, r)?;
    }
    Ok(())
}

/// A CPU fault that finds no memory is SIGBUS (or tried again), never wrong data; the next one
/// works.
fn cpu_fault() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let mut hits = 0;
    for flags in [0, BO_WB_MMAP] {
        for n in 1..2000 {
            let h = ok!(d.bo(64 * K, flags, 0));
            let m = ok!(d.mmap(h, 64 * K));
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
            let bus = libc::WIFSIGNALED(st) && libc::WTERMSIG(st) == libc::SIGBUS;
            check!(
                bus || libc::WIFEXITED(st),
                "fault point {n}: status {st:#x}"
            );
            hits += 1;
            // Whatever happened: now it works.
            if bus {
                eq!(m.get(5), 0);
                m.set(5, 6);
            }
            eq!(m.get(5), 6);
            pattern::zero_at(&m, PAGE, 63 * K - 3 * K)?;
            drop(m);
            ok!(d.close(h));
            if libc::WIFEXITED(st) && libc::WEXITSTATUS(st) == 4 {
                break;
            }
        }
    }
    note!("{hits} faults tried");
    check!(hits > 10, "only {hits} fault points");
    Ok(())
}

/// What `gpuvas` shows of a VM with a marker.
fn shown(marker: u64) -> Res<Vec<(u64, u64, u64)>> {
    Ok(debugfs::vas_of(marker)?
        .iter()
        .map(|a| (a.start, a.range, a.offset))
        .collect())
}

struct Bind {
    d: Dev,
    vm: u32,
    marker: u64,
    h: u32,
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
        Ok(Bind { d, vm, marker, h })
    }
}

fn bind_map() -> Res {
    for (what, size, va) in [
        ("map of 4 KiB", PAGE, M),
        ("map of 4 MiB", 4 * M, 1 << 32),
        ("map of 1 MiB anywhere", M, 3 * PAGE),
    ] {
        let b = Bind::new(size)?;
        let r = each(
            what,
            NOMEM,
            || b.d.map(b.vm, b.h, 0, va, size),
            |good| {
                if good {
                    eq!(shown(b.marker)?, [(va, size, 0)]);
                    ok!(b.d.unmap(b.vm, va, size));
                }
                eq!(shown(b.marker)?, []);
                Ok(())
            },
        )?;
        need_failures(what, r)?;
        eq!(ok!(b.d.vm_state(b.vm)), 0);
    }
    Ok(())
}

fn bind_sparse() -> Res {
    let b = Bind::new(PAGE)?;
    let r = each(
        "sparse map of 16 MiB",
        NOMEM,
        || b.d.bind1(b.vm, Op::sparse(M, 16 * M)),
        |good| {
            if good {
                ok!(b.d.unmap(b.vm, M, 16 * M));
            }
            eq!(shown(b.marker)?, []);
            Ok(())
        },
    )?;
    need_failures("sparse map of 16 MiB", r)
}

/// Unmapping in the middle needs memory for what remains.
fn bind_split() -> Res {
    let b = Bind::new(8 * M)?;
    let va = 1 << 32;
    ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
    let r = each(
        "unmap of a page in a block",
        NOMEM,
        || b.d.unmap(b.vm, va + 3 * M, PAGE),
        |good| {
            if good {
                eq!(
                    shown(b.marker)?,
                    [
                        (va, 3 * M, 0),
                        (va + 3 * M + PAGE, 5 * M - PAGE, 3 * M + PAGE)
                    ]
                );
                ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
            }
            eq!(shown(b.marker)?, [(va, 8 * M, 0)]);
            Ok(())
        },
    )?;
    need_failures("unmap of a page in a block", r)
}

fn bind_over() -> Res {
    let b = Bind::new(8 * M)?;
    let g = ok!(b.d.bo(M, BO_WB_MMAP, 0));
    let va = 1 << 32;
    ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
    let r = each(
        "map over a block",
        NOMEM,
        || b.d.map(b.vm, g, 0, va + M + PAGE, M),
        |good| {
            if good {
                eq!(shown(b.marker)?.len(), 3);
                ok!(b.d.map(b.vm, b.h, 0, va, 8 * M));
            }
            eq!(shown(b.marker)?, [(va, 8 * M, 0)]);
            Ok(())
        },
    )?;
    need_failures("map over a block", r)
}

/// Several operations: those before the failing one are done, `ops.count` says how many.
fn bind_array() -> Res {
    let b = Bind::new(M)?;
    let ops: Vec<Op> = (1..=4).map(|i| Op::map(b.h, 0, i << 32, M)).collect();
    let done = Cell::new(0);
    let r = each(
        "four maps",
        NOMEM,
        || {
            done.set(4);
            b.d.bind(b.vm, &ops).map_err(|(e, n)| {
                done.set(n);
                e
            })
        },
        |good| {
            let n = shown(b.marker)?.len() as u32;
            // If the array itself could not be copied in, nothing was done and the count stands.
            check!(
                n == done.get() || (!good && n == 0 && done.get() == 4),
                "{n} mapped, count {}",
                done.get()
            );
            ok!(b.d.unmap(b.vm, 0, 1 << 40));
            Ok(())
        },
    )?;
    need_failures("four maps", r)
}

fn labels() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, 0, 0));
    ok!(d.label(h, "e2e-before"));
    let r = each(
        "BO_SET_LABEL",
        NOMEM,
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
    need_failures("BO_SET_LABEL", r)
}

fn sync() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    pattern::fill(&ok!(d.mmap(h, M)), 1);
    let r = each(
        "BO_SYNC",
        NOMEM,
        || d.sync(h, SYNC_FLUSH_INVALIDATE, 0, M),
        |_| Ok(()),
    )?;
    report("BO_SYNC", r);
    pattern::check(&ok!(d.mmap(h, M)), 1)?;
    Ok(())
}

fn queries() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let r = each(
        "GPU_INFO",
        NOMEM,
        || {
            let mut g = GpuInfo::default();
            d.query(QUERY_GPU_INFO, &mut g)
        },
        |_| Ok(()),
    )?;
    report("GPU_INFO", r);
    let r = each(
        "TIMESTAMP_INFO",
        NOMEM,
        || {
            let mut t = TimestampInfo::default();
            d.query(QUERY_TIMESTAMP_INFO, &mut t)
        },
        |_| Ok(()),
    )?;
    report("TIMESTAMP_INFO", r);
    let r = each(
        "BO_QUERY_INFO",
        NOMEM,
        || d.bo_info(h).map(|_| ()),
        |_| Ok(()),
    )?;
    report("BO_QUERY_INFO", r);
    Ok(())
}

fn prime_export() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = Cell::new(ok!(d.bo(M, BO_WB_MMAP, 0)));
    let fd = Cell::new(None);
    let r = each(
        "export",
        NOMEM,
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
            h.set(ok!(d.bo(M, BO_WB_MMAP, 0)));
            Ok(())
        },
    )?;
    need_failures("export", r)
}

fn prime_import() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let (buf, mem) = ok!(drm::udmabuf(64 * K));
    let h = Cell::new(0);
    let r = each(
        "import",
        NOMEM,
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
    need_failures("import", r)
}

fn gem_close() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let h = Cell::new(ok!(d.bo(M, 0, 0)));
    let r = each(
        "GEM_CLOSE",
        &[],
        || d.close(h.get()),
        |_| {
            h.set(ok!(d.bo(M, 0, 0)));
            Ok(())
        },
    )?;
    report("GEM_CLOSE", r);
    Ok(())
}

fn reclaim_target() -> Res<(Dev, Vec<Map>)> {
    sysfs::need("mem_reclaim")?;
    setup()?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    let d = Dev::open()?;
    let mut v = Vec::new();
    for vm in [d.vm()?, d.vm()?] {
        for i in 0..2u64 {
            let h = d.bo(32 * K, BO_WB_MMAP, if i == 0 { vm } else { 0 })?;
            let m = d.mmap(h, 32 * K)?;
            pattern::fill(&m, v.len() as u64);
            d.map(vm, h, 0, (i + 1) << 32, 32 * K)?;
            v.push(m);
        }
    }
    Ok((d, v))
}

fn contents(v: &[Map]) -> Res {
    for (i, m) in v.iter().enumerate() {
        pattern::check(m, i as u64)?;
    }
    Ok(())
}

fn mem_reclaim() -> Res {
    let (d, v) = reclaim_target()?;
    let path = ok!(sysfs::attr("mem_reclaim"));
    let s = format!("{}\n", getpid());
    use std::os::fd::AsRawFd;
    let f = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| e.to_string())?;
    let r = each(
        "mem_reclaim",
        &[ENOMEM, EIO],
        || write_fd(f.as_raw_fd(), s.as_bytes()).map(|_| ()),
        |good| {
            if good {
                eq!(ok!(d.fdinfo()).resident(), 0);
            }
            contents(&v)
        },
    )?;
    need_failures("mem_reclaim", r)
}

fn mem_claim() -> Res {
    let (d, v) = reclaim_target()?;
    let path = ok!(sysfs::attr("mem_claim"));
    let s = format!("{}\n", getpid());
    use std::os::fd::AsRawFd;
    let f = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| e.to_string())?;
    ok!(sysfs::reclaim(getpid()));
    let r = each(
        "mem_claim",
        &[ENOMEM, EIO],
        || write_fd(f.as_raw_fd(), s.as_bytes()).map(|_| ()),
        |good| {
            if good {
                eq!(ok!(d.fdinfo()).resident(), 128 * K);
            }
            contents(&v)?;
            ok!(sysfs::reclaim(getpid()));
            Ok(())
        },
    )?;
    need_failures("mem_claim", r)
}

fn shrink() -> Res {
    setup()?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    let d = ok!(Dev::open());
    let h = ok!(d.bo(32 * K, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 32 * K));
    pattern::fill(&m, 1);
    let p = ok!(debugfs::dir()).join("shrink");
    let r = each(
        "shrink",
        NOMEM,
        || write_once(&p, b"1000").map(|_| ()),
        |_| {
            pattern::check(&m, 1)?;
            Ok(())
        },
    )?;
    report("shrink", r);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        open,
        vm_create,
        vm_destroy,
        vm_get_state,
        bo_create,
        bo_mmap_offset,
        mmap,
        cpu_fault,
        bind_map,
        bind_sparse,
        bind_split,
        bind_over,
        bind_array,
        labels,
        sync,
        queries,
        prime_export,
        prime_import,
        gem_close,
        mem_reclaim,
        mem_claim,
        shrink,
    ])
}
