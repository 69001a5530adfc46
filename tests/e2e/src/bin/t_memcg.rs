// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the limits and requests of memory cgroups do to GPU memory.

use e2e::cgroup::Cgroup;
use e2e::child::{said, Child};
use e2e::debugfs::{shrink, Gems};
use e2e::ktap::{driver, Driver};
use e2e::uapi::*;
use e2e::*;
use std::time::{Duration, Instant};

/// Bytes of a buffer, and of all that a process holds.
const BO: u64 = 4 * M;
const HELD: u64 = 64 * M;
/// What is asked for.
const HALF: u64 = HELD / 2;
/// What a cgroup is charged for beside the buffers: page tables, the process itself.
const SLACK: u64 = 8 * M;

/// A process in a cgroup with [`HELD`] bytes of buffers, mapped in its VM and by its CPU, filled.
struct Holder {
    c: Child,
}

impl Holder {
    fn new(g: &Cgroup) -> Res<Holder> {
        let mut h = Holder::empty(g)?;
        h.grow(HELD)?;
        Ok(h)
    }

    fn empty(g: &Cgroup) -> Res<Holder> {
        let mut c = Child::holder()?;
        ok!(g.add(c.pid));
        c.call("vm")?;
        Ok(Holder { c })
    }

    fn grow(&mut self, bytes: u64) -> Res {
        for i in 0..bytes / BO {
            // Every other one is private to the VM.
            let n = self
                .c
                .num(&format!("bo {BO} {BO_WB_MMAP} {} {}", i % 2, i + 1))?;
            self.c.call(&format!("bind 1 {n} {:#x}", (i + 1) << 32))?;
        }
        Ok(())
    }

    fn check(&mut self, bytes: u64) -> Res {
        for i in 0..bytes / BO {
            self.c.call(&format!("check {i}"))?;
        }
        Ok(())
    }

    fn evictions(&self) -> Res<u64> {
        Ok(Gems::read()?.of(self.c.pid).map(|b| b.evictions).sum())
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / M as f64)
}

/// What a request did, as a line of the table.
struct Figure {
    resident: u64,
    charged: u64,
    swap: u64,
}

impl Figure {
    fn of(g: &Cgroup, h: &mut Holder) -> Res<Figure> {
        Ok(Figure {
            resident: h.c.resident()?,
            charged: g.current()?,
            swap: g.swap()?,
        })
    }

    fn print(&self, what: &str, answer: &str, after: &Figure, ms: u128) {
        note!(
            "figure: {what}: {answer}; resident {} -> {}, charged {} -> {}, swap {} -> {} MiB, {ms} ms",
            mib(self.resident),
            mib(after.resident),
            mib(self.charged),
            mib(after.charged),
            mib(self.swap),
            mib(after.swap)
        );
    }
}

/// Does something to a cgroup and prints what came of it.
fn measure(
    what: &str,
    g: &Cgroup,
    h: &mut Holder,
    f: impl FnOnce() -> sys::Result<()>,
) -> Res<(sys::Result<()>, Figure, Figure)> {
    let before = Figure::of(g, h)?;
    let start = Instant::now();
    let r = f();
    let ms = start.elapsed().as_millis();
    let after = Figure::of(g, h)?;
    before.print(what, &said(r), &after, ms);
    Ok((r, before, after))
}

fn need() -> Res {
    race::need_swap()?;
    // What the test before left behind is not to be found.
    proc::drop_caches();
    Ok(())
}

/// `memory.reclaim` of half of what is resident.
fn reclaim_resident() -> Res {
    need()?;
    let g = ok!(Cgroup::new("e2e-reclaim"));
    let mut h = Holder::new(&g)?;
    let (r, before, after) = measure("memory.reclaim of half", &g, &mut h, || g.reclaim(HALF))?;
    eq!(before.resident, HELD);
    match driver() {
        Driver::Rust => {
            ok!(r);
            check!(after.resident <= HELD - HALF + SLACK);
            check!(after.swap >= HALF - SLACK);
            check!(before.charged - after.charged >= HALF - SLACK);
        }
        // The table of Documentation/gpu/panthor.rst says so.
        _ => {
            err!(r, sys::EAGAIN);
            eq!(after.resident, HELD);
        }
    }
    h.check(HELD)?;
    eq!(h.c.resident()?, HELD);
    Ok(())
}

