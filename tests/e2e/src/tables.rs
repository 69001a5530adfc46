// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the GPU finds of the buffers of a process, by the model's own walk of its page tables: all
//! of it, nothing, or, after a call that ended half-way, what is there and nothing else.

use crate::debugfs::{Gems, VmResident};
use crate::ktap::Res;
use crate::model::{Model, Translation};
use crate::pattern::mix;
use crate::*;

/// A buffer that a VM has mapped as a whole.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The VM's id in its file.
    pub vm: u32,
    /// The buffer's label.
    pub label: String,
    /// Where it is.
    pub va: u64,
    /// Bytes.
    pub size: u64,
    /// Of the pattern in it.
    pub seed: u64,
}

/// The label of buffer `i` of a process in [`Tables::of_row`].
pub fn label(tgid: i32, i: u64) -> String {
    format!("e2e-row-{tgid}-{i}")
}

/// A VM whose tables are looked at.
struct Root {
    vm: u32,
    table: u64,
    slot: Option<u32>,
}

/// The page tables of a process. Has the control channel while it lives.
pub struct Tables {
    tgid: i32,
    sw: VmResident,
    model: Model,
    roots: Vec<Root>,
    maps: Vec<Mapping>,
}

impl Tables {
    /// Of a process with these mappings; there may be others. Skips the case where nobody says
    /// where the tables are.
    pub fn of(tgid: i32, maps: Vec<Mapping>) -> Res<Tables> {
        let (sw, model) = (VmResident::need()?, Model::need()?);
        let mut roots: Vec<Root> = Vec::new();
        for m in &maps {
            if roots.iter().all(|r| r.vm != m.vm) {
                let table = sw.get(tgid, m.vm)?.root;
                check!(table != 0, "VM {} has no tables", m.vm);
                roots.push(Root {
                    vm: m.vm,
                    table,
                    slot: None,
                });
            }
        }
        Ok(Tables {
            tgid,
            sw,
            model,
            roots,
            maps,
        })
    }

    /// Of `n` buffers of `size` bytes, labelled by [`label`] and seeded from 1 on, in VM 1 at 4 GiB, 8 GiB
    /// and so on.
    pub fn of_row(tgid: i32, n: u64, size: u64) -> Res<Tables> {
        let map = |i| Mapping {
            vm: 1,
            label: label(tgid, i),
            va: (i + 1) << 32,
            size,
            seed: i + 1,
        };
        Tables::of(tgid, (0..n).map(map).collect())
    }

    /// Gives a VM a slot: from now on it is looked at with the TLB, as the GPU does.
    pub fn in_a_slot(&mut self, vm: u32) -> Res {
        for r in self.roots.iter_mut().filter(|r| r.vm == vm) {
            r.slot = Some(self.sw.on(self.tgid, vm)?);
        }
        Ok(())
    }

    fn at(&mut self, vm: u32, va: u64) -> Res<Translation> {
        match self.roots.iter().find(|r| r.vm == vm) {
            Some(&Root { slot: Some(s), .. }) => self.model.translate(s, va, "r"),
            Some(r) => self.model.root(r.table, va, "r"),
            None => fail!("VM {vm} is not known"),
        }
    }

    /// Whether a mapping translates, at both ends or at none; where it does, its bytes must be there.
    fn is_there(&mut self, m: &Mapping) -> Res<bool> {
        let mut ends = vec![0, m.size - PAGE];
        ends.dedup();
        let mut n = 0;
        for off in &ends {
            let Some(pa) = self.at(m.vm, m.va + off)?.pa() else {
                continue;
            };
            n += 1;
            let (found, want) = (self.model.word(pa)?, mix(m.seed.wrapping_add(off / 8)));
            check!(
                found == want,
                "VM {}: {:#x} ({}) leads to {pa:#x}, where {found:#x} is instead of {want:#x}",
                m.vm,
                m.va + off,
                m.label
            );
        }
        check!(
            n == 0 || n == ends.len(),
            "VM {}: half of {} translates",
            m.vm,
            m.label
        );
        Ok(n > 0)
    }

    /// After a call that ended half-way: a buffer without memory translates nowhere, and what
    /// translates leads to its bytes. How many mappings translate.
    pub fn half_way(&mut self) -> Res<usize> {
        let gems = Gems::read()?;
        let mut there = 0;
        for m in self.maps.clone() {
            let is_there = self.is_there(&m)?;
            let resident = gems.by_label(&m.label)?.resident;
            check!(
                !is_there || resident > 0,
                "VM {}: {} has no memory, and {:#x} translates",
                m.vm,
                m.label,
                m.va
            );
            there += usize::from(is_there);
        }
        Ok(there)
    }

    /// Everything is there, and the GPU reads it: in a slot that fills the TLB as well.
    pub fn all_there(&mut self) -> Res {
        for m in self.maps.clone() {
            let is_there = self.is_there(&m)?;
            check!(is_there, "VM {}: {} does not translate", m.vm, m.label);
            if let Some(Some(s)) = self.roots.iter().find(|r| r.vm == m.vm).map(|r| r.slot) {
                self.model.check(s, m.va, m.size, m.seed)?;
            }
        }
        Ok(())
    }

    /// Nothing of it is left.
    pub fn all_gone(&mut self) -> Res {
        for m in self.maps.clone() {
            let is_there = self.is_there(&m)?;
            check!(!is_there, "VM {}: {} still translates", m.vm, m.label);
        }
        Ok(())
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        for r in self.roots.iter().filter(|r| r.slot.is_some()) {
            let _ = self.sw.set(self.tgid, r.vm, false);
        }
    }
}
