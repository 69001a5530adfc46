// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sixteen threads that execute together, and what each of them has.
//!
//! Threads that went different ways are splits of the warp. The split with the lowest program
//! counter runs, so that threads meet again as early as they can. A message writes its registers
//! when its slot is waited for, not before: a missing wait reads what was there.

/// Threads of a warp.
pub const LANES: usize = 16;
/// A word of each thread.
pub type Row = [u32; LANES];
/// Registers of a thread.
pub const REGISTERS: usize = 64;

/// Threads at the same instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Where.
    pub pc: u64,
    /// Which.
    pub mask: u16,
    /// Whether they wait at the barrier before `pc`.
    pub waiting: bool,
}

/// Registers that a message will write.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    slot: u8,
    mask: u16,
    register: u8,
    count: u8,
    data: [Row; 4],
}

/// A message that could not be finished, since memory was locked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Partial {
    /// Lanes that are done.
    pub done: u16,
    /// What they have read.
    pub data: [Row; 4],
}

/// A warp.
#[derive(Clone, Debug)]
pub struct Warp {
    /// Registers: one row each.
    pub registers: Box<[Row; REGISTERS]>,
    splits: [Split; LANES],
    live: usize,
    pending: Vec<Pending>,
    /// What is left from a message that was interrupted.
    pub partial: Partial,
    /// Number of the first thread in its workgroup.
    pub first: u32,
}

impl Warp {
    /// A warp of `threads` threads. Registers hold what nobody has written: not zero.
    pub fn new(pc: u64, first: u32, threads: u32) -> Self {
        let mask = if threads >= LANES as u32 {
            u16::MAX
        } else {
            (1 << threads) - 1
        };
        let mut splits = [Split::default(); LANES];
        splits[0] = Split {
            pc,
            mask,
            waiting: false,
        };
        let mut registers = Box::new([[0; LANES]; REGISTERS]);
        for (n, row) in registers.iter_mut().enumerate() {
            *row = [0xbad0_0000 | n as u32; LANES];
        }
        Self {
            registers,
            splits,
            live: usize::from(mask != 0),
            pending: Vec::new(),
            partial: Partial::default(),
            first,
        }
    }

    /// The splits that are left.
    pub fn splits(&self) -> &[Split] {
        &self.splits[..self.live]
    }

    /// The split that runs: an index, and the next higher program counter of another.
    pub fn current(&self) -> Option<(usize, u64)> {
        let (mut best, mut next) = (None, u64::MAX);
        for (n, split) in self.splits().iter().enumerate() {
            if split.waiting {
                continue;
            }
            match best {
                None => best = Some((n, split.pc)),
                Some((_, pc)) if split.pc < pc => {
                    next = pc;
                    best = Some((n, split.pc));
                }
                Some(_) => next = next.min(split.pc),
            }
        }
        best.map(|(n, _)| (n, next))
    }

    /// Threads that have not ended.
    pub fn alive(&self) -> u16 {
        self.splits()
            .iter()
            .fold(0, |mask, split| mask | split.mask)
    }

    /// One split.
    pub fn split(&self, n: usize) -> Split {
        self.splits().get(n).copied().unwrap_or_default()
    }

    /// Moves a split.
    pub fn advance(&mut self, n: usize, pc: u64) {
        if let Some(split) = self.splits.get_mut(n) {
            split.pc = pc;
        }
    }

    /// Lanes of a split go elsewhere. Splits that are at one place become one.
    pub fn branch(&mut self, n: usize, taken: u16, to: u64) {
        let Some(split) = self.splits.get_mut(n) else {
            return;
        };
        if split.mask & !taken == 0 {
            split.pc = to;
        } else if split.mask & taken != 0 {
            split.mask &= !taken;
            if let Some(free) = self.splits.get_mut(self.live) {
                *free = Split {
                    pc: to,
                    mask: taken,
                    waiting: false,
                };
                self.live += 1;
            }
        }
        self.merge();
    }

