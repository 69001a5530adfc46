// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The driver's shrinker: asked through debugfs, and by a kernel that is short of memory.

use e2e::child::Child;
use e2e::debugfs::{gem, shrink, Gems};
use e2e::proc::MemInfo;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const ALL: u64 = 1 << 20;

fn need() -> Res {
    if ok!(proc::swaps()).is_empty() {
        skip!("no swap");
    }
    Ok(())
}

/// Every state a buffer can be in: what may be evicted is, the rest stays, contents are right.
fn states() -> Res {
    let page = page_size();
    need()?;
    let d = ok!(Dev::open());
    let (a, b) = (ok!(d.vm()), ok!(d.vm()));
    let mut v = Vec::new();
    for (i, name) in [
        "unused",
        "mmapped",
        "one-vm",
        "two-vms",
        "exclusive",
        "exported",
    ]
    .iter()
    .enumerate()
    {
        let h = ok!(d.bo(M, BO_WB_MMAP, if *name == "exclusive" { a } else { 0 }));
        let label = format!("e2e-st-{name}");
        ok!(d.label(h, &label));
        let m = ok!(d.mmap(h, M));
        pattern::fill(&m, i as u64);
        match *name {
            "one-vm" | "exclusive" => ok!(d.map(a, h, 0, (i as u64 + 1) * 16 * M, M)),
            "two-vms" => {
                ok!(d.map(a, h, 0, (i as u64 + 1) * 16 * M, M));
                ok!(d.map(b, h, 0, M, M));
            }
            _ => {}
        }
        let fd = if *name == "exported" {
            Some(ok!(d.export(h)))
        } else {
            None
        };
        v.push((h, label, if *name == "unused" { None } else { Some(m) }, fd));
    }
    let (buf, _mem) = ok!(drm::udmabuf(64 * K));
    let imp = ok!(d.import(buf.as_fd()));
    ok!(d.map(a, imp, 0, 1 << 40, 64 * K));
    check!(ok!(shrink(ALL)) >= 6 * M / page);
    for (_, label, _, _) in &v {
        let g = gem(label)?;
        check!(g.resident == 0 && g.evictions == 1, "{label}: {g:?}");
    }
    for (i, (h, label, m, _)) in v.into_iter().enumerate() {
        let m = match m {
            Some(m) => m,
            None => ok!(d.mmap(h, M)),
        };
        pattern::check(&m, i as u64).map_err(|e| format!("{label}: {e}"))?;
    }
    Ok(())
}

/// Evicted and brought back again and again.
fn again_and_again() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-evict-me"));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    for n in 1..=20 {
        ok!(shrink(ALL));
        eq!(gem("e2e-evict-me")?.evictions, n);
        pattern::check(&m, 1)?;
    }
    Ok(())
}

/// A buffer that was mapped once more after its eviction is in use by the GPU again, and goes after
/// one that has been so for longer.
fn mapped_again() -> Res {
    let page = page_size();
    ktap::only_rust("the order of C is another one")?;
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let make = |label: &str, va: u64| -> Res<u32> {
        let h = ok!(d.bo(M, BO_WB_MMAP, 0));
        ok!(d.label(h, label));
        ok!(d.map(vm, h, 0, va, M));
        Ok(h)
    };
    let again = make("e2e-again", 1 << 32)?;
    ok!(shrink(ALL));
    eq!(gem("e2e-again")?.resident, 0);
    make("e2e-older", 2 << 32)?;
    ok!(d.map(vm, again, 0, 3 << 32, M));
    ok!(shrink(M / page));
    let (again, older) = (gem("e2e-again")?, gem("e2e-older")?);
    eq!((older.resident, older.evictions), (0, 1));
    eq!((again.resident, again.evictions), (M, 1));
    Ok(())
}

fn no_swap() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-no-swap"));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let v = ok!(proc::swaps());
    for s in &v {
        ok!(swapoff(s));
    }
    let n = shrink(ALL);
    let g = gem("e2e-no-swap");
    for s in &v {
        ok!(swapon(s));
    }
    eq!(ok!(n), 0);
    let g = g?;
    eq!((g.resident, g.evictions), (M, 0));
    Ok(())
}

/// Operations on buffers that the shrinker took.
fn use_evicted() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut hs = Vec::new();
    for i in 0..4u64 {
        let h = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
        pattern::fill(&ok!(d.mmap(h, 4 * M)), i);
        ok!(d.map(vm, h, 0, (i + 1) << 32, 4 * M));
        hs.push(h);
    }
    for round in 0..4u64 {
        ok!(shrink(ALL));
        eq!(ok!(d.fdinfo()).resident(), 0);
        ok!(d.unmap(vm, (1 << 32) + round * 7 * PAGE, PAGE));
        ok!(d.map(vm, hs[1], PAGE, (2 << 32) + 8 * M, 3 * M));
        ok!(d.unmap(vm, (2 << 32) + 9 * M + PAGE, M));
        ok!(d.sync(hs[2], SYNC_FLUSH, 0, 4 * M));
        for (i, h) in hs.iter().enumerate() {
            pattern::check(&ok!(d.mmap(*h, 4 * M)), i as u64)?;
        }
    }
    ok!(shrink(ALL));
    ok!(d.close(hs[3]));
    ok!(d.vm_destroy(vm));
    pattern::check(&ok!(d.mmap(hs[0], 4 * M)), 0)?;
    Ok(())
}

