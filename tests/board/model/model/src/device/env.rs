// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What every block of the device shares.

use super::caches::Caches;
use super::gate::Gate;
use super::hang::Hangs;
use crate::clock::{Clock, Timing};
use crate::counters::{Counters, Odd};
use crate::identity::Identity;
use crate::inject::Injections;
use crate::irq::{IrqBlock, Line};
use crate::ram::GuestRam;
use crate::violations::{Violation, Violations};
use std::sync::Arc;

/// Shared state of the blocks.
#[derive(Debug)]
pub struct Env {
    /// Feature words.
    pub identity: Identity,
    /// Guest memory.
    pub ram: GuestRam,
    /// What the driver did wrong.
    pub violations: Violations,
    /// What happened.
    pub counters: Counters,
    /// What goes wrong because it was asked for.
    pub inject: Injections,
    /// What streams did that is odd.
    pub odd: Odd,
    /// Bytes of tiler heap that a RUN_IDVS takes.
    pub tiler_bytes: u32,
    /// Time.
    pub clock: Clock,
    /// Delays.
    pub timing: Timing,
    /// JOB interrupts.
    pub job_irq: IrqBlock,
    /// MMU interrupts.
    pub mmu_irq: IrqBlock,
    /// GPU interrupts.
    pub gpu_irq: IrqBlock,
    /// How threads that run streams are told of changes.
    pub gate: Arc<Gate>,
    /// Caches.
    pub caches: Caches,
    /// What the hardware does not do any more.
    pub hangs: Hangs,
    /// The L2 is powered and ready.
    pub l2_on: bool,
    /// An UNLOCK happened: stalled accesses may go on.
    pub unlocked: bool,
    /// Print events to the standard error.
    pub verbose: bool,
}

impl Env {
    /// A device that was just powered.
    pub fn new(identity: Identity, timing: Timing, clock: Clock) -> Self {
        let gate = Arc::new(Gate::default());
        Self {
            identity,
            ram: GuestRam::default(),
            violations: Violations::default(),
            counters: Counters::default(),
            inject: Injections::default(),
            odd: Odd::default(),
            tiler_bytes: 64 << 10,
            clock,
            timing,
            job_irq: IrqBlock::default(),
            mmu_irq: IrqBlock::default(),
            gpu_irq: IrqBlock::default(),
            caches: Caches::new(Arc::clone(&gate)),
            gate,
            hangs: Hangs::default(),
            l2_on: false,
            unlocked: false,
            verbose: false,
        }
    }

    /// Counts a violation.
    pub fn violation(&mut self, kind: Violation, text: impl FnOnce() -> String) {
        self.violations.add(kind, text);
    }

    /// Prints an event.
    pub fn event(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("mali-model: {:>10} us: {}", self.clock.now() / 1000, text());
        }
    }

    /// The interrupt block of a line.
    pub fn irq(&self, line: Line) -> &IrqBlock {
        match line {
            Line::Job => &self.job_irq,
            Line::Mmu => &self.mmu_irq,
            Line::Gpu => &self.gpu_irq,
        }
    }

    /// The interrupt block of a line, to change it.
    pub fn irq_mut(&mut self, line: Line) -> &mut IrqBlock {
        match line {
            Line::Job => &mut self.job_irq,
            Line::Mmu => &mut self.mmu_irq,
            Line::Gpu => &mut self.gpu_irq,
        }
    }
}
