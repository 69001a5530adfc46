// SPDX-License-Identifier: GPL-2.0 OR MIT

//! One address space: registers, the configuration in use, lock, TLB, and the checks of the
//! mapping update protocol (section 3.5 of the fact sheet).

use super::fault::FaultRegs;
use super::lock::Region;
use super::tlb::{Entry, Tlb};
use super::walk::{walk, Config, Leaf};
use crate::counters::Counter;
use crate::device::caches::{Caches, Mark};
use crate::device::env::Env;
use crate::violations::Violation;

/// Address mode of TRANSCFG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every access faults.
    Unmapped,
    /// Virtual is physical.
    Identity,
    /// AArch64 tables with pages of 4 KiB.
    Aarch64Page4k,
    /// AArch64 tables with pages of 64 KiB; not in this model.
    Aarch64Page64k,
    /// Reset value, or no mode at all.
    Unknown(u8),
}

/// Registers that UPDATE and LOCK take over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Regs {
    /// Root table.
    pub transtab: u64,
    /// Attributes.
    pub memattr: u64,
    /// Region.
    pub lockaddr: u64,
    /// Configuration.
    pub transcfg: u64,
}

impl Regs {
    /// Address mode.
    pub fn mode(&self) -> Mode {
        match (self.transcfg & 0xf) as u8 {
            1 => Mode::Unmapped,
            2 => Mode::Identity,
            6 => Mode::Aarch64Page4k,
            8 => Mode::Aarch64Page64k,
            n => Mode::Unknown(n),
        }
    }
}

/// How accesses are translated now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translation {
    /// Not at all.
    #[default]
    Unmapped,
    /// Virtual is physical.
    Identity,
    /// Through tables.
    Tables(Config),
}

/// A held lock.
#[derive(Debug)]
struct Lock {
    /// Regions of all LOCK commands since the last UNLOCK.
    regions: Vec<Region>,
    /// Flushes issued when the last LOCK came.
    since: Mark,
}

/// One address space.
#[derive(Debug, Default)]
pub struct AddressSpace {
    /// Registers as written.
    pub regs: Regs,
    /// Fault registers.
    pub fault: FaultRegs,
    /// TLB.
    pub tlb: Tlb,
    live: Translation,
    lock: Option<Lock>,
    busy_until: u64,
    /// A fault since the last UPDATE.
    faulted: bool,
    /// The epoch that the last command began.
    epoch: u64,
    dirty: Option<Mark>,
}

impl AddressSpace {
    /// Whether a command is active: its time is not over, or a thread may still be in an access
    /// that began before it.
    pub fn busy(&self, env: &Env) -> bool {
        env.clock.now() < self.busy_until || !env.gate.passed(self.epoch)
    }

    /// Whether a command never ends by itself.
    pub fn hangs(&self) -> bool {
        self.busy_until == u64::MAX
    }

    /// What threads know of translations is old.
    pub fn begin_epoch(&mut self, env: &Env) {
        self.epoch = env.gate.advance();
    }

    /// A command was accepted.
    pub fn set_busy(&mut self, until: u64) {
        self.busy_until = until;
    }

    /// How accesses are translated now.
    pub fn live(&self) -> Translation {
        self.live
    }

    /// Whether it had a fault since it was enabled.
    pub fn faulted(&self) -> bool {
        self.faulted
    }

    /// It has a fault.
    pub fn set_faulted(&mut self) {
        self.faulted = true;
    }

    /// Whether accesses reach memory.
    pub fn enabled(&self) -> bool {
        self.live != Translation::Unmapped
    }

    /// Root table in use.
    pub fn root(&self) -> Option<u64> {
        match self.live {
            Translation::Tables(config) => Some(config.root),
            _ => None,
        }
    }

    /// Whether an address is locked.
    pub fn locked(&self, va: u64) -> bool {
        self.lock
            .as_ref()
            .is_some_and(|l| l.regions.iter().any(|r| r.contains(va)))
    }

    /// Locked regions.
    pub fn lock_regions(&self) -> &[Region] {
        self.lock.as_ref().map_or(&[], |l| &l.regions)
    }

    /// Whether the L2 holds data written through this address space.
    pub fn dirty(&self, caches: &Caches) -> bool {
        self.dirty.is_some_and(|mark| !caches.cleaned_since(mark))
    }

    /// A store went through a write-back entry.
    pub fn wrote(&mut self, caches: &Caches) {
        self.dirty = Some(caches.mark());
    }

