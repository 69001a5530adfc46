// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM_BIND against reclaim and claim: the translations are right after every step, by the model's
//! own walk of the tables, and all of them are back after a claim.

use e2e::debugfs::VmResident;
use e2e::model::{Model, Translation};
use e2e::pattern::{mix, Rng};
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::sync::RwLock;

const UNITS: u64 = 48;
const UNIT: u64 = 64 * K;
/// Around 4 GiB, with a block's worth of addresses behind it.
const BASE: u64 = (1 << 32) - 16 * UNIT;

/// What a unit of addresses is mapped on: buffer and unit in it.
type Book = [Option<(u64, u64)>];

/// The GPU's view of a VM: through its address space slot, TLB and all, while it has one, or else
/// through its tables.
struct Eyes {
    sw: VmResident,
    model: Model,
    vm: u32,
    slot: Option<u32>,
    root: u64,
}

impl Eyes {
    fn new(vm: u32) -> Res<Eyes> {
        let (sw, model) = (VmResident::need()?, Model::need()?);
        let slot = Some(sw.on(getpid(), vm)?);
        let root = sw.get(getpid(), vm)?.root;
        Ok(Eyes {
            sw,
            model,
            vm,
            slot,
            root,
        })
    }

    /// Takes the slot away, or gives it back.
    fn set_resident(&mut self, on: bool) -> Res {
        if on {
            self.slot = Some(self.sw.on(getpid(), self.vm)?);
        } else {
            self.sw.set(getpid(), self.vm, false)?;
            self.slot = None;
        }
        Ok(())
    }

    fn at(&mut self, va: u64) -> Res<Translation> {
        match self.slot {
            Some(slot) => self.model.translate(slot, va, "r"),
            None => self.model.root(self.root, va, "r"),
        }
    }

    /// Whether a unit translates; what it translates to must be what `want` says, and nothing may be
    /// there if that is nothing. The driver may take the page away at any moment: a word counts only
    /// if the translation is the same before and after it was read.
    fn look(&mut self, unit: u64, want: Option<(u64, u64)>, rng: &mut Rng) -> Res<bool> {
        let off = rng.below(UNIT / PAGE) * PAGE;
        let va = BASE + unit * UNIT + off;
        let Some((bo, u)) = want else {
            let t = self.at(va)?;
            check!(t.pa().is_none(), "{va:#x} is not mapped: {t:?}");
            return Ok(false);
        };
        let word = mix((bo << 40) + (u * UNIT + off) / 8);
        for last in [false, false, true] {
            let Some(pa) = self.at(va)?.pa() else {
                return Ok(false);
            };
            let found = self.model.word(pa)?;
            if found == word {
                return Ok(true);
            }
            let again = self.at(va)?.pa();
            check!(
                !last || again != Some(pa),
                "{va:#x} leads to {pa:#x}, where {found:#x} is instead of {word:#x}"
            );
        }
        Ok(false)
    }
}

