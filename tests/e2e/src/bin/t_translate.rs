// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the GPU sees: VMs are made resident by debugfs `vm_resident`, the model translates, reads
//! and writes through its own page walk and TLB, and counts every broken rule of the flush
//! protocol.

use e2e::debugfs::VmResident;
use e2e::model::{Model, Translation};
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::os::fd::AsFd;
use std::time::Duration;

/// A resident VM.
struct Vm {
    d: Dev,
    id: u32,
    slot: u32,
    sw: VmResident,
    model: Model,
}

impl Vm {
    fn new() -> Res<Vm> {
        let sw = VmResident::need()?;
        let model = Model::need()?;
        let d = Dev::open()?;
        let id = d.vm()?;
        let slot = sw.on(getpid(), id)?;
        Ok(Vm {
            d,
            id,
            slot,
            sw,
            model,
        })
    }

    fn bind(&self, op: Op) -> Result<()> {
        self.d.bind1(self.id, op)
    }

    fn at(&mut self, va: u64) -> Res<Translation> {
        self.model.translate(self.slot, va, "r")
    }

    fn violations(&mut self) -> Res<u64> {
        Ok(self.model.violations()?.total)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.sw.set(getpid(), self.id, false);
    }
}

fn resident_switch() -> Res {
    let mut v = Vm::new()?;
    let r = v.sw.get(getpid(), v.id)?;
    check!((1..=7).contains(&v.slot), "slot {}", v.slot);
    check!(r.active >= 1 && r.root != 0, "{r:?}");
    let s = v.model.slots()?;
    let Some(s) = s.iter().find(|s| s.n == v.slot) else {
        fail!("no AS {} in {s:?}", v.slot)
    };
    eq!(s.transtab, r.root);
    // Off: it may keep the slot, but without a reference.
    ok!(v.sw.set(getpid(), v.id, false));
    eq!(v.sw.get(getpid(), v.id)?.active, 0);
    eq!(v.sw.on(getpid(), v.id)?, v.slot);
    // What is not there.
    check!(v.sw.set(getpid(), v.id + 1, true).is_err());
    check!(v.sw.set(1, v.id, true).is_err());
    Ok(())
}

