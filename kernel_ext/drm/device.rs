// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM devices.
//!
//! C header: `include/drm/drm_device.h`

use super::{
    driver,
    gem::{self, VmOf},
    gpuvm::GpuVm,
    unbind, Driver,
};
use crate::kernel_ext::{
    bindings,
    registry::Registry,
    shrinker::{self, Shrink},
    task::{cond_resched, fatal_signal_pending},
};
use core::{
    alloc::Layout,
    mem::offset_of,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::allocator::Kmalloc,
    device,
    dma::DmaMask,
    error::{from_err_ptr, to_result},
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted},
    types::{NotThreadSafe, Opaque},
};

/// A DRM device of the driver `T` with the driver's own data behind it.
///
/// It lives as long as somebody refers to it, which may be long after the bus device was unbound
/// from the driver; see [`Device::enter()`].
///
/// # Invariants
///
/// `dev` is a valid `struct drm_device`, allocated together with the rest by
/// [`UnregisteredDevice::new()`].
#[repr(C)]
pub(crate) struct Device<T: Driver> {
    dev: Opaque<bindings::drm_device>,
    /// Its buffers. They keep it, as address spaces do.
    pub(super) objects: gem::Objects<T::Object>,
    address_spaces: Registry<GpuVm<VmOf<T>>>,
    /// The first page of the offsets that objects get for `mmap()`, which none of them gets: the low
    /// 32 bits of it are zero, which programs take for "none" that keep it in an `int`.
    /// The core takes whatever has an offset for the node of an object: this is one, without
    /// references, so that who asks for it finds nothing.
    first_offset: Opaque<bindings::drm_gem_object>,
    data: T::Data,
}

impl<T: Driver> Device<T> {
    /// Returns the device around a C device.
    ///
    /// # Safety
    ///
    /// `ptr` is a device of the driver `T` whose reference count does not drop to zero during
    /// `'a`, and whose data is initialised.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_device) -> &'a Self {
        // SAFETY: All devices of this driver are embedded in `Self`, at its start.
        unsafe { &*ptr.cast::<Self>() }
    }

    /// The C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::drm_device {
        self.dev.get()
    }

    /// All GPU address spaces of the device.
    pub(crate) fn address_spaces(&self) -> &Registry<GpuVm<VmOf<T>>> {
        &self.address_spaces
    }

    /// The bus device.
    pub(crate) fn parent(&self) -> &device::Device {
        // SAFETY: The DRM device holds a reference on its parent.
        unsafe { device::Device::from_raw((*self.as_raw()).dev) }
    }

    /// Whether the device was unplugged. It may be a moment later: for what does harm then there is
    /// [`Self::enter()`].
    pub(crate) fn is_unplugged(&self) -> bool {
        // SAFETY: The device is valid; the flag is read as the C side does.
        unsafe { (&raw const (*self.as_raw()).unplugged).read_volatile() }
    }

    /// Whether a section may go on, for loops that may be long: `EINTR` when the task is being
    /// killed, `ENODEV` when the device was unplugged, which waits for the end of the section.
    pub(crate) fn may_go_on(&self) -> Result {
        cond_resched();
        if fatal_signal_pending() {
            return Err(EINTR);
        }
        if self.is_unplugged() {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Enters a section in which the device is registered, and its bus device bound with that.
    ///
    /// Returns `None` when it is not: not yet, not any more, or its registration failed. The end of
    /// the registration waits for the section's end. What has to be done before takes the bound
    /// device that probe has.
    pub(crate) fn enter(&self) -> Option<Enter<'_, T>> {
        let mut idx = 0;

        // SAFETY: The device is valid by the type invariants.
        if unsafe { bindings::drm_dev_enter(self.as_raw(), &mut idx) } {
            // INVARIANT: `drm_dev_enter()` was successful and gave us `idx`.
            Some(Enter {
                why: Why::Registered(idx),
                dev: self,
                _not_send: NotThreadSafe,
            })
        } else {
            None
        }
    }

    /// The `release` callback of a `struct drm_driver`.
    ///
    /// # Safety
    ///
    /// To be called by the DRM core only, when the last reference is gone.
    pub(super) unsafe extern "C" fn release(ptr: *mut bindings::drm_device) {
        let this = ptr.cast::<Self>();
        // SAFETY: It is one of this device, whose offsets end after this.
        unsafe { bindings::kx_drm_vma_give_back((*this).first_offset.get(), ptr) };
        // SAFETY: This is the only user, and all is initialised: until it is, the device has a driver
        // without this callback.
        unsafe {
            ptr::drop_in_place(&raw mut (*this).data);
            ptr::drop_in_place(&raw mut (*this).address_spaces);
            ptr::drop_in_place(&raw mut (*this).objects);
        }
    }
}

