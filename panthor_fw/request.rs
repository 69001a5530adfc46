// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]
#![allow(dead_code)] // Groups and streams will use all of it.

//! The bits of a pair of words with which host and firmware talk: what the host asks, and what the
//! firmware acknowledges. There are three kinds of them, and each allows what makes sense for it.
//!
//! Nothing of the kernel is used here; `tests/host` has the tests.

/// A request word: the host writes it, the firmware reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Req(pub(crate) u32);

/// An acknowledge word: the firmware writes it, the host reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ack(pub(crate) u32);

/// A bit that the host makes different from its acknowledgement, which asks for something to be done
/// once; the firmware makes both the same when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Toggle(u32);

impl Toggle {
    /// The bit with this number, below 32; several that are asked for together by `and()`.
    pub(crate) const fn bit(number: u32) -> Self {
        Self(1 << number)
    }

    /// These requests as well.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits.
    pub(crate) const fn mask(self) -> u32 {
        self.0
    }

    /// The request word that asks for it. What was asked before and is not done yet is the same
    /// request: it is made from the acknowledgement, so that asking twice does not take it back.
    pub(crate) const fn ask(self, req: Req, ack: Ack) -> Req {
        Req(req.0 & !self.0 | !ack.0 & self.0)
    }

    /// Whether something that was asked for is not done yet.
    pub(crate) const fn is_pending(self, req: Req, ack: Ack) -> bool {
        (req.0 ^ ack.0) & self.0 != 0
    }
}

/// Bits that hold a value, which the firmware copies when it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    mask: u32,
    shift: u32,
}

impl Level {
    /// The bits `high` down to `low`, below 32.
    pub(crate) const fn bits(high: u32, low: u32) -> Self {
        Self {
            mask: (u32::MAX >> (31 - high)) & (u32::MAX << low),
            shift: low,
        }
    }

    /// One bit.
    pub(crate) const fn bit(number: u32) -> Self {
        Self::bits(number, number)
    }

    /// The bits.
    pub(crate) const fn mask(self) -> u32 {
        self.mask
    }

    /// The request word with a value in these bits, of which those count that there are.
    pub(crate) const fn set(self, req: Req, value: u32) -> Req {
        Req(req.0 & !self.mask | value << self.shift & self.mask)
    }

    /// The value that is asked for.
    pub(crate) const fn asked(self, req: Req) -> u32 {
        (req.0 & self.mask) >> self.shift
    }

    /// The value that is in force.
    pub(crate) const fn reached(self, ack: Ack) -> u32 {
        (ack.0 & self.mask) >> self.shift
    }
}

/// A bit that the firmware makes different from that of the host when something has happened. It does
/// not do so again before the host has taken note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event(u32);

/// Events that have happened, and that the host has not taken note of.
#[must_use = "the firmware waits for a note"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Raised(u32);

impl Event {
    /// The bit with this number, below 32.
    pub(crate) const fn bit(number: u32) -> Self {
        Self(1 << number)
    }

    /// One of these events.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits.
    pub(crate) const fn mask(self) -> u32 {
        self.0
    }

    /// Which of the events have happened.
    pub(crate) const fn raised(self, req: Req, ack: Ack) -> Raised {
        Raised((req.0 ^ ack.0) & self.0)
    }
}

impl Raised {
    /// Whether there are none.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether an event is among them.
    pub(crate) const fn has(self, event: Event) -> bool {
        self.0 & event.0 != 0
    }

    /// The request word that takes note of them. It can be done once: what was noted is not raised
    /// any more.
    pub(crate) const fn note(self, req: Req) -> Req {
        Req(req.0 ^ self.0)
    }
}