/// Filled by the CPU, read by the GPU, and the other way round; every flavour of buffer.
fn contents() -> Res {
    let mut v = Vm::new()?;
    let size = 5 * M + 3 * PAGE;
    for (n, (flags, excl)) in [(0, 0), (BO_WB_MMAP, 0), (BO_WB_MMAP, v.id), (0, v.id)]
        .into_iter()
        .enumerate()
    {
        let va = (n as u64 + 1) * 64 * M;
        let h = ok!(v.d.bo(size, flags, excl));
        let m = ok!(v.d.mmap(h, size));
        pattern::fill(&m, 1000 * n as u64);
        ok!(v.d.sync(h, SYNC_FLUSH, 0, size));
        ok!(v.bind(Op::map(h, 0, va, size)));
        v.model.check(v.slot, va, size, 1000 * n as u64)?;
        eq!(v.model.hash(v.slot, va, size)?, pattern::hash(&m, 0, size));
        v.model.fill(v.slot, va, size, 77 + n as u64)?;
        ok!(v.d.sync(h, SYNC_FLUSH_INVALIDATE, 0, size));
        pattern::check(&m, 77 + n as u64)?;
    }
    // From an offset.
    let h = ok!(v.d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(v.d.mmap(h, M));
    pattern::fill(&m, 5);
    ok!(v.bind(Op::map(h, 64 * K, 1 << 40, 64 * K)));
    v.model.check(v.slot, 1 << 40, 64 * K, 5 + 64 * K / 8)?;
    Ok(())
}

/// A buffer that the CPU never touched is zero for the GPU, and what the GPU writes is there for
/// the CPU later.
fn gpu_first() -> Res {
    let mut v = Vm::new()?;
    for flags in [0, BO_WB_MMAP, BO_NO_MMAP] {
        let h = ok!(v.d.bo(2 * M, flags, 0));
        let va = 1 << 33;
        ok!(v.bind(Op::map(h, 0, va, 2 * M)));
        let zero = (0..2 * M / 8).fold(0xcbf2_9ce4_8422_2325u64, |x, _| {
            x.wrapping_mul(0x100_0000_01b3)
        });
        eq!(v.model.hash(v.slot, va, 2 * M)?, zero);
        v.model.fill(v.slot, va, 2 * M, 13)?;
        if flags != BO_NO_MMAP {
            pattern::check(&ok!(v.d.mmap(h, 2 * M)), 13)?;
        }
        v.model.check(v.slot, va, 2 * M, 13)?;
    }
    Ok(())
}

/// After an unmap nothing translates any more, not even what the TLB had.
fn unmap_flushes() -> Res {
    let mut v = Vm::new()?;
    let h = ok!(v.d.bo(8 * M, BO_WB_MMAP, 0));
    let before = v.violations()?;
    for (va, size) in [
        (M, PAGE),
        (64 * M, M),
        (1 << 32, 8 * M),
        ((1 << 47) - 8 * M, 8 * M),
    ] {
        ok!(v.bind(Op::map(h, 0, va, size)));
        // Fill the TLB.
        v.model.hash(v.slot, va, size)?;
        ok!(v.bind(Op::unmap(va, size)));
        for off in [0, (size / 2) & !(PAGE - 1), size - PAGE] {
            let t = v.at(va + off)?;
            check!(t.pa().is_none(), "{:#x} after unmap: {t:?}", va + off);
        }
    }
    eq!(v.violations()?, before);
    Ok(())
}

/// A new mapping over an old one: the TLB does not go on showing the old one.
fn remap_flushes() -> Res {
    let mut v = Vm::new()?;
    let size = 4 * M;
    let mut hs = Vec::new();
    for i in 0..3 {
        let h = ok!(v.d.bo(size, BO_WB_MMAP, 0));
        pattern::fill(&ok!(v.d.mmap(h, size)), i * 10_000_000);
        hs.push(h);
    }
    let va = 1 << 32;
    for round in 0..6 {
        let i = round % 3;
        ok!(v.bind(Op::map(hs[i], 0, va, size)));
        v.model.check(v.slot, va, size, i as u64 * 10_000_000)?;
        // One page of the next one in the middle.
        let j = (i + 1) % 3;
        ok!(v.bind(Op::map(hs[j], 0, va + M + PAGE, PAGE)));
        v.model.check(v.slot, va, M + PAGE, i as u64 * 10_000_000)?;
        v.model
            .check(v.slot, va + M + PAGE, PAGE, j as u64 * 10_000_000)?;
        v.model.check(
            v.slot,
            va + M + 2 * PAGE,
            size - M - 2 * PAGE,
            i as u64 * 10_000_000 + (M + 2 * PAGE) / 8,
        )?;
    }
    Ok(())
}

/// A block is split: the hole faults, all around it reads right, through a TLB that knew the block.
fn block_split() -> Res {
    let mut v = Vm::new()?;
    let size = 6 * M;
    let h = ok!(v.d.bo(size, BO_WB_MMAP, 0));
    pattern::fill(&ok!(v.d.mmap(h, size)), 3);
    let va = 1 << 32;
    for hole in [0, 1, 255, 511, 512, 513, 1024, 1535] {
        ok!(v.bind(Op::map(h, 0, va, size)));
        v.model.check(v.slot, va, size, 3)?;
        let at = hole * PAGE;
        ok!(v.bind(Op::unmap(va + at, PAGE)));
        check!(v.at(va + at)?.pa().is_none(), "hole {hole}");
        if at > 0 {
            v.model.check(v.slot, va, at, 3)?;
        }
        if at + PAGE < size {
            v.model.check(
                v.slot,
                va + at + PAGE,
                size - at - PAGE,
                3 + (at + PAGE) / 8,
            )?;
        }
    }
    Ok(())
}

/// What is bound while the VM has no slot is there when it gets one.
fn bind_then_resident() -> Res {
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(3 * M, BO_WB_MMAP, vm));
    pattern::fill(&ok!(d.mmap(h, 3 * M)), 4);
    ok!(d.map(vm, h, 0, 8 * M, 3 * M));
    let slot = sw.on(getpid(), vm)?;
    model.check(slot, 8 * M, 3 * M, 4)?;
    // Off, changed, on again.
    ok!(sw.set(getpid(), vm, false));
    ok!(d.unmap(vm, 9 * M, M));
    ok!(d.map(vm, h, 0, 64 * M, M));
    let slot = sw.on(getpid(), vm)?;
    model.check(slot, 8 * M, M, 4)?;
    check!(model.translate(slot, 9 * M, "r")?.pa().is_none());
    model.check(slot, 10 * M, M, 4 + 2 * M / 8)?;
    model.check(slot, 64 * M, M, 4)?;
    ok!(sw.set(getpid(), vm, false));
    Ok(())
}

