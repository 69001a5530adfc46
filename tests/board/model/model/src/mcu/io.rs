// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The microcontroller's own memory, and the request and acknowledge words in it.

use super::AS;
use crate::device::env::Env;
use crate::mmu::access::AccessError;
use crate::mmu::fault::Kind;
use crate::mmu::walk::PAGE;
use crate::mmu::Mmu;
use crate::ram::GuestRam;
use std::ops::Range;

/// Access to memory through AS0.
pub struct Io<'a> {
    /// The device.
    pub env: &'a mut Env,
    /// Its address spaces.
    pub mmu: &'a mut Mmu,
}

impl Io<'_> {
    /// Reads a word.
    pub fn load(&mut self, va: u64) -> Result<u32, AccessError> {
        self.mmu.load(self.env, AS, va)
    }

    /// Writes a word.
    pub fn store(&mut self, va: u64, value: u32) -> Result<(), AccessError> {
        self.mmu.store(self.env, AS, va, value)
    }

    /// Reads two words, the low one first.
    pub fn load64(&mut self, va: u64) -> Result<u64, AccessError> {
        let low = self.load(va)?;
        let high = self.load(va.wrapping_add(4))?;
        Ok(u64::from(low) | (u64::from(high) << 32))
    }

    /// Writes two words. The host may look at any time: if they cannot be written at once, the high
    /// one goes first.
    pub fn store64(&mut self, va: u64, value: u64) -> Result<(), AccessError> {
        if va % 8 == 0 {
            let leaf = self.mmu.access(self.env, AS, va, Kind::Write)?;
            // `access` has seen that the page is memory.
            let _ = self.env.ram.write_u64(leaf.pa + (va - leaf.va), value);
            return Ok(());
        }
        self.store(va.wrapping_add(4), (value >> 32) as u32)?;
        self.store(va, value as u32)
    }

    /// Calls `f` with the physical address of each piece of a range that lies in one page, and the
    /// bytes of the range that are in it.
    fn pieces(
        &mut self,
        va: u64,
        len: usize,
        kind: Kind,
        mut f: impl FnMut(&GuestRam, u64, Range<usize>),
    ) -> Result<(), AccessError> {
        let mut done = 0;
        while done < len {
            let at = va.wrapping_add(done as u64);
            let leaf = self.mmu.access(self.env, AS, at, kind)?;
            let piece = (PAGE - at % PAGE).min((len - done) as u64) as usize;
            f(&self.env.ram, leaf.pa + (at - leaf.va), done..done + piece);
            done += piece;
        }
        Ok(())
    }

    /// Reads bytes.
    pub fn read(&mut self, va: u64, to: &mut [u8]) -> Result<(), AccessError> {
        self.pieces(va, to.len(), Kind::Read, |ram, pa, part| {
            // `access` has seen that the page is memory.
            let _ = ram.read(pa, &mut to[part]);
        })
    }

    /// Writes bytes.
    pub fn write(&mut self, va: u64, from: &[u8]) -> Result<(), AccessError> {
        self.pieces(va, from.len(), Kind::Write, |ram, pa, part| {
            let _ = ram.write(pa, &from[part]);
        })
    }
}

/// Events that the firmware raises by a change of an acknowledge word: what is not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    raised: u32,
}

impl Events {
    /// What both words say when an interface is taken over.
    pub fn taken(mask: u32, req: u32, ack: u32) -> Self {
        Self {
            raised: (req ^ ack) & mask,
        }
    }

    /// Looks at what the host acknowledged. Gives the bits that it changed without an event.
    pub fn look(&mut self, mask: u32, req: u32, ack: u32) -> u32 {
        let differ = (req ^ ack) & mask;
        let wrong = differ & !self.raised;
        // Told once: from here on they are like raised ones.
        self.raised = differ;
        wrong
    }

    /// Whether an event waits for the host.
    pub fn pending(self, bit: u32) -> bool {
        self.raised & bit != 0
    }

    /// An event is raised.
    pub fn raise(&mut self, bit: u32) {
        self.raised |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_raised_once_and_acknowledged_once() {
        let mut events = Events::taken(6, 2, 0);
        assert!(events.pending(2), "still open from before");
        assert_eq!(events.look(6, 2, 2), 0);
        assert!(!events.pending(2));
        events.raise(4);
        assert_eq!(events.look(6, 2, 2 | 4), 0, "not seen by the host yet");
        assert_eq!(events.look(6, 6, 6), 0, "acknowledged");
        assert_eq!(events.look(6, 4, 6), 2, "nothing was raised");
        assert_eq!(events.look(6, 4, 6), 0, "told once");
        assert_eq!(events.look(6, 5, 7), 0, "other bits are not events");
    }
}
