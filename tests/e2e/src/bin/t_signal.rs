// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Signals at many points of every call that takes its time: with a handler the call ends with EINTR
//! or goes on, with SIGKILL it ends. Either way the state is the one before, the one after, or of a
//! call on many buffers a part of it; the same call then succeeds, and nothing is lost.
//!
//! Calls that only wait for locks of the same process are interrupted where another thread has them.

use e2e::child::{said, Child};
use e2e::debugfs::Gems;
use e2e::sys::*;
use e2e::tables::{label, Tables};
use e2e::uapi::*;
use e2e::*;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long one subject is tried.
const TIME: Duration = Duration::from_secs(4);

/// How many calls it takes at least.
const CALLS: u32 = 20;

/// Sends SIGALRM to the process once after `delay`, or not (zero).
fn alarm(delay: Duration) -> Res {
    let t = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: delay.as_secs() as _,
            tv_usec: delay.subsec_micros() as _,
        },
    };
    // SAFETY: valid places.
    cvt(unsafe { libc::setitimer(libc::ITIMER_REAL, &t, std::ptr::null_mut()) } as libc::c_long)?;
    Ok(())
}

/// Delays all over the time that a call takes, and a little more.
struct Delays {
    /// Where in the call, in thousandths of its time.
    at: u32,
    calls: u32,
    end: Instant,
}

impl Delays {
    fn new(time: Duration) -> Delays {
        Delays {
            at: 0,
            calls: 0,
            end: Instant::now() + time,
        }
    }

    /// The next one, when a call takes so long.
    fn next(&mut self, took: Duration) -> Option<Duration> {
        if self.calls >= CALLS && Instant::now() > self.end {
            return None;
        }
        self.calls += 1;
        // The golden section: each lands in the largest gap left.
        self.at = (self.at + 618) % 1000;
        Some((took * self.at / 900).max(Duration::from_micros(1)))
    }
}

/// Makes a call while a signal arrives, with every delay. `check(result)` looks at the state, makes
/// the call again if it failed, and takes it back.
fn interrupt(
    what: &str,
    mut call: impl FnMut() -> Result<()>,
    mut check: impl FnMut(Result<()>) -> Res,
) -> Res<(u32, u32)> {
    ok!(catch_signal(libc::SIGALRM));
    let mut d = Delays::new(TIME);
    let (mut calls, mut interrupted) = (0, 0);
    let mut took = Duration::ZERO;
    let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
    while let Some(delay) = d.next(took) {
        alarm(delay)?;
        let t = Instant::now();
        let r = call();
        let now = t.elapsed();
        alarm(Duration::ZERO)?;
        calls += 1;
        match r {
            // How long one takes that is not interrupted changes with what else goes on.
            Ok(()) => took = now,
            Err(EINTR) => {
                took = took.max(now) + took / 16;
                interrupted += 1;
                shortest = shortest.min(delay);
                longest = longest.max(delay);
            }
            Err(e) => fail!("{what}: signal after {delay:?}: {e}"),
        }
        check(r).map_err(|f| match f {
            Fail::Fail(s) => Fail::Fail(format!("{what}: signal after {delay:?}, {r:?}: {s}")),
            f => f,
        })?;
    }
    let range = match interrupted {
        0 => String::new(),
        _ => format!(", by signals after {shortest:?} to {longest:?}"),
    };
    note!("figure: {what}: {calls} calls, {interrupted} interrupted{range}");
    Ok((calls, interrupted))
}

/// What a VM with a marker has mapped.
fn mapped(marker: u64) -> Res<usize> {
    Ok(debugfs::vas_of(marker)?.len())
}

fn marked(d: &Dev) -> Res<(u32, u64)> {
    let vm = d.vm()?;
    let marker = (1 << 46) + getpid() as u64 * PAGE;
    let p = d.bo(PAGE, 0, 0)?;
    d.map(vm, p, 0, marker, PAGE)?;
    Ok((vm, marker))
}

