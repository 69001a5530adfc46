// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The reservation lock that the private objects of an address space share.

use super::super::{device::Device, driver::Driver};
use crate::kernel_ext::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    error::to_result,
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted},
    types::{NotThreadSafe, Opaque},
};

/// A buffer object that lends its reservation lock to others, and nothing else.
///
/// Every GPU address space has one: its private buffer objects share the lock of it.
///
/// # Invariants
///
/// The object is initialised, and alive while its reference count is not zero. Who has a reference
/// keeps the device as well, and longer, as the object does not.
#[repr(transparent)]
pub(in super::super) struct ResvObject(Opaque<bindings::drm_gem_object>);

impl ResvObject {
    /// Allocates an object for a device. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The caller keeps the device until after the last reference is gone.
    pub(in super::super) unsafe fn new<D: Driver>(dev: &Device<D>) -> Result<ARef<Self>> {
        // SAFETY: `dev` is a valid device.
        let ptr = unsafe { bindings::drm_gpuvm_resv_object_alloc(dev.as_raw()) };
        let ptr = NonNull::new(ptr).ok_or(ENOMEM)?;

        // INVARIANT: The caller promises it.
        // SAFETY: We own the reference that the allocation returned.
        Ok(unsafe { ARef::from_raw(ptr.cast()) })
    }

    pub(in super::super) fn as_raw(&self) -> *mut bindings::drm_gem_object {
        self.0.get()
    }

    /// The reservation lock.
    pub(super) fn resv(&self) -> *mut bindings::dma_resv {
        // SAFETY: The object is valid; `resv` is set once, before the object is published.
        unsafe { (*self.as_raw()).resv }
    }

    /// Takes the reservation lock; a signal ends the wait with `EINTR`.
    pub(in super::super) fn lock_interruptible(&self) -> Result<ResvGuard<'_>> {
        // SAFETY: The object is valid, and so is its reservation lock.
        to_result(unsafe { bindings::kx_dma_resv_lock_interruptible(self.resv()) })?;
        Ok(ResvGuard {
            resv: self.resv(),
            _obj: PhantomData,
            _not_send: NotThreadSafe,
        })
    }
}

// SAFETY: The reference count of a GEM object is atomic; the object dies with it.
unsafe impl AlwaysRefCounted for ResvObject {
    fn inc_ref(&self) {
        // SAFETY: A shared reference shows that the count is not zero.
        unsafe { bindings::drm_gem_object_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference it owns.
        unsafe { bindings::drm_gem_object_put(obj.cast().as_ptr()) };
    }
}

// SAFETY: Nothing in a `ResvObject` belongs to a thread.
unsafe impl Send for ResvObject {}
// SAFETY: All that can be done with a shared one is counted or locked by the C side.
unsafe impl Sync for ResvObject {}

/// The reservation lock of a GPU address space, for objects that are to be private to it.
///
/// A driver gets no more of a [`ResvObject`]: it could keep a reference for longer than the device.
pub(crate) struct Resv<'a, D: Driver> {
    pub(super) obj: &'a ARef<ResvObject>,
    pub(super) dev: &'a Device<D>,
}

impl<'a, D: Driver> Resv<'a, D> {
    pub(in super::super) fn new(obj: &'a ARef<ResvObject>, dev: &'a Device<D>) -> Self {
        Self { obj, dev }
    }
}

/// A held reservation lock.
#[must_use]
pub(in super::super) struct ResvGuard<'a> {
    resv: *mut bindings::dma_resv,
    _obj: PhantomData<&'a ()>,
    _not_send: NotThreadSafe,
}

impl Drop for ResvGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: The guard holds the lock.
        unsafe { bindings::kx_dma_resv_unlock(self.resv) };
    }
}
