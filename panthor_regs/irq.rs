// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The four words of every interrupt block.

use kernel::{io::register::RegisterBase, register};

/// A place where an interrupt block is.
pub(crate) struct IrqBase;

/// The block of the GPU interrupt.
pub(crate) struct GpuIrq;
impl RegisterBase<IrqBase> for GpuIrq {
    const BASE: usize = 0x20;
}

/// The block of the JOB interrupt: bit n is an event of group slot n, bit 31 a global one.
pub(crate) struct JobIrq;
impl RegisterBase<IrqBase> for JobIrq {
    const BASE: usize = 0x1000;
}

/// The block of the MMU interrupt: bit n is a fault in slot n, bit 16 + n the end of a command
/// there.
pub(crate) struct MmuIrq;
impl RegisterBase<IrqBase> for MmuIrq {
    const BASE: usize = 0x2000;
}

register! {
    /// Events that have happened, whether they are enabled or not.
    pub(crate) RAWSTAT(u32) @ IrqBase + 0x0 {
        31:0    events;
    }

    /// Clears events: write 1 to the bits of [`RAWSTAT`].
    pub(crate) CLEAR(u32) @ IrqBase + 0x4 {
        31:0    events;
    }

    /// Events that raise the interrupt.
    pub(crate) MASK(u32) @ IrqBase + 0x8 {
        31:0    events;
    }

    /// [`RAWSTAT`] & [`MASK`]; the line is asserted while it is not 0.
    pub(crate) STAT(u32) @ IrqBase + 0xc {
        31:0    events;
    }
}

/// Bits of the GPU interrupt block.
#[allow(dead_code)] // The description of the hardware is complete, the driver is not yet.
pub(crate) mod gpu_irq {
    use kernel::bits::bit_u32;

    /// A fault, described by `GPU_FAULT_STATUS` and `GPU_FAULT_ADDR`.
    pub(crate) const FAULT: u32 = bit_u32(0);
    /// A fault in protected mode.
    pub(crate) const PROTM_FAULT: u32 = bit_u32(1);
    /// A soft reset has ended.
    pub(crate) const RESET_COMPLETED: u32 = bit_u32(8);
    /// A power transition has ended.
    pub(crate) const POWER_CHANGED: u32 = bit_u32(9);
    /// All power transitions have ended.
    pub(crate) const POWER_CHANGED_ALL: u32 = bit_u32(10);
    /// A cache flush has ended.
    pub(crate) const CLEAN_CACHES_COMPLETED: u32 = bit_u32(17);
    /// A doorbell was rung while its slot was not there.
    pub(crate) const DOORBELL_MIRROR: u32 = bit_u32(18);
    /// The microcontroller's status has changed.
    pub(crate) const MCU_STATUS_CHANGED: u32 = bit_u32(19);

    /// The interrupts the driver listens to.
    pub(crate) const ENABLED: u32 = FAULT | PROTM_FAULT | RESET_COMPLETED | CLEAN_CACHES_COMPLETED;
}

/// Bit of the JOB interrupt block: the global interface of the firmware. The others are those of the
/// group slots.
pub(crate) const JOB_GLOBAL: u32 = 1 << 31;
/// All bits of the JOB interrupt block.
pub(crate) const JOB_ALL: u32 = u32::MAX;
