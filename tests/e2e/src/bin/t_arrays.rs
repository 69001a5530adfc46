// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Arrays whose length, and structures whose size, userspace chooses: they take no memory, and calls
//! on them end when the caller is killed or the device goes away.

use e2e::cgroup::Cgroup;
use e2e::child::{said, Child};
use e2e::proc::{vmstat, MemInfo};
use e2e::sys::*;
use e2e::sysfs::Bound;
use e2e::uapi::*;
use e2e::*;
use std::time::{Duration, Instant};

/// The limit of the cgroup that the callers are in.
const GROUP: u64 = 64 * M;

/// How long a call may go on that should end. It takes milliseconds, and an hour where nobody looks.
const SOON: Duration = Duration::from_secs(20);

/// The calls that take an array.
#[derive(Clone, Copy, Debug)]
enum Call {
    Bind,
    Sync,
    Submit,
}

const CALLS: [Call; 3] = [Call::Sync, Call::Bind, Call::Submit];

impl Call {
    /// Bytes of a structure.
    fn stride(self) -> u32 {
        match self {
            Call::Bind => 48,
            Call::Sync => 24,
            Call::Submit => 40,
        }
    }

    /// Makes it on VM 1.
    fn make(self, d: &Dev, array: ObjArray) -> Result<()> {
        match self {
            Call::Bind => d.call(&mut VmBind {
                vm_id: 1,
                flags: 0,
                ops: array,
            }),
            Call::Sync => d.call(&mut BoSync { ops: array }),
            Call::Submit => d.call(&mut GroupSubmit {
                group_handle: 1,
                pad: 0,
                queue_submits: array,
            }),
        }
    }
}

/// Only in the Rust driver: with the C driver the board would not survive.
fn only_rust() -> Res {
    ktap::only_rust("the C driver takes memory for all of it, and looks for no signal")
}

/// A process in a cgroup, with a VM, that makes `times` calls with an array that cannot be read.
fn caller(g: &Cgroup, call: Call, count: u32, times: u32) -> Res<Child> {
    let mut c = Child::spawn(|e| {
        let d = Dev::open().and_then(|d| d.vm().map(|_| d));
        e.serve(|_| {
            let d = d.as_ref().map_err(|e| e.to_string())?;
            let array = ObjArray {
                stride: call.stride(),
                count,
                array: 8,
            };
            for _ in 1..times {
                let _ = call.make(d, array);
            }
            Ok(said(call.make(d, array)))
        })
    })?;
    ok!(g.add(c.pid));
    c.call("warm")?;
    Ok(c)
}

/// Arrays as large as the memory.
fn unreadable() -> Res {
    only_rust()?;
    let _ = write_once("/proc/self/oom_score_adj", b"-1000");
    let g = Cgroup::need("e2e-unreadable")?;
    ok!(g.write("memory.max", &GROUP.to_string()));
    let total = ok!(MemInfo::read()).get("MemTotal");
    let kills = vmstat("oom_kill");
    for call in CALLS {
        for part in [92, 95, 300] {
            let count = total / 100 * part / u64::from(call.stride());
            let mut c = caller(&g, call, count as u32, 1)?;
            let answer = c.call("call")?;
            check!(
                ["EFAULT", "ENOMEM"].contains(&answer.as_str()),
                "{call:?}, {part} % of the memory: {answer}"
            );
            eq!(c.end()?, 0);
        }
    }
    eq!(vmstat("oom_kill"), kills);
    Ok(())
}

/// Several callers at once, all in one cgroup: nobody outside of it suffers, nor do they.
fn four_callers() -> Res {
    only_rust()?;
    let _ = write_once("/proc/self/oom_score_adj", b"-1000");
    let g = Cgroup::need("e2e-four")?;
    ok!(g.write("memory.max", &GROUP.to_string()));
    let kills = vmstat("oom_kill");
    for call in CALLS {
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(caller(&g, call, 15_000_000, 20)?);
        }
        for c in &mut all {
            c.send("call")?;
        }
        for c in &mut all {
            eq!(c.recv(SOON)?, Ok("EFAULT".to_string()));
            eq!(c.end()?, 0);
        }
    }
    eq!(vmstat("oom_kill"), kills);
    Ok(())
}

/// A process that makes a call that would take an hour; it says so before, and what came of it.
fn long_call(call: Call) -> Res<Child> {
    let mut c = Child::spawn(|e| {
        let r = || -> std::result::Result<(Dev, ObjArray, Option<Map>, Vec<BoSyncOp>), Errno> {
            let d = Dev::open()?;
            let vm = d.vm()?;
            if let Call::Sync = call {
                let size = 64 * M;
                let h = d.bo(size, BO_WB_MMAP, vm)?;
                let m = d.mmap(h, size)?;
                m.set(0, 1);
                let op = BoSyncOp {
                    handle: h,
                    kind: SYNC_FLUSH_INVALIDATE,
                    offset: 0,
                    size,
                };
                let ops = vec![op; 100_000];
                return Ok((d, ObjArray::of(&ops), Some(m), ops));
            }
            // Zeroes, which are operations that do nothing.
            let count = 1u32 << 30;
            let m = Map::new(
                -1,
                0,
                u64::from(call.stride()) * u64::from(count),
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            )?;
            let array = ObjArray {
                stride: call.stride(),
                count,
                array: m.ptr() as u64,
            };
            Ok((d, array, Some(m), Vec::new()))
        };
        let made = r();
        e.serve(|cmd| {
            let (d, array, ..) = made.as_ref().map_err(|e| e.to_string())?;
            match cmd {
                "call" => Ok(said(call.make(d, *array))),
                _ => Ok(String::new()),
            }
        })
    })?;
    c.call("ready")?;
    c.send("call")?;
    // It is somewhere in it, not at its beginning.
    check!(
        !c.ready(Duration::from_millis(500)),
        "{call:?}: {:?}",
        c.recv(SOON)
    );
    Ok(c)
}

