// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What the hardware does not do any more, as the control socket asked for.

/// A kind of work that can be made to hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Commands of address spaces: they have no effect and stay active.
    As,
    /// Cache flushes do not end.
    Flush,
    /// Power transitions do not end.
    Power,
    /// Resets do not end.
    Reset,
}

impl Work {
    /// The one with a name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "as" => Self::As,
            "flush" => Self::Flush,
            "power" => Self::Power,
            "reset" => Self::Reset,
            _ => return None,
        })
    }
}

/// How long it hangs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hang {
    /// Not at all.
    #[default]
    No,
    /// Until told otherwise.
    Always,
    /// Only the next time, for so many nanoseconds.
    Once(u64),
}

/// What hangs.
#[derive(Debug, Default)]
pub struct Hangs([Hang; 4]);

impl Hangs {
    /// Makes something hang, or lets it go on.
    pub fn set(&mut self, work: Work, hang: Hang) {
        self.0[work as usize] = hang;
    }

    /// Whether something hangs until told otherwise.
    pub fn is(&self, work: Work) -> bool {
        self.0[work as usize] == Hang::Always
    }

    /// Until when what begins now hangs, if it does.
    pub fn begin(&mut self, work: Work, now: u64) -> Option<u64> {
        match self.0[work as usize] {
            Hang::No => None,
            Hang::Always => Some(u64::MAX),
            Hang::Once(time) => {
                self.set(work, Hang::No);
                Some(now.saturating_add(time))
            }
        }
    }
}
