// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM_BIND against reclaim and claim: the mappings are right after every round, by `gpuvas` and by
//! the model's own walk of the tables.

use e2e::debugfs::VmResident;
use e2e::model::Model;
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::sync::RwLock;

const UNITS: u64 = 48;
const UNIT: u64 = 256 * K;
const BASE: u64 = (1 << 32) - 3 * UNIT;

fn maps_and_unmaps() -> Res {
    need_swap()?;
    // On and off an address space slot, where that can be.
    let (sw, mut model) = match (VmResident::need(), Model::open()) {
        (Ok(s), Ok(m)) => (Some(s), Some(m)),
        _ => (None, None),
    };
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let me = getpid();
    let marker = (1 << 46) + me as u64 * PAGE;
    let p = ok!(d.bo(PAGE, 0, 0));
    ok!(d.map(vm, p, 0, marker, PAGE));
    let mut bos = Vec::new();
    for i in 0..3u64 {
        let h = ok!(d.bo(UNITS * UNIT, BO_WB_MMAP, if i == 0 { vm } else { 0 }));
        let m = ok!(d.mmap(h, UNITS * UNIT));
        pattern::fill(&m, i << 40);
        bos.push((h, m));
    }
    // Held for reading by each call of the disturber, for writing while the result is looked at.
    let gate = RwLock::new(());
    let ours = sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists());
    run(
        ktap::race_time(),
        &["binds", "looks", disturbances()],
        vec![
            Box::new(|r| {
                let mut rng = pattern::Rng::new(11);
                let mut book: Vec<Option<(u64, u64)>> = vec![None; UNITS as usize];
                while r.on() {
                    for _ in 0..rng.below(20) + 1 {
                        let first = rng.below(UNITS);
                        let n = rng.below(UNITS - first) + 1;
                        let va = BASE + first * UNIT;
                        let range = first as usize..(first + n) as usize;
                        if rng.below(3) == 0 {
                            ok!(d.unmap(vm, va, n * UNIT));
                            book[range].fill(None);
                        } else {
                            let b = rng.below(3);
                            let off = rng.below(UNITS - n + 1);
                            ok!(d.map(vm, bos[b as usize].0, off * UNIT, va, n * UNIT));
                            for (i, e) in book[range].iter_mut().enumerate() {
                                *e = Some((b, off + i as u64));
                            }
                        }
                        r.count("binds", 1);
                    }
                    let _quiet = gate.write();
                    // What `gpuvas` says.
                    let mut seen: Vec<Option<u64>> = vec![None; UNITS as usize];
                    for a in debugfs::vas_of(marker)? {
                        for i in 0..a.range / UNIT {
                            let u = (a.start - BASE) / UNIT + i;
                            seen[u as usize] = Some(a.offset / UNIT + i);
                        }
                    }
                    for u in 0..UNITS as usize {
                        let want = book[u].map(|(_, o)| o);
                        check!(seen[u] == want, "unit {u}: {:?}, want {want:?}", seen[u]);
                    }
                    // What the GPU finds.
                    if let (Some(sw), Some(model)) = (&sw, &mut model) {
                        ok!(sysfs::claim(me));
                        let slot = sw.on(me, vm)?;
                        for (u, e) in book.iter().enumerate() {
                            let va = BASE + u as u64 * UNIT;
                            match e {
                                Some((b, o)) if rng.below(6) == 0 => {
                                    model.check(slot, va, UNIT, (b << 40) + o * UNIT / 8)?
                                }
                                Some(_) => {
                                    check!(
                                        model.translate(slot, va, "r")?.pa().is_some(),
                                        "{va:#x}: nothing"
                                    )
                                }
                                None => {
                                    let t = model.translate(slot, va, "r")?;
                                    check!(t.pa().is_none(), "{va:#x} after unmap: {t:?}");
                                }
                            }
                        }
                        if rng.below(2) == 0 {
                            ok!(sw.set(me, vm, false));
                        }
                    }
                    r.count("looks", 1);
                }
                if let Some(sw) = &sw {
                    ok!(sw.set(me, vm, false));
                }
                for (i, (_, m)) in bos.iter().enumerate() {
                    pattern::check(m, (i as u64) << 40)?;
                }
                Ok(())
            }),
            Box::new(|r| {
                while r.on() {
                    {
                        let _g = gate.read();
                        if ours {
                            ok!(sysfs::reclaim(me));
                            r.count("reclaims", 1);
                        } else {
                            ok!(debugfs::shrink(1 << 20));
                            r.count("shrinks", 1);
                        }
                    }
                    {
                        let _g = gate.read();
                        if ours {
                            ok!(sysfs::claim(me));
                            r.count("claims", 1);
                        }
                    }
                    // A writer-preferring lock would do; this one needs room.
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Ok(())
            }),
        ],
    )
}

/// Two threads bind in VMs of their own, sharing a buffer.
fn two_vms() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let shared = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(shared, 4 * M));
    pattern::fill(&m, 5);
    let side = |n: u64| -> Side<'_> {
        let d = &d;
        Box::new(move |r| {
            let vm = ok!(d.vm());
            let own = ok!(d.bo(M, BO_WB_MMAP, vm));
            let o = ok!(d.mmap(own, M));
            pattern::fill(&o, n);
            let mut rng = pattern::Rng::new(n);
            while r.on() {
                let va = (rng.below(8) + 1) * 8 * M;
                match rng.below(4) {
                    0 => ok!(d.unmap(vm, va, 4 * M)),
                    1 => ok!(d.map(vm, own, 0, va, M)),
                    2 => ok!(d.unmap(vm, va + rng.below(1024) * PAGE, PAGE)),
                    _ => ok!(d.map(vm, shared, 0, va, 4 * M)),
                }
                r.count("binds", 1);
            }
            pattern::check(&o, n)?;
            ok!(d.vm_destroy(vm));
            Ok(())
        })
    };
    run(
        ktap::race_time(),
        &["binds", disturbances()],
        vec![side(1), side(2), disturber(getpid(), &[])],
    )?;
    pattern::check(&m, 5)?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; maps_and_unmaps, two_vms])
}
