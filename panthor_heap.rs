// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Tiler heaps.
//!
//! Without groups nothing could use a heap, and there are none yet: the calls answer as they do
//! for a VM, or a heap, that is not there.

use crate::{
    kernel_ext::drm::ioctl::Ioctl, panthor_uapi::check_zero, PanthorDevice, PanthorDriver,
    PanthorDrmFile,
};
use kernel::{prelude::*, uapi};

/// `DRM_IOCTL_PANTHOR_TILER_HEAP_CREATE`
pub(crate) struct TilerHeapCreate;

impl Ioctl<PanthorDriver> for TilerHeapCreate {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_TILER_HEAP_CREATE;
    const NAME: &'static CStr = c"PANTHOR_TILER_HEAP_CREATE";
    type Args = uapi::drm_panthor_tiler_heap_create;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_tiler_heap_create,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EINVAL)
    }
}

/// `DRM_IOCTL_PANTHOR_TILER_HEAP_DESTROY`
pub(crate) struct TilerHeapDestroy;

impl Ioctl<PanthorDriver> for TilerHeapDestroy {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_TILER_HEAP_DESTROY;
    const NAME: &'static CStr = c"PANTHOR_TILER_HEAP_DESTROY";
    type Args = uapi::drm_panthor_tiler_heap_destroy;

    fn run(
        _dev: &PanthorDevice,
        args: &mut uapi::drm_panthor_tiler_heap_destroy,
        file: &PanthorDrmFile,
    ) -> Result<i32> {
        check_zero(args.pad)?;
        // The handle of a heap has that of its VM in the upper half.
        file.driver().vms.get(args.handle >> 16)?;

        // No VM has had a heap yet.
        Err(ENOENT)
    }
}
