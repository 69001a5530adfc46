// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The microcontroller: what its firmware does, seen through AS0.
//!
//! [`Mcu::run`] does one round of work and is called by a thread of its own. Groups and streams will
//! be rooms beside [`global`]; until then their requests are counted and not answered.

mod boot;
mod global;
pub mod layout;

use crate::counters::Counter;
use crate::device::env::Env;
use crate::mmu::access::AccessError;
use crate::mmu::Mmu;
use crate::regs::gpu;
use crate::violations::Violation;

/// Address space of the microcontroller.
pub const AS: usize = 0;

/// State of the microcontroller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Off.
    #[default]
    Disabled,
    /// Started, not yet at the global interface.
    Booting,
    /// Answers requests.
    Running,
    /// Lost its address space: looks alive, answers nothing.
    Silent,
    /// Halted on request.
    Halted,
    /// Refused its firmware.
    Fatal,
}

/// The microcontroller.
#[derive(Debug, Default)]
pub struct Mcu {
    state: State,
    control: u32,
    /// A doorbell was rung since the last round.
    rung: bool,
}

impl Mcu {
    /// State.
    pub fn state(&self) -> State {
        self.state
    }

    /// MCU_CONTROL.
    pub fn control(&self) -> u32 {
        self.control
    }

    /// MCU_STATUS.
    pub fn status(&self) -> u32 {
        match self.state {
            State::Disabled | State::Booting => 0,
            State::Running | State::Silent => 1,
            State::Halted => 2,
            State::Fatal => 3,
        }
    }

    /// Whether it uses memory.
    pub fn running(&self) -> bool {
        matches!(self.state, State::Booting | State::Running)
    }

    /// Forgets all state, as a reset does.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// A write to MCU_CONTROL.
    pub fn write_control(&mut self, env: &mut Env, value: u32) {
        match value {
            0 => {
                self.control = 0;
                self.rung = false;
                self.enter(env, State::Disabled);
            }
            1 | 2 => {
                if !env.l2_on {
                    env.violation(Violation::L2Off, || format!("MCU_CONTROL = {value}"));
                }
                if self.state != State::Disabled {
                    env.violation(Violation::McuStartTwice, || format!("{:?}", self.state));
                }
                self.control = value;
                self.rung = false;
                self.enter(env, State::Booting);
            }
            _ => env.violation(Violation::McuControl, || format!("{value:#x}")),
        }
    }

    /// A write to a doorbell page.
    pub fn doorbell(&mut self, env: &mut Env, page: u32) {
        env.counters.inc(Counter::Doorbell);
        if page > layout::GROUPS {
            env.violation(Violation::DoorbellNoSlot, || format!("page {page}"));
        } else if !matches!(self.state, State::Running | State::Silent) || !env.l2_on {
            env.violation(Violation::DoorbellMcuOff, || {
                format!("page {page}, {:?}", self.state)
            });
        } else {
            self.rung = true;
        }
    }

    /// Whether [`Self::run`] has something to do.
    pub fn has_work(&self) -> bool {
        match self.state {
            State::Booting => true,
            State::Running => self.rung,
            _ => false,
        }
    }

    /// One round of work. Says whether it must be tried again after an UNLOCK.
    pub fn run(&mut self, env: &mut Env, mmu: &mut Mmu) -> bool {
        let result = match self.state {
            State::Booting => self.boot(env, mmu),
            State::Running if self.rung => self.serve(env, mmu),
            _ => return false,
        };
        match result {
            Ok(()) => false,
            Err(AccessError::Locked) => true,
            Err(error) => {
                env.event(|| format!("MCU stopped: {error:x?}"));
                let booting = self.state == State::Booting;
                self.enter(env, if booting { State::Fatal } else { State::Silent });
                false
            }
        }
    }

    fn serve(&mut self, env: &mut Env, mmu: &mut Mmu) -> Result<(), AccessError> {
        let halt = global::serve(env, mmu)?;
        self.rung = false;
        if halt {
            env.counters.inc(Counter::Halt);
            self.enter(env, State::Halted);
        }
        Ok(())
    }

    fn enter(&mut self, env: &mut Env, state: State) {
        if self.state == state {
            return;
        }
        env.event(|| format!("MCU {:?} -> {state:?}", self.state));
        let before = self.status();
        self.state = state;
        if self.status() != before {
            env.gpu_irq.raise(gpu::INT_MCU_STATUS_CHANGED);
        }
    }
}

#[cfg(test)]
mod tests;
