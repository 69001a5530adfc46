// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The microcontroller.
//!
//! It has no firmware yet and is not started. Its interrupt is taken and kept silent, so that
//! whatever was there before the driver cannot disturb others on the line.

use crate::{
    panthor_irq::{IrqBlock, IrqSource},
    panthor_regs::{irq::JobIrq, Regs},
};
use kernel::{prelude::*, sync::Arc};

/// The microcontroller of a GPU.
#[pin_data]
pub(crate) struct Fw {
    #[pin]
    irq: IrqBlock<JobIrq>,
}

impl Fw {
    /// Makes the room for it.
    pub(crate) fn new(regs: Arc<Regs>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            irq <- IrqBlock::new(regs),
        })
    }
}

impl IrqSource for Fw {
    type Base = JobIrq;

    fn irq(&self) -> &IrqBlock<JobIrq> {
        &self.irq
    }

    fn handle(&self, events: u32) -> Result {
        self.irq.clear(events)
    }
}