/// Many operations: when a signal comes, those that were done are not counted, as all are repeated.
fn bind_array() -> Res {
    let d = ok!(Dev::open());
    let (vm, marker) = marked(&d)?;
    let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
    let ops: Vec<Op> = (1..=64).map(|i| Op::map(h, 0, i << 32, 64 * K)).collect();
    let count = Cell::new(0);
    interrupt(
        "VM_BIND of 64 maps",
        || {
            count.set(64);
            d.bind(vm, &ops).map_err(|(e, n)| {
                count.set(n);
                e
            })
        },
        |r| {
            let n = mapped(marker)?;
            eq!(count.get(), 64);
            check!(n == 64 || r.is_err(), "{n} mapped");
            if r.is_err() {
                ok!(d.bind(vm, &ops).map_err(|(e, _)| e));
                eq!(mapped(marker)?, 64);
            }
            ok!(d.unmap(vm, 0, 1 << 40));
            eq!(mapped(marker)?, 0);
            Ok(())
        },
    )?;
    Ok(())
}

/// A call that is repeated with the argument that it left, as `drmIoctl()` of libdrm does it: nothing
/// is lost.
fn bind_repeated() -> Res {
    const BOS: u32 = 8;
    let d = ok!(Dev::open());
    let (vm, marker) = marked(&d)?;
    let mut ops = Vec::new();
    for i in 1..=BOS {
        let h = ok!(d.bo(64 * K, BO_WB_MMAP, vm));
        ops.push(Op::map(h, 0, u64::from(i) << 32, 64 * K));
    }
    let arg = || VmBind {
        vm_id: vm,
        flags: 0,
        ops: ObjArray::of(&ops),
    };
    // The private buffers of a VM have one lock, which a BO_SYNC of one of them holds.
    let other = ok!(d.bo(4 * M, BO_WB_MMAP, vm));
    pattern::fill(&ok!(d.mmap(other, 4 * M)), 1);
    let (stop, calling) = (AtomicBool::new(false), AtomicBool::new(false));
    let (calls, interrupted) = std::thread::scope(|s| {
        s.spawn(|| {
            let _ = block_signal(libc::SIGALRM);
            while !stop.load(Relaxed) {
                let _ = d.sync(other, SYNC_FLUSH_INVALIDATE, 0, 4 * M);
            }
        });
        // One signal rarely comes while the lock is waited for: many do, while the call is made.
        s.spawn(|| {
            let _ = block_signal(libc::SIGALRM);
            while !stop.load(Relaxed) {
                if calling.load(Relaxed) {
                    let _ = kill(getpid(), libc::SIGALRM);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let bind = RefCell::new(arg());
        let try_it = || {
            interrupt(
                "VM_BIND of 8 buffers, repeated",
                || {
                    calling.store(true, Relaxed);
                    let r = d.call(&mut *bind.borrow_mut());
                    calling.store(false, Relaxed);
                    r
                },
                |r| {
                    let mut bind = bind.borrow_mut();
                    if r.is_err() {
                        ok!(d.calli(&mut *bind));
                    }
                    let there = debugfs::vas_of(marker)?;
                    for i in 1..=u64::from(BOS) {
                        let is_there = there.iter().any(|va| va.start == i << 32);
                        check!(is_there, "mapping {i} is not there");
                    }
                    ok!(d.unmap(vm, 0, 1 << 40));
                    *bind = arg();
                    Ok(())
                },
            )
        };
        let r = try_it();
        stop.store(true, Relaxed);
        r
    })?;
    // In the C driver no wait of it ends with a signal.
    if ktap::driver() == ktap::Driver::Rust {
        check!(interrupted > 0, "none of {calls} calls was interrupted");
    }
    Ok(())
}

/// A buffer without memory yet, and one on swap: bringing it in is what takes time.
fn bind_brings_in() -> Res {
    let d = ok!(Dev::open());
    let (vm, marker) = marked(&d)?;
    let h = Cell::new(ok!(d.bo(4 * M, BO_WB_MMAP, 0)));
    interrupt(
        "VM_BIND of a new buffer",
        || d.map(vm, h.get(), 0, M, 4 * M),
        |r| {
            eq!(mapped(marker)?, usize::from(r.is_ok()));
            if r.is_err() {
                ok!(d.map(vm, h.get(), 0, M, 4 * M));
            }
            ok!(d.unmap(vm, M, 4 * M));
            ok!(d.close(h.get()));
            h.set(ok!(d.bo(4 * M, BO_WB_MMAP, 0)));
            Ok(())
        },
    )?;
    if !sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists()) || proc::swaps()?.is_empty() {
        return Ok(());
    }
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    ok!(sysfs::reclaim(getpid()));
    interrupt(
        "VM_BIND of a buffer on swap",
        || d.map(vm, h, 0, 1 << 32, M),
        |r| {
            eq!(mapped(marker)?, usize::from(r.is_ok()));
            if r.is_err() {
                ok!(d.map(vm, h, 0, 1 << 32, M));
            }
            ok!(d.unmap(vm, 1 << 32, M));
            pattern::check(&m, 1)?;
            ok!(sysfs::reclaim(getpid()));
            Ok(())
        },
    )?;
    Ok(())
}

fn vms() -> Res {
    let d = ok!(Dev::open());
    let id = Cell::new(0);
    interrupt(
        "VM_CREATE",
        || {
            id.set(d.vm()?);
            Ok(())
        },
        |r| {
            if r.is_err() {
                id.set(ok!(d.vm()));
            }
            // No id was lost.
            eq!(id.get(), 1);
            ok!(d.vm_destroy(1));
            Ok(())
        },
    )?;
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let make = || -> Res<u32> {
        let vm = d.vm()?;
        let ops: Vec<Op> = (1..=32).map(|i| Op::map(h, 0, i << 32, M)).collect();
        d.bind(vm, &ops).map_err(|(e, _)| e)?;
        Ok(vm)
    };
    let vm = Cell::new(make()?);
    interrupt(
        "VM_DESTROY",
        || d.vm_destroy(vm.get()),
        |r| {
            if r.is_err() {
                ok!(d.vm_destroy(vm.get()));
            }
            err!(d.vm_state(vm.get()), EINVAL);
            vm.set(make()?);
            Ok(())
        },
    )?;
    Ok(())
}

fn files_and_buffers() -> Res {
    let path = drm::nodes().pop().ok_or_else(|| "no node".to_string())?;
    let last = RefCell::new(None);
    interrupt(
        "open",
        || {
            let f = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)?;
            *last.borrow_mut() = Some(Dev::from_fd(f.into()));
            Ok(())
        },
        |r| {
            let d = last.borrow_mut().take();
            if r.is_ok() {
                let Some(d) = d else { fail!("no file") };
                ok!(d.vm());
            }
            Ok(())
        },
    )?;
    let d = ok!(Dev::open());
    let h = Cell::new(0);
    interrupt(
        "BO_CREATE",
        || {
            h.set(d.bo(16 * M, BO_WB_MMAP, 0)?);
            Ok(())
        },
        |r| {
            if r.is_err() {
                h.set(ok!(d.bo(16 * M, BO_WB_MMAP, 0)));
            }
            eq!(h.get(), 1);
            ok!(d.close(1));
            eq!(ok!(d.fdinfo()).total(), 0);
            Ok(())
        },
    )?;
    let full = || -> Res<Dev> {
        let d = Dev::open()?;
        let vm = d.vm()?;
        for i in 0..4u64 {
            let h = d.bo(M, BO_WB_MMAP, 0)?;
            d.map(vm, h, 0, (i + 1) << 32, M)?;
        }
        Ok(d)
    };
    let one = RefCell::new(Some(full()?));
    interrupt(
        "close",
        || {
            one.borrow_mut().take();
            Ok(())
        },
        |_| {
            let gone = wait_for(Duration::from_secs(5), || {
                Gems::read().is_ok_and(|g| g.of(getpid()).count() <= 1)
            });
            check!(gone, "buffers are left");
            *one.borrow_mut() = Some(full()?);
            Ok(())
        },
    )?;
    Ok(())
}

fn sync() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(8 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 8 * M));
    pattern::fill(&m, 1);
    let ops: Vec<BoSyncOp> = (0..32)
        .map(|i| BoSyncOp {
            handle: h,
            kind: SYNC_FLUSH_INVALIDATE,
            offset: (i % 8) * M,
            size: M,
        })
        .collect();
    interrupt(
        "BO_SYNC of 32 MiB",
        || d.sync_ops(&ops),
        |r| {
            if r.is_err() {
                ok!(d.sync_ops(&ops));
            }
            Ok(())
        },
    )?;
    pattern::check(&m, 1)?;
    Ok(())
}