/// `memory.reclaim` after the driver's own shrinker evicted the buffers.
fn reclaim_evicted() -> Res {
    need()?;
    let g = ok!(Cgroup::new("e2e-evicted"));
    let mut h = Holder::new(&g)?;
    let (r, before, evicted) =
        measure("debugfs shrink", &g, &mut h, || shrink(1 << 20).map(|_| ()))?;
    ok!(r);
    eq!(evicted.resident, 0);
    check!(
        before.charged - evicted.charged.min(before.charged) < SLACK,
        "an eviction alone frees nothing"
    );
    let (r, _, after) = measure("then memory.reclaim of half", &g, &mut h, || {
        g.reclaim(HALF)
    })?;
    ok!(r);
    check!(after.swap >= HALF - SLACK);
    h.check(HELD)
}

/// The same with the attribute.
fn mem_reclaim() -> Res {
    sysfs::need("mem_reclaim")?;
    need()?;
    let g = ok!(Cgroup::new("e2e-attr"));
    let mut h = Holder::new(&g)?;
    let pid = h.c.pid;
    let (r, _, after) = measure("mem_reclaim", &g, &mut h, || sysfs::reclaim(pid))?;
    ok!(r);
    eq!(after.resident, 0);
    if ktap::patched() {
        check!(after.swap >= HELD - SLACK);
        check!(after.charged < SLACK);
    }
    let (r, _, after) = measure(
        "then memory.reclaim of all that is charged",
        &g,
        &mut h,
        || g.reclaim(HELD),
    )?;
    check!(ktap::patched() || r.is_ok(), "memory.reclaim: {}", said(r));
    check!(after.swap >= HELD - SLACK);
    let (r, _, after) = measure("then mem_claim", &g, &mut h, || sysfs::claim(pid))?;
    ok!(r);
    eq!(after.resident, HELD);
    check!(after.charged >= HELD, "it is charged to the cgroup again");
    h.check(HELD)
}

/// `memory.high` below what is resident.
fn high() -> Res {
    need()?;
    let g = ok!(Cgroup::new("e2e-high"));
    let mut h = Holder::new(&g)?;
    let (r, _, after) = measure("memory.high at half", &g, &mut h, || {
        g.write("memory.high", &HALF.to_string())
    })?;
    ok!(r);
    match driver() {
        Driver::Rust => check!(after.charged <= HALF + SLACK),
        _ => eq!(after.resident, HELD),
    }
    ok!(g.write("memory.high", "max"));
    h.check(HELD)
}

/// `memory.max` below what is resident: the OOM killer comes if nothing can be reclaimed.
fn max() -> Res {
    need()?;
    let g = ok!(Cgroup::new("e2e-max"));
    let mut h = Holder::new(&g)?;
    let before = Figure::of(&g, &mut h)?;
    let start = Instant::now();
    ok!(g.write("memory.max", &HALF.to_string()));
    let ms = start.elapsed().as_millis();
    let kills = g.key("memory.events", "oom_kill")?;
    if kills > 0 {
        note!(
            "figure: memory.max at half: OOM kill; charged {} -> {} MiB, {ms} ms",
            mib(before.charged),
            mib(g.current()?)
        );
        check!(driver() != Driver::Rust, "{kills} processes killed");
        return Ok(());
    }
    let after = Figure::of(&g, &mut h)?;
    before.print("memory.max at half", "ok", &after, ms);
    check!(after.charged <= HALF);
    ok!(g.write("memory.max", "max"));
    h.check(HELD)
}

