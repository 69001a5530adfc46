// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tables of ioctls.

use crate::{kernel_ext::drm::ioctl, PanthorDriver};

/// Another driver.
struct Other;

/// Its functions would take our files for files of their own.
const IOCTLS: &[ioctl::Entry<Other>] = <PanthorDriver as crate::kernel_ext::drm::Driver>::IOCTLS; //~ E0308
