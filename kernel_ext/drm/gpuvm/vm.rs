// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The address space, and its relation to an object.

use super::{
    super::{
        device::Device,
        exec::Exec,
        gem::{DriverObject, Object, Pinned, Resv, ResvObject},
    },
    evict,
    mappings::ObjectOf,
    ops,
    ops::{OpGuard, Owned},
    DriverGpuVm,
};
use crate::kernel_ext::{bindings, registry};
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{Atomic, Relaxed},
        Mutex,
    },
    types::Opaque,
};

/// A GPU address space.
///
/// # Invariants
///
/// `vm` is initialised, and alive while its reference count is not zero. All objects mapped in it
/// are `Object<ObjectOf<T>>`, and it is the only kind of address space they are mapped in.
#[repr(C)]
#[pin_data]
pub(crate) struct GpuVm<T: DriverGpuVm> {
    #[pin]
    vm: Opaque<bindings::drm_gpuvm>,
    #[pin]
    pub(super) owned: Mutex<Owned<T>>,
    /// Goes before `dev`, as it must.
    resv: ARef<ResvObject>,
    /// Whether [`VmLocked::validate`] has met memory that cannot be read. Under the reservation lock.
    pub(super) unreadable: Atomic<bool>,
    /// The place in the list of all address spaces of the device.
    links: registry::Links<Self>,
    #[pin]
    data: T,
    /// The C side keeps the device as well, but not until our data is dropped.
    dev: ARef<Device<T::Driver>>,
}