/// Seven slots for user VMs, and more VMs than that: the one idle for longest goes, and comes back
/// with everything it had.
fn slots_lru() -> Res {
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let me = getpid();
    let mut vms = Vec::new();
    for i in 0..12u64 {
        let vm = ok!(d.vm());
        let h = ok!(d.bo(64 * K, BO_WB_MMAP, vm));
        pattern::fill(&ok!(d.mmap(h, 64 * K)), i << 20);
        ok!(d.map(vm, h, 0, M, 64 * K));
        vms.push(vm);
    }
    // All in turn, each idle again at once.
    for (i, vm) in vms.iter().enumerate() {
        let slot = sw.on(me, *vm)?;
        check!((1..=7).contains(&slot), "slot {slot}");
        model.check(slot, M, 64 * K, (i as u64) << 20)?;
        ok!(sw.set(me, *vm, false));
    }
    // The last seven are still there, the others are not.
    for (i, vm) in vms.iter().enumerate() {
        let r = sw.get(me, *vm)?;
        check!(r.slot.is_some() == (i >= 5), "VM {i}: {r:?}");
    }
    // Use one of them: then it is not the next to go.
    let keep = sw.on(me, vms[5])?;
    ok!(sw.set(me, vms[5], false));
    let new = sw.on(me, vms[0])?;
    check!(new != keep);
    ok!(sw.set(me, vms[0], false));
    eq!(sw.get(me, vms[5])?.slot, Some(keep));
    eq!(sw.get(me, vms[6])?.slot, None);
    // Two slots never share a table.
    let mut seen = std::collections::HashSet::new();
    for r in sw.list()?.iter().filter(|r| r.slot.is_some()) {
        check!(seen.insert(r.slot), "{r:?}");
    }
    Ok(())
}

/// All slots in use: the eighth VM is told so, or waits, but takes nobody's slot.
fn slots_busy() -> Res {
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let me = getpid();
    let vms: Vec<u32> = (0..8).map(|_| d.vm()).collect::<Result<_>>()?;
    let mut slots = Vec::new();
    for vm in &vms[..7] {
        let h = ok!(d.bo(PAGE, BO_WB_MMAP, *vm));
        ok!(d.mmap(h, PAGE)).set(0, *vm as u64);
        ok!(d.map(*vm, h, 0, M, PAGE));
        slots.push(sw.on(me, *vm)?);
    }
    let mut s = slots.clone();
    s.sort_unstable();
    eq!(s, [1, 2, 3, 4, 5, 6, 7]);
    err!(sw.set(me, vms[7], true), EBUSY);
    for (vm, slot) in vms.iter().zip(&slots) {
        eq!(sw.get(me, *vm)?.slot, Some(*slot));
        eq!(model.ask(&format!("read {slot} {M:#x} 8"))?.len(), 1);
    }
    ok!(sw.set(me, vms[3], false));
    eq!(sw.on(me, vms[7])?, slots[3]);
    Ok(())
}

/// VMs do not see each other, and a slot that changes hands keeps nothing in the TLB.
fn slot_reuse() -> Res {
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let me = getpid();
    let d = ok!(Dev::open());
    for i in 0..20u64 {
        let vm = ok!(d.vm());
        let h = ok!(d.bo(64 * K, BO_WB_MMAP, vm));
        pattern::fill(&ok!(d.mmap(h, 64 * K)), i);
        // Every second one is mapped elsewhere.
        let (va, other) = if i % 2 == 0 { (M, 8 * M) } else { (8 * M, M) };
        ok!(d.map(vm, h, 0, va, 64 * K));
        let slot = sw.on(me, vm)?;
        model.check(slot, va, 64 * K, i)?;
        check!(
            model.translate(slot, other, "r")?.pa().is_none(),
            "round {i}"
        );
        ok!(sw.set(me, vm, false));
        ok!(d.vm_destroy(vm));
    }
    Ok(())
}

