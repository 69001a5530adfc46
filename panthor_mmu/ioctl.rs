// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The ioctls on VMs.

use super::{bind::BindOp, vm::VmStatus};
use crate::{
    kernel_ext::uapi,
    panthor_uapi::{check_zero, read_array},
    PanthorBound, PanthorDevice, PanthorDrmFile,
};
use kernel::prelude::*;

/// `DRM_IOCTL_PANTHOR_VM_CREATE`
pub(crate) fn vm_create(
    dev: &PanthorBound<'_>,
    args: &mut uapi::drm_panthor_vm_create,
    file: &PanthorDrmFile,
) -> Result {
    if args.flags != 0 {
        return Err(EINVAL);
    }
    let (id, user_va_range) = file.driver().vms.create(dev, args.user_va_range)?;
    args.id = id;
    args.user_va_range = user_va_range;
    Ok(())
}

/// `DRM_IOCTL_PANTHOR_VM_DESTROY`
pub(crate) fn vm_destroy(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_vm_destroy,
    file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;
    file.driver().vms.destroy(args.id)?;
    Ok(())
}

/// `DRM_IOCTL_PANTHOR_VM_BIND`, synchronous. Asynchronous operations wait for and signal sync
/// objects, as jobs do, and come with them: `EOPNOTSUPP` until then.
pub(crate) fn vm_bind(
    dev: &PanthorBound<'_>,
    args: &mut uapi::drm_panthor_vm_bind,
    file: &PanthorDrmFile,
) -> Result {
    const ASYNC: u32 = uapi::drm_panthor_vm_bind_flags_DRM_PANTHOR_VM_BIND_ASYNC;

    let vm = file.driver().vms.get(args.vm_id)?;
    let ops = read_array::<uapi::drm_panthor_vm_bind_op>(dev, &args.ops)?;
    if args.flags & ASYNC != 0 {
        return Err(EOPNOTSUPP);
    }
    let done = ops.for_each(
        || dev.may_go_on(),
        |op| BindOp::new(op, vm.kernel_va_start()).and_then(|op| op.run(&vm, dev, file)),
    );
    match done {
        // Who is told of a signal makes the same call again, with the argument as we leave it: all
        // operations must be in it. To do some of them twice does not change where it ends.
        Err((_, e)) if e == EINTR => Err(e),
        Err((i, e)) => {
            // Tells userspace which operation failed.
            args.ops.count = i;
            Err(e)
        }
        Ok(()) => Ok(()),
    }
}

/// `DRM_IOCTL_PANTHOR_VM_GET_STATE`
pub(crate) fn vm_get_state(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_vm_get_state,
    file: &PanthorDrmFile,
) -> Result {
    args.state = match file.driver().vms.get(args.vm_id)?.status() {
        VmStatus::Usable => uapi::drm_panthor_vm_state_DRM_PANTHOR_VM_STATE_USABLE,
        VmStatus::Unusable => uapi::drm_panthor_vm_state_DRM_PANTHOR_VM_STATE_UNUSABLE,
    };
    Ok(())
}
