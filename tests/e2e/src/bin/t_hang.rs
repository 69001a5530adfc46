// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Hardware that does not do any more as it is told: commands of address spaces that do not end,
//! cache flushes that do not end. What the GPU may still use stays where it is, nobody waits for the
//! hardware again and again, and the driver can be unbound.
//!
//! Each case binds the driver anew at its end: nothing else brings such a GPU back.

use e2e::child::Child;
use e2e::debugfs::{gem, shrink, Gems, VmResident};
use e2e::model::Model;
use e2e::proc::MemInfo;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim, Bound};
use e2e::*;
use std::time::{Duration, Instant};

const SIZE: u64 = 64 * K;

/// The model with something that hangs, and the driver that is to be bound anew.
struct Board {
    bound: Bound,
    model: Model,
    sw: VmResident,
    violations: u64,
    /// Memory in files of shmem.
    shmem: u64,
    over: bool,
}

/// The same now. Without the refresh each processor may keep half a MiB to itself.
fn shmem() -> Res<u64> {
    ok!(write_once("/proc/sys/vm/stat_refresh", b"1"));
    Ok(ok!(MemInfo::read()).get("Shmem"))
}

impl Board {
    fn new() -> Res<Board> {
        reclaim::need()?;
        let sw = VmResident::need()?;
        let bound = Bound::new()?;
        let mut model = Model::need()?;
        let violations = model.violations()?.total;
        Ok(Board {
            bound,
            model,
            sw,
            violations,
            shmem: shmem()?,
            over: false,
        })
    }

    fn hang(&mut self, what: &str) -> Res {
        self.model.ask(&format!("hang {what}"))?;
        Ok(())
    }

    /// The driver goes while it hangs, and comes to a GPU that works. `may` is what rule of the
    /// hardware had to be broken.
    fn over(mut self, may: &str) -> Res {
        let t = Instant::now();
        self.bound.unbind()?;
        self.unbound_in(t.elapsed())?;
        self.bound.bind()?;
        self.works(may)
    }

    /// The same, when nobody uses the driver any more: what was kept is given back.
    fn over_for_all(mut self, may: &str) -> Res {
        let kept = shmem()?.saturating_sub(self.shmem);
        let t = Instant::now();
        self.bound.unbind()?;
        self.unbound_in(t.elapsed())?;
        let left = shmem()?.saturating_sub(self.shmem);
        note!("{kept} bytes were kept, {left} are left");
        check!(kept >= SIZE && left <= kept / 8, "{kept}, then {left}");
        self.bound.bind()?;
        self.works(may)
    }

    fn unbound_in(&mut self, took: Duration) -> Res {
        note!("unbound in {took:?}");
        check!(took < Duration::from_secs(10), "unbound in {took:?}");
        for what in ["as", "flush", "power", "reset"] {
            self.hang(&format!("{what} off"))?;
        }
        Ok(())
    }

    /// The driver is there, and works with the GPU.
    fn works(mut self, may: &str) -> Res {
        self.over = true;
        self.sw = VmResident::need()?;
        eq!(Gems::read()?.resident_of_users(), 0);
        // It works: the GPU sees what the CPU wrote, before and after it was away.
        let mut c = Target::new(&mut self, 4)?;
        c.gpu(&mut self)?;
        ok!(reclaim(c.child.pid));
        eq!(c.child.resident()?, 0);
        c.gpu(&mut self)?;
        let v = self.model.violations()?;
        let ours = v.lines.iter().all(|l| l.ends_with(&format!(" {may}")));
        if self.violations == 0 && v.total > 0 && ours {
            note!("{:?}, as the driver could not but do", v.lines);
            self.model.ask("violations clear")?;
        }
        Ok(())
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for what in ["as", "flush", "power", "reset"] {
            let _ = self.hang(&format!("{what} off"));
        }
        if !self.over {
            // A case that has failed is not to make the next one fail.
            let _ = self.bound.unbind();
        }
    }
}

/// A process with a VM in a slot, and buffers of `SIZE` in it.
struct Target {
    child: Child,
    pid: i32,
    slot: u32,
    n: u64,
}

impl Target {
    fn va(i: u64) -> u64 {
        (i + 1) << 32
    }

    fn new(b: &mut Board, n: u64) -> Res<Target> {
        let mut child = Child::holder()?;
        child.call("vm")?;
        for i in 0..n {
            let name = format!("hang-{}-{i}", child.pid);
            child.call(&format!("bo {SIZE:#x} 2 1 {} {name}", i + 1))?;
            child.call(&format!("bind 1 {i} {:#x}", Self::va(i)))?;
        }
        let slot = b.sw.on(child.pid, 1)?;
        let pid = child.pid;
        let mut t = Target {
            child,
            pid,
            slot,
            n,
        };
        t.gpu(b)?;
        eq!(t.child.resident()?, n * SIZE);
        Ok(t)
    }

