// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where an object is mapped: its relations to address spaces, and the mappings of each.

use super::{
    super::{
        gem::{DriverObject, Locked, Object},
        Driver,
    },
    ops::Va,
    vm::GpuVm,
    DriverGpuVm,
};
use crate::kernel_ext::bindings;
use core::{mem::offset_of, ops::Deref, ptr::NonNull};
use kernel::types::NotThreadSafe;

/// The class of objects that are mapped in an address space.
pub(in super::super) type ObjectOf<T> = <<T as DriverGpuVm>::Driver as Driver>::Object;

/// In how many GPU address spaces the memory of an object can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GpuMappings {
    None,
    One,
    Many,
}

/// Proof that an object's list of GPU mappings stays as it is: the current thread holds its lock, or it
/// is empty, and nobody can add to it.
pub(crate) struct MappingsLocked<'a, O: DriverObject> {
    obj: &'a Object<O>,
    _not_send: NotThreadSafe,
}

impl<'a, O: DriverObject> MappingsLocked<'a, O> {
    /// # Safety
    ///
    /// The current thread holds `gpuva.lock` of the object for as long as this lives; or the list is
    /// empty, and as long, the current thread holds the reservation lock of the object, which is
    /// neither pinned nor imported.
    pub(super) unsafe fn new(obj: &'a Object<O>) -> Self {
        Self {
            obj,
            _not_send: NotThreadSafe,
        }
    }

    /// Calls `f` for every relation of the object to an address space, until it returns false.
    pub(super) fn for_each_vm_bo(
        &self,
        mut f: impl FnMut(NonNull<bindings::drm_gpuvm_bo>) -> bool,
    ) {
        const ENTRY: usize = offset_of!(bindings::drm_gpuvm_bo, list)
            + offset_of!(bindings::drm_gpuvm_bo__bindgen_ty_1, entry)
            + offset_of!(bindings::drm_gpuvm_bo__bindgen_ty_1__bindgen_ty_1, gem);

        // SAFETY: The object is initialised, and its list is stable while the lock is held.
        let head = unsafe { &raw mut (*self.obj.as_raw()).gpuva.list };
        // SAFETY: As above.
        let mut pos = unsafe { (*head).next };
        while pos != head {
            // SAFETY: All entries of the list are the `list.entry.gem` of a `drm_gpuvm_bo`.
            let vm_bo = unsafe { pos.byte_sub(ENTRY) }.cast::<bindings::drm_gpuvm_bo>();
            // SAFETY: As above; read before `f`, which may not remove the entry anyway.
            pos = unsafe { (*pos).next };
            // SAFETY: An entry is never null.
            if !f(unsafe { NonNull::new_unchecked(vm_bo) }) {
                return;
            }
        }
    }

    /// Calls `f` for every address space that the object is related to, until it returns false.
    pub(crate) fn for_each_vm(&self, mut f: impl FnMut(&GpuVm<O::Vm>) -> bool) {
        self.for_each_vm_bo(|vm_bo| {
            // SAFETY: The entry, and with it its address space, are alive while the lock is held,
            // and all are of this kind.
            f(unsafe { GpuVm::from_raw((*vm_bo.as_ptr()).vm) })
        });
    }

    /// In how many address spaces the memory can be reached: those where it is evicted do not
    /// count, unless it was mapped there once more after that.
    pub(crate) fn count(&self) -> GpuMappings {
        let mut count = GpuMappings::None;
        self.for_each_vm_bo(|vm_bo| {
            // SAFETY: The entry is valid while the lock is held, and its mappings are of this
            // kind.
            let last = unsafe { last_va::<O::Vm>(vm_bo.as_ptr()) };
            if last.is_some_and(|va| !va.is_evicted()) {
                count = match count {
                    GpuMappings::None => GpuMappings::One,
                    _ => GpuMappings::Many,
                };
            }
            count != GpuMappings::Many
        });
        count
    }
}

/// Runs `f` with the lock of the list of GPU mappings of an object held.
#[inline]
pub(crate) fn with_mappings<O: DriverObject, R>(
    obj: &Object<O>,
    f: impl FnOnce(&MappingsLocked<'_, O>) -> R,
) -> R {
    // SAFETY: The object is initialised.
    let lock = unsafe { &raw mut (*obj.as_raw()).gpuva.lock };
    // SAFETY: The mutex is initialised with the object.
    unsafe { bindings::mutex_lock(lock) };
    // SAFETY: The lock is held until `f` has returned.
    let ret = f(&unsafe { MappingsLocked::new(obj) });
    // SAFETY: Taken above.
    unsafe { bindings::mutex_unlock(lock) };
    ret
}

/// The list of GPU mappings of an object, which stays as it is while this lives.
///
/// # Invariants
///
/// `taken` is the lock of the list if the current thread holds it for this.
pub(crate) struct MappingsGuard<'a, O: DriverObject> {
    mappings: MappingsLocked<'a, O>,
    taken: Option<NonNull<bindings::mutex>>,
}

