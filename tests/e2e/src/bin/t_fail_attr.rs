// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every allocation of the attributes and of the shrinker fails once, and all from one on: the
//! answer is one of those documented, the GPU finds nothing that has no memory, the same write then
//! succeeds from there, and nothing is lost.

use e2e::fault::{setup, Sweep};
use e2e::sys::*;
use e2e::tables::{Mapping, Tables};
use e2e::uapi::*;
use e2e::*;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Two VMs with buffers of each kind, filled, and one that cannot be reclaimed.
struct Target {
    _dev: Dev,
    maps: Vec<Map>,
    marker: u64,
    tables: Tables,
}

/// Bytes of each of its buffers, few: every page costs the swap device several allocations.
const EACH: u64 = PAGE;
const OURS: u64 = 5 * EACH;

impl Target {
    fn new() -> Res<Target> {
        sysfs::need("mem_reclaim")?;
        setup()?;
        if proc::swaps()?.is_empty() {
            skip!("no swap");
        }
        let d = Dev::open()?;
        let mut maps: Vec<Map> = Vec::new();
        let mut mapped = Vec::new();
        let marker = (1 << 46) + getpid() as u64 * PAGE;
        let (v1, v2) = (d.vm()?, d.vm()?);
        // Private; shared by both; never mapped for the GPU; write-combined.
        for (flags, excl, vms) in [
            (BO_WB_MMAP, v1, &[v1][..]),
            (BO_WB_MMAP, v2, &[v2]),
            (BO_WB_MMAP, 0, &[v1, v2]),
            (BO_WB_MMAP, 0, &[]),
            (0, 0, &[v1]),
        ] {
            let h = d.bo(EACH, flags, excl)?;
            let seed = maps.len() as u64;
            let label = format!("e2e-fail-attr-{seed}");
            d.label(h, &label)?;
            let m = d.mmap(h, EACH)?;
            pattern::fill(&m, seed);
            for vm in vms {
                let va = (seed + 1) << 32;
                d.map(*vm, h, 0, va, EACH)?;
                mapped.push(Mapping {
                    vm: *vm,
                    label: label.clone(),
                    va,
                    size: EACH,
                    seed,
                });
            }
            maps.push(m);
        }
        // One that is somebody else's.
        let (buf, _mem) = drm::udmabuf(PAGE)?;
        let h = d.import(buf.as_fd())?;
        d.map(v1, h, 0, marker, PAGE)?;
        // One through its tables, the other one with the TLB.
        let mut tables = Tables::of(getpid(), mapped)?;
        tables.in_a_slot(v2)?;
        Ok(Target {
            _dev: d,
            maps,
            marker,
            tables,
        })
    }

    fn contents(&self) -> Res {
        for (i, m) in self.maps.iter().enumerate() {
            pattern::check(m, i as u64)?;
        }
        Ok(())
    }

    fn resident(&self) -> Res<u64> {
        Ok(debugfs::Gems::read()?
            .of(getpid())
            .map(|g| g.resident)
            .sum())
    }
}

fn attr(name: &str) -> Res<(File, String)> {
    let f = OpenOptions::new()
        .write(true)
        .open(sysfs::attr(name)?)
        .map_err(|e| e.to_string())?;
    Ok((f, format!("{}\n", getpid())))
}

/// Of a swap-out: no memory for the work itself, or for the swap device (zram).
const OUT: &[Errno] = &[ENOMEM, EIO];

fn mem_reclaim() -> Res {
    let mut t = Target::new()?;
    let (f, s) = attr("mem_reclaim")?;
    let before = debugfs::vas_of(t.marker)?;
    t.tables.all_there()?;
    Sweep::new("mem_reclaim", OUT)
        .repeat(Duration::ZERO)
        .must_fail(
            || write_fd(f.as_raw_fd(), s.as_bytes()).map(|_| ()),
            |good| {
                eq!(debugfs::vas_of(t.marker)?, before);
                if !good {
                    t.tables.half_way()?;
                    // It goes on from here.
                    ok!(sysfs::reclaim(getpid()));
                }
                eq!(t.resident()?, 0);
                t.tables.all_gone()?;
                t.contents()?;
                ok!(sysfs::claim(getpid()));
                t.tables.all_there()
            },
        )
}

fn mem_claim() -> Res {
    let mut t = Target::new()?;
    let (f, s) = attr("mem_claim")?;
    let before = debugfs::vas_of(t.marker)?;
    ok!(sysfs::reclaim(getpid()));
    Sweep::new("mem_claim", &[ENOMEM])
        .repeat(Duration::ZERO)
        .must_fail(
            || write_fd(f.as_raw_fd(), s.as_bytes()).map(|_| ()),
            |good| {
                eq!(debugfs::vas_of(t.marker)?, before);
                if !good {
                    t.tables.half_way()?;
                    // It goes on from here, before anybody touches anything.
                    ok!(sysfs::claim(getpid()));
                }
                eq!(t.resident()?, OURS);
                t.tables.all_there()?;
                t.contents()?;
                ok!(sysfs::reclaim(getpid()));
                t.tables.all_gone()
            },
        )
}

/// Answers without any work: garbage, a process that has nothing, one that is not there.
fn refused() -> Res {
    sysfs::need("mem_reclaim")?;
    setup()?;
    for name in ["mem_reclaim", "mem_claim"] {
        let (f, _) = attr(name)?;
        for (text, want) in [("nonsense\n", EINVAL), ("1\n", ESRCH), ("999999\n", ESRCH)] {
            let what = format!("{name} of {}", text.trim());
            Sweep::new(&what, &[ENOMEM]).run(
                || match write_fd(f.as_raw_fd(), text.as_bytes()) {
                    Err(e) if e == want => Ok(()),
                    Err(e) => Err(e),
                    Ok(_) => Err(Errno(0)),
                },
                |_| Ok(()),
            )?;
        }
    }
    Ok(())
}

fn mode() -> Res {
    let p = sysfs::need("mem_reclaim_mode")?;
    setup()?;
    let want = ok!(read_text(&p));
    let c = std::ffi::CString::new(p.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
    let mut b = [1u8; 64];
    Sweep::new("reading mem_reclaim_mode", &[ENOMEM]).must_fail(
        || {
            // SAFETY: a valid string, a valid buffer.
            unsafe {
                let fd = own(cvt(libc::open(c.as_ptr(), libc::O_RDONLY) as libc::c_long)?);
                let n = libc::read(fd.as_raw_fd(), b.as_mut_ptr().cast(), b.len());
                match cvt(n as libc::c_long)? {
                    n if b[..n as usize] == *want.as_bytes() => Ok(()),
                    _ => Err(Errno(0)),
                }
            }
        },
        |_| Ok(()),
    )
}

/// The shrinker allocates nothing, as it is called when memory is short.
fn shrink() -> Res {
    setup()?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(32 * K, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 32 * K));
    pattern::fill(&m, 1);
    ok!(d.map(vm, h, 0, M, 32 * K));
    let f = OpenOptions::new()
        .write(true)
        .open(ok!(debugfs::dir()).join("shrink"))
        .map_err(|e| e.to_string())?;
    Sweep::new("shrink", &[ENOMEM]).run(
        || write_fd(f.as_raw_fd(), b"1000").map(|_| ()),
        |_| {
            pattern::check(&m, 1)?;
            ok!(d.map(vm, h, 0, M, 32 * K));
            Ok(())
        },
    )?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 90;
        mem_reclaim,
        mem_claim,
        refused,
        mode,
        shrink,
    ])
}