    fn gem(&self, i: u64) -> Res<debugfs::Gem> {
        gem(&format!("hang-{}-{i}", self.pid))
    }

    /// The GPU sees the first buffer and the last one.
    fn gpu(&mut self, b: &mut Board) -> Res {
        self.slot = b.sw.on(self.child.pid, 1)?;
        for i in [0, self.n - 1] {
            b.model.check(self.slot, Self::va(i), SIZE, i + 1)?;
        }
        ok!(b.sw.set(self.child.pid, 1, false));
        Ok(())
    }

    fn check_all(&mut self) -> Res {
        for i in 0..self.n {
            self.child.call(&format!("check {i}"))?;
        }
        Ok(())
    }

    /// `mem_reclaim` is refused, and nothing goes. How long it took.
    fn refused(&mut self) -> Res<Duration> {
        let t = Instant::now();
        let r = reclaim(self.child.pid);
        let took = t.elapsed();
        check!(r == Err(EIO), "mem_reclaim: {r:?} in {took:?}");
        eq!(self.child.resident()?, self.n * SIZE);
        Ok(took)
    }

    /// The same twice. The first one waits for the hardware, once and not for each buffer; after
    /// that nobody does.
    fn refused_twice(&mut self) -> Res {
        let first = self.refused()?;
        let second = self.refused()?;
        note!(
            "{} buffers refused in {first:?}, and again in {second:?}",
            self.n
        );
        check!(first < Duration::from_millis(2000), "{first:?}");
        check!(second < Duration::from_millis(1000), "{second:?}");
        self.check_all()
    }
}

/// How many buffers: to wait 100 ms for each takes twelve seconds.
const MANY: u64 = 120;

/// Commands of the address space do nothing: it stays enabled, and with it the pages where they are.
fn commands_hang() -> Res {
    let mut b = Board::new()?;
    let mut t = Target::new(&mut b, MANY)?;
    b.hang("as on")?;
    t.refused_twice()?;
    // This is why: the GPU goes on writing.
    b.model.fill(t.slot, Target::va(7), SIZE, 4711)?;
    t.child.call("nocpu 7")?;
    t.child.call("cpu 7")?;
    let wrong = t.child.ask("check 7")?;
    check!(wrong.is_err(), "the GPU wrote elsewhere");
    // Everything else about it is refused or harmless.
    eq!(t.child.call(&format!("claim {}", t.pid))?, "ok");
    let r = t
        .child
        .ask(&format!("unbind 1 {:#x} {SIZE:#x}", Target::va(3)))?;
    check!(r == Err("EIO".to_string()), "VM_UNMAP: {r:?}");
    b.model.check(t.slot, Target::va(7), SIZE, 4711)?;
    t.child.call("vmdel 1")?;
    b.model.check(t.slot, Target::va(7), SIZE, 4711)?;
    t.child.end()?;
    // The process is gone, and what the GPU reaches is there.
    b.model.check(t.slot, Target::va(7), SIZE, 4711)?;
    b.model.check(t.slot, Target::va(MANY - 1), SIZE, MANY)?;
    eq!(t.gem(7)?.resident, SIZE);
    eq!(Gems::read()?.resident_of_users(), MANY * SIZE);
    b.over_for_all("l2-off-dirty")
}

/// The address space can be taken away, but what the GPU wrote may still be in its caches.
fn flushes_hang() -> Res {
    let mut b = Board::new()?;
    let mut t = Target::new(&mut b, MANY)?;
    b.hang("flush on")?;
    t.refused_twice()?;
    check!(b
        .model
        .translate(t.slot, Target::va(0), "r")?
        .pa()
        .is_none());
    t.child.call("vmdel 1")?;
    t.child.end()?;
    eq!(Gems::read()?.resident_of_users(), MANY * SIZE);
    b.over_for_all("")
}

/// Nothing works at all, and the process is killed.
fn everything_hangs() -> Res {
    let mut b = Board::new()?;
    let mut t = Target::new(&mut b, MANY)?;
    for what in ["as on", "flush on", "power on", "reset on"] {
        b.hang(what)?;
    }
    t.refused_twice()?;
    t.child.kill()?;
    eq!(Gems::read()?.resident_of_users(), MANY * SIZE);
    b.over_for_all("")
}

/// The kernel's shrinker does not wait for each buffer either, and gets none.
fn shrinker() -> Res {
    let mut b = Board::new()?;
    let mut t = Target::new(&mut b, MANY)?;
    b.hang("as on")?;
    b.hang("flush on")?;
    for round in 0..3 {
        let start = Instant::now();
        eq!(ok!(shrink(1 << 20)), 0);
        let took = start.elapsed();
        note!("scan {round}: {took:?}");
        check!(took < Duration::from_millis(2000), "{took:?}");
    }
    eq!(t.child.resident()?, MANY * SIZE);
    t.check_all()?;
    b.over("")
}

