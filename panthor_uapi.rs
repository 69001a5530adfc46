// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The versions of the structures of the user space interface.

use crate::kernel_ext::{
    uaccess::{self, ArrayAt, UserArray, Versioned},
    uapi::*,
};
use crate::PanthorDevice;
use core::mem::{offset_of, size_of};
use kernel::{error::code::EINVAL, prelude::*};

/// States the last field that the first version of a structure had.
macro_rules! versioned {
    ($($ty:ident up to $field:ident: $field_ty:ty,)*) => {$(
        impl Versioned for $ty {
            const MIN_SIZE: usize = offset_of!($ty, $field) + size_of::<$field_ty>();
        }
    )*};
}

versioned! {
    drm_panthor_bo_sync_op up to size: u64,
    drm_panthor_csif_info up to pad: u32,
    drm_panthor_gpu_info up to tiler_present: u64,
    drm_panthor_group_priorities_info up to pad: [u8; 3],
    drm_panthor_mmu_info up to page_size_bitmap: u64,
    drm_panthor_queue_create up to ringbuf_size: u32,
    drm_panthor_queue_submit up to syncs: drm_panthor_obj_array,
    drm_panthor_sync_op up to timeline_value: u64,
    drm_panthor_timestamp_info up to current_timestamp: u64,
    drm_panthor_vm_bind_op up to syncs: drm_panthor_obj_array,
}

impl From<&drm_panthor_obj_array> for ArrayAt {
    fn from(array: &drm_panthor_obj_array) -> Self {
        Self {
            addr: array.array,
            stride: array.stride,
            count: array.count,
        }
    }
}

/// Looks at an array that an ioctl names. Errors as [`uaccess::read_array_from()`], and, as it may be
/// long, of [`PanthorDevice::may_go_on`].
pub(crate) fn read_array<T: Versioned>(
    dev: &PanthorDevice,
    array: &drm_panthor_obj_array,
) -> Result<UserArray<T>> {
    uaccess::read_array(array.into(), || dev.may_go_on())
}

/// Fails unless all padding is zero, so that it can get a meaning later.
pub(crate) fn check_zero(pad: u32) -> Result {
    if pad != 0 {
        return Err(EINVAL);
    }
    Ok(())
}
