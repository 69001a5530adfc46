// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupt blocks (RAWSTAT, CLEAR, MASK, STAT) and the lines that they drive.

/// One of the three interrupt lines, in the order of the MSI-X vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Vector 0.
    Job = 0,
    /// Vector 1.
    Mmu = 1,
    /// Vector 2.
    Gpu = 2,
}

impl Line {
    /// Number of lines.
    pub const COUNT: usize = 3;
    /// Every line.
    pub const ALL: [Line; Self::COUNT] = [Line::Job, Line::Mmu, Line::Gpu];
}

/// Where interrupts go.
pub trait IrqSink: Send {
    /// Sends one message. It may be lost when nobody listens yet; the level is asked again then.
    fn fire(&self, line: Line);
}

/// A sink that drops everything.
#[derive(Debug, Default)]
pub struct NoIrq;

impl IrqSink for NoIrq {
    fn fire(&self, _line: Line) {}
}

/// Registers of one block.
///
/// The line is a level, `STAT != 0`; MSI-X is an edge. A message is due when the level rises, and
/// again whenever a write to CLEAR or MASK leaves it high.
#[derive(Clone, Debug, Default)]
pub struct IrqBlock {
    raw: u32,
    mask: u32,
    due: bool,
    /// A message without a reason is due.
    spurious: bool,
}

impl IrqBlock {
    /// RAWSTAT.
    pub fn raw(&self) -> u32 {
        self.raw
    }

    /// MASK.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// STAT.
    pub fn status(&self) -> u32 {
        self.raw & self.mask
    }

    /// Latches events.
    pub fn raise(&mut self, bits: u32) {
        let before = self.status();
        self.raw |= bits;
        self.due |= before == 0 && self.status() != 0;
    }

    /// A write to CLEAR.
    pub fn clear(&mut self, bits: u32) {
        self.raw &= !bits;
        self.due |= self.status() != 0;
    }

    /// A write to MASK.
    pub fn set_mask(&mut self, mask: u32) {
        self.mask = mask;
        self.due |= self.status() != 0;
    }

    /// Forgets events and mask.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// A message is due whether there is a reason or not.
    pub fn spurious(&mut self) {
        self.spurious = true;
    }

    /// Asks for a message again if the level is high, for a new listener.
    pub fn retrigger(&mut self) {
        self.due |= self.status() != 0;
    }

    /// Whether a message is due; it is taken by the caller.
    pub fn take_due(&mut self) -> bool {
        let due = std::mem::take(&mut self.due) && self.status() != 0;
        std::mem::take(&mut self.spurious) | due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_mask_and_clear() {
        let mut block = IrqBlock::default();
        block.raise(1);
        assert_eq!((block.raw(), block.status()), (1, 0));
        assert!(!block.take_due(), "masked");
        block.set_mask(3);
        assert!(block.take_due(), "pending when unmasked");
        assert!(!block.take_due(), "taken once");
        block.raise(2);
        assert!(!block.take_due(), "the line was high already");
        block.clear(1);
        assert_eq!(block.status(), 2);
        assert!(block.take_due(), "still high after a clear");
        block.clear(2);
        assert!(!block.take_due());
        block.raise(1);
        assert!(block.take_due(), "rises again");
    }

    #[test]
    fn masking_while_high_loses_nothing() {
        let mut block = IrqBlock::default();
        block.set_mask(1);
        block.raise(1);
        assert!(block.take_due());
        // Hard handler masks, thread clears, the event comes again, thread unmasks.
        block.set_mask(0);
        block.clear(1);
        block.raise(1);
        assert!(!block.take_due());
        block.set_mask(1);
        assert!(block.take_due());
    }

    #[test]
    fn a_new_listener_is_told() {
        let mut block = IrqBlock::default();
        block.set_mask(1);
        block.raise(1);
        assert!(block.take_due());
        block.retrigger();
        assert!(block.take_due());
    }
}