/// It is an unmap that finds it out: the buffer is not mapped any more and closed, and its pages
/// stay all the same.
fn unmap_finds_it() -> Res {
    for what in ["as on", "flush on"] {
        let mut b = Board::new()?;
        let mut t = Target::new(&mut b, 8)?;
        b.hang(what)?;
        for i in [2, 3] {
            let r = t
                .child
                .ask(&format!("unbind 1 {:#x} {SIZE:#x}", Target::va(i)))?;
            check!(r == Err("EIO".to_string()), "{what}: {r:?}");
            t.child.call(&format!("close {i}"))?;
        }
        // One of which nobody has a handle, one that the process could give up.
        eq!(ok!(shrink(1 << 20)), 0);
        err!(reclaim(t.pid), EIO);
        for i in [2, 3, 4] {
            eq!(t.gem(i)?.resident, SIZE);
        }
        t.child.end()?;
        eq!(Gems::read()?.resident_of_users(), 8 * SIZE);
        b.over_for_all("")?;
    }
    Ok(())
}

/// A slot that cannot be emptied is nobody's, and the others go on working.
fn slots() -> Res {
    let mut b = Board::new()?;
    let mut lost = Target::new(&mut b, 2)?;
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(Target::new(&mut b, 2)?);
    }
    b.hang("as on")?;
    lost.refused_twice()?;
    b.hang("as off")?;
    for t in &mut others {
        check!(t.slot != lost.slot);
        t.gpu(&mut b)?;
    }
    // An eighth VM takes the slot of one that is idle, not that one.
    let more = Target::new(&mut b, 2)?;
    check!(more.slot != lost.slot);
    check!(b.sw.set(lost.pid, 1, true) == Err(EIO));
    lost.refused()?;
    for t in &mut others {
        ok!(reclaim(t.pid));
        eq!(t.child.resident()?, 0);
        t.gpu(&mut b)?;
        t.check_all()?;
    }
    b.over("")
}

/// A VM that is pushed out of its slot by another one, and whose data cannot be flushed.
fn pushed_out() -> Res {
    let mut b = Board::new()?;
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(Target::new(&mut b, 2)?);
    }
    let mut last = Child::holder()?;
    last.call("vm")?;
    b.hang("flush on")?;
    check!(b.sw.set(last.pid, 1, true) == Err(EIO));
    b.hang("flush off")?;
    // The first one had been idle for longest.
    all[0].refused_twice()?;
    ok!(claim(all[0].pid));
    for t in &mut all[1..] {
        ok!(reclaim(t.pid));
        eq!(t.child.resident()?, 0);
    }
    last.call("bo 0x10000 2 1 5")?;
    last.call("bind 1 0 0x100000000")?;
    let slot = b.sw.on(last.pid, 1)?;
    check!(slot != all[0].slot);
    b.model.check(slot, 1 << 32, SIZE, 5)?;
    b.over("")
}

/// A command that takes too long, once: the VM loses its place and cannot be used any more, and its
/// memory goes.
fn once() -> Res {
    let mut b = Board::new()?;
    let mut t = Target::new(&mut b, MANY)?;
    b.hang("as 150")?;
    let start = Instant::now();
    let r = reclaim(t.pid);
    note!("{r:?} in {:?}", start.elapsed());
    ok!(r);
    eq!(t.child.resident()?, 0);
    let r = t.child.ask(&format!("bind 1 0 {:#x}", 1u64 << 44))?;
    check!(r == Err("EINVAL".to_string()), "VM_BIND: {r:?}");
    t.check_all()?;
    t.child.call("vmdel 1")?;
    // Others are not concerned.
    Target::new(&mut b, 2)?.gpu(&mut b)?;
    t.child.end()?;
    eq!(Gems::read()?.resident_of_users(), 0);
    b.over("")
}

/// The driver is unloaded: what was kept goes before its code does.
fn module() -> Res {
    let (name, file) = ("panthor_rs", "/lib/modules/panthor_rs.ko");
    if !std::path::Path::new(file).exists() {
        skip!("no {file}");
    }
    let mut b = Board::new()?;
    let mut t = Target::new(&mut b, 8)?;
    b.hang("as on")?;
    b.hang("flush on")?;
    t.refused_twice()?;
    t.child.end()?;
    let start = Instant::now();
    let gone = wait_for(Duration::from_secs(5), || rmmod(name).is_ok());
    check!(gone, "the module cannot be unloaded");
    b.unbound_in(start.elapsed())?;
    check!(shmem()? < b.shmem + 4 * SIZE);
    ok!(insmod(file));
    let there = wait_for(Duration::from_secs(10), || Dev::open().is_ok());
    check!(there, "no render node after insmod");
    b.works("")
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 90;
        commands_hang,
        flushes_hang,
        everything_hangs,
        shrinker,
        unmap_finds_it,
        slots,
        pushed_out,
        once,
        module,
    ])
}
