// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the guest test programs share: the uAPI, a KTAP harness, helper processes, the control
//! channel of the GPU model, and readers of the kernel's accounting files.

pub mod bystander;
pub mod census;
pub mod cgroup;
pub mod child;
pub mod debugfs;
pub mod drm;
pub mod fault;
pub mod job;
pub mod ktap;
pub mod model;
pub mod ns;
pub mod pattern;
pub mod pressure;
pub mod proc;
pub mod promise;
pub mod race;
pub mod reclaim;
pub mod svg;
pub mod swapdev;
pub mod sys;
pub mod sysfs;
pub mod tables;
pub mod trace;
pub mod uapi;

/// One kibibyte, one mebibyte, in the type of the uAPI.
pub const K: u64 = 1024;
/// One mebibyte.
pub const M: u64 = 1024 * 1024;
/// Size of a page of the GPU. That of the CPU need not be the same: [`sys::page_size`].
pub const PAGE: u64 = 4096;
/// Size of a block entry of the GPU's page tables.
pub const BLOCK: u64 = 2 * M;

pub use drm::{Dev, Op};
pub use ktap::{Case, Fail, Res};
pub use sys::{Errno, Map};
