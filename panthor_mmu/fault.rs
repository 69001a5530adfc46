// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Faults of address spaces, which the MMU interrupt reports.

use super::slots::{fault_event, AsSlots};
use crate::{
    panthor_gpu::exception_name,
    panthor_irq::{IrqBlock, IrqSource},
    panthor_regs::{irq::MmuIrq, mmu_control::*},
};
use kernel::prelude::*;

/// The name of a kind of access.
fn access_name(access: u32) -> &'static str {
    match access {
        0 => "ATOMIC",
        1 => "EXECUTE",
        2 => "READ",
        _ => "WRITE",
    }
}

impl AsSlots {
    /// Says what has happened in a slot.
    fn report_fault(&self, slot: usize) -> Result {
        let status: FAULTSTATUS = self.regs.read_at(slot)?;
        let address: FAULTADDRESS = self.regs.read64_at(slot)?;

        let code = status.exception().get();
        let access = status.access().get();

        dev_err!(
            &*self.dev,
            "Unhandled page fault in AS{} at VA {:#018x}: status {:#x} ({} fault), \
             exception {:#x} {}, access {:#x} {}, source id {:#x}\n",
            slot,
            u64::from(address),
            u32::from(status),
            if status.decoder() { "decoder" } else { "slave" },
            code,
            exception_name(code),
            access,
            access_name(access),
            status.source_id().get()
        );
        Ok(())
    }
}

impl IrqSource for AsSlots {
    type Base = MmuIrq;

    fn irq(&self) -> &IrqBlock<MmuIrq> {
        &self.irq
    }

    fn handle(&self, events: u32) -> Result {
        // The ends of commands are not listened to.
        self.irq.clear(events & 0xffff_0000)?;

        for slot in (0..MAX_SLOTS).filter(|slot| events & fault_event(*slot) != 0) {
            match self.fault(slot, || self.report_fault(slot)) {
                Err(err) if err == ENODEV => return Err(err),
                // The event is masked in any case, so that this is not said again and again.
                Err(_) => dev_err!(&*self.dev, "AS{}: cannot be disabled after a fault\n", slot),
                Ok(()) => (),
            }
        }
        Ok(())
    }
}
