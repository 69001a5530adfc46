// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The calls of user space.

use crate::{kernel_ext::drm::ioctl::Ioctl, PanthorDevice, PanthorDriver, PanthorDrmFile};
use kernel::{prelude::*, uapi};

/// `DRM_IOCTL_PANTHOR_VM_CREATE`
pub(crate) struct VmCreate;

impl Ioctl<PanthorDriver> for VmCreate {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_CREATE;
    const NAME: &'static CStr = c"PANTHOR_VM_CREATE";
    type Args = uapi::drm_panthor_vm_create;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_vm_create,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_VM_DESTROY`
pub(crate) struct VmDestroy;

impl Ioctl<PanthorDriver> for VmDestroy {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_DESTROY;
    const NAME: &'static CStr = c"PANTHOR_VM_DESTROY";
    type Args = uapi::drm_panthor_vm_destroy;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_vm_destroy,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_VM_BIND`
pub(crate) struct VmBind;

impl Ioctl<PanthorDriver> for VmBind {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_BIND;
    const NAME: &'static CStr = c"PANTHOR_VM_BIND";
    type Args = uapi::drm_panthor_vm_bind;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_vm_bind,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}

/// `DRM_IOCTL_PANTHOR_VM_GET_STATE`
pub(crate) struct VmGetState;

impl Ioctl<PanthorDriver> for VmGetState {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_GET_STATE;
    const NAME: &'static CStr = c"PANTHOR_VM_GET_STATE";
    type Args = uapi::drm_panthor_vm_get_state;

    fn run(
        _dev: &PanthorDevice,
        _args: &mut uapi::drm_panthor_vm_get_state,
        _file: &PanthorDrmFile,
    ) -> Result<i32> {
        Err(EOPNOTSUPP)
    }
}
