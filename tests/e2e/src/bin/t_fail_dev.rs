// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Every allocation of a call fails once, and all from one on: the call says ENOMEM, nothing has
//! changed, nothing is lost, and the same call then succeeds. Here: open and close, queries, VMs,
//! groups and heaps, fdinfo and debugfs.

use e2e::fault::{setup, Sweep};
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::cell::{Cell, RefCell};
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

/// A refusal that the call is made for counts as success.
fn refused(r: Result<()>, want: Errno) -> Result<()> {
    match r {
        Err(e) if e == want => Ok(()),
        Ok(()) => Err(Errno(0)),
        r => r,
    }
}

fn open() -> Res {
    setup()?;
    let path = drm::nodes().pop().ok_or_else(|| "no node".to_string())?;
    let last = Cell::new(None);
    Sweep::new("open", create()).must_fail(
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
    )
}

/// Closing the last file with all that there is: nothing can fail, and nothing is left.
fn close() -> Res {
    ktap::only_rust("C needs memory to unmap, and loses buffers and VM")?;
    setup()?;
    let make = || -> Res<Dev> {
        let d = Dev::open()?;
        let vm = d.vm()?;
        for (i, excl) in [0, vm].into_iter().enumerate() {
            let h = d.bo(64 * K, BO_WB_MMAP, excl)?;
            d.map(vm, h, 0, (i as u64 + 1) << 32, 64 * K)?;
        }
        d.bind1(vm, Op::sparse(M, 2 * M))?;
        d.bo(M, 0, 0)?;
        Ok(d)
    };
    let last = RefCell::new(Some(make()?));
    Sweep::new("close", &[]).run(
        || {
            last.borrow_mut().take();
            Ok(())
        },
        |_| {
            let gone = wait_for(Duration::from_secs(5), || {
                debugfs::Gems::read().is_ok_and(|g| g.of(getpid()).count() == 0)
            });
            check!(gone, "buffers are left");
            *last.borrow_mut() = Some(make()?);
            Ok(())
        },
    )?;
    Ok(())
}

fn queries() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    for (what, kind) in [
        ("DEV_QUERY of GPU_INFO", QUERY_GPU_INFO),
        ("DEV_QUERY of CSIF_INFO", QUERY_CSIF_INFO),
        ("DEV_QUERY of TIMESTAMP_INFO", QUERY_TIMESTAMP_INFO),
        ("DEV_QUERY of GROUP_PRIORITIES", QUERY_GROUP_PRIORITIES_INFO),
        ("DEV_QUERY of MMU_INFO", QUERY_MMU_INFO),
    ] {
        let query = |size: u32, at: u64| {
            let mut q = DevQuery {
                kind,
                size,
                pointer: at,
            };
            d.call(&mut q).map(|()| q.size)
        };
        let mut b = [0u64; 64];
        // What it answers in peace is what it answers under fire.
        let want = query(512, b.as_mut_ptr() as u64);
        Sweep::new(what, NOMEM).run(
            || match query(512, b.as_mut_ptr() as u64) {
                r if r == want => Ok(()),
                Ok(_) => Err(Errno(0)),
                Err(e) => Err(e),
            },
            |_| Ok(()),
        )?;
        Sweep::new("  its size", NOMEM).run(|| query(0, 0).map(|_| ()), |_| Ok(()))?;
    }
    Sweep::new("DEV_QUERY refused", NOMEM).run(
        || {
            refused(
                d.call(&mut DevQuery {
                    kind: 99,
                    size: 8,
                    pointer: 8,
                }),
                EINVAL,
            )
        },
        |_| Ok(()),
    )?;
    Ok(())
}

fn mmio_offset() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    Sweep::new("SET_USER_MMIO_OFFSET", NOMEM).run(
        || {
            d.call(&mut SetUserMmioOffset {
                offset: MMIO_OFFSET_64,
            })
        },
        |_| Ok(()),
    )?;
    Sweep::new("SET_USER_MMIO_OFFSET refused", NOMEM).run(
        || refused(d.call(&mut SetUserMmioOffset { offset: 1 }), EINVAL),
        |_| Ok(()),
    )?;
    Ok(())
}

