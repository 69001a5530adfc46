// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A simulated Mali-G610 (CSF, architecture 10.8).
//!
//! [`device::Gpu`] is the whole device without any transport: registers, power, interrupts, MMU and
//! microcontroller over mapped guest memory. [`vfio`] shows it to QEMU as a PCI device, [`ctl`] lets
//! tests look inside. [`shared::Shared`] is the lock around the device and its worker threads.

#![deny(unsafe_code)]

pub mod args;
pub mod clock;
pub mod counters;
pub mod cs;
pub mod ctl;
pub mod device;
pub mod exec;
pub mod identity;
pub mod inject;
pub mod irq;
pub mod mcu;
pub mod mmu;
pub mod ram;
pub mod regs;
pub mod shader;
pub mod shared;
pub mod vfio;
pub mod violations;

pub mod testing;
