// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Tiler heaps.
//!
//! Without groups nothing could use a heap, and there are none yet: the calls answer as they do
//! for a VM, or a heap, that is not there.

use crate::{kernel_ext::uapi, panthor_uapi::check_zero, PanthorDevice, PanthorDrmFile};
use kernel::prelude::*;

/// `DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE`
pub(crate) fn tiler_heap_create(
    _dev: &PanthorDevice,
    _args: &mut uapi::drm_panthor_tiler_heap_create,
    _file: &PanthorDrmFile,
) -> Result {
    Err(EINVAL)
}

/// `DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY`
pub(crate) fn tiler_heap_destroy(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_tiler_heap_destroy,
    file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;
    // The handle of a heap has that of its VM in the upper half.
    file.driver().vms.get(args.handle >> 16)?;

    // No VM has had a heap yet.
    Err(ENOENT)
}