/// A process that takes 8 MiB more of its memory, up to `size`, at each command.
fn hog(size: u64) -> Res<Child> {
    Child::spawn(|e| {
        let _ = write_once("/proc/self/oom_score_adj", b"1000");
        let Ok(m) = Map::new(
            -1,
            0,
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        ) else {
            return;
        };
        let mut at = 0;
        e.serve(|_| {
            for i in (at..(at + M as usize).min(m.len() / 8)).step_by(512) {
                m.set(i, i as u64 | 1);
            }
            at = (at + M as usize) % (m.len() / 8);
            Ok(String::new())
        });
    })
}

/// Short of memory, the kernel has the driver evict, and the data is right afterwards. Under the
/// pressure of a process that comes and goes.
fn pressure() -> Res {
    need()?;
    let mem = ok!(MemInfo::read());
    let free = mem.get("MemFree");
    let held = (free / 3).min(256 * M) / M * M;
    if mem.get("SwapFree") < held + 64 * M {
        skip!("swap is too small: {} for {held}", mem.get("SwapFree"));
    }
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut maps = Vec::new();
    for i in 0..held / (8 * M) {
        let h = ok!(d.bo(8 * M, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 }));
        let m = ok!(d.mmap(h, 8 * M));
        pattern::fill(&m, i << 32);
        if i % 4 != 3 {
            ok!(d.map(vm, h, 0, (i + 1) << 32, 8 * M));
        }
        maps.push(m);
    }
    let evictions = || -> Res<u64> { Ok(Gems::read()?.of(getpid()).map(|b| b.evictions).sum()) };
    let before = evictions()?;
    let mut h = hog(mem.get("MemTotal"))?;
    let (mut eaten, mut evicted) = (0, 0);
    let start = std::time::Instant::now();
    while evicted < 5 && start.elapsed() < Duration::from_secs(60) {
        if h.ask("eat").is_err() {
            note!("the OOM killer took the hog");
            break;
        }
        eaten += 8;
        if (eaten + 64) * M > free - held {
            evicted = evictions()? - before;
        }
    }
    evicted = evicted.max(evictions()? - before);
    note!(
        "{eaten} MiB eaten, {evicted} evictions, {} MiB resident",
        ok!(d.fdinfo()).resident() / M
    );
    drop(h);
    check!(
        evicted > 0,
        "the kernel was short of memory and nothing was evicted"
    );
    for (i, m) in maps.iter().enumerate() {
        pattern::check(m, (i as u64) << 32)?;
    }
    Ok(())
}

/// The same while the data is being changed.
fn pressure_and_use() -> Res {
    need()?;
    let free = ok!(MemInfo::read()).get("MemFree");
    let held = (free / 4).min(160 * M) / M * M;
    let n = (held / (4 * M)) as usize;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut maps = Vec::new();
    for i in 0..n as u64 {
        let h = ok!(d.bo(4 * M, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 }));
        let m = ok!(d.mmap(h, 4 * M));
        pattern::fill(&m, i << 32);
        ok!(d.map(vm, h, 0, (i + 1) << 32, 4 * M));
        maps.push(m);
    }
    let avail = ok!(MemInfo::read()).get("MemFree");
    let mut eater = hog(avail + held / 8)?;
    let evictions = || -> Res<u64> { Ok(Gems::read()?.of(getpid()).map(|b| b.evictions).sum()) };
    race::run(
        Duration::from_secs(8),
        &["checks", "squeezes", "evictions"],
        vec![
            Box::new(|r| {
                let mut seeds: Vec<u64> = (0..n as u64).map(|i| i << 32).collect();
                let mut rng = pattern::Rng::new(3);
                while r.on() {
                    let i = rng.below(n as u64) as usize;
                    pattern::check(&maps[i], seeds[i])?;
                    seeds[i] = rng.draw();
                    pattern::fill(&maps[i], seeds[i]);
                    r.count("checks", 1);
                }
                for (i, m) in maps.iter().enumerate() {
                    pattern::check(m, seeds[i])?;
                }
                Ok(())
            }),
            Box::new(|r| {
                let mut seen = 0;
                // Until the kernel had time enough for it.
                let end = Instant::now() + Duration::from_secs(6);
                while r.on() && Instant::now() < end {
                    if eater.ask("eat").is_err() {
                        // The OOM killer took it, as it was asked to.
                        r.count("kills", 1);
                        break;
                    }
                    r.count("squeezes", 1);
                }
                while r.on() {
                    ok!(shrink(4096));
                    r.count("squeezes", 1);
                    let now = evictions()?;
                    r.count("evictions", now - seen);
                    seen = now;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            }),
        ],
    )?;
    Ok(())
}

/// A scan does not wait for each buffer that the GPU is using: with many of them it takes as long as
/// with one.
fn busy() -> Res {
    const BUFFERS: u64 = 100;
    need()?;
    ktap::only_rust("a way to make buffers busy")?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    for i in 0..BUFFERS {
        let h = ok!(d.bo(64 * K, BO_WB_MMAP, 0));
        ok!(d.map(vm, h, 0, (i + 1) << 32, 64 * K));
    }
    debugfs::busy(getpid(), true)?;
    let t = Instant::now();
    let _ = shrink(ALL);
    let took = t.elapsed();
    debugfs::busy(getpid(), false)?;
    note!("{BUFFERS} busy buffers: {} ms", took.as_millis());
    eq!(ok!(d.fdinfo()).resident(), BUFFERS * 64 * K);
    check!(took < Duration::from_millis(1500), "{took:?}");
    ok!(shrink(ALL));
    eq!(ok!(d.fdinfo()).resident(), 0);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        states,
        again_and_again,
        mapped_again,
        no_swap,
        use_evicted,
        busy,
        pressure,
        pressure_and_use,
    ])
}
