// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The global interface: what concerns all groups.

use super::{
    layout::{Interface, Layout, Shared, Version},
    memory::SharedSection,
    request::{Ack, Level, Req, Toggle},
    timer::timer_count,
};
use kernel::prelude::*;

/// Level: stop, before [`Version::STATE_FIELD`]. Not acknowledged: the status register says it.
const HALT: Level = Level::bit(0);
/// Takes over the progress timer.
const CFG_PROGRESS_TIMER: Toggle = Toggle::bit(1);
/// Takes over which shader cores may be used.
const CFG_ALLOC_EN: Toggle = Toggle::bit(2);
/// Takes over after how long idle cores lose their power.
const CFG_POWEROFF_TIMER: Toggle = Toggle::bit(3);
/// Level: the cycle counter and the timestamp run.
const COUNTER_EN: Level = Level::bit(7);
/// Is there, and answers.
const PING: Toggle = Toggle::bit(8);
/// What the firmware is to do, from [`Version::STATE_FIELD`] on: 0 work, 1 halt.
const STATE: Level = Level::bits(14, 12);
/// [`STATE`]: halt.
const STATE_HALT: u32 = 1;

/// What is configured at each start.
const CONFIGURATION: Toggle = CFG_PROGRESS_TIMER.and(CFG_ALLOC_EN).and(CFG_POWEROFF_TIMER);

/// Offsets in the input block.
mod input {
    pub(super) const REQ: u32 = 0x00;
    pub(super) const ACK_IRQ_MASK: u32 = 0x04;
    pub(super) const PROGRESS_TIMER: u32 = 0x10;
    pub(super) const POWEROFF_TIMER: u32 = 0x14;
    pub(super) const CORE_EN_MASK: u32 = 0x18;
}

/// Offsets in the output block.
mod output {
    pub(super) const ACK: u32 = 0x00;
}

/// Units of 1024 GPU cycles without progress after which a group has hung; what the C driver sets.
const PROGRESS_TIMEOUT: u32 = 2_560_000;
/// Microseconds after which idle cores lose their power; what the C driver sets.
const POWEROFF_US: u64 = 10_000;

/// The global interface. Who has it is the only one who writes to it.
pub(super) struct Global<'a> {
    shared: &'a SharedSection,
    at: Interface,
    version: Version,
}

impl<'a> Global<'a> {
    pub(super) fn new(shared: &'a SharedSection, layout: &Layout) -> Self {
        Self {
            shared,
            at: layout.global,
            version: layout.version,
        }
    }

    fn set(&self, offset: u32, value: u32) -> Result {
        self.shared
            .write(self.at.input.offset().saturating_add(offset), value)
    }

    fn req(&self) -> Req {
        Req(self
            .shared
            .word(self.at.input.offset().saturating_add(input::REQ)))
    }

    fn ack(&self) -> Ack {
        Ack(self
            .shared
            .word(self.at.output.offset().saturating_add(output::ACK)))
    }

    /// Writes what the firmware is to go by, and asks it to do so and to answer. The caller rings the
    /// bell. `hz` is the rate of the system counter.
    pub(super) fn configure(&self, shader_present: u64, hz: u64) -> Result {
        self.set(input::ACK_IRQ_MASK, CONFIGURATION.and(PING).mask())?;
        self.set(input::PROGRESS_TIMER, PROGRESS_TIMEOUT)?;
        self.set(input::POWEROFF_TIMER, timer_count(POWEROFF_US, hz))?;
        // CAST: The two halves.
        self.set(input::CORE_EN_MASK, shader_present as u32)?;
        self.set(input::CORE_EN_MASK + 4, (shader_present >> 32) as u32)?;

        let req = COUNTER_EN.set(self.req(), 1);
        let req = CONFIGURATION.and(PING).ask(req, self.ack());
        self.set(input::REQ, req.0)
    }

    /// Whether all that [`Self::configure`] asked for was done.
    pub(super) fn is_configured(&self) -> bool {
        !CONFIGURATION.and(PING).is_pending(self.req(), self.ack())
    }

    /// Asks the firmware to stop. The caller rings the bell, and waits for the status register.
    pub(super) fn halt(&self) -> Result {
        let req = if self.version >= Version::STATE_FIELD {
            STATE.set(self.req(), STATE_HALT)
        } else {
            HALT.set(self.req(), 1)
        };
        self.set(input::REQ, req.0)
    }
}
