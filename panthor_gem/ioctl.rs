// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The calls of user space.

use crate::{kernel_ext::drm::ioctl::Ioctl, PanthorDevice, PanthorDriver, PanthorDrmFile};
use kernel::{prelude::*, uapi};

/// `DRM_IOCTL_PANTHOR_BO_CREATE`
pub(crate) struct BoCreate;

impl Ioctl<PanthorDriver> for BoCreate {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_BO_CREATE;
    const NAME: &'static CStr = c"PANTHOR_BO_CREATE";
    type Args = uapi::drm_panthor_bo_create;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_bo_create,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET`
pub(crate) struct BoMmapOffset;

impl Ioctl<PanthorDriver> for BoMmapOffset {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_BO_MMAP_OFFSET;
    const NAME: &'static CStr = c"PANTHOR_BO_MMAP_OFFSET";
    type Args = uapi::drm_panthor_bo_mmap_offset;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_bo_mmap_offset,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_BO_SET_LABEL`
pub(crate) struct BoSetLabel;

impl Ioctl<PanthorDriver> for BoSetLabel {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_BO_SET_LABEL;
    const NAME: &'static CStr = c"PANTHOR_BO_SET_LABEL";
    type Args = uapi::drm_panthor_bo_set_label;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_bo_set_label,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_BO_SYNC`
pub(crate) struct BoSync;

impl Ioctl<PanthorDriver> for BoSync {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_BO_SYNC;
    const NAME: &'static CStr = c"PANTHOR_BO_SYNC";
    type Args = uapi::drm_panthor_bo_sync;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_bo_sync,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_BO_QUERY_INFO`
pub(crate) struct BoQueryInfo;

impl Ioctl<PanthorDriver> for BoQueryInfo {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_BO_QUERY_INFO;
    const NAME: &'static CStr = c"PANTHOR_BO_QUERY_INFO";
    type Args = uapi::drm_panthor_bo_query_info;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_bo_query_info,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}