/// A process that goes on allocating beyond the limit of its cgroup.
fn grow_beyond_max() -> Res {
    need()?;
    let g = ok!(Cgroup::new("e2e-grow"));
    ok!(g.write("memory.max", &HALF.to_string()));
    let mut h = Holder::empty(&g)?;
    let start = Instant::now();
    let grown = h.grow(HELD);
    let ms = start.elapsed().as_millis();
    let kills = g.key("memory.events", "oom_kill")?;
    match (driver(), grown) {
        (Driver::Rust, r) => {
            r?;
            eq!(kills, 0);
            let f = Figure::of(&g, &mut h)?;
            note!(
                "figure: {} MiB allocated with memory.max {}: ok; resident {}, charged {}, swap {} MiB, {ms} ms",
                mib(HELD), mib(HALF), mib(f.resident), mib(f.charged), mib(f.swap)
            );
            check!(g.num("memory.peak")? <= HALF);
            h.check(HELD)?;
            eq!(g.key("memory.events", "oom_kill")?, 0);
        }
        (_, r) => note!(
            "figure: {} MiB allocated with memory.max {}: {}, {kills} OOM kills, {ms} ms",
            mib(HELD),
            mib(HALF),
            if r.is_ok() { "ok" } else { "failed" }
        ),
    }
    Ok(())
}

/// A request to one cgroup leaves the others alone.
fn others_stay() -> Res {
    ktap::only_rust("memory cgroups in the shrinker")?;
    need()?;
    let (a, b) = (ok!(Cgroup::new("e2e-a")), ok!(Cgroup::new("e2e-b")));
    let (mut ha, mut hb) = (Holder::new(&a)?, Holder::new(&b)?);
    // Of no cgroup but the root.
    let mut hr = Child::holder()?;
    hr.call(&format!("bo {BO} {BO_WB_MMAP} 0 7"))?;
    // The last bytes may take several requests: pages wait on lists of each CPU.
    for _ in 0..4 {
        if ha.c.resident()? == 0 {
            break;
        }
        let _ = a.reclaim(HELD);
    }
    note!(
        "figure: memory.reclaim of all: resident {} of the cgroup, {} of another one, {} MiB of the root",
        mib(ha.c.resident()?),
        mib(hb.c.resident()?),
        mib(hr.resident()?)
    );
    eq!(ha.c.resident()?, 0);
    eq!(hb.evictions()?, 0);
    eq!(hb.c.resident()?, HELD);
    eq!(hr.resident()?, BO);
    // The driver's own scan finds all of them.
    ok!(shrink(1 << 20));
    eq!(hb.c.resident()? + hr.resident()?, 0);
    ha.check(HELD)?;
    hb.check(HELD)
}

/// A request to a cgroup reaches those below it, and spares what `memory.low` protects.
fn below_and_low() -> Res {
    ktap::only_rust("memory cgroups in the shrinker")?;
    need()?;
    let p = ok!(Cgroup::new("e2e-parent"));
    let (a, b) = (ok!(p.child("a")), ok!(p.child("b")));
    ok!(p.write("memory.low", "max"));
    ok!(a.write("memory.low", "max"));
    let (mut ha, mut hb) = (Holder::new(&a)?, Holder::new(&b)?);
    ok!(p.reclaim(HALF));
    note!(
        "figure: memory.reclaim of the parent: resident {} with memory.low, {} MiB without",
        mib(ha.c.resident()?),
        mib(hb.c.resident()?)
    );
    eq!(ha.evictions()?, 0);
    check!(hb.c.resident()? <= HELD - HALF + SLACK);
    ha.check(HELD)?;
    hb.check(HELD)
}