fn maps_and_unmaps() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut eyes = match Eyes::new(vm) {
        Ok(e) => Some(e),
        Err(Fail::Skip(why)) => {
            note!("without the GPU's view: {why}");
            None
        }
        Err(e) => return Err(e),
    };
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
    let mut must = vec!["binds", "settled"];
    if eyes.is_some() {
        must.extend(["translations", "evicted", "unmapped"]);
    }
    // Held for reading by each call of the disturber, for writing while it is to stand still.
    let gate = RwLock::new(());
    let ours = has_reclaim();
    run(
        ktap::race_time(),
        &disturbed(&must),
        vec![
            Box::new(|r| {
                let mut rng = Rng::new(11);
                let mut book = vec![None; UNITS as usize];
                while r.on() {
                    for _ in 0..rng.below(20) + 1 {
                        let (mut first, mut n) = (rng.below(UNITS), rng.below(UNITS) + 1);
                        n = n.min(UNITS - first);
                        let mut off = rng.below(UNITS - n + 1);
                        if rng.below(8) == 0 {
                            // A block entry, if the buffer has a huge page.
                            (first, n, off) = (16, 32, 0);
                        }
                        let va = BASE + first * UNIT;
                        let range = first as usize..(first + n) as usize;
                        if rng.below(3) == 0 {
                            ok!(d.unmap(vm, va, n * UNIT));
                            book[range].fill(None);
                        } else {
                            let b = rng.below(3);
                            ok!(d.map(vm, bos[b as usize].0, off * UNIT, va, n * UNIT));
                            for (i, e) in book[range].iter_mut().enumerate() {
                                *e = Some((b, off + i as u64));
                            }
                        }
                        r.count("binds", 1);
                        if let Some(eyes) = &mut eyes {
                            // Both ends of what changed, and anything.
                            for u in [first, first + n - 1, rng.below(UNITS)] {
                                let want = book[u as usize];
                                let what = match (eyes.look(u, want, &mut rng)?, want) {
                                    (true, _) => "translations",
                                    (false, Some(_)) => "evicted",
                                    (false, None) => "unmapped",
                                };
                                r.count(what, 1);
                            }
                        }
                    }
                    let _quiet = gate.write();
                    listed(marker, &book)?;
                    if let Some(eyes) = &mut eyes {
                        settled(eyes, &book, &mut rng)?;
                        if rng.below(3) == 0 {
                            let on = eyes.slot.is_none();
                            eyes.set_resident(on)?;
                        }
                    }
                    r.count("settled", 1);
                }
                if let Some(eyes) = &mut eyes {
                    eyes.set_resident(false)?;
                }
                for (i, (_, m)) in bos.iter().enumerate() {
                    pattern::check(m, (i as u64) << 40)?;
                }
                Ok(())
            }),
            Box::new(|r| {
                while r.on() {
                    if ours {
                        let g = gate.read();
                        tally(r, "reclaims", sysfs::reclaim(me), &[EBUSY])?;
                        drop(g);
                        // So that the other side meets what is evicted, too.
                        std::thread::sleep(std::time::Duration::from_millis(2));
                        let _g = gate.read();
                        tally(r, "claims", sysfs::claim(me), &[])?;
                    } else {
                        let _g = gate.read();
                        ok!(debugfs::shrink(1 << 20));
                        r.count("shrinks", 1);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                Ok(())
            }),
        ],
    )
}

/// `gpuvas` shows what the book says.
fn listed(marker: u64, book: &Book) -> Res {
    let mut seen = vec![None; book.len()];
    for a in debugfs::vas_of(marker)? {
        for i in 0..a.range / UNIT {
            seen[((a.start - BASE) / UNIT + i) as usize] = Some(a.offset / UNIT + i);
        }
    }
    for (u, (seen, book)) in seen.iter().zip(book).enumerate() {
        let want = book.map(|(_, off)| off);
        check!(*seen == want, "unit {u}: {seen:?}, want {want:?}");
    }
    Ok(())
}

/// While nobody disturbs: after a claim the GPU finds what is mapped, and reads it right.
fn settled(eyes: &mut Eyes, book: &Book, rng: &mut Rng) -> Res {
    if has_reclaim() {
        ok!(sysfs::claim(getpid()));
    }
    for (u, e) in (0..).zip(book) {
        // Each look takes a while; the others have their turn.
        if rng.below(3) > 0 {
            continue;
        }
        let there = eyes.look(u, *e, rng)?;
        check!(there == e.is_some(), "unit {u}, claimed: {there}");
    }
    // The GPU's own accesses fill its TLB, for the next change to make stale.
    let Some(slot) = eyes.slot else { return Ok(()) };
    for _ in 0..4 {
        let u = rng.below(UNITS);
        if let Some((b, o)) = book[u as usize] {
            let va = BASE + u * UNIT;
            eyes.model.check(slot, va, UNIT, (b << 40) + o * UNIT / 8)?;
        }
    }
    Ok(())
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
            let mut rng = Rng::new(n);
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
        &disturbed(&["binds"]),
        vec![side(1), side(2), disturber(getpid(), &[EBUSY])],
    )?;
    pattern::check(&m, 5)?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; maps_and_unmaps, two_vms])
}
