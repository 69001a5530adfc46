// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The global interface: requests, answers, the doorbell bits of the groups.

use super::io::{Events, Io};
use super::layout::{input, output, Layout, GLOBAL_INPUT, GLOBAL_OUTPUT};
use super::pending::Act;
use crate::counters::Counter;
use crate::device::env::Env;
use crate::mmu::access::AccessError;
use crate::regs::gpu;
use crate::violations::Violation;

/// Bits of the request word.
pub mod bit {
    /// Level: halt. Not acknowledged.
    pub const HALT: u32 = 1 << 0;
    /// Toggle: take the progress timer.
    pub const CFG_PROGRESS_TIMER: u32 = 1 << 1;
    /// Toggle: protected mode, which this firmware does not have.
    pub const PROTM_ENTER: u32 = 1 << 4;
    /// Toggle: answered at once.
    pub const PING: u32 = 1 << 8;
    /// Level: the host wants to know when nothing is to be done.
    pub const IDLE_EN: u32 = 1 << 10;
    /// The state of later interfaces: 0 active, 1 halt, 2 sleep, 3 suspend.
    pub const STATE: u32 = 0x7 << 12;
    /// [`STATE`]: halt.
    pub const STATE_HALT: u32 = 1 << 12;
    /// Event: nothing to do.
    pub const IDLE: u32 = 1 << 26;
    /// Requests and settings that are answered by a copy, each for itself.
    pub const COPIED: [u32; 10] = [
        CFG_PROGRESS_TIMER,
        1 << 2,
        1 << 3,
        1 << 5,
        1 << 6,
        1 << 7,
        PING,
        1 << 9,
        IDLE_EN,
        STATE,
    ];
}

/// Address of a word of the input block.
fn input_at(offset: u32) -> u64 {
    u64::from(GLOBAL_INPUT + offset)
}

/// Address of a word of the output block.
fn output_at(offset: u32) -> u64 {
    u64::from(GLOBAL_OUTPUT + offset)
}

/// What the firmware keeps of the global interface.
#[derive(Debug, Default)]
pub struct Global {
    /// Events that were raised.
    pub events: Events,
    /// Nanoseconds without work until a group is reported as idle.
    pub idle_timer: u64,
    /// Nanoseconds without progress until a group is reported.
    pub progress_timer: u64,
    /// The host wants to know when nothing is to be done.
    pub idle_enabled: bool,
    /// It was told.
    pub idle_told: bool,
}

/// What a timer word says, in nanoseconds.
fn timer(env: &Env, word: u32) -> u64 {
    let hz = if word >> 31 != 0 {
        env.identity.cycle_hz
    } else {
        env.identity.timestamp_hz
    };
    let ticks = u128::from(word & 0x7fff_ffff) * 1024;
    let ns = ticks * 1_000_000_000 / u128::from(hz.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

impl Global {
    /// What holds after a start.
    pub fn boot(io: &mut Io<'_>) -> Result<Self, AccessError> {
        let req = io.load(input_at(input::REQ))?;
        let ack = io.load(output_at(output::ACK))?;
        let mut global = Self {
            events: Events::taken(bit::IDLE, req, ack),
            ..Self::default()
        };
        global.take(io)?;
        Ok(global)
    }

    /// Takes the settings.
    fn take(&mut self, io: &mut Io<'_>) -> Result<(), AccessError> {
        let idle = io.load(input_at(input::IDLE_TIMER))?;
        let progress = io.load(input_at(input::PROGRESS_TIMER))?;
        let ack = io.load(output_at(output::ACK))?;
        self.idle_timer = timer(io.env, idle);
        // In units of 1024 cycles; 0 is none.
        self.progress_timer = match progress & 0x7fff_ffff {
            0 => u64::MAX,
            n => timer(io.env, n | (1 << 31)),
        };
        self.idle_enabled = ack & bit::IDLE_EN != 0;
        Ok(())
    }

    /// What the host asks for; gives the doorbell bits of the groups.
    pub fn look(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        mut ask: impl FnMut(&mut Io<'_>, Act),
    ) -> Result<u32, AccessError> {
        let req = io.load(input_at(input::REQ))?;
        let ack = io.load(output_at(output::ACK))?;
        let bells = io.load(input_at(input::DOORBELL_REQ))?;
        let served = io.load(output_at(output::DOORBELL_ACK))?;

        let differ = req ^ ack;
        for bits in bit::COPIED.into_iter().filter(|bits| differ & bits != 0) {
            ask(io, Act::Global(bits));
        }
        if differ & bit::PROTM_ENTER != 0 {
            io.env
                .violation(Violation::FirmwareRequest, || "PROTM_ENTER".into());
        }
        let wrong = self.events.look(bit::IDLE, req, ack);
        if wrong != 0 {
            io.env
                .violation(Violation::EventAck, || format!("global bits {wrong:#x}"));
        }
        let halt = if layout.version.has_state() {
            req & bit::STATE == bit::STATE_HALT
        } else {
            req & bit::HALT != 0
        };
        if halt {
            ask(io, Act::Halt);
        }
        let rung = bells ^ served;
        if rung >> layout.groups != 0 {
            io.env.violation(Violation::FirmwareRequest, || {
                format!("doorbell bits {rung:#x} for {} groups", layout.groups)
            });
        }
        Ok(rung)
    }

    /// The doorbell bits are served.
    pub fn served(io: &mut Io<'_>, rung: u32) -> Result<(), AccessError> {
        let served = io.load(output_at(output::DOORBELL_ACK))?;
        io.store(output_at(output::DOORBELL_ACK), served ^ rung)
    }

    /// Answers bits of the request word.
    pub fn acknowledge(&mut self, io: &mut Io<'_>, bits: u32) -> Result<(), AccessError> {
        let req = io.load(input_at(input::REQ))?;
        Self::change(io, bits, req)?;
        io.env.counters.inc(Counter::GlobalRequest);
        if bits & bit::PING != 0 {
            io.env.counters.inc(Counter::Ping);
        }
        io.env
            .event(|| format!("global request {:#x} answered", bits));
        self.take(io)
    }

    fn change(io: &mut Io<'_>, bits: u32, value: u32) -> Result<(), AccessError> {
        let ack = io.load(output_at(output::ACK))?;
        let mask = io.load(input_at(input::ACK_IRQ_MASK))?;
        let new = ack & !bits | value & bits;
        let stay = io.env.inject.no_global_ack(ack ^ new);
        let new = ack & stay | new & !stay;
        io.store(output_at(output::ACK), new)?;
        if (ack ^ new) & mask != 0 {
            io.env.job_irq.raise(gpu::JOB_INT_GLOBAL);
        }
        Ok(())
    }

    /// Raises the event for a GPU without work, once for each time that there was some.
    pub fn watch(&mut self, io: &mut Io<'_>, idle: bool) -> Result<(), AccessError> {
        if !idle {
            self.idle_told = false;
        } else if self.idle_enabled && !self.idle_told {
            let req = io.load(input_at(input::REQ))?;
            let ack = io.load(output_at(output::ACK))?;
            self.events.look(bit::IDLE, req, ack);
            if !self.events.pending(bit::IDLE) {
                Self::change(io, bit::IDLE, !ack)?;
                self.events.raise(bit::IDLE);
            }
            self.idle_told = true;
        }
        Ok(())
    }

    /// Says why it halts.
    pub fn halt_status(io: &mut Io<'_>, status: u32) -> Result<(), AccessError> {
        io.store(output_at(output::HALT_STATUS), status)
    }
}