/// A cgroup that may not swap: its buffers would be evicted for nothing.
fn without_swap() -> Res {
    ktap::only_rust("memory cgroups in the shrinker")?;
    need()?;
    let g = ok!(Cgroup::new("e2e-noswap"));
    ok!(g.write("memory.swap.max", "0"));
    let mut h = Holder::new(&g)?;
    let (r, _, after) = measure("memory.reclaim with memory.swap.max 0", &g, &mut h, || {
        g.reclaim(HALF)
    })?;
    err!(r, sys::EAGAIN);
    eq!(after.resident, HELD);
    eq!(h.evictions()?, 0);
    // Below a limit that is used up it is the same.
    drop(h);
    ok!(g.write("memory.swap.max", "max"));
    let sub = ok!(g.child("sub"));
    ok!(g.write("memory.swap.max", &(8 * M).to_string()));
    let mut h = Holder::new(&sub)?;
    let _ = measure("the same with 8 MiB above it", &sub, &mut h, || {
        sub.reclaim(HALF)
    })?;
    check!(sub.swap()? <= 8 * M);
    // What was evicted and cannot go to swap is little, and a second request evicts no more.
    let evicted = h.evictions()?;
    for _ in 0..3 {
        let _ = sub.reclaim(HALF);
    }
    check!(
        h.evictions()? <= evicted + 1,
        "{} evictions, then {}",
        evicted,
        h.evictions()?
    );
    h.check(HELD)
}

/// A cgroup that is removed while buffers that were made in it live on.
fn removed() -> Res {
    need()?;
    let g = ok!(Cgroup::new("e2e-removed"));
    let mut h = Holder::new(&g)?;
    ok!(Cgroup::leave(h.c.pid));
    ok!(g.remove());
    let g = ok!(Cgroup::new("e2e-removed"));
    for _ in 0..3 {
        // What is just moving to the parent may be missed once.
        check!(sys::wait_for(Duration::from_secs(10), || {
            shrink(1 << 20).is_ok() && h.c.resident().is_ok_and(|n| n == 0)
        }));
        h.check(HELD)?;
    }
    // And what is made now belongs where its maker is.
    ok!(g.add(h.c.pid));
    h.grow(BO)?;
    ok!(Cgroup::leave(h.c.pid));
    drop(h);
    ok!(g.remove());
    Ok(())
}

/// Cgroups come and go under processes that hold, use and free buffers while all is being evicted.
fn coming_and_going() -> Res {
    need()?;
    race::run(
        ktap::race_time(),
        &["cgroups", "requests", "checks"],
        vec![
            Box::new(|r| {
                let d = ok!(Dev::open());
                let vm = ok!(d.vm());
                let tid = sys::getpid();
                let mut seed = 1;
                while r.on() {
                    let g = ok!(Cgroup::new("e2e-going"));
                    ok!(g.add(tid));
                    let mut maps = Vec::new();
                    for i in 0..8 {
                        let h = ok!(d.bo(M, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 }));
                        let m = ok!(d.mmap(h, M));
                        seed += 1 << 32;
                        pattern::fill(&m, seed);
                        ok!(d.map(vm, h, 0, (i + 1) << 32, M));
                        maps.push((h, m, seed));
                    }
                    let _ = g.reclaim(4 * M);
                    r.count("requests", 1);
                    ok!(Cgroup::leave(tid));
                    ok!(g.remove());
                    r.count("cgroups", 1);
                    for (h, m, seed) in maps {
                        pattern::check(&m, seed)?;
                        r.count("checks", 1);
                        drop(m);
                        ok!(d.close(h));
                    }
                }
                Ok(())
            }),
            Box::new(|r| {
                while r.on() {
                    ok!(shrink(512));
                    r.count("shrinks", 1);
                }
                Ok(())
            }),
        ],
    )
}