impl<T> GpuVm<T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    const OPS: bindings::drm_gpuvm_ops = bindings::drm_gpuvm_ops {
        vm_free: Some(Self::free_callback),
        op_alloc: None,
        op_free: None,
        vm_bo_alloc: Some(bindings::kx_drm_gpuvm_bo_alloc),
        vm_bo_free: Some(evict::vm_bo_free_callback::<T>),
        vm_bo_validate: Some(evict::validate_callback::<T>),
        sm_step_map: Some(ops::step_map_callback::<T>),
        sm_step_remap: Some(ops::step_remap_callback::<T>),
        sm_step_unmap: Some(ops::step_unmap_callback::<T>),
    };

    /// Creates an address space for addresses below `range`.
    pub(crate) fn new(
        dev: &Device<T::Driver>,
        name: &'static CStr,
        range: u64,
        state: T::State,
        data: impl PinInit<T, Error>,
    ) -> Result<ARef<Self>> {
        // SAFETY: What has a reference has one on the device as well, which goes after it.
        let resv = unsafe { ResvObject::new(dev)? };
        let this = KBox::try_pin_init(
            try_pin_init!(Self {
                vm: Opaque::zeroed(),
                owned <- new_mutex!(Owned::new(state), "GpuVm::owned"),
                resv,
                unreadable: Atomic::new(false),
                links: registry::Links::new(),
                data <- data,
                dev: dev.into(),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        // SAFETY: The allocation does not move: its memory is freed by `free_callback()` only.
        let this = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });
        // SAFETY: `this` is valid and not shared yet; the C side takes references on the device
        // and on `resv`.
        unsafe {
            bindings::drm_gpuvm_init(
                (*this).vm.get(),
                name.as_char_ptr(),
                bindings::drm_gpuvm_flags_DRM_GPUVM_RESV_PROTECTED
                    | bindings::drm_gpuvm_flags_DRM_GPUVM_IMMEDIATE_MODE,
                dev.as_raw(),
                (*this).resv.as_raw(),
                0,
                range,
                0,
                0,
                &Self::OPS,
            );
        }
        // INVARIANT: Initialised above.
        // SAFETY: The count is one since the initialisation, and it is ours.
        let this = unsafe { ARef::from_raw(NonNull::new_unchecked(this)) };
        // SAFETY: It is new, and `free_callback()` removes it.
        unsafe { dev.address_spaces().insert(&this) };
        Ok(this)
    }

    /// `vm_free` of `struct drm_gpuvm_ops`.
    ///
    /// # Safety
    ///
    /// To be called by the GPUVM core only.
    unsafe extern "C" fn free_callback(vm: *mut bindings::drm_gpuvm) {
        let this = vm.cast::<Self>();
        // SAFETY: `vm` is at offset zero of the allocation of `new()`, and the last reference is
        // gone. What the device has of it is released while the registry still knows it.
        unsafe {
            (*this).release_device();
            registry::Registry::remove(&*this);
            drop(KBox::from_raw(this));
        }
    }

    /// Relates an object to this address space, if it is not yet, for as long as it is pinned. `EINVAL`
    /// for one of another device, whose DMA addresses mean nothing here, and which may be unplugged
    /// by itself; `ENOMEM`, `EINTR`.
    ///
    /// The caller calls [`Self::clean_up`] some time after the relation was dropped.
    pub(crate) fn relate(&self, pinned: Pinned<ObjectOf<T>>) -> Result<Relation<T>> {
        let obj = pinned.object();
        if obj.dev().as_raw() != self.dev.as_raw() {
            return Err(EINVAL);
        }
        // SAFETY: Address space and object are valid; the function takes references on both.
        let vm_bo = unsafe { bindings::drm_gpuvm_bo_create(self.as_raw(), obj.as_raw()) };
        let vm_bo = NonNull::new(vm_bo).ok_or(ENOMEM)?;
        // SAFETY: We own the reference just made, and give it up for the one returned.
        let vm_bo = unsafe { bindings::drm_gpuvm_bo_obtain_prealloc(vm_bo.as_ptr()) };
        // SAFETY: The function returns a valid reference.
        let vm_bo = unsafe { VmBo::from_ref(NonNull::new_unchecked(vm_bo)) };
        if !obj.is_private_to(self.resv()) {
            let _lock = self.resv.lock_interruptible()?;
            // SAFETY: The reservation lock protects the list of external objects.
            unsafe { bindings::drm_gpuvm_bo_extobj_add(vm_bo.0.as_ptr()) };
        }
        // INVARIANT: `vm_bo` was made for both.
        Ok(Relation { vm_bo, pinned })
    }

    /// Calls `f` with the reservation locks of the address space and of all objects mapped in it held.
    /// Waits for them end with `EINTR` when a signal arrives.
    pub(crate) fn with_all_locked<R>(
        &self,
        f: impl FnOnce(&VmLocked<'_, T>) -> Result<R>,
    ) -> Result<R> {
        pin_init::stack_pin_init!(let exec = Exec::new_interruptible());
        exec.as_ref().lock_all(|set| {
            // SAFETY: Address space and set are valid.
            unsafe {
                to_result(bindings::drm_gpuvm_prepare_vm(
                    self.as_raw(),
                    set.as_raw(),
                    0,
                ))?;
                to_result(bindings::drm_gpuvm_prepare_objects(
                    self.as_raw(),
                    set.as_raw(),
                    0,
                ))
            }
        })?;
        // INVARIANT: All is locked, until `exec` is dropped.
        f(&VmLocked {
            vm: self,
            exec: exec.as_ref(),
        })
    }

    /// Frees what operations left behind because they ran under the operation lock. No
    /// reservation lock may be held.
    ///
    /// Who holds one of those that this takes may be reading memory in, for long: a task that is being
    /// killed does not wait, and leaves the rest for the next call. The last one is
    /// [`Self::clean_up_all`].
    pub(crate) fn clean_up(&self) {
        // SAFETY: The address space is valid.
        let mut next = unsafe { bindings::kx_drm_gpuvm_take_deferred(self.as_raw()) };
        while let Some(vm_bo) = NonNull::new(next) {
            // SAFETY: The chain is ours.
            next = unsafe { bindings::kx_drm_gpuvm_next_deferred(vm_bo.as_ptr()) };
            // SAFETY: Nobody knows the relation any more, and it is the only one that keeps this
            // reference on its object.
            let obj = unsafe { Object::<ObjectOf<T>>::from_raw((*vm_bo.as_ptr()).obj) };
            match obj.lock_killable() {
                Ok(locked) => locked.update_state(),
                Err(_) => {
                    // SAFETY: It is not in a list of the address space.
                    unsafe { bindings::kx_drm_gpuvm_defer_again(vm_bo.as_ptr()) };
                    continue;
                }
            }
            // SAFETY: As above. It holds references on object and address space, of which the caller
            // has another one.
            unsafe {
                bindings::kfree(vm_bo.as_ptr().cast());
                bindings::drm_gpuvm_put(self.as_raw());
                bindings::drm_gem_object_put(obj.as_raw());
            }
        }
    }

    /// As [`Self::clean_up`], but waits for the locks in any case.
    pub(crate) fn clean_up_all(&self) {
        // SAFETY: The address space is valid.
        unsafe { bindings::drm_gpuvm_bo_deferred_cleanup(self.as_raw()) };
    }
}

/// An address space whose reservation lock is held, and those of all objects mapped in it.
///
/// # Invariants
///
/// `exec` holds them.
pub(crate) struct VmLocked<'a, T: DriverGpuVm> {
    vm: &'a GpuVm<T>,
    exec: Pin<&'a Exec>,
}

impl<T> VmLocked<'_, T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    /// Brings all evicted objects of the address space back, with their mappings.
    ///
    /// Stops at the first error: `ENOMEM`, `EINTR`, `ENODEV`, `EIO` of the hardware; the objects
    /// before it are back. Only for those whose content cannot be read it does not: they stay away,
    /// all others are back, and the answer is `EIO`.
    pub(crate) fn validate(&self) -> Result {
        self.vm.unreadable.store(false, Relaxed);
        // SAFETY: Address space and set are valid, and by the type invariants all is locked.
        to_result(unsafe { bindings::drm_gpuvm_validate(self.vm.as_raw(), self.exec.as_raw()) })?;
        if self.vm.unreadable.load(Relaxed) {
            return Err(EIO);
        }
        Ok(())
    }
}