/// While another thread has the buffer locked most of the time.
fn contended() -> Res {
    let d = ok!(Dev::open());
    let (vm, marker) = marked(&d)?;
    let h = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 4 * M));
    pattern::fill(&m, 1);
    let flush = || d.sync(h, SYNC_FLUSH_INVALIDATE, 0, 4 * M);
    let stop = AtomicBool::new(false);
    let (bind, sync) = std::thread::scope(|s| {
        let other = s.spawn(|| -> Result<u64> {
            // The signals are for the one that makes the calls.
            block_signal(libc::SIGALRM)?;
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                flush()?;
                n += 1;
            }
            Ok(n)
        });
        let bind = interrupt(
            "VM_BIND beside BO_SYNC of the buffer",
            || d.map(vm, h, 0, M, 4 * M),
            |r| {
                eq!(mapped(marker)?, usize::from(r.is_ok()));
                if r.is_err() {
                    ok!(d.map(vm, h, 0, M, 4 * M));
                }
                ok!(d.unmap(vm, M, 4 * M));
                eq!(mapped(marker)?, 0);
                Ok(())
            },
        );
        let sync = bind.and_then(|b| {
            let s = interrupt("BO_SYNC beside another one", flush, |r| {
                if r.is_err() {
                    ok!(flush());
                }
                Ok(())
            })?;
            Ok((b, s))
        });
        stop.store(true, Ordering::Relaxed);
        let other = other.join().map_err(|_| "thread".to_string())?;
        check!(ok!(other) > 0);
        sync
    })?;
    pattern::check(&m, 1)?;
    if ktap::driver() == ktap::Driver::Rust {
        check!(bind.1 > 0, "no VM_BIND was interrupted");
        check!(sync.1 > 0, "no BO_SYNC was interrupted");
    }
    Ok(())
}

