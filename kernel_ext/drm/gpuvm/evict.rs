// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Taking the memory of an object away, and bringing it back.

use super::{
    super::gem::{Busy, DriverObject, Locked, Object},
    mappings::{first_va, for_each_va, with_mappings, MappingsLocked, ObjectOf},
    ops::Owned,
    vm::{GpuVm, VmBo},
    DriverGpuVm, MapStep, Op, Reserve,
};
use crate::kernel_ext::{bindings, task::cond_resched};
use core::ptr::NonNull;
use kernel::{
    error::from_result,
    prelude::*,
    sync::{aref::ARef, atomic::Relaxed},
};

/// Why an object could not be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictError {
    /// Somebody needs its pages to stay where they are.
    Pinned,
    /// A lock was taken, and the caller does not wait.
    Contended,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for EvictError {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

/// Takes the translations of one object out of one address space.
///
/// # Safety
///
/// `vm_bo` is a valid relation of `vm`, `owned` is under the operation lock of `vm`, and the
/// reservation lock of the object is held.
unsafe fn evict_from<T: DriverGpuVm>(
    vm: &GpuVm<T>,
    owned: &mut Owned<T>,
    vm_bo: *mut bindings::drm_gpuvm_bo,
) -> Result {
    let mut reserve = T::Reserve::default();
    let mut op = Op {
        vm,
        state: &mut owned.state,
        reserve: &mut reserve,
    };
    // Evicted mappings may have got company meanwhile that is not: the relation is in the list of
    // evicted ones then, and only the mappings are left to do.
    // SAFETY: The caller holds the reservation lock.
    unsafe {
        if !(*vm_bo).evicted {
            bindings::drm_gpuvm_bo_evict(vm_bo, true);
        }
    }
    let mut ret = Ok(());
    // SAFETY: The caller holds the operation lock and the reservation lock.
    unsafe {
        for_each_va::<T>(vm_bo, |va| {
            if va.is_evicted() {
                return true;
            }
            ret = T::begin(&mut op, va.addr(), va.range());
            if ret.is_ok() {
                T::unmap(&mut op, va.addr(), va.range());
                // Without a flush the GPU may still get at the pages: they must stay, now and
                // whenever this is tried again.
                ret = T::end(&mut op);
                if ret.is_ok() {
                    va.set_evicted();
                }
            }
            ret.is_ok()
        });
    }
    ret
}

impl<O> Locked<'_, O>
where
    O: DriverObject,
{
    /// Evicts the object: takes it out of all CPU and GPU mappings and gives its pages up. The
    /// GPU must be done with it, see [`Object::wait_idle`].
    ///
    /// On an error pages and content are as before; translations that are gone already come back
    /// with the next [`GpuVm::restore_object`] or [`VmLocked::validate`]. Waits for operation locks;
    /// memory for references is allocated.
    ///
    /// [`VmLocked::validate`]: super::VmLocked::validate
    pub(crate) fn evict(&self) -> Result<(), EvictError> {
        if self.is_pinned() || self.is_imported() {
            return Err(EvictError::Pinned);
        }
        if !self.is_resident() {
            return Ok(());
        }
        // With the lock of the list of mappings held, operation locks cannot be waited for: take
        // references first. New address spaces do not come meanwhile, as they pin the object
        // before.
        let mut vms: KVec<ARef<GpuVm<O::Vm>>> = KVec::new();
        loop {
            let missing = with_mappings(self, |mappings| {
                vms.clear();
                let mut count = 0usize;
                mappings.for_each_vm(|vm| {
                    count += 1;
                    if vms.len() < vms.capacity() {
                        // Within the capacity: does not allocate, does not fail.
                        let _ = vms.push(vm.into(), GFP_NOWAIT);
                    }
                    true
                });
                count.saturating_sub(vms.len())
            });
            if missing == 0 {
                break;
            }
            let more = vms.len() + missing;
            vms.reserve(more, GFP_KERNEL).map_err(Error::from)?;
        }

        self.zap_cpu_mappings();
        for vm in &vms {
            let mut owned = vm.owned.lock();
            // No reference is taken, which might be the last one when we give it up. A relation in the
            // list has references of its mappings, of a `Relation`, of `restore_object()`. The second
            // has the object pinned for longer, and would be seen above, as the pin could not come
            // since; the third holds the reservation lock, which we do. So it is the mappings that
            // keep it, and they stay as long as we hold the operation lock.
            let Some(vm_bo) = with_relation(self, vm, Some) else {
                continue;
            };
            // SAFETY: The operation lock and the reservation lock are held, and the relation stays, as
            // its mappings do.
            let ret = unsafe { evict_from(vm, &mut owned, vm_bo.as_ptr()) };
            drop(owned);
            if let Err(e) = ret {
                self.update_state();
                return Err(e.into());
            }
        }
        // SAFETY: No address space and no process has the pages mapped any more.
        let done = unsafe { self.evict_pages() };
        self.update_state();
        if done {
            Ok(())
        } else {
            Err(EvictError::Pinned)
        }
    }

    /// As [`Self::evict`], but never waits for a lock and never allocates: for the shrinker.
    pub(crate) fn try_evict(&self) -> Result<(), EvictError> {
        if self.is_pinned() || self.is_imported() {
            return Err(EvictError::Pinned);
        }
        // Before the lock of the list is taken, which would be the wrong order.
        self.zap_cpu_mappings();

        // SAFETY: The object is initialised.
        let lock = unsafe { &raw mut (*self.as_raw()).gpuva.lock };
        // SAFETY: As above.
        if unsafe { bindings::kx_mutex_trylock(lock) } == 0 {
            return Err(EvictError::Contended);
        }
        let mut ret = Ok(());
        {
            // SAFETY: The lock is held until after this block.
            let mappings = unsafe { MappingsLocked::new(self.object()) };
            mappings.for_each_vm_bo(|vm_bo| {
                // SAFETY: The relation, and with it its address space, is alive.
                let vm = unsafe { GpuVm::<O::Vm>::from_raw((*vm_bo.as_ptr()).vm) };
                ret = match vm.owned.try_lock() {
                    // SAFETY: Both locks are held.
                    Some(mut owned) => unsafe { evict_from(vm, &mut owned, vm_bo.as_ptr()) }
                        .map_err(EvictError::Failed),
                    None => Err(EvictError::Contended),
                };
                ret.is_ok()
            });
            if ret.is_ok() {
                // SAFETY: No address space and no process has the pages mapped any more.
                ret = if unsafe { self.evict_pages() } {
                    Ok(())
                } else {
                    Err(EvictError::Pinned)
                };
            }
            O::state_changed(self, &mappings);
        }
        // SAFETY: Taken above.
        unsafe { bindings::mutex_unlock(lock) };
        ret
    }

    /// [`Self::try_evict`] when the GPU is done with the object. It is waited for as long as the scan
    /// may still wait; after that it is only asked.
    pub(crate) fn try_evict_idle(&self, busy: &mut Busy) -> bool {
        if let Busy::Wait(jiffies) = busy {
            let left = self.wait_idle(*jiffies, false).unwrap_or(0);
            // Asking alone answers one.
            *jiffies = left.min(*jiffies);
            if left == 0 {
                return false;
            }
        }
        self.try_evict().is_ok()
    }
}

/// Calls `f` with the relation of an object to an address space, if there is one. The lock of the
/// object's list of mappings is held.
///
/// The reservation lock makes up for the moment in which the list looks empty to who has no lock.
fn with_relation<T: DriverGpuVm, R>(
    obj: &Locked<'_, ObjectOf<T>>,
    vm: &GpuVm<T>,
    f: impl FnOnce(NonNull<bindings::drm_gpuvm_bo>) -> Option<R>,
) -> Option<R> {
    with_mappings(obj, |mappings| {
        let mut found = None;
        mappings.for_each_vm_bo(|vm_bo| {
            // SAFETY: The relation is alive while the lock of the list is held.
            if unsafe { (*vm_bo.as_ptr()).vm } == vm.as_raw() {
                found = Some(vm_bo);
            }
            found.is_none()
        });
        let vm_bo = found?;
        // So that the next one is in front: a buffer may be in thousands.
        // SAFETY: It is in the list, whose lock is held; the walk is over.
        unsafe {
            bindings::kx_list_move_tail(
                &raw mut (*vm_bo.as_ptr()).list.entry.gem,
                &raw mut (*obj.as_raw()).gpuva.list,
            )
        };
        f(vm_bo)
    })
}

/// Makes the translations of all evicted mappings of a relation again. `EINTR`, `ENOMEM`, or an
/// error of the driver; the mappings before that one are back.
///
/// # Safety
///
/// `vm_bo` is a valid relation of `vm` and `obj`, which has its memory back.
unsafe fn restore<T: DriverGpuVm>(
    vm: &GpuVm<T>,
    obj: &Locked<'_, ObjectOf<T>>,
    vm_bo: *mut bindings::drm_gpuvm_bo,
) -> Result {
    let mut reserve = T::Reserve::default();
    loop {
        if current!().signal_pending() {
            return Err(EINTR);
        }
        cond_resched();

        let mut owned = vm.owned.lock();
        // SAFETY: The operation lock is held.
        let first = unsafe { first_va::<T>(vm_bo) };
        let Some(va) = first.filter(|va| va.is_evicted()) else {
            return Ok(());
        };
        let step = MapStep {
            addr: va.addr(),
            range: va.range(),
            offset: va.offset(),
            mapping: va.mapping()?,
            segments: obj.segments().ok_or(ENODEV)?,
        };
        let demand = T::demand_of_map(&mut owned.state, &step, &reserve)?;
        if reserve.len() < demand {
            // The mapping may be cut or gone when the lock is taken again.
            drop(owned);
            reserve.fill(demand)?;
            continue;
        }

        let mut op = Op {
            vm,
            state: &mut owned.state,
            reserve: &mut reserve,
        };
        T::begin(&mut op, step.addr, step.range)?;
        let ret = T::map(&mut op, &step);
        if ret.is_ok() {
            // SAFETY: The operation lock and the reservation lock are held, and `vm_bo` is the one
            // whose first mapping it is.
            with_mappings(obj, |_| unsafe { va.set_restored(vm_bo) });
        }
        let ended = T::end(&mut op);
        ret.and(ended)?;
    }
}

/// Brings the memory of an object back, with the evicted mappings of a relation. Errors as
/// [`restore`], and of [`Locked::dma_map`].
///
/// # Safety
///
/// `vm_bo` is a valid relation of `vm` and `obj`.
unsafe fn restore_object<T>(
    vm: &GpuVm<T>,
    obj: &Locked<'_, ObjectOf<T>>,
    vm_bo: *mut bindings::drm_gpuvm_bo,
) -> Result
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    // SAFETY: The caller promises it; the reservation lock is held.
    let result = obj.dma_map().and_then(|()| unsafe {
        restore(vm, obj, vm_bo)?;
        bindings::drm_gpuvm_bo_evict(vm_bo, false);
        Ok(())
    });
    // Also after an error: memory may be back that the shrinker should know of.
    obj.update_state();
    result
}

