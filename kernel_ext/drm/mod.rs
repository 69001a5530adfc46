// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM: devices, files, ioctls, GEM and GPU address spaces.

pub(crate) mod debugfs;
pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod gem;
pub(crate) mod gpuvm;
pub(crate) mod ioctl;
pub(crate) mod print;
mod unbind;

pub(crate) use device::{Device, DmaLimits, Enter, UnregisteredDevice};
pub(crate) use driver::{Driver, DriverInfo, Registration};
pub(crate) use file::File;
pub(crate) use print::Printer;
