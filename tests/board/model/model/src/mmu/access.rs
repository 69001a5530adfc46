// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory accesses of the GPU through an address space.

use super::aspace::{stale, Translation};
use super::fault::{Cause, Fault, Kind};
use super::walk::{walk, Config, Leaf, PAGE};
use super::Mmu;
use crate::counters::Counter;
use crate::device::env::Env;
use crate::violations::Violation;

/// Why an access did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessError {
    /// There is no such address space, or the L2 is off.
    Off,
    /// The region is locked: try again after an UNLOCK.
    Locked,
    /// It faulted; the fault is latched and counted.
    Fault {
        /// Exception code.
        code: u8,
        /// Level of the table.
        level: u8,
        /// Address of the access.
        va: u64,
    },
}

/// Where a translation came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The TLB.
    Tlb,
    /// A walk.
    Walk,
}

/// A leaf for addresses that are not translated.
fn identity_leaf(va: u64) -> Leaf {
    let page = va & !(PAGE - 1);
    Leaf {
        va: page,
        pa: page,
        size: PAGE,
        attr: 0,
        memattr: 0x4c,
        read_only: false,
        no_exec: false,
        no_user: false,
    }
}

impl Mmu {
    /// Translates for an access of the GPU: fills the TLB, latches faults, counts.
    ///
    /// All bytes from `va` to the end of its page may be accessed while the caller holds the
    /// device.
    pub fn access(
        &mut self,
        env: &mut Env,
        n: usize,
        va: u64,
        kind: Kind,
    ) -> Result<Leaf, AccessError> {
        if self.space(env, n).is_none() || !env.l2_on {
            return Err(AccessError::Off);
        }
        let space = &mut self.spaces[n];
        if space.locked(va) {
            env.counters.inc(Counter::Stall);
            return Err(AccessError::Locked);
        }
        let found = match space.live() {
            Translation::Unmapped => Err(Fault::new(Cause::Translation, 0)),
            Translation::Identity => Ok(identity_leaf(va)),
            Translation::Tables(config) => self.translate_cached(env, n, &config, va),
        };
        let leaf = found
            .and_then(|leaf| leaf.check(kind).map(|()| leaf))
            .and_then(|leaf| {
                let page = leaf.pa + ((va - leaf.va) & !(PAGE - 1));
                if env.ram.contains(page, PAGE as usize) {
                    Ok(leaf)
                } else {
                    Err(Fault::new(Cause::Bus, leaf.level()))
                }
            });
        match leaf {
            Ok(leaf) => {
                if kind == Kind::Write && leaf.write_back() {
                    self.spaces[n].wrote(&env.caches);
                }
                Ok(leaf)
            }
            Err(fault) => Err(self.fault(env, n, va, kind, fault)),
        }
    }

    fn translate_cached(
        &mut self,
        env: &mut Env,
        n: usize,
        config: &Config,
        va: u64,
    ) -> Result<Leaf, Fault> {
        let tlb = &mut self.spaces[n].tlb;
        if let Some(entry) = tlb.lookup(va) {
            env.counters.inc(Counter::TlbHit);
            if !entry.reported {
                if let Some(text) = stale(env, config, entry) {
                    entry.reported = true;
                    env.violation(Violation::MissingFlush, || format!("AS{n} {text}"));
                }
            }
            return Ok(entry.leaf);
        }
        let leaf = walk(&env.ram, config, va)?;
        env.counters.inc(Counter::TlbFill);
        tlb.fill(leaf);
        Ok(leaf)
    }

    /// Latches a fault that was asked for: a translation fault of a load. Nobody is to blame.
    pub fn inject_fault(&mut self, env: &mut Env, n: usize, va: u64) {
        if self.space(env, n).is_some() {
            let fault = Fault::new(Cause::Translation, 3);
            self.latch(env, n, va, fault.status(Kind::Read));
        }
    }

    /// Latches and counts a fault.
    fn fault(&mut self, env: &mut Env, n: usize, va: u64, kind: Kind, fault: Fault) -> AccessError {
        env.counters.inc(Counter::Fault);
        env.violation(fault.violation, || {
            format!("AS{n} {kind:?} at {va:#x}: fault {:#x}", fault.code())
        });
        self.latch(env, n, va, fault.status(kind));
        AccessError::Fault {
            code: fault.code(),
            level: fault.level,
            va,
        }
    }

    fn latch(&mut self, env: &mut Env, n: usize, va: u64, status: u32) {
        self.spaces[n].set_faulted();
        let regs = &mut self.spaces[n].fault;
        if !regs.latched {
            regs.latched = true;
            regs.status = status;
            regs.address = va;
        }
        env.mmu_irq.raise(1 << n);
    }

    /// Translates without any effect.
    pub fn peek(&self, env: &Env, n: usize, va: u64, kind: Kind) -> Result<(Leaf, Source), Fault> {
        let no = Fault::new(Cause::Translation, 0);
        let space = self.space(env, n).ok_or(no)?;
        let (leaf, source) = match (space.tlb.peek(va), space.live()) {
            (Some(entry), _) => (entry.leaf, Source::Tlb),
            (None, Translation::Unmapped) => return Err(no),
            (None, Translation::Identity) => (identity_leaf(va), Source::Walk),
            (None, Translation::Tables(config)) => (walk(&env.ram, &config, va)?, Source::Walk),
        };
        leaf.check(kind)?;
        Ok((leaf, source))
    }

    /// Reads a word as the GPU.
    pub fn load(&mut self, env: &mut Env, n: usize, va: u64) -> Result<u32, AccessError> {
        let pa = self.word(env, n, va, Kind::Read)?;
        Ok(env.ram.read_u32(pa).unwrap_or(0))
    }

    /// Writes a word as the GPU.
    pub fn store(&mut self, env: &mut Env, n: usize, va: u64, v: u32) -> Result<(), AccessError> {
        let pa = self.word(env, n, va, Kind::Write)?;
        // `access` has seen that the page is memory.
        let _ = env.ram.write_u32(pa, v);
        Ok(())
    }

    fn word(&mut self, env: &mut Env, n: usize, va: u64, k: Kind) -> Result<u64, AccessError> {
        let leaf = self.access(env, n, va & !3, k)?;
        Ok(leaf.pa + ((va & !3) - leaf.va))
    }
}
