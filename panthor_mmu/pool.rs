// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The VMs of a file, by their ids.

use super::{prot::SPARSE_PERIOD, vm::Vm};
use crate::{
    kernel_ext::task,
    panthor_gem::{Bo, BoKind, PanthorBo},
    PanthorBound, PanthorDevice,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        Arc, Mutex,
    },
    xarray::{AllocKind, XArray},
};

/// How many VMs a file can have. Ids are `1..=MAX_VMS`.
pub(crate) const MAX_VMS: usize = 32;

/// Objects by id, each with a reference of its own.
///
/// # Locks
///
/// Whoever looks for an object takes a reference while `xa_lock` is held, and works with that: the
/// object may leave the pool at any time. Nobody walks the array without the lock.
#[pin_data]
pub(crate) struct Pool<T: Send + Sync + 'static> {
    #[pin]
    array: XArray<Arc<T>>,
    /// Held while an object is added, so that an id that was found free stays so: storing may give
    /// `xa_lock` up to allocate.
    #[pin]
    adding: Mutex<()>,
    /// No id above this one was ever given out. Most pools have few objects.
    highest: Atomic<usize>,
}

impl<T: Send + Sync + 'static> Pool<T> {
    /// An empty pool.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            array <- XArray::new(AllocKind::Alloc1),
            adding <- new_mutex!((), "Pool::adding"),
            highest: Atomic::new(0),
        })
    }

    /// Adds an object and returns its id, the lowest one that is free. `EBUSY` when there is none,
    /// `ENOMEM`.
    pub(crate) fn insert(&self, object: Arc<T>) -> Result<usize> {
        let _adding = self.adding.lock();
        let mut array = self.array.lock();
        let id = (1..=MAX_VMS)
            .find(|&id| array.get(id).is_none())
            .ok_or(EBUSY)?;
        if let Err(store) = array.store(id, object, GFP_KERNEL_ACCOUNT) {
            // What could not be stored may be the last reference, and freeing a VM sleeps.
            drop(array);
            return Err(store.error);
        }
        // Under `xa_lock`, as looking at all objects is.
        if id > self.highest.load(Relaxed) {
            self.highest.store(id, Relaxed);
        }
        Ok(id)
    }

    /// Takes an object out.
    pub(crate) fn remove(&self, id: usize) -> Option<Arc<T>> {
        self.array.lock().remove(id)
    }

    /// A reference on an object.
    pub(crate) fn get(&self, id: usize) -> Option<Arc<T>> {
        self.array.lock().get(id).map(Into::into)
    }

    /// References on all objects, with their ids. `ENOMEM`.
    pub(crate) fn snapshot(&self) -> Result<KVec<(usize, Arc<T>)>> {
        // Nothing can be allocated under the spin lock; a pool has few objects.
        let mut all = KVec::with_capacity(MAX_VMS, GFP_KERNEL)?;
        let array = self.array.lock();
        for id in 1..=self.highest.load(Relaxed) {
            if let Some(object) = array.get(id) {
                if all.push_within_capacity((id, object.into())).is_err() {
                    break;
                }
            }
        }
        drop(array);
        Ok(all)
    }

    /// Takes all objects out, and calls `f` for each without the lock. Nobody adds objects any
    /// more.
    pub(crate) fn drain(&self, mut f: impl FnMut(Arc<T>)) {
        for id in 1..=self.highest.load(Relaxed) {
            if let Some(object) = self.remove(id) {
                f(object);
            }
        }
    }
}

/// The VMs of a file.
#[pin_data]
pub(crate) struct VmPool {
    #[pin]
    vms: Pool<Vm>,
    /// What sparse mappings show, made for the first one: one buffer for all VMs of a file, so that
    /// nothing written there gets to another file.
    #[pin]
    dummy: Mutex<Option<ARef<Bo>>>,
}

impl VmPool {
    /// A pool without VMs.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            vms <- Pool::new(),
            dummy <- new_mutex!(None, "VmPool::dummy"),
        })
    }

    /// What sparse mappings show. `ENOMEM`.
    pub(super) fn dummy(&self, dev: &PanthorDevice) -> Result<ARef<Bo>> {
        let mut dummy = self.dummy.lock();
        if let Some(bo) = &*dummy {
            return Ok(bo.clone());
        }
        // shmem answers ENOSPC when it has no memory for a file, which VM_BIND does not know.
        let bo = PanthorBo::create(dev, SPARSE_PERIOD, BoKind::Kernel, None).map_err(|e| {
            if e == ENOSPC {
                ENOMEM
            } else {
                e
            }
        })?;
        Ok(dummy.insert(bo).clone())
    }

    /// Makes a VM; returns its id, and where the kernel's part of its addresses begins. `EBUSY`
    /// when there are too many, others as [`Vm::new`].
    pub(crate) fn create(&self, dev: &PanthorBound<'_>, user_va_range: u64) -> Result<(u32, u64)> {
        let vm = Vm::new(dev, user_va_range, task::current_task_size())?;
        let kernel_va_start = vm.kernel_va_start();
        let id = self.vms.insert(vm)?;
        Ok((u32::try_from(id)?, kernel_va_start))
    }

    /// Destroys a VM. `EINVAL` when there is none.
    pub(crate) fn destroy(&self, id: u32) -> Result {
        let vm = self.vms.remove(id as usize).ok_or(EINVAL)?;
        vm.destroy();
        Ok(())
    }

    /// Returns a VM. `EINVAL` when there is none.
    pub(crate) fn get(&self, id: u32) -> Result<Arc<Vm>> {
        self.vms.get(id as usize).ok_or(EINVAL)
    }

    /// References on all VMs, with their ids. `ENOMEM`.
    pub(crate) fn snapshot(&self) -> Result<KVec<(usize, Arc<Vm>)>> {
        self.vms.snapshot()
    }

    /// Destroys all VMs, when the file is closed.
    pub(crate) fn destroy_all(&self) {
        self.vms.drain(|vm| vm.destroy());
    }
}