/// An access is never refused because of a signal: it is done after the handler.
fn cpu_fault() -> Res {
    let d = ok!(Dev::open());
    let h = Cell::new(ok!(d.bo(4 * M, BO_WB_MMAP, 0)));
    let m = RefCell::new(ok!(d.mmap(h.get(), 4 * M)));
    interrupt(
        "fault in a new buffer",
        || {
            m.borrow().set(5, 6);
            Ok(())
        },
        |_| {
            eq!(m.borrow().get(5), 6);
            eq!(m.borrow().get(6), 0);
            ok!(d.close(h.get()));
            h.set(ok!(d.bo(4 * M, BO_WB_MMAP, 0)));
            *m.borrow_mut() = ok!(d.mmap(h.get(), 4 * M));
            Ok(())
        },
    )?;
    if !sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists()) || proc::swaps()?.is_empty() {
        return Ok(());
    }
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    ok!(sysfs::reclaim(getpid()));
    interrupt(
        "fault in a buffer on swap",
        || {
            if m.get(9) == pattern::mix(10) {
                Ok(())
            } else {
                Err(EIO)
            }
        },
        |_| {
            pattern::check(&m, 1)?;
            ok!(sysfs::reclaim(getpid()));
            Ok(())
        },
    )?;
    Ok(())
}