impl<T: DriverGpuVm> GpuVm<T> {
    pub(crate) fn as_raw(&self) -> *mut bindings::drm_gpuvm {
        self.vm.get()
    }

    /// # Safety
    ///
    /// `ptr` is the `vm` of a `GpuVm<T>` that outlives `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_gpuvm) -> &'a Self {
        // SAFETY: `vm` is at offset zero (`repr(C)`), and alive as the caller promises.
        unsafe { &*ptr.cast() }
    }

    /// The device of the address space.
    pub(crate) fn dev(&self) -> &ARef<Device<T::Driver>> {
        &self.dev
    }

    /// The reservation lock that the private objects of this address space share.
    pub(crate) fn resv(&self) -> Resv<'_, T::Driver> {
        Resv::new(&self.resv, &self.dev)
    }

    /// Takes the operation lock.
    pub(crate) fn lock(&self) -> OpGuard<'_, T> {
        OpGuard::new(self, self.owned.lock())
    }
}

impl<T: DriverGpuVm> Deref for GpuVm<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

// SAFETY: The reference count of an address space is atomic; it dies with it.
unsafe impl<T: DriverGpuVm> AlwaysRefCounted for GpuVm<T> {
    fn inc_ref(&self) {
        // SAFETY: A shared reference shows that the count is not zero.
        unsafe { bindings::drm_gpuvm_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference it owns.
        unsafe { bindings::drm_gpuvm_put(obj.cast().as_ptr()) };
    }
}

// SAFETY: The C side gives the reference only while the count is not zero.
unsafe impl<T: DriverGpuVm> registry::Registered for GpuVm<T> {
    unsafe fn get_unless_zero(ptr: NonNull<Self>) -> Option<ARef<Self>> {
        // SAFETY: The caller promises valid memory.
        unsafe { bindings::kx_drm_gpuvm_get_unless_zero(ptr.cast().as_ptr()) }
            // SAFETY: We own the reference just taken.
            .then(|| unsafe { ARef::from_raw(ptr) })
    }

    fn links(&self) -> &registry::Links<Self> {
        &self.links
    }
}

// SAFETY: Nothing in an address space belongs to a thread; its parts are `Send`.
unsafe impl<T: DriverGpuVm> Send for GpuVm<T> {}
// SAFETY: What is not the driver's is under the operation lock or a reservation lock.
unsafe impl<T: DriverGpuVm> Sync for GpuVm<T> {}

/// A reference on an address space for whoever makes operations on it. Those that were killed, and
/// left some of their work to others, have one of these, or find somebody else's: it is done when
/// this is dropped. No reservation lock may be held then.
pub(crate) struct Keeper<T>(ARef<GpuVm<T>>)
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>;

impl<T> Keeper<T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    /// Of a new address space.
    pub(crate) fn new(vm: ARef<GpuVm<T>>) -> Self {
        Self(vm)
    }
}

impl<T> Deref for Keeper<T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    type Target = ARef<GpuVm<T>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> Drop for Keeper<T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    fn drop(&mut self) {
        self.0.clean_up_all();
    }
}

/// The relation of an object to an address space, for mappings to be made.
///
/// It has the object pinned: who holds the reservation lock of one that is not knows that its
/// relations are those which its mappings keep, and that there will be no others meanwhile.
///
/// # Invariants
///
/// `vm_bo` is one of the object that is pinned.
pub(crate) struct Relation<T: DriverGpuVm> {
    /// Goes before the pin.
    pub(super) vm_bo: VmBo<T>,
    pub(super) pinned: Pinned<ObjectOf<T>>,
}

/// A reference on what relates an object to an address space.
///
/// # Invariants
///
/// The pointer is valid, and comes with a reference.
pub(super) struct VmBo<T: DriverGpuVm>(pub(super) NonNull<bindings::drm_gpuvm_bo>, PhantomData<T>);

// SAFETY: The reference may be given up by any thread.
unsafe impl<T: DriverGpuVm> Send for VmBo<T> {}

impl<T: DriverGpuVm> VmBo<T> {
    /// # Safety
    ///
    /// The caller gives up a reference on a relation of an address space of this kind.
    pub(super) unsafe fn from_ref(vm_bo: NonNull<bindings::drm_gpuvm_bo>) -> Self {
        // INVARIANT: The caller promises it.
        Self(vm_bo, PhantomData)
    }
}

impl<T: DriverGpuVm> Drop for VmBo<T> {
    fn drop(&mut self) {
        // The last reference may not be dropped here, under whatever locks: `GpuVm::clean_up()`
        // does.
        // SAFETY: We own a reference.
        unsafe { bindings::drm_gpuvm_bo_put_deferred(self.0.as_ptr()) };
    }
}
