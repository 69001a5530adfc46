// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Buffer objects.

pub(crate) mod ioctl;

use crate::{kernel_ext::drm::gem, PanthorDriver};

/// A buffer object.
pub(crate) struct PanthorBo;

impl gem::DriverObject for PanthorBo {
    type Driver = PanthorDriver;
}