/// A process with `n` buffers of 64 KiB in a VM.
fn target(n: u64) -> Res<Child> {
    sysfs::need("mem_reclaim")?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    let mut c = Child::holder()?;
    c.call("vm")?;
    for i in 0..n {
        let label = label(c.pid, i);
        c.call(&format!("bo 0x10000 2 {} {} {label}", i % 2, i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
    }
    Ok(c)
}

fn check_all(c: &mut Child, n: u64) -> Res {
    for i in 0..n {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

fn attributes() -> Res {
    let n = 8;
    let c = RefCell::new(target(n)?);
    let pid = c.borrow().pid;
    let mut tables = Tables::of_row(pid, n, 64 * K)?;
    tables.in_a_slot(1)?;
    tables.all_there()?;
    let (all, half) = (n * 64 * K, Cell::new(0));
    let between = |r: u64| half.set(half.get() + u32::from(r > 0 && r < all));
    let (_, i) = interrupt(
        "mem_reclaim",
        || sysfs::reclaim(pid),
        |r| {
            let there = c.borrow_mut().resident()?;
            check!(r.is_err() || there == 0, "{there} bytes resident");
            between(there);
            if r.is_err() {
                tables.half_way()?;
                // It goes on from here.
                ok!(sysfs::reclaim(pid));
            }
            eq!(c.borrow_mut().resident()?, 0);
            tables.all_gone()?;
            check_all(&mut c.borrow_mut(), n)?;
            ok!(sysfs::claim(pid));
            tables.all_there()
        },
    )?;
    check!(i > 0, "no mem_reclaim was interrupted");
    ok!(sysfs::reclaim(pid));
    let (_, i) = interrupt(
        "mem_claim",
        || sysfs::claim(pid),
        |r| {
            let there = c.borrow_mut().resident()?;
            check!(r.is_err() || there == all, "{there} bytes resident");
            between(there);
            if r.is_err() {
                tables.half_way()?;
                // It goes on from here, before anybody touches anything.
                ok!(sysfs::claim(pid));
            }
            eq!(c.borrow_mut().resident()?, all);
            tables.all_there()?;
            check_all(&mut c.borrow_mut(), n)?;
            ok!(sysfs::reclaim(pid));
            tables.all_gone()
        },
    )?;
    check!(i > 0, "no mem_claim was interrupted");
    note!("figure: {} of the calls were half done", half.get());
    check!(half.get() > 0, "all of it or nothing, always");
    Ok(())
}

/// While the buffers seem to be in use, and while another writer is at it.
fn waiting() -> Res {
    let n = 8;
    let mut c = target(n)?;
    let pid = c.pid;
    debugfs::busy(pid, true)?;
    let (_, i) = interrupt(
        "mem_reclaim of busy buffers",
        || match sysfs::reclaim(pid) {
            Err(EBUSY) => Ok(()),
            Ok(()) => Err(EIO),
            r => r,
        },
        |_| {
            eq!(c.resident()?, n * 64 * K);
            Ok(())
        },
    )?;
    debugfs::busy(pid, false)?;
    check!(i > 0, "no wait was interrupted");
    ok!(sysfs::reclaim(pid));
    eq!(c.resident()?, 0);
    check_all(&mut c, n)?;

    let mut other = Child::spawn(|e| {
        e.serve(|_| {
            let end = Instant::now() + TIME;
            let mut last = String::new();
            while Instant::now() < end {
                let r = sysfs::reclaim(pid);
                if !matches!(r, Ok(()) | Err(EBUSY)) {
                    return Err(said(r));
                }
                let r = sysfs::claim(pid);
                last = said(r);
                if r.is_err() {
                    return Err(last);
                }
            }
            Ok(last)
        });
    })?;
    other.send("go")?;
    let (_, i) = interrupt(
        "mem_reclaim beside another writer",
        || match sysfs::reclaim(pid) {
            Err(EBUSY) => Ok(()),
            r => r,
        },
        |_| Ok(()),
    )?;
    check!(i > 0, "none was interrupted");
    match other.recv(Duration::from_secs(30))? {
        Ok(_) => {}
        Err(e) => fail!("the other writer: {e}"),
    }
    check_all(&mut c, n)?;
    ok!(sysfs::reclaim(pid));
    eq!(c.resident()?, 0);
    check_all(&mut c, n)
}

/// SIGKILL at every moment of a process's calls on a device of its own: nothing of it is left.
fn killed_in_calls() -> Res {
    let before = (Gems::read()?.bos.len(), debugfs::gpuvas()?.len());
    let swap = !proc::swaps()?.is_empty() && sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists());
    let (mut kills, mut ends) = (0, 0);
    let mut delays = Delays::new(TIME * 2);
    // So that the first one comes to its end.
    let mut took = Duration::from_secs(20);
    while let Some(delay) = delays.next(took) {
        let t = Instant::now();
        let pid = match ok!(fork()) {
            0 => {
                let go = || -> Result<()> {
                    let d = Dev::open()?;
                    let vm = d.vm()?;
                    for i in 1..=8 {
                        let h = d.bo(M, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 })?;
                        d.label(h, "e2e-killed")?;
                        let m = d.mmap(h, M)?;
                        m.set(1, 2);
                        d.map(vm, h, 0, i << 32, M)?;
                        d.sync(h, SYNC_FLUSH_INVALIDATE, 0, M)?;
                        d.unmap(vm, (i << 32) + 64 * K, 64 * K)?;
                    }
                    if swap {
                        sysfs::reclaim(getpid())?;
                        sysfs::claim(getpid())?;
                    }
                    d.vm_destroy(vm)
                };
                let r = go();
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(r.is_err())) }
            }
            pid => pid,
        };
        // Ended by itself, or by us.
        let mut st = None;
        while st.is_none() && t.elapsed() < delay {
            std::thread::sleep(Duration::from_micros(100));
            st = ok!(waitpid(pid, libc::WNOHANG));
        }
        let ended = st.is_some();
        if !ended {
            ok!(kill(pid, libc::SIGKILL));
            st = ok!(waitpid(pid, 0));
        }
        let st = st.unwrap_or(0);
        if libc::WIFEXITED(st) {
            eq!(libc::WEXITSTATUS(st), 0);
            ends += 1;
            took = t.elapsed();
        } else {
            kills += 1;
            took += took / 16;
        }
        let gone = wait_for(Duration::from_secs(5), || {
            Gems::read().is_ok_and(|g| g.bos.len() <= before.0)
                && debugfs::gpuvas().is_ok_and(|v| v.len() <= before.1)
        });
        check!(gone, "killed after {delay:?}: buffers or VMs are left");
    }
    note!("figure: {kills} processes killed in the middle, {ends} came to their end");
    check!(kills > 10 && ends > 0);
    Ok(())
}

