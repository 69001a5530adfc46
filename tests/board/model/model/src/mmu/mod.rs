// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The MMU: sixteen address space blocks, a page walk and a TLB for each.

pub mod access;
pub mod aspace;
pub mod fault;
pub mod lock;
pub mod tlb;
pub mod walk;

use crate::counters::Counter;
use crate::device::env::Env;
use crate::device::hang::Work;
use crate::identity::AS_BLOCKS;
use crate::regs::aspace as reg;
use crate::violations::Violation;
use aspace::{AddressSpace, Translation};
use walk::Config;

/// Value of a COMMAND register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing.
    Nop,
    /// Take over TRANSTAB, MEMATTR and TRANSCFG.
    Update,
    /// Lock the region in LOCKADDR.
    Lock,
    /// Give up the lock.
    Unlock,
    /// Flush page table caches of the locked region, and give up the lock.
    FlushPt,
    /// Flush all caches of the locked region, and give up the lock.
    FlushMem,
}

impl Command {
    fn of(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::Nop,
            1 => Self::Update,
            2 => Self::Lock,
            3 => Self::Unlock,
            4 => Self::FlushPt,
            5 => Self::FlushMem,
            _ => return None,
        })
    }
}

/// All address spaces.
#[derive(Debug)]
pub struct Mmu {
    spaces: [AddressSpace; AS_BLOCKS],
}

impl Default for Mmu {
    fn default() -> Self {
        Self {
            spaces: std::array::from_fn(|_| AddressSpace::default()),
        }
    }
}

/// Replaces one word of a double word.
fn put_word(value: &mut u64, high: bool, word: u32) {
    let shift = if high { 32 } else { 0 };
    *value = *value & !(0xffff_ffff << shift) | (u64::from(word) << shift);
}

/// One word of a double word.
fn get_word(value: u64, high: bool) -> u32 {
    (value >> if high { 32 } else { 0 }) as u32
}

impl Mmu {
    /// An address space, if it is present.
    pub fn space(&self, env: &Env, n: usize) -> Option<&AddressSpace> {
        // A group can name any number.
        let n = n.min(self.spaces.len());
        if (u64::from(env.identity.as_present) >> n) & 1 == 0 {
            return None;
        }
        self.spaces.get(n)
    }

    /// Whether the L2 holds data written through any address space.
    pub fn any_dirty(&self, env: &Env) -> bool {
        self.spaces.iter().any(|s| s.dirty(&env.caches))
    }

    /// The L2 lost its power: registers keep their values, but nothing is translated until UPDATE.
    pub fn power_off(&mut self) {
        for space in &mut self.spaces {
            space.power_off();
        }
    }

    /// Forgets all state, as a reset does.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Reads a register of block `n`.
    pub fn read(&self, env: &Env, n: usize, offset: u32) -> u32 {
        let Some(space) = self.space(env, n) else {
            return 0;
        };
        let high = offset & 4 != 0;
        match offset & !7 {
            reg::TRANSTAB => get_word(space.regs.transtab, high),
            reg::MEMATTR => get_word(space.regs.memattr, high),
            reg::LOCKADDR => get_word(space.regs.lockaddr, high),
            reg::COMMAND if high => space.fault.status,
            reg::FAULTADDRESS => get_word(space.fault.address, high),
            reg::STATUS if !high => u32::from(space.busy(env)),
            reg::TRANSCFG => get_word(space.regs.transcfg, high),
            _ => 0,
        }
    }

    /// Writes a register of block `n` that is writable.
    pub fn write(&mut self, env: &mut Env, n: usize, offset: u32, value: u32) {
        if self.space(env, n).is_none() {
            env.violation(Violation::AsNotPresent, || {
                format!("AS{n}+{offset:#x} = {value:#x}")
            });
            return;
        }
        let regs = &mut self.spaces[n].regs;
        let high = offset & 4 != 0;
        match offset & !7 {
            reg::TRANSTAB => put_word(&mut regs.transtab, high, value),
            reg::MEMATTR => put_word(&mut regs.memattr, high, value),
            reg::LOCKADDR => put_word(&mut regs.lockaddr, high, value),
            reg::TRANSCFG => put_word(&mut regs.transcfg, high, value),
            reg::COMMAND if !high => self.command(env, n, value),
            _ => {}
        }
    }

    fn command(&mut self, env: &mut Env, n: usize, value: u32) {
        let now = env.clock.now();
        if self.spaces[n].busy(env) {
            env.violation(Violation::AsCommandActive, || {
                format!("AS{n} command {value}")
            });
        }
        let Some(command) = Command::of(value) else {
            env.violation(Violation::AsCommand, || format!("AS{n} command {value:#x}"));
            return;
        };
        if command != Command::Nop && !env.l2_on {
            env.violation(Violation::L2Off, || format!("AS{n} command {command:?}"));
        }
        if command != Command::Nop {
            if let Some(until) = env.hangs.begin(Work::As, now) {
                self.spaces[n].set_busy(until);
                return;
            }
        }
        if command == Command::Update {
            self.check_shared_root(env, n);
        }
        let space = &mut self.spaces[n];
        match command {
            Command::Nop => return,
            Command::Update => {
                env.counters.inc(Counter::Update);
                space.update(env, n);
            }
            Command::Lock => {
                env.counters.inc(Counter::Lock);
                space.lock(env, n);
            }
            Command::Unlock => {
                env.counters.inc(Counter::Unlock);
                space.unlock(env, n);
            }
            Command::FlushPt | Command::FlushMem => {
                env.counters.inc(Counter::AsFlush);
                space.flush(env, command == Command::FlushMem);
            }
        }
        // After the change, so that what a thread finds in the new epoch is what holds in it.
        space.begin_epoch(env);
        space.set_busy(now + env.timing.as_command);
    }

    fn check_shared_root(&self, env: &mut Env, n: usize) {
        let Ok(Translation::Tables(Config { root, .. })) = self.spaces[n].requested(env) else {
            return;
        };
        let twin = |(i, s): (usize, &AddressSpace)| (i != n && s.root() == Some(root)).then_some(i);
        if let Some(other) = self.spaces.iter().enumerate().find_map(twin) {
            env.violation(Violation::AsSharedRoot, || {
                format!("AS{n} and AS{other} root {root:#x}")
            });
        }
    }

    /// Commands that hang end.
    pub fn let_go(&mut self) {
        for space in &mut self.spaces {
            if space.hangs() {
                space.set_busy(0);
            }
        }
    }

    /// A write to MMU_INT_CLEAR: faults of these address spaces may be latched again.
    pub fn clear_faults(&mut self, bits: u32) {
        for (n, space) in self.spaces.iter_mut().enumerate() {
            if (bits >> n) & 1 != 0 {
                space.fault.latched = false;
            }
        }
    }

    /// Compares every TLB entry outside a locked region with the tables, to find changes that no
    /// access has met yet.
    pub fn audit(&mut self, env: &mut Env) {
        for (n, space) in self.spaces.iter_mut().enumerate() {
            space.audit_all(env, n);
        }
    }
}

#[cfg(test)]
mod tests;
