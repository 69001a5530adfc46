// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults on request: what goes wrong, where, and how often.

mod parse;

use crate::irq::Line;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A stream has a fault with this code, and goes on.
    CsFault(u8),
    /// A stream has a fault with this code, and does not.
    CsFatal(u8),
    /// An access of a stream to this address faults.
    Mmu(u64),
    /// A stream does not go on.
    Hang,
    /// A stream needs so many nanoseconds for each instruction.
    Slow(u64),
    /// A group does not start, or resume.
    NoStart,
    /// A group is not suspended.
    NoSuspend,
    /// A group is not terminated.
    NoTerminate,
    /// What is in a suspend buffer is damaged.
    CorruptSuspend,
    /// The host is told that a group makes no progress.
    Progress,
    /// These bits of a group's acknowledge word do not change.
    NoAck(u32),
    /// These bits of the global acknowledge word do not change.
    NoGlobalAck(u32),
    /// An interrupt of a line is not sent.
    IrqLost(Line),
    /// An interrupt of a line is sent so many nanoseconds late.
    IrqLate(Line, u64),
}

/// Something that goes wrong at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What.
    pub what: What,
    /// In this group slot, or in any.
    pub group: Option<usize>,
    /// On this stream, or on any.
    pub stream: Option<usize>,
    /// Once, or until it is told otherwise.
    pub once: bool,
}

/// What a control request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// One more thing goes wrong.
    Add(Rule),
    /// The microcontroller falls silent.
    McuDead,
    /// The microcontroller stops and says so.
    McuPanic,
    /// An interrupt without a reason.
    Spurious(Line),
    /// Nothing goes wrong any more.
    Clear,
    /// What goes wrong.
    List,
}

/// All that goes wrong.
#[derive(Debug, Default)]
pub struct Injections {
    rules: Vec<Rule>,
}

impl Injections {
    /// Adds one.
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Those that have not come to pass.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Looks for one that applies; takes it if it was for once.
    pub fn take<T>(
        &mut self,
        group: usize,
        stream: Option<usize>,
        pick: impl Fn(What) -> Option<T>,
    ) -> Option<T> {
        if self.rules.is_empty() {
            return None;
        }
        let here = |rule: &Rule| {
            rule.group.is_none_or(|g| g == group)
                && rule.stream.is_none_or(|s| stream.is_none_or(|t| s == t))
        };
        let found = |rule: &Rule| pick(rule.what).filter(|_| here(rule));
        let at = self.rules.iter().position(|rule| found(rule).is_some())?;
        let rule = self.rules[at];
        if rule.once {
            self.rules.remove(at);
        }
        found(&rule)
    }

    /// The bits of a group's acknowledge word that stay, of those that would change.
    pub fn no_ack(&mut self, group: usize, changed: u32) -> u32 {
        let pick = |what| match what {
            What::NoAck(bits) if bits & changed != 0 => Some(bits),
            _ => None,
        };
        self.take(group, None, pick).unwrap_or(0)
    }

    /// The same for the global one.
    pub fn no_global_ack(&mut self, changed: u32) -> u32 {
        let pick = |what| match what {
            What::NoGlobalAck(bits) if bits & changed != 0 => Some(bits),
            _ => None,
        };
        self.take(0, None, pick).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