/// A VM that is destroyed while resident leaves the slot.
fn destroy_resident() -> Res {
    let mut v = Vm::new()?;
    let h = ok!(v.d.bo(M, BO_WB_MMAP, 0));
    ok!(v.bind(Op::map(h, 0, M, M)));
    v.model.hash(v.slot, M, M)?;
    let root = v.sw.get(getpid(), v.id)?.root;
    ok!(v.d.vm_destroy(v.id));
    let _ = v.sw.set(getpid(), v.id, false);
    let slot = v.slot;
    let gone = wait_for(Duration::from_secs(5), || {
        v.model
            .translate(slot, M, "r")
            .is_ok_and(|t| t.pa().is_none())
    });
    check!(
        gone,
        "AS {slot} still shows the mapping of a destroyed VM (root {root:#x})"
    );
    Ok(())
}

/// A write to a read-only mapping and an instruction fetch from a no-exec one are faults; they
/// come to the driver by interrupt.
fn fault(what: &str, flags: u32, req: impl Fn(u32) -> String) -> Res {
    let mut v = Vm::new()?;
    let h = ok!(v.d.bo(M, BO_WB_MMAP, 0));
    if flags != u32::MAX {
        ok!(v.bind(Op::map(h, 0, M, M).with(flags)));
        v.model.hash(v.slot, M, M)?;
    }
    eq!(ok!(v.d.vm_state(v.id)), 0);
    let before = v.violations()?;
    let r = v.model.ask(&req(v.slot));
    check!(
        r.as_ref().is_err()
            || r.as_ref()
                .is_ok_and(|l| l.iter().any(|s| s.contains("fault"))),
        "{what}: {r:?}"
    );
    // The driver disables the address space: nothing translates there until it is used again.
    let slot = v.slot;
    let off = wait_for(Duration::from_secs(5), || {
        v.model
            .translate(slot, M, "r")
            .is_ok_and(|t| t.pa().is_none())
    });
    check!(off, "{what}: the address space is still enabled");
    // The VM itself is fine, memory can be mapped and unmapped.
    eq!(ok!(v.d.vm_state(v.id)), 0);
    ok!(v.bind(Op::map(h, 0, 8 * M, M)));
    ok!(v.sw.set(getpid(), v.id, false));
    v.slot = v.sw.on(getpid(), v.id)?;
    v.model.hash(v.slot, 8 * M, M)?;
    // This one we asked for; the model counts it as the violation that it is.
    let n = v.violations()? - before;
    check!(n <= 1, "{what}: {n} violations");
    if before == 0 {
        v.model.ask("violations clear")?;
    }
    Ok(())
}

fn fault_write() -> Res {
    fault("write to read-only", MAP_READONLY, |s| {
        format!("write {s} {M:#x} 0102030405060708")
    })
}

fn fault_exec() -> Res {
    fault("exec of no-exec", MAP_NOEXEC, |s| {
        format!("exec {s} {M:#x}")
    })
}

fn fault_read() -> Res {
    fault("read of nothing", u32::MAX, |s| {
        format!("read {s} {M:#x} 8")
    })
}

/// Where it is allowed there is no fault.
fn no_fault() -> Res {
    let mut v = Vm::new()?;
    let h = ok!(v.d.bo(M, BO_WB_MMAP, 0));
    ok!(v.bind(Op::map(h, 0, M, M)));
    ok!(v.bind(Op::map(h, 0, 8 * M, M).with(MAP_READONLY)));
    v.model.ask(&format!("exec {} {M:#x}", v.slot))?;
    v.model.ask(&format!("exec {} {:#x}", v.slot, 8 * M))?;
    v.model
        .ask(&format!("write {} {M:#x} 0807060504030201", v.slot))?;
    eq!(
        v.model
            .ask(&format!("read {} {:#x} 8", v.slot, 8 * M))?
            .join("")
            .replace(' ', ""),
        "0807060504030201"
    );
    eq!(ok!(v.d.mmap(h, M)).get(0), 0x0102_0304_0506_0708);
    Ok(())
}

