// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! GPU address spaces.

pub(crate) mod fault;
pub(crate) mod ioctl;
pub(crate) mod region;
pub(crate) mod slot_table;
pub(crate) mod slots;
