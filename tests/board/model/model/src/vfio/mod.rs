// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device as QEMU sees it: a vfio-user server with one PCI function.

pub mod irqs;
pub mod pci;
pub mod proto;
pub mod server;

#[cfg(test)]
mod tests;
