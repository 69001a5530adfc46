// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Which structures of the uAPI are plain data.
//!
//! `kernel::uapi` is made by bindgen, which does not say so, and a trait can be implemented for its
//! types where the trait is only.
//!
//! C header: [`include/uapi/drm/panthor_drm.h`](srctree/include/uapi/drm/panthor_drm.h)

use super::uaccess::Pod;

macro_rules! impl_pod {
    ($($ty:ident),* $(,)?) => {$(
        // SAFETY: The structures of the uAPI are made of integers, with explicit padding.
        unsafe impl Pod for kernel::uapi::$ty {}
    )*};
}

impl_pod! {
    drm_panthor_bo_create,
    drm_panthor_bo_mmap_offset,
    drm_panthor_bo_query_info,
    drm_panthor_bo_set_label,
    drm_panthor_bo_sync,
    drm_panthor_bo_sync_op,
    drm_panthor_csif_info,
    drm_panthor_dev_query,
    drm_panthor_gpu_info,
    drm_panthor_group_create,
    drm_panthor_group_destroy,
    drm_panthor_group_get_state,
    drm_panthor_group_priorities_info,
    drm_panthor_group_submit,
    drm_panthor_mmu_info,
    drm_panthor_queue_create,
    drm_panthor_queue_submit,
    drm_panthor_set_user_mmio_offset,
    drm_panthor_sync_op,
    drm_panthor_tiler_heap_create,
    drm_panthor_tiler_heap_destroy,
    drm_panthor_timestamp_info,
    drm_panthor_vm_bind,
    drm_panthor_vm_bind_op,
    drm_panthor_vm_create,
    drm_panthor_vm_destroy,
    drm_panthor_vm_get_state,
}
