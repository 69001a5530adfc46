// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The ioctls on VMs.

use super::{bind::BindOp, vm::VmStatus};
use crate::{
    kernel_ext::{drm::ioctl::Ioctl, uaccess},
    PanthorDevice, PanthorDriver, PanthorDrmFile,
};
use kernel::{prelude::*, uapi};

/// VM_CREATE.
pub(crate) struct VmCreate;

impl Ioctl<PanthorDriver> for VmCreate {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_CREATE;
    const NAME: &'static CStr = c"PANTHOR_VM_CREATE";
    type Args = uapi::drm_panthor_vm_create;

    fn run(dev: &PanthorDevice, args: &mut Self::Args, file: &PanthorDrmFile) -> Result<i32> {
        if args.flags != 0 {
            return Err(EINVAL);
        }
        let (id, user_va_range) = file.driver().vms.create(dev, args.user_va_range)?;
        args.id = id;
        args.user_va_range = user_va_range;
        Ok(0)
    }
}

/// VM_DESTROY.
pub(crate) struct VmDestroy;

impl Ioctl<PanthorDriver> for VmDestroy {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_DESTROY;
    const NAME: &'static CStr = c"PANTHOR_VM_DESTROY";
    type Args = uapi::drm_panthor_vm_destroy;

    fn run(_dev: &PanthorDevice, args: &mut Self::Args, file: &PanthorDrmFile) -> Result<i32> {
        if args.pad != 0 {
            return Err(EINVAL);
        }
        file.driver().vms.destroy(args.id)?;
        Ok(0)
    }
}

/// VM_BIND, synchronous. Asynchronous operations wait for and signal sync objects, as jobs do, and
/// come with them: `EOPNOTSUPP` until then.
pub(crate) struct VmBind;

impl Ioctl<PanthorDriver> for VmBind {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_BIND;
    const NAME: &'static CStr = c"PANTHOR_VM_BIND";
    type Args = uapi::drm_panthor_vm_bind;

    fn run(_dev: &PanthorDevice, args: &mut Self::Args, file: &PanthorDrmFile) -> Result<i32> {
        const ASYNC: u32 = uapi::drm_panthor_vm_bind_flags_DRM_PANTHOR_VM_BIND_ASYNC;

        let vm = file.driver().vms.get(args.vm_id)?;
        let ops = uaccess::read_array::<uapi::drm_panthor_vm_bind_op>(&args.ops)?;
        if args.flags & ASYNC != 0 {
            return Err(EOPNOTSUPP);
        }
        let mut prealloc = vm.space().take_spare();
        let failed = ops.iter().enumerate().find_map(|(i, op)| {
            BindOp::new(op, vm.kernel_va_start())
                .and_then(|op| op.run(&vm, file, &mut prealloc))
                .err()
                .map(|e| (i, e))
        });
        vm.space().put_spare(prealloc);
        match failed {
            Some((i, e)) => {
                // Tells userspace which operation failed.
                args.ops.count = u32::try_from(i)?;
                Err(e)
            }
            None => Ok(0),
        }
    }
}

/// VM_GET_STATE.
pub(crate) struct VmGetState;

impl Ioctl<PanthorDriver> for VmGetState {
    const NR: u32 = uapi::drm_panthor_ioctl_id_DRM_PANTHOR_VM_GET_STATE;
    const NAME: &'static CStr = c"PANTHOR_VM_GET_STATE";
    type Args = uapi::drm_panthor_vm_get_state;

    fn run(_dev: &PanthorDevice, args: &mut Self::Args, file: &PanthorDrmFile) -> Result<i32> {
        args.state = match file.driver().vms.get(args.vm_id)?.status() {
            VmStatus::Usable => uapi::drm_panthor_vm_state_DRM_PANTHOR_VM_STATE_USABLE,
            VmStatus::Unusable => uapi::drm_panthor_vm_state_DRM_PANTHOR_VM_STATE_UNUSABLE,
        };
        Ok(0)
    }
}
