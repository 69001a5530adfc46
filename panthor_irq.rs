// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Interrupt blocks of the GPU.
//!
//! The hard handler of a block masks all its events and wakes the thread, which handles events
//! until none that is enabled is left, and unmasks them again.

use crate::{
    kernel_ext,
    panthor_regs::{
        irq::{IrqBase, CLEAR, MASK, RAWSTAT, STAT},
        Regs,
    },
};
use core::marker::PhantomData;
use kernel::{
    device::Bound,
    io::register::RegisterBase,
    irq::{IrqReturn, ThreadedHandler, ThreadedIrqReturn},
    new_spinlock, platform,
    prelude::*,
    sync::{Arc, SpinLock},
};

/// The interrupt block at `B`.
#[pin_data]
pub(crate) struct IrqBlock<B> {
    regs: Arc<Regs>,
    /// The events that are enabled while no handler runs.
    #[pin]
    mask: SpinLock<u32>,
    _base: PhantomData<fn() -> B>,
}

impl<B: RegisterBase<IrqBase>> IrqBlock<B> {
    /// Makes a block without enabled events.
    pub(crate) fn new(regs: Arc<Regs>) -> impl PinInit<Self> {
        pin_init!(Self {
            regs,
            mask <- new_spinlock!(0),
            _base: PhantomData,
        })
    }

    /// Drops events of the past and enables `events`, and only these.
    pub(crate) fn resume(&self, events: u32) -> Result {
        let mut mask = self.mask.lock();

        *mask = events;
        self.regs.write_of::<B, _>(CLEAR::from(events))?;
        self.regs.write_of::<B, _>(MASK::from(events))
    }

    /// Disables all events.
    pub(crate) fn suspend(&self) -> Result {
        self.update(|_| 0)
    }

    /// Enables `events` as well.
    pub(crate) fn enable(&self, events: u32) -> Result {
        self.update(|mask| mask | events)
    }

    /// Disables `events`.
    pub(crate) fn disable(&self, events: u32) -> Result {
        self.update(|mask| mask & !events)
    }

    /// Clears events that were handled.
    pub(crate) fn clear(&self, events: u32) -> Result {
        self.regs.write_of::<B, _>(CLEAR::from(events))
    }

    /// The events that have happened, whether they are enabled or not.
    pub(crate) fn raw_status(&self) -> Result<u32> {
        Ok(self.regs.read_of::<B, RAWSTAT>()?.into())
    }

    /// Unmasking while the thread runs is harmless: the hard handler masks again, and the thread
    /// runs once more.
    fn update(&self, f: impl FnOnce(u32) -> u32) -> Result {
        let mut mask = self.mask.lock();

        *mask = f(*mask);
        self.regs.write_of::<B, _>(MASK::from(*mask))
    }

    /// The events that have happened and are enabled.
    fn pending(&self) -> Result<u32> {
        // The lock is dropped before anything is handled.
        let mask = *self.mask.lock();

        Ok(self.raw_status()? & mask)
    }
}

/// Somebody who handles the events of an interrupt block.
pub(crate) trait IrqSource: Send + Sync + 'static {
    /// The place of the block.
    type Base: RegisterBase<IrqBase> + 'static;

    /// The block.
    fn irq(&self) -> &IrqBlock<Self::Base>;

    /// Handles and clears `events`; called from a thread.
    fn handle(&self, events: u32) -> Result;
}

/// The handler that is registered with the kernel for the block of `S`.
struct Handler<S: IrqSource>(Arc<S>);

impl<S: IrqSource> ThreadedHandler for Handler<S> {
    fn handle(&self) -> ThreadedIrqReturn {
        let irq = self.0.irq();

        match irq.regs.read_of::<S::Base, STAT>() {
            Ok(stat) if u32::from(stat) != 0 => {
                // The registers were there a moment ago, and the thread finds out if they are not
                // now.
                let _ = irq.regs.write_of::<S::Base, _>(MASK::from(0));
                ThreadedIrqReturn::WakeThread
            }
            _ => ThreadedIrqReturn::None,
        }
    }

    fn handle_threaded(&self) -> IrqReturn {
        let irq = self.0.irq();
        let mut ret = IrqReturn::None;

        let handled = || -> Result {
            loop {
                let events = irq.pending()?;
                if events == 0 {
                    break;
                }

                self.0.handle(events)?;
                ret = IrqReturn::Handled;
            }

            irq.update(|mask| mask)
        };

        // An error means that the registers are gone, and with them the interrupt.
        let mut handled = handled;
        let _ = handled();
        ret
    }
}

/// Requests the interrupt `irq_name` for `source`. It is freed when the device is unbound.
pub(crate) fn request<S: IrqSource>(
    pdev: &platform::Device<Bound>,
    irq_name: &'static CStr,
    name: &'static CStr,
    source: Arc<S>,
) -> Result {
    // Nothing may be raised before somebody asks for it.
    source.irq().suspend()?;

    kernel_ext::irq::request_threaded(pdev, irq_name, name, Handler(source))
}