fn fdinfo() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    ok!(d.bo(M, 0, 0));
    // By one read, so that a failure is seen.
    let path = format!("/proc/self/fdinfo/{}", d.fd());
    let sweep = Sweep::new("fdinfo", NOMEM);
    sweep.must_fail(
        || read_all(&path).map(|_| ()),
        |_| {
            eq!(ok!(d.fdinfo()).total(), M);
            Ok(())
        },
    )
}

/// Opens and reads a file into memory that is there already.
fn read_all(path: &str) -> Result<usize> {
    thread_local!(static BUF: RefCell<Vec<u8>> = RefCell::new(vec![1; 1 << 20]));
    let c = std::ffi::CString::new(path).map_err(|_| EINVAL)?;
    BUF.with_borrow_mut(|b| {
        // SAFETY: a valid string.
        let f = own(cvt(
            unsafe { libc::open(c.as_ptr(), libc::O_RDONLY) } as libc::c_long
        )?);
        let mut n = 0;
        loop {
            use std::os::fd::AsRawFd;
            let rest = b.get_mut(n..).unwrap_or_default();
            // SAFETY: a valid buffer.
            let r = unsafe { libc::read(f.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
            match cvt(r as libc::c_long)? {
                0 => return Ok(n),
                r => n += r as usize,
            }
        }
    })
}

fn vm_create() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let id = Cell::new(0);
    for range in [0, 1 << 32] {
        Sweep::new("VM_CREATE", create()).must_fail(
            || {
                id.set(d.vm_range(range)?.0);
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
    }
    Sweep::new("VM_CREATE refused", NOMEM).run(
        || {
            let mut a = VmCreate {
                flags: 1,
                ..VmCreate::default()
            };
            refused(d.call(&mut a), EINVAL)
        },
        |_| Ok(()),
    )?;
    Ok(())
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
    Sweep::new("VM_DESTROY", &[]).run(
        || d.vm_destroy(vm.get()),
        |_| {
            err!(d.vm_state(vm.get()), EINVAL);
            vm.set(make()?);
            Ok(())
        },
    )?;
    Sweep::new("VM_DESTROY refused", NOMEM)
        .run(|| refused(d.vm_destroy(30), EINVAL), |_| Ok(()))?;
    Ok(())
}

fn vm_get_state() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    Sweep::new("VM_GET_STATE", NOMEM).run(|| d.vm_state(vm).map(|_| ()), |_| Ok(()))?;
    Sweep::new("VM_GET_STATE refused", NOMEM)
        .run(|| refused(d.vm_state(30).map(|_| ()), EINVAL), |_| Ok(()))?;
    Ok(())
}

/// Groups: with our driver all is refused; with C only what is refused is tried.
fn groups() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let q = [QueueCreate {
        priority: 1,
        pad: [0; 3],
        ringbuf_size: 65536,
    }; 32];
    let group = |vm_id, n: usize| GroupCreate {
        queues: ObjArray::of(&q[..n]),
        max_compute_cores: 1,
        max_fragment_cores: 1,
        max_tiler_cores: 1,
        priority: 1,
        compute_core_mask: 1,
        fragment_core_mask: 1,
        tiler_core_mask: 1,
        vm_id,
        ..GroupCreate::default()
    };
    let ours = ktap::driver() == ktap::Driver::Rust;
    let mut vms = vec![30];
    if ours {
        vms.push(vm);
    }
    for vm in vms {
        Sweep::new("GROUP_CREATE, one queue", NOMEM)
            .run(|| refused(d.call(&mut group(vm, 1)), EINVAL), |_| Ok(()))?;
    }
    if ours {
        Sweep::new("GROUP_CREATE, 32 queues", NOMEM)
            .run(|| refused(d.call(&mut group(vm, 32)), EINVAL), |_| Ok(()))?;
    }
    Sweep::new("GROUP_DESTROY", NOMEM).run(
        || {
            let mut a = GroupDestroy {
                group_handle: 1,
                pad: 0,
            };
            refused(d.call(&mut a), EINVAL)
        },
        |_| Ok(()),
    )?;
    let s: Vec<QueueSubmit> = vec![QueueSubmit::default(); 512];
    for n in [1, 512] {
        Sweep::new("GROUP_SUBMIT", NOMEM).run(
            || {
                let mut a = GroupSubmit {
                    group_handle: 1,
                    pad: 0,
                    queue_submits: ObjArray::of(&s[..n]),
                };
                refused(d.call(&mut a), EINVAL)
            },
            |_| Ok(()),
        )?;
    }
    Sweep::new("GROUP_GET_STATE", NOMEM).run(
        || {
            let mut a = GroupGetState {
                group_handle: 1,
                ..GroupGetState::default()
            };
            refused(d.call(&mut a), EINVAL)
        },
        |_| Ok(()),
    )?;
    Ok(())
}

fn heaps() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let ours = ktap::driver() == ktap::Driver::Rust;
    for vm_id in if ours { vec![30, vm] } else { vec![30] } {
        Sweep::new("TILER_HEAP_CREATE", NOMEM).run(
            || {
                let mut a = TilerHeapCreate {
                    vm_id,
                    initial_chunk_count: 4,
                    chunk_size: 2 << 20,
                    max_chunks: 8,
                    target_in_flight: 4,
                    ..TilerHeapCreate::default()
                };
                refused(d.call(&mut a), EINVAL)
            },
            |_| Ok(()),
        )?;
    }
    Sweep::new("TILER_HEAP_DESTROY", NOMEM).run(
        || {
            let mut a = TilerHeapDestroy {
                handle: (vm << 16) | 1,
                pad: 0,
            };
            refused(d.call(&mut a), ENOENT)
        },
        |_| Ok(()),
    )?;
    Ok(())
}