impl<'a, O: DriverObject> MappingsGuard<'a, O> {
    /// For who holds the reservation lock, and for no longer: the lock of the list is not taken where
    /// it is empty, as it is at the first touch of each buffer.
    #[inline(always)]
    pub(crate) fn new(obj: &'a Locked<'_, O>) -> Self {
        // SAFETY: The object is initialised.
        let (lock, head) = unsafe {
            let list = &raw mut (*obj.as_raw()).gpuva;
            (&raw mut (*list).lock, &raw mut (*list).list)
        };
        // SAFETY: As above. Whoever removes the last entry may do so at this moment.
        let empty = unsafe { (&raw const (*head).next).read_volatile() } == head;
        // Without the reservation lock nobody can become the first one who pins the object, and who
        // adds to the list has pinned it before, see `GpuVm::relate()`. Imported ones need no pin.
        let stable = empty && !obj.is_pinned() && obj.has_own_pages();
        if !stable {
            // SAFETY: The mutex is initialised with the object.
            unsafe { bindings::mutex_lock(lock) };
        }
        // INVARIANT: Taken just now.
        Self {
            // SAFETY: The list stays empty, or its lock is held until the drop.
            mappings: unsafe { MappingsLocked::new(obj.object()) },
            taken: if stable { None } else { NonNull::new(lock) },
        }
    }
}

impl<'a, O: DriverObject> Deref for MappingsGuard<'a, O> {
    type Target = MappingsLocked<'a, O>;

    fn deref(&self) -> &Self::Target {
        &self.mappings
    }
}

impl<O: DriverObject> Drop for MappingsGuard<'_, O> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.taken {
            // SAFETY: The lock is held by the type invariants.
            Some(lock) => unsafe { bindings::mutex_unlock(lock.as_ptr()) },
            None => debug_assert!(self.count() == GpuMappings::None),
        }
    }
}

// The mappings of a relation are in a list that changes with both the operation lock of the address
// space and the lock of the object's list held: either keeps it as it is. Evicted ones come before
// all others, see `Va::link()` and `Va::set_restored()`.

/// The mapping whose place in the list of its relation is `pos`; nothing for the head of the list.
///
/// # Safety
///
/// `vm_bo` is a valid relation to an address space of `T`, whose list of mappings is stable for
/// `'a`; `pos` is in it.
unsafe fn va_at<'a, T: DriverGpuVm>(
    vm_bo: *mut bindings::drm_gpuvm_bo,
    pos: *mut bindings::list_head,
) -> Option<&'a Va<T>> {
    const ENTRY: usize =
        offset_of!(bindings::drm_gpuva, gem) + offset_of!(bindings::drm_gpuva__bindgen_ty_2, entry);

    // SAFETY: The relation is valid.
    if pos == unsafe { &raw mut (*vm_bo).list.gpuva } {
        return None;
    }
    // SAFETY: All entries of the list are the `gem.entry` of a `drm_gpuva`.
    Some(unsafe { Va::from_raw(pos.byte_sub(ENTRY).cast()) })
}

/// The first mapping of a relation: an evicted one, if there is any.
///
/// # Safety
///
/// `vm_bo` is a valid relation to an address space of `T`, whose list of mappings is stable for
/// `'a`.
pub(super) unsafe fn first_va<'a, T: DriverGpuVm>(
    vm_bo: *mut bindings::drm_gpuvm_bo,
) -> Option<&'a Va<T>> {
    // SAFETY: The caller promises it.
    unsafe { va_at(vm_bo, (*vm_bo).list.gpuva.next) }
}

/// The last mapping of a relation: one that is not evicted, if there is any.
///
/// # Safety
///
/// As for [`first_va`].
pub(super) unsafe fn last_va<'a, T: DriverGpuVm>(
    vm_bo: *mut bindings::drm_gpuvm_bo,
) -> Option<&'a Va<T>> {
    // SAFETY: The caller promises it.
    unsafe { va_at(vm_bo, (*vm_bo).list.gpuva.prev) }
}

/// Calls `f` for the mappings of a relation from the first to the last, until it returns false.
///
/// # Safety
///
/// As for [`first_va`].
pub(super) unsafe fn for_each_va<T: DriverGpuVm>(
    vm_bo: *mut bindings::drm_gpuvm_bo,
    mut f: impl FnMut(&Va<T>) -> bool,
) {
    // SAFETY: The caller promises that the list is valid and stable.
    let mut pos = unsafe { (*vm_bo).list.gpuva.next };
    // SAFETY: As above.
    while let Some(va) = unsafe { va_at::<T>(vm_bo, pos) } {
        if !f(va) {
            return;
        }
        // SAFETY: As above.
        pos = unsafe { (*pos).next };
    }
}
