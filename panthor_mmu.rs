// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! GPU address spaces: the slots of the hardware, page tables, VMs and what is mapped in them.
//!
//! A [`Vm`] is what userspace has an id of; its files keep them in a [`VmPool`]. Behind it is a
//! [`Space`]: the tree of mappings and the page tables, which the buffers mapped there refer to as
//! well. A space whose mappings the GPU needs sits in one of the [`slots`].

mod bind;
mod debugfs;
pub(crate) mod fault;
pub(crate) mod ioctl;
mod mcu;
pub(crate) mod memattr;
pub(crate) mod pool;
pub(crate) mod prot;
pub(crate) mod region;
#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
mod resident;
pub(crate) mod slot_table;
pub(crate) mod slots;
pub(crate) mod space;
pub(crate) mod va_split;
mod vm;

#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
pub(crate) use self::resident::{set_resident, show_resident};
use self::slots::AsSlots;
pub(crate) use self::{
    debugfs::gpuvas,
    mcu::McuVm,
    pool::VmPool,
    space::{Space, VmSpace},
    vm::Vm,
};
use kernel::sync::Arc;

/// What a device keeps about its address spaces.
pub(crate) struct MmuDevice {
    /// The slots where the hardware knows some of them.
    pub(crate) slots: Arc<AsSlots>,
}