fn sparse() -> Res {
    let mut v = Vm::new()?;
    ok!(v.bind(Op::sparse(1 << 32, 64 * M)));
    for off in [0, PAGE, 31 * M, 64 * M - PAGE] {
        check!(v.at((1 << 32) + off)?.pa().is_some(), "{off:#x}");
    }
    // Reads and writes go through; no execution.
    v.model.hash(v.slot, 1 << 32, 8 * M)?;
    v.model.fill(v.slot, (1 << 32) + M, 64 * K, 1)?;
    let t = v.model.translate(v.slot, 1 << 32, "x")?;
    check!(t.pa().is_none(), "{t:?}");
    // A buffer put in is not what the dummy was.
    let h = ok!(v.d.bo(2 * M, BO_WB_MMAP, 0));
    pattern::fill(&ok!(v.d.mmap(h, 2 * M)), 9);
    ok!(v.bind(Op::map(h, 0, (1 << 32) + M, 2 * M)));
    v.model.check(v.slot, (1 << 32) + M, 2 * M, 9)?;
    v.model.fill(v.slot, (1 << 32) + 4 * M, M, 2)?;
    v.model.check(v.slot, (1 << 32) + M, 2 * M, 9)?;
    Ok(())
}

fn imported() -> Res {
    let mut v = Vm::new()?;
    for large in [false, true] {
        let size = if large { 4 * M } else { 64 * K };
        let fd = ok!(drm::heap_buf(size));
        let h = ok!(v.d.import(fd.as_fd()));
        let m = ok!(v.d.mmap(h, size));
        pattern::fill(&m, 6);
        ok!(v.bind(Op::map(h, 0, 1 << 32, size)));
        v.model.check(v.slot, 1 << 32, size, 6)?;
        ok!(v.bind(Op::unmap((1 << 32) + PAGE, PAGE)));
        check!(v.at((1 << 32) + PAGE)?.pa().is_none());
        v.model.check(
            v.slot,
            (1 << 32) + 2 * PAGE,
            size - 2 * PAGE,
            6 + 2 * PAGE / 8,
        )?;
        ok!(v.bind(Op::unmap(1 << 32, size)));
    }
    Ok(())
}

/// Many maps and unmaps in a resident VM, checked as the GPU reads it.
fn random() -> Res {
    let mut v = Vm::new()?;
    const SLOTS: u64 = 64;
    let (unit, base) = (64 * K, (1u64 << 32) - 5 * 64 * K);
    let bo_size = SLOTS * unit;
    let mut hs = Vec::new();
    for i in 0..3u64 {
        let h = ok!(v.d.bo(bo_size, BO_WB_MMAP, 0));
        pattern::fill(&ok!(v.d.mmap(h, bo_size)), i << 40);
        hs.push(h);
    }
    let mut book: Vec<Option<u64>> = vec![None; SLOTS as usize];
    let mut rng = pattern::Rng::new(7);
    for step in 0..150 {
        let first = rng.below(SLOTS);
        let n = rng.below((SLOTS - first).min(40)) + 1;
        let (va, len) = (base + first * unit, n * unit);
        if rng.below(3) == 0 {
            ok!(v.bind(Op::unmap(va, len)));
            book[first as usize..(first + n) as usize].fill(None);
        } else {
            let b = rng.below(3);
            let off = rng.below(SLOTS - n + 1);
            ok!(v.bind(Op::map(hs[b as usize], off * unit, va, len)));
            for i in 0..n {
                book[(first + i) as usize] = Some((b << 40) + (off + i) * unit / 8);
            }
        }
        // What changed, and a few others.
        for s in 0..SLOTS {
            if !(first..first + n).contains(&s) && (s + step) % 16 != 0 {
                continue;
            }
            let va = base + s * unit;
            match book[s as usize] {
                Some(seed) => v.model.check(v.slot, va, unit, seed)?,
                None => check!(v.at(va)?.pa().is_none(), "step {step}: {va:#x} is mapped"),
            }
        }
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        resident_switch,
        contents,
        gpu_first,
        unmap_flushes,
        remap_flushes,
        block_split,
        bind_then_resident,
        slots_lru,
        slots_busy,
        slot_reuse,
        destroy_resident,
        fault_write,
        fault_exec,
        fault_read,
        no_fault,
        sparse,
        imported,
        random,
    ])
}
