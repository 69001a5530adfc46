// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The ioctls on buffers.

use super::{label::Label, Bo, BoKind, PanthorBo};
use crate::{
    kernel_ext::uapi,
    panthor_uapi::{check_zero, read_array},
    PanthorDevice, PanthorDrmFile,
};
use kernel::prelude::*;

/// The CPU never maps the buffer.
const NO_MMAP: u32 = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP;
/// The CPU maps the buffer cached.
const WB_MMAP: u32 = uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_WB_MMAP;

/// `DRM_IOCTL_PANTHOR_BO_CREATE`
pub(crate) fn bo_create(
    dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_bo_create,
    file: &PanthorDrmFile,
) -> Result {
    let both = NO_MMAP | WB_MMAP;
    if args.size == 0 || args.pad != 0 || args.flags & !both != 0 || args.flags & both == both {
        return Err(EINVAL);
    }
    let vm = match args.exclusive_vm_id {
        0 => None,
        id => Some(file.driver().vms.get(id)?),
    };
    let private_to = vm.as_ref().map(|vm| vm.space().resv());
    let kind = BoKind::User { flags: args.flags };
    let bo = PanthorBo::create(dev, args.size, kind, private_to)?;
    args.handle = bo.create_handle(file)?;
    args.size = bo.size() as u64;
    Ok(())
}

/// `DRM_IOCTL_PANTHOR_BO_MMAP_OFFSET`
pub(crate) fn bo_mmap_offset(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_bo_mmap_offset,
    file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;
    let bo = Bo::lookup(file, args.handle)?;
    if bo.is_no_mmap() {
        return Err(EPERM);
    }
    if bo.mmap_offset() == 0 {
        // Of two that ask at once one keeps it, and the other gives it back.
        bo.offset
            .populate(file.driver().offsets.take(bo.size() as u64)?);
    }
    args.offset = bo.create_mmap_offset()?;
    Ok(())
}

/// `DRM_IOCTL_PANTHOR_BO_SET_LABEL`
pub(crate) fn bo_set_label(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_bo_set_label,
    file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;
    let bo = Bo::lookup(file, args.handle)?;
    let label = Label::from_user(args.label)?;
    let old = core::mem::replace(&mut *bo.label.lock(), label);
    drop(old);
    Ok(())
}

/// `DRM_IOCTL_PANTHOR_BO_SYNC`
pub(crate) fn bo_sync(
    dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_bo_sync,
    file: &PanthorDrmFile,
) -> Result {
    read_array::<uapi::drm_panthor_bo_sync_op>(dev, &args.ops)?
        .for_each(
            || dev.may_go_on(),
            |op| Bo::lookup(file, op.handle)?.sync(op),
        )
        .map_err(|(_, e)| e)
}

impl Bo {
    /// One operation of BO_SYNC. `EINVAL` for a range outside of the buffer, an unknown type, and
    /// memory of another driver, who looks after its caches itself; `EINTR`.
    fn sync(&self, op: &uapi::drm_panthor_bo_sync_op) -> Result {
        use crate::kernel_ext::drm::gem::DriverObject;

        let end = op.offset.checked_add(op.size).ok_or(EINVAL)?;
        if end > self.size() as u64 || self.is_imported() {
            return Err(EINVAL);
        }
        let invalidate = match op.type_ {
            uapi::drm_panthor_bo_sync_op_type_DRM_PANTHOR_BO_SYNC_CPU_CACHE_FLUSH => false,
            uapi::drm_panthor_bo_sync_op_type_DRM_PANTHOR_BO_SYNC_CPU_CACHE_FLUSH_AND_INVALIDATE => {
                true
            }
            _ => return Err(EINVAL),
        };
        if op.size == 0 || PanthorBo::map_wc(self) {
            return Ok(());
        }
        // CAST: Both are at most the size of the buffer.
        self.lock_interruptible()?
            .sync_cpu_caches(op.offset as usize, op.size as usize, invalidate)
    }
}

/// `DRM_IOCTL_PANTHOR_BO_QUERY_INFO`
pub(crate) fn bo_query_info(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_bo_query_info,
    file: &PanthorDrmFile,
) -> Result {
    let bo = Bo::lookup(file, args.handle)?;
    args.create_flags = bo.create_flags();
    args.extra_flags = if bo.is_imported() {
        uapi::drm_panthor_bo_extra_flags_DRM_PANTHOR_BO_IS_IMPORTED
    } else {
        0
    };
    args.pad = 0;
    Ok(())
}