impl<T: Driver> Deref for Device<T> {
    type Target = T::Data;

    fn deref(&self) -> &T::Data {
        &self.data
    }
}

impl<T: Driver> AsRef<device::Device> for Device<T> {
    fn as_ref(&self) -> &device::Device {
        self.parent()
    }
}

// SAFETY: DRM device references may be dropped in any thread, and so may the data.
unsafe impl<T: Driver> Send for Device<T> {}

// SAFETY: A DRM device is made for concurrent use, and the data is `Sync`.
unsafe impl<T: Driver> Sync for Device<T> {}

// SAFETY: `drm_dev_get()` and `drm_dev_put()` keep the count of a device.
unsafe impl<T: Driver> AlwaysRefCounted for Device<T> {
    fn inc_ref(&self) {
        // SAFETY: The existence of the reference shows that the count is not zero.
        unsafe { bindings::drm_dev_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference of its own.
        unsafe { bindings::drm_dev_put(obj.as_ptr().cast()) };
    }
}

/// Why the bus device of a device is bound.
enum Why {
    /// The device is registered. The number comes from `drm_dev_enter()`.
    Registered(c_int),
    /// Somebody has the bus device, and knows that it is bound.
    Probe,
}

/// A section in which the bus device of a device is bound, see [`Device::enter()`] and
/// [`UnregisteredDevice::enter()`].
///
/// # Invariants
///
/// `why` is either of a successful `drm_dev_enter()` of this thread for `dev`, or the bus device of
/// `dev` is bound during `'a`.
#[must_use = "the section ends when this is dropped"]
pub(crate) struct Enter<'a, T: Driver> {
    why: Why,
    dev: &'a Device<T>,
    _not_send: NotThreadSafe,
}

impl<T: Driver> Enter<'_, T> {
    /// The bus device.
    pub(crate) fn parent(&self) -> &device::Device<device::Bound> {
        // SAFETY: By the type invariants, if nobody was let in. The flag that lets nobody in is set
        // from the start until `Registration::add()`, which its probe calls, and again when that
        // fails or the registration ends: both wait for the end of the section, which this does not
        // outlive, and come before the unbind.
        unsafe { self.dev.parent().as_bound() }
    }
}

impl<T: Driver> Deref for Enter<'_, T> {
    type Target = Device<T>;

    fn deref(&self) -> &Device<T> {
        self.dev
    }
}

impl<T: Driver> Drop for Enter<'_, T> {
    fn drop(&mut self) {
        if let Why::Registered(idx) = self.why {
            // SAFETY: By the type invariants.
            unsafe { bindings::drm_dev_exit(idx) };
        }
    }
}

/// What a device can reach by DMA.
pub(crate) struct DmaLimits {
    /// The addresses.
    pub(crate) mask: DmaMask,
    /// Longest piece of a scatter list, in bytes.
    pub(crate) max_segment: u32,
}

impl DmaLimits {
    /// Makes them known to the DMA API.
    ///
    /// # Safety
    ///
    /// Nothing may be mapped for DMA by this device meanwhile.
    unsafe fn apply(&self, dev: *mut bindings::device) -> Result {
        // SAFETY: As promised by the caller.
        to_result(unsafe { bindings::dma_set_mask_and_coherent(dev, self.mask.value()) })?;
        // SAFETY: As above.
        unsafe { bindings::dma_set_max_seg_size(dev, self.max_segment) };
        Ok(())
    }
}

/// A device that was not registered yet: nobody but the driver knows it, and it is like one that was
/// unplugged. That is what it remains when this is dropped.
pub(crate) struct UnregisteredDevice<T: Driver> {
    dev: ARef<Device<T>>,
    _not_send: NotThreadSafe,
}

/// What was initialised in place; it is dropped with this.
struct InPlace<T>(*mut T);

impl<T> Drop for InPlace<T> {
    fn drop(&mut self) {
        // SAFETY: It was initialised, and is not used any more.
        unsafe { ptr::drop_in_place(self.0) };
    }
}

/// Initialises a part of an allocation.
///
/// # Safety
///
/// `slot` is valid and uninitialised, and stays where it is until it is dropped. It is not used any
/// more when the result is dropped.
unsafe fn init_in_place<T, E>(slot: *mut T, init: impl PinInit<T, E>) -> Result<InPlace<T>>
where
    Error: From<E>,
{
    // SAFETY: The caller promises it.
    unsafe { pin_init::raw_try_init(slot, init) }?;
    Ok(InPlace(slot))
}