/// The debugfs files, with many buffers and mappings to print.
fn debugfs_files() -> Res {
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    for i in 0..10u64 {
        let h = ok!(d.bo(PAGE, 0, 0));
        ok!(d.map(vm, h, 0, (i + 1) << 32, PAGE));
        ok!(d.label(h, "e2e-printed"));
    }
    let dir = ok!(debugfs::dir());
    let mut names = vec!["gems", "gpuvas"];
    if ktap::driver() == ktap::Driver::Rust {
        names.extend(["shrink", "vm_resident"]);
    }
    for name in names {
        let p = dir.join(name);
        if !p.exists() {
            continue;
        }
        let p = p.to_string_lossy().into_owned();
        let what = format!("reading {name}");
        Sweep::new(&what, NOMEM).must_fail(
            || match read_all(&p)? {
                0 => Err(Errno(0)),
                _ => Ok(()),
            },
            |_| Ok(()),
        )?;
    }
    Ok(())
}

/// A VM gets a slot and gives it up, by the switch for tests.
fn vm_resident() -> Res {
    let sw = debugfs::VmResident::need()?;
    setup()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.map(vm, h, 0, M, M));
    let me = getpid();
    Sweep::new("vm_resident on", NOMEM).must_fail(
        || sw.set(me, vm, true),
        |good| {
            if good {
                check!(sw.get(me, vm)?.slot.is_some(), "no slot");
                ok!(sw.set(me, vm, false));
            }
            eq!(sw.get(me, vm)?.active, 0);
            Ok(())
        },
    )?;
    ok!(sw.set(me, vm, true));
    Sweep::new("vm_resident off", NOMEM).must_fail(
        || sw.set(me, vm, false),
        |good| {
            eq!(sw.get(me, vm)?.active, u64::from(!good));
            if good {
                ok!(sw.set(me, vm, true));
            }
            Ok(())
        },
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 60;
        open,
        close,
        queries,
        mmio_offset,
        fdinfo,
        vm_create,
        vm_destroy,
        vm_get_state,
        groups,
        heaps,
        debugfs_files,
        vm_resident,
    ])
}