/// The time that a request takes is linear in the number of buffers.
fn many_buffers() -> Res {
    ktap::only_rust("memory cgroups in the shrinker")?;
    need()?;
    let mut per_buffer = Vec::new();
    for count in [400u64, 3_200] {
        let g = ok!(Cgroup::new("e2e-many"));
        let mut c = Child::spawn(|e| {
            let Ok(d) = Dev::open() else { return };
            e.serve(|cmd| {
                let n: u64 = cmd.parse().map_err(|_| "number")?;
                let vm = d.vm().map_err(said_err)?;
                for i in 0..n {
                    let h = d.bo(PAGE, BO_WB_MMAP, vm).map_err(said_err)?;
                    d.map(vm, h, 0, (i + 1) * PAGE, PAGE).map_err(said_err)?;
                }
                Ok(String::new())
            });
        })?;
        ok!(g.add(c.pid));
        c.call(&count.to_string())?;
        let resident = |pid| -> Res<u64> { Ok(Gems::read()?.of(pid).map(|b| b.resident).sum()) };
        eq!(resident(c.pid)?, count * PAGE);
        let start = Instant::now();
        let r = g.reclaim(count * PAGE);
        let us = start.elapsed().as_micros() as u64;
        let left = resident(c.pid)? / PAGE;
        note!(
            "figure: memory.reclaim of {count} buffers of a page: {}, {left} left, {us} us, {} ns a buffer",
            said(r),
            us * 1000 / count
        );
        check!(left <= count / 10);
        per_buffer.push(us * 1000 / count);
    }
    check!(
        per_buffer[1] <= 4 * per_buffer[0],
        "eight times the buffers take {} ns each, not {}",
        per_buffer[1],
        per_buffer[0]
    );
    Ok(())
}

/// Whatever a process can make more of is charged to its cgroup: mappings, buffers, labels.
fn kernel_memory() -> Res {
    ktap::only_rust("the C driver does not charge it")?;
    /// How many of each, and the bytes that each one has at least.
    const EACH: [(&str, u64, u64); 3] = [
        ("maps", 40_000, 160),
        ("bos", 4000, 2048),
        ("labels", 4000, 4096),
    ];
    let g = Cgroup::need("e2e-kernel")?;
    let mut c = Child::spawn(|e| {
        let d = Dev::open();
        e.serve(|cmd| {
            let d = d.as_ref().map_err(|e| e.to_string())?;
            let label = "x".repeat(4095);
            let r = || -> sys::Result<()> {
                match cmd {
                    "ready" => {
                        d.vm()?;
                        let h = d.bo(PAGE, BO_NO_MMAP, 0)?;
                        d.map(1, h, 0, 1 << 40, PAGE)?;
                    }
                    "maps" => {
                        let ops: Vec<Op> = (0..EACH[0].1)
                            .map(|i| Op::map(1, 0, i * 2 * PAGE, PAGE))
                            .collect();
                        d.bind(1, &ops).map_err(|(e, _)| e)?;
                    }
                    "bos" => {
                        for _ in 0..EACH[1].1 {
                            d.bo(PAGE, BO_NO_MMAP, 0)?;
                        }
                    }
                    _ => {
                        for i in 0..EACH[2].1 {
                            d.label(2 + i as u32, &label)?;
                        }
                    }
                }
                Ok(())
            };
            r().map(|()| String::new()).map_err(said_err)
        })
    })?;
    ok!(g.add(c.pid));
    c.call("ready")?;
    for (what, count, least) in EACH {
        let before = g.key("memory.stat", "kernel")?;
        c.call(what)?;
        let each = g.key("memory.stat", "kernel")?.saturating_sub(before) / count;
        note!("figure: {what}: {each} bytes charged for each");
        check!(each >= least, "{what}: {each} bytes charged for each");
    }
    eq!(c.end()?, 0);
    Ok(())
}

fn said_err(e: Errno) -> String {
    e.to_string()
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        reclaim_resident,
        reclaim_evicted,
        mem_reclaim,
        high,
        max,
        grow_beyond_max,
        others_stay,
        below_and_low,
        without_swap,
        removed,
        coming_and_going,
        many_buffers,
        kernel_memory,
    ])
}