    /// What TRANSCFG and TRANSTAB ask for, or why that cannot be.
    pub fn requested(&self, env: &Env) -> Result<Translation, &'static str> {
        let pa_bits = env.identity.pa_bits;
        match self.regs.mode() {
            Mode::Unmapped => Ok(Translation::Unmapped),
            Mode::Identity => Ok(Translation::Identity),
            Mode::Aarch64Page4k => {
                let va_bits = 55u32.saturating_sub(((self.regs.transcfg >> 6) & 0x1f) as u32);
                let root = self.regs.transtab;
                if va_bits != env.identity.va_bits {
                    Err("VA bits")
                } else if root % 4096 != 0 || root >> pa_bits != 0 {
                    Err("root table address")
                } else if !env.ram.contains(root, 4096) {
                    Err("root table outside memory")
                } else {
                    Ok(Translation::Tables(Config {
                        root,
                        va_bits,
                        pa_bits,
                        memattr: self.regs.memattr,
                        ignore_access_flag: (self.regs.transcfg >> 34) & 1 != 0,
                    }))
                }
            }
            Mode::Aarch64Page64k => Err("64 KiB pages"),
            Mode::Unknown(_) => Err("mode"),
        }
    }

    /// The L2 lost its power.
    pub fn power_off(&mut self) {
        self.live = Translation::Unmapped;
        self.lock = None;
        self.dirty = None;
        self.tlb.drop_region(Region::ALL);
    }

    /// UPDATE.
    pub fn update(&mut self, env: &mut Env, n: usize) {
        let next = self.requested(env).unwrap_or_else(|why| {
            env.violation(Violation::AsConfig, || {
                let Regs {
                    transtab, transcfg, ..
                } = self.regs;
                format!("AS{n} {why}: transtab {transtab:#x} transcfg {transcfg:#x}")
            });
            Translation::Unmapped
        });
        if self.enabled() && self.live != next && self.dirty(&env.caches) {
            env.violation(Violation::AsDirty, || {
                format!("AS{n} changed from {:x?} to {next:x?}", self.live)
            });
            self.dirty = None;
        }
        self.audit_all(env, n);
        self.drop_entries(env, Region::ALL);
        self.faulted = false;
        self.live = next;
    }

    /// LOCK.
    pub fn lock(&mut self, env: &mut Env, n: usize) {
        let (region, legal) = Region::decode(self.regs.lockaddr);
        if !legal {
            env.violation(Violation::LockRegion, || {
                format!("AS{n} lockaddr {:#x}", self.regs.lockaddr)
            });
        }
        self.audit(env, n, region);
        self.drop_entries(env, region);
        let since = env.caches.mark();
        match &mut self.lock {
            Some(lock) => {
                lock.regions.push(region);
                lock.since = since;
            }
            None => {
                self.lock = Some(Lock {
                    regions: vec![region],
                    since,
                });
            }
        }
    }

    /// UNLOCK.
    pub fn unlock(&mut self, env: &mut Env, n: usize) {
        let Some(lock) = self.lock.take() else {
            env.violation(Violation::UnlockWithoutLock, || format!("AS{n}"));
            return;
        };
        if !env.caches.flushed_since(lock.since) {
            env.violation(Violation::UnlockWithoutFlush, || {
                format!("AS{n} regions {:x?}", lock.regions)
            });
        }
        for region in lock.regions {
            self.drop_entries(env, region);
        }
        env.unlocked = true;
    }

    /// FLUSH_PT and FLUSH_MEM. They end the lock: the entries are gone, so that nothing is left
    /// for UNLOCK to do.
    pub fn flush(&mut self, env: &mut Env, memory: bool) {
        let regions = match self.lock.take() {
            Some(lock) => {
                env.unlocked = true;
                lock.regions
            }
            None => vec![Region::ALL],
        };
        for region in regions {
            self.drop_entries(env, region);
        }
        if memory {
            self.dirty = None;
        }
    }

    fn drop_entries(&mut self, env: &mut Env, region: Region) {
        let dropped = self.tlb.drop_region(region);
        env.counters.add(Counter::TlbDrop, dropped as u64);
    }

    /// Compares all entries outside the locked region with the tables.
    pub fn audit_all(&mut self, env: &mut Env, n: usize) {
        self.audit(env, n, Region::ALL);
    }

    /// Compares the entries of a region, outside the locked region, with the tables.
    fn audit(&mut self, env: &mut Env, n: usize, region: Region) {
        let Translation::Tables(config) = self.live else {
            return;
        };
        let locked = self.lock.as_ref().map_or(&[][..], |l| &l.regions);
        for entry in self.tlb.in_region(region) {
            let Leaf { va, size, .. } = entry.leaf;
            if entry.reported || locked.iter().any(|r| r.touches(va, size)) {
                continue;
            }
            if let Some(text) = stale(env, &config, entry) {
                entry.reported = true;
                env.violation(Violation::PteChangedUnlocked, || format!("AS{n} {text}"));
            }
        }
    }
}

/// Says how an entry differs from what a walk finds now, if it does.
pub fn stale(env: &Env, config: &Config, entry: &Entry) -> Option<String> {
    let old = entry.leaf;
    match walk(&env.ram, config, old.va) {
        Ok(new) if new == old => None,
        Ok(new) => Some(format!(
            "va {:#x}: TLB has {:#x} size {:#x}, the tables {:#x} size {:#x}",
            old.va, old.pa, old.size, new.pa, new.size
        )),
        Err(fault) => Some(format!(
            "va {:#x}: TLB has {:#x} size {:#x}, the tables fault {:#x}",
            old.va,
            old.pa,
            old.size,
            fault.code()
        )),
    }
}
