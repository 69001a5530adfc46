// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The GPU's side, through the control channel of the model.

use crate::plan::{App, Buffer, SIZE};
use e2e::debugfs::VmResident;
use e2e::model::Model;
use e2e::{Fail, Res, PAGE};

/// Distance of the addresses of which the translation is asked for.
const STEP: u64 = 512 * 1024;

/// A process as the GPU sees it.
pub struct View<'a> {
    app: &'a App,
    pid: i32,
    /// The address space slots of its VMs.
    slots: [u32; 2],
    /// The root tables of its VMs.
    roots: [u64; 2],
}

/// Translations found for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translations {
    /// How many addresses were asked for.
    pub asked: u64,
    /// How many are mapped.
    pub mapped: u64,
    /// How many translations came from a TLB.
    pub tlb: u64,
}

impl std::fmt::Display for Translations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} addresses translate", self.mapped, self.asked)
    }
}

impl<'a> View<'a> {
    /// Makes the VMs of a process resident.
    pub fn new(app: &'a App, pid: i32, switch: &VmResident) -> Res<View<'a>> {
        let slots = [switch.on(pid, 1)?, switch.on(pid, 2)?];
        let roots = [switch.get(pid, 1)?.root, switch.get(pid, 2)?.root];
        Ok(View {
            app,
            pid,
            slots,
            roots,
        })
    }

    /// For the reader: which slots it has.
    pub fn slots(&self) -> String {
        format!("AS {} and {}", self.slots[0], self.slots[1])
    }

    /// Gives up the slots.
    pub fn release(&self, switch: &VmResident) -> Res {
        for vm in [1, 2] {
            switch.set(self.pid, vm, false)?;
        }
        Ok(())
    }

    /// Whether its slots hold its own tables.
    pub fn is_seated(&self, model: &mut Model) -> Res<bool> {
        let slots = model.slots()?;
        Ok(self
            .slots
            .iter()
            .zip(self.roots)
            .all(|(n, root)| root != 0 && slots.iter().any(|s| s.n == *n && s.transtab == root)))
    }

    fn mappings(&self) -> impl Iterator<Item = (Buffer, u32, u64)> + '_ {
        self.app.buffers().into_iter().flat_map(move |b| {
            b.vms()
                .iter()
                .map(move |&vm| (b, self.slots[vm as usize - 1], b.va(vm)))
        })
    }

    /// Asks for translations in all its mappings, the first and the last page of each and some
    /// between. It has no effect on the GPU.
    pub fn translations(&self, model: &mut Model) -> Res<Translations> {
        let mut t = Translations {
            asked: 0,
            mapped: 0,
            tlb: 0,
        };
        for (_, slot, va) in self.mappings() {
            for off in (0..SIZE).step_by(STEP as usize).chain([SIZE - PAGE]) {
                t.asked += 1;
                if let e2e::model::Translation::Pa { tlb, .. } =
                    model.translate(slot, va + off, "r")?
                {
                    t.mapped += 1;
                    t.tlb += u64::from(tlb);
                }
            }
        }
        Ok(t)
    }

    /// Writes what the GPU has to write.
    pub fn fill(&self, model: &mut Model) -> Res {
        for (b, slot, va) in self.mappings().filter(|(b, ..)| b.by_gpu) {
            model.fill(slot, va, SIZE, b.seed)?;
        }
        Ok(())
    }

    /// Reads everything as the GPU, through every mapping; how many bytes were right.
    pub fn check(&self, model: &mut Model) -> Res<u64> {
        let mut good = 0;
        for (b, slot, va) in self.mappings() {
            if b.repeats {
                // The model knows this pattern only by its hash.
                let want = (0..SIZE / 8).fold(0xcbf2_9ce4_8422_2325u64, |h, i| {
                    (h ^ b.word(i)).wrapping_mul(0x100_0000_01b3)
                });
                let got = model.hash(slot, va, SIZE)?;
                if got != want {
                    return Err(Fail::Fail(format!(
                        "{} buffer {} in AS {slot}: hash {got:#x}, want {want:#x}",
                        self.app.name, b.nr
                    )));
                }
            } else {
                model.check(slot, va, SIZE, b.seed)?;
            }
            good += SIZE;
        }
        Ok(good)
    }
}
