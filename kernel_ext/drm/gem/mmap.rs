// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CPU mappings of buffer objects: set up by `mmap()`, filled by page faults.

use super::{
    backing::{dec_not_one, inc_not_zero},
    object::{Locked, Object},
    DriverObject,
};
use crate::kernel_ext::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Relaxed, Release},
    },
};

/// The log2 of the number of pages that one entry of the level above the page table maps.
const PMD_ORDER: c_uint = 9;

const RETRY: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_RETRY;
const NOPAGE: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_NOPAGE;
const SIGBUS: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_SIGBUS;
const OOM: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_OOM;
const FALLBACK: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_FALLBACK;

/// The operations of a CPU mapping.
pub(super) struct VmOps<T>(PhantomData<T>);

impl<T: DriverObject> VmOps<T> {
    pub(super) const OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        open: Some(open_callback::<T>),
        close: Some(close_callback::<T>),
        fault: Some(fault_callback::<T>),
        huge_fault: Some(huge_fault_callback::<T>),
        ..pin_init::zeroed()
    };
}

/// `mmap` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Called by the GEM core, with a reference for the mapping taken.
pub(super) unsafe extern "C" fn mmap_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: The GEM core passes a live object of ours.
    let this = unsafe { Object::<T>::from_raw(obj) };
    kernel::error::from_result(|| {
        T::may_mmap(this)?;

        if this.is_imported() {
            // SAFETY: `vma` is being set up, by us alone. The exporter sets what it needs, and
            // holds its own reference: ours is not needed any more.
            unsafe {
                (*vma).vm_ops = core::ptr::null();
                (*vma).__bindgen_anon_2.vm_private_data_reset();
            }
            return Ok(0);
        }
        Ok(0)
    })
}