/// SIGKILL of the writer of an attribute: the target does not notice.
fn killed_writers() -> Res {
    let n = 8;
    let mut c = target(n)?;
    let pid = c.pid;
    let mut tables = Tables::of_row(pid, n, 64 * K)?;
    tables.in_a_slot(1)?;
    let (mut half, mut kills) = (0, 0);
    let mut delays = Delays::new(TIME * 2);
    let mut took = Duration::from_secs(1);
    while let Some(delay) = delays.next(took) {
        for claims in [false, true] {
            let t = Instant::now();
            let w = match ok!(fork()) {
                0 => {
                    let r = if claims {
                        sysfs::claim(pid)
                    } else {
                        sysfs::reclaim(pid)
                    };
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(i32::from(r.is_err())) }
                }
                w => w,
            };
            std::thread::sleep(delay);
            let _ = kill(w, libc::SIGKILL);
            let st = ok!(waitpid(w, 0)).unwrap_or(0);
            let there = c.resident()?;
            half += u32::from(there > 0 && there < n * 64 * K);
            if libc::WIFEXITED(st) {
                eq!(libc::WEXITSTATUS(st), 0);
                eq!(there, if claims { n * 64 * K } else { 0 });
                took = took.min(t.elapsed());
            } else {
                kills += 1;
                took += took / 8;
            }
            tables.half_way()?;
            if claims {
                check_all(&mut c, n)?;
            }
        }
    }
    note!("figure: {kills} writers killed, {half} calls half done");
    check!(kills > 5 && half > 0);
    ok!(sysfs::reclaim(pid));
    eq!(c.resident()?, 0);
    tables.all_gone()?;
    ok!(sysfs::claim(pid));
    eq!(c.resident()?, n * 64 * K);
    tables.all_there()?;
    check_all(&mut c, n)
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 60;
        bind_array,
        bind_repeated,
        bind_brings_in,
        vms,
        files_and_buffers,
        sync,
        contended,
        cpu_fault,
        attributes,
        waiting,
        killed_in_calls,
        killed_writers,
    ])
}