    /// Joins splits at one place.
    pub fn merge(&mut self) {
        let mut n = 0;
        while n < self.live {
            let split = self.splits[n];
            let mut other = n + 1;
            while other < self.live {
                let found = self.splits[other];
                if found.pc == split.pc && found.waiting == split.waiting {
                    self.splits[n].mask |= found.mask;
                    self.remove(other);
                } else {
                    other += 1;
                }
            }
            n += 1;
        }
    }

    fn remove(&mut self, n: usize) {
        if n < self.live {
            self.live -= 1;
            self.splits.swap(n, self.live);
        }
    }

    /// The threads of a split end.
    pub fn end(&mut self, n: usize) {
        self.remove(n);
    }

    /// A split waits at a barrier.
    pub fn wait(&mut self, n: usize) {
        if let Some(split) = self.splits.get_mut(n) {
            split.waiting = true;
        }
        self.merge();
    }

    /// The barrier is open.
    pub fn release(&mut self) {
        for split in &mut self.splits[..self.live] {
            split.waiting = false;
        }
        self.merge();
    }

    /// A message will write registers.
    pub fn defer(&mut self, slot: u8, mask: u16, register: u8, count: u8, data: &[Row; 4]) {
        self.pending.push(Pending {
            slot,
            mask,
            register,
            count,
            data: *data,
        });
    }

    /// Slots are waited for: their messages write.
    pub fn complete(&mut self, slots: u8) {
        if self.pending.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|message| {
            if slots >> (message.slot & 7) & 1 == 0 {
                return true;
            }
            for (n, row) in message.data.iter().enumerate().take(message.count.into()) {
                self.write(message.register.wrapping_add(n as u8), message.mask, row);
            }
            false
        });
        self.pending = pending;
    }

    /// Writes a register in some lanes.
    #[inline]
    pub fn write(&mut self, register: u8, mask: u16, value: &Row) {
        let row = &mut self.registers[usize::from(register) % REGISTERS];
        if mask == u16::MAX {
            *row = *value;
            return;
        }
        for (lane, word) in row.iter_mut().enumerate() {
            if mask >> lane & 1 != 0 {
                *word = value[lane];
            }
        }
    }

    /// Writes halves of a register in some lanes.
    #[inline]
    pub fn write_halves(&mut self, register: u8, halves: u8, mask: u16, value: &Row) {
        let bits = match halves {
            3 => return self.write(register, mask, value),
            2 => 0xffff_0000,
            1 => 0x0000_ffff,
            _ => return,
        };
        let row = &mut self.registers[usize::from(register) % REGISTERS];
        for (lane, word) in row.iter_mut().enumerate() {
            if mask >> lane & 1 != 0 {
                *word = *word & !bits | value[lane] & bits;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_program_counter_runs_and_lanes_meet_again() {
        let mut warp = Warp::new(0x100, 0, 16);
        warp.branch(0, 0x00ff, 0x140);
        assert_eq!(warp.splits().len(), 2);
        let (n, next) = warp.current().unwrap();
        assert_eq!((warp.split(n).mask, next), (0xff00, 0x140));
        warp.advance(n, 0x140);
        warp.merge();
        assert_eq!(warp.splits().len(), 1);
        assert_eq!(warp.split(0).mask, 0xffff);
    }

    #[test]
    fn a_message_writes_when_its_slot_is_waited_for() {
        let mut warp = Warp::new(0, 0, 16);
        warp.defer(1, 0xffff, 4, 1, &[[7; LANES]; 4]);
        warp.complete(1 << 0);
        assert_eq!(warp.registers[4][0], 0xbad0_0004);
        warp.complete(1 << 1);
        assert_eq!(warp.registers[4], [7; LANES]);
        assert_eq!(warp.registers[5][0], 0xbad0_0005);
    }
}