impl<T> GpuVm<T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    /// Brings the memory of one object back, with its evicted mappings in this address space, if it has
    /// any. The caller calls [`Self::clean_up`] when it has unlocked the object.
    ///
    /// `ENOMEM`, `EINTR`, `ENODEV`, `EIO` when the content cannot be read; errors of the driver, as when
    /// there may be no new mappings.
    pub(crate) fn restore_object(&self, obj: &Locked<'_, ObjectOf<T>>) -> Result {
        let vm_bo = with_relation(obj, self, |vm_bo| {
            // SAFETY: Its memory is valid while the lock of the list is held.
            unsafe { bindings::kx_drm_gpuvm_bo_get_unless_zero(vm_bo.as_ptr()) }
                // SAFETY: We own the reference just taken.
                .then(|| unsafe { VmBo::<T>::from_ref(vm_bo) })
        });
        match vm_bo {
            // SAFETY: The relation is of both, and we have a reference on it.
            Some(vm_bo) => unsafe { restore_object(self, obj, vm_bo.0.as_ptr()) },
            // It is mapped here no more.
            None => Ok(()),
        }
    }
}

/// `vm_bo_validate` of `struct drm_gpuvm_ops`.
///
/// # Safety
///
/// To be called by the GPUVM core only.
pub(super) unsafe extern "C" fn validate_callback<T>(
    vm_bo: *mut bindings::drm_gpuvm_bo,
    _exec: *mut bindings::drm_exec,
) -> c_int
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    // SAFETY: The core calls this from `VmLocked::validate()`: the relation is valid, and the
    // reservation lock of its object is held.
    unsafe {
        let vm = GpuVm::<T>::from_raw((*vm_bo).vm);
        let obj = Locked::new(Object::<ObjectOf<T>>::from_raw((*vm_bo).obj));
        from_result(|| {
            if obj.populate() == Err(EIO) {
                // Its relation stays in the list of evicted ones. Those behind it there need not suffer.
                vm.unreadable.store(true, Relaxed);
                return Ok(0);
            }
            // With another error of that it is found again here.
            restore_object(vm, &obj, vm_bo).map(|()| 0)
        })
    }
}

/// `vm_bo_free` of `struct drm_gpuvm_ops`.
///
/// # Safety
///
/// To be called by the GPUVM core only.
pub(super) unsafe extern "C" fn vm_bo_free_callback<T>(vm_bo: *mut bindings::drm_gpuvm_bo)
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    // SAFETY: The relation is gone from all lists; its object is alive for a moment longer, and
    // no reservation lock is held, see `GpuVm::clean_up()`.
    unsafe {
        let obj = Object::<ObjectOf<T>>::from_raw((*vm_bo).obj);
        obj.lock().update_state();
        bindings::kfree(vm_bo.cast());
    }
}