impl<T: Driver> UnregisteredDevice<T> {
    /// Allocates a device below `parent` and initialises its data.
    ///
    /// What the device does ends when `parent` is unbound, or its probe fails, see [`unbind`].
    pub(crate) fn new(
        parent: &device::Device<device::Bound>,
        dma: DmaLimits,
        data: impl PinInit<T::Data, Error>,
    ) -> Result<Self>
    where
        Device<T>: Shrink,
    {
        let shrinker = shrinker::Unregistered::new()?;
        // The DRM core allocates with `kmalloc()`, which aligns by size only.
        let layout = Kmalloc::aligned_layout(Layout::new::<Device<T>>());
        let raw_parent: *mut bindings::device = core::ptr::from_ref(parent).cast_mut().cast();

        // SAFETY: Buffers belong to a DRM device, which does not exist yet.
        unsafe { dma.apply(raw_parent)? };

        // SAFETY: `parent` is a valid device, the driver is a static, and the `drm_device` is at
        // offset 0 of an allocation of the given size.
        let raw = unsafe {
            bindings::__drm_dev_alloc(
                raw_parent,
                const { &driver::Vtable::<T>::WITHOUT_RELEASE },
                layout.size(),
                offset_of!(Device<T>, dev),
            )
        };
        let raw = from_err_ptr(raw.cast::<Device<T>>())?;
        let raw_drm = raw.cast::<bindings::drm_device>();

        // SAFETY: The slots are valid and uninitialised, and not moved until they are dropped by
        // `Device::release()`, or here.
        let initialised = unsafe {
            init_in_place(&raw mut (*raw).objects, gem::Objects::new(&shrinker)).and_then(
                |objects| {
                    let spaces = init_in_place(&raw mut (*raw).address_spaces, Registry::new())?;
                    let data = init_in_place(&raw mut (*raw).data, data)?;
                    core::mem::forget((objects, spaces, data));
                    Ok(())
                },
            )
        };
        if let Err(err) = initialised {
            // SAFETY: Gives up the initial reference; the driver has no `release` yet, so that what
            // is not initialised is not dropped.
            unsafe { bindings::drm_dev_put(raw_drm) };
            return Err(err);
        }

        // Nobody enters before there is a registration, whose end waits for those inside.
        // SAFETY: The device is known to nobody else yet.
        unsafe {
            (*raw_drm).driver = const { &driver::Vtable::<T>::DRIVER };
            (*raw_drm).unplugged = true;
        }

        // INVARIANT: Everything is initialised.
        // SAFETY: The pointer is not null, and the initial reference is taken over by the `ARef`.
        let dev = unsafe { ARef::from_raw(NonNull::new_unchecked(raw)) };
        // SAFETY: Nobody has an offset yet, and what gets it is zeroed, and part of the device.
        to_result(unsafe { bindings::kx_drm_vma_take_first((*raw).first_offset.get(), raw_drm) })?;
        unbind::end_with(parent, &dev, shrinker)?;

        Ok(Self {
            dev,
            _not_send: NotThreadSafe,
        })
    }

    /// The device; it may be referred to by the driver's own objects before it is registered.
    pub(crate) fn device(&self) -> &ARef<Device<T>> {
        &self.dev
    }

    /// The same as [`Device::enter()`] for the probe of `parent`, which must be the bus device:
    /// `EINVAL`.
    pub(crate) fn enter<'a>(
        &'a self,
        parent: &'a device::Device<device::Bound>,
    ) -> Result<Enter<'a, T>> {
        if !ptr::eq::<device::Device>(&**parent, self.dev.parent()) {
            return Err(EINVAL);
        }
        // INVARIANT: `parent` is bound during `'a`.
        Ok(Enter {
            why: Why::Probe,
            dev: &self.dev,
            _not_send: NotThreadSafe,
        })
    }

    /// Lets others enter, for the registration: to be called right before `drm_dev_register()`, which
    /// stops that again when it fails, and waits for those who did.
    ///
    /// # Safety
    ///
    /// The registration ends before the bus device is unbound.
    pub(super) unsafe fn open(self) -> ARef<Device<T>> {
        // SAFETY: The device is valid, and nobody else writes the flag before it is registered.
        unsafe { (&raw mut (*self.dev.as_raw()).unplugged).write_volatile(false) };
        self.dev
    }
}