/// SIGKILL ends them.
fn killed() -> Res {
    only_rust()?;
    for call in CALLS {
        let mut c = long_call(call)?;
        let start = Instant::now();
        ok!(kill(c.pid, libc::SIGKILL));
        let ended = wait_for(SOON, || {
            matches!(waitpid(c.pid, libc::WNOHANG), Ok(Some(_)))
        });
        // Who cannot be killed is not waited for once more.
        c.pid = 0;
        check!(ended, "{call:?}: alive {SOON:?} after SIGKILL");
        note!("{call:?}: {} ms", start.elapsed().as_millis());
    }
    Ok(())
}

/// Unbinding the driver ends them, and waits no longer.
fn unbound() -> Res {
    only_rust()?;
    for call in CALLS {
        let b = Bound::new()?;
        let mut c = long_call(call)?;
        let start = Instant::now();
        let (tx, rx) = std::sync::mpsc::channel();
        let name = b.0.clone();
        std::thread::spawn(move || tx.send(sysfs::unbind(&name)));
        match rx.recv_timeout(SOON) {
            Ok(r) => ok!(r),
            Err(_) => fail!("{call:?}: unbind did not return in {SOON:?}"),
        }
        note!("{call:?}: {} ms", start.elapsed().as_millis());
        eq!(c.recv(SOON)?, Ok("ENODEV".to_string()));
        eq!(c.end()?, 0);
        b.bind()?;
    }
    Ok(())
}

/// What is not known of a structure is looked at, up to a page: more is refused at once.
fn strides() -> Res {
    ktap::only_rust("the C driver looks at any length")?;
    let page = page_size() as u32;
    let d = ok!(Dev::open());
    ok!(d.vm());
    let len = u64::from(page) * 40;
    let zeroes = ok!(Map::new(
        -1,
        0,
        len,
        libc::PROT_READ,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    ));
    let array = |stride, count| ObjArray {
        stride,
        count,
        array: zeroes.ptr() as u64,
    };
    for call in CALLS {
        let of_nothing = match call {
            Call::Bind => Ok(()),
            Call::Sync => Err(ENOENT),
            Call::Submit => Err(EINVAL),
        };
        for count in [1, 2, 3, 16, 17, 40] {
            for stride in [page - 8, page] {
                eq!(call.make(&d, array(stride, count)), of_nothing);
            }
            // The last one is what the report had: an hour.
            for stride in [page + 1, page + 8, u32::MAX, 0x0fff_fff8] {
                eq!(call.make(&d, array(stride, count)), Err(E2BIG));
            }
        }
        eq!(call.make(&d, array(0x0fff_fff8, 4000)), Err(E2BIG));
        eq!(call.make(&d, array(u32::MAX, u32::MAX)), Err(E2BIG));
    }
    let query = |size| {
        let mut buf = vec![0u8; 2 * page as usize];
        d.call(&mut DevQuery {
            kind: QUERY_GPU_INFO,
            size,
            pointer: buf.as_mut_ptr() as u64,
        })
    };
    ok!(query(page));
    err!(query(page + 1), E2BIG);
    err!(query(u32::MAX), E2BIG);
    Ok(())
}

/// Longer than the pieces in which they are read: all of it is looked at before anything is done.
fn pieces() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let marker = (1 << 46) + getpid() as u64 * PAGE;
    let h = ok!(d.bo(PAGE, 0, 0));
    ok!(d.map(vm, h, 0, marker, PAGE));
    let page = page_size();
    let len = 4 * page;
    let m = ok!(Map::new(
        -1,
        0,
        len + page,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    ));
    // SAFETY: the last page of the mapping, which nobody uses.
    ok!(cvt(
        unsafe { libc::munmap(m.ptr().add(len as usize).cast(), page as usize) } as libc::c_long
    ));
    let n = (len / 48) as usize;
    // So that the last one ends with the last page.
    let at = m.ptr() as u64 + len - n as u64 * 48;
    for i in 0..n {
        let op = Op::map(h, 0, (i as u64 + 1) * M, PAGE);
        // SAFETY: inside of the mapping.
        unsafe { ((at as *mut Op).add(i)).write_unaligned(op) };
    }
    let bind = |count: usize, array: u64| {
        let mut a = VmBind {
            vm_id: vm,
            flags: 0,
            ops: ObjArray {
                stride: 48,
                count: count as u32,
                array,
            },
        };
        let r = d.call(&mut a);
        (r, a.ops.count as usize)
    };
    // One too many.
    eq!(bind(n + 1, at), (Err(EFAULT), n + 1));
    eq!(debugfs::vas_of(marker)?.len(), 0);
    eq!(bind(n, at), (Ok(()), n));
    eq!(debugfs::vas_of(marker)?.len(), n);
    ok!(d.unmap(vm, 0, 1 << 40));
    // One that fails, at the ends of pieces and elsewhere.
    for bad in [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 100, n - 1] {
        // SAFETY: inside of the mapping.
        let op = unsafe { (at as *mut Op).add(bad) };
        // SAFETY: as above.
        let good = unsafe { op.read_unaligned() };
        // SAFETY: as above.
        unsafe { op.write_unaligned(Op::map(h, 0, 1, PAGE)) };
        eq!(bind(n, at), (Err(EINVAL), bad));
        eq!(debugfs::vas_of(marker)?.len(), bad);
        // SAFETY: as above.
        unsafe { op.write_unaligned(good) };
        ok!(d.unmap(vm, 0, 1 << 40));
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        pieces,
        strides,
        unreadable,
        four_callers,
        killed,
        unbound,
    ])
}
