// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What this driver needs from the kernel and `rust/kernel` does not have yet.
//!
//! One file per kernel facility, most of them named as it would be there. `trace` and `uapi` are
//! this driver's own, `test_fence` its tests', and `registry` is no facility of the kernel: they are
//! here because all unsafe code of the driver is.

pub(crate) mod bindings;
pub(crate) mod clock;
pub(crate) mod completion;
pub(crate) mod dma_fence;
pub(crate) mod dma_range;
pub(crate) mod drm;
pub(crate) mod io_pgtable;
pub(crate) mod irq;
#[cfg(CONFIG_KUNIT = "y")]
pub(crate) mod kunit;
pub(crate) mod mm_vma;
pub(crate) mod mutex;
pub(crate) mod pid;
pub(crate) mod property;
pub(crate) mod registry;
pub(crate) mod shrinker;
pub(crate) mod swap;
pub(crate) mod sysfs;
pub(crate) mod task;
#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
pub(crate) mod test_fence;
pub(crate) mod trace;
pub(crate) mod uaccess;
pub(crate) mod uapi;
