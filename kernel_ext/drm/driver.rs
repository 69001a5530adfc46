// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM drivers and the registration of their devices.
//!
//! C header: `include/drm/drm_drv.h`

use super::{debugfs, device::Device, file, gem, ioctl, File, Printer, UnregisteredDevice};
use crate::kernel_ext::{
    bindings,
    mm_vma::{IoPage, MmapRequest},
};
use core::marker::PhantomData;
use kernel::{
    device, devres,
    error::to_result,
    module::{this_module, ModuleMetadata},
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::{aref::ARef, Arc},
};

/// The device has render nodes.
pub(crate) const FEAT_RENDER: u32 = bindings::drm_driver_feature_DRIVER_RENDER;
/// The driver uses GEM.
pub(crate) const FEAT_GEM: u32 = bindings::drm_driver_feature_DRIVER_GEM;
/// The driver supports sync objects.
pub(crate) const FEAT_SYNCOBJ: u32 = bindings::drm_driver_feature_DRIVER_SYNCOBJ;
/// The driver supports timeline sync objects.
pub(crate) const FEAT_SYNCOBJ_TIMELINE: u32 = bindings::drm_driver_feature_DRIVER_SYNCOBJ_TIMELINE;

/// What a driver tells about itself.
pub(crate) struct DriverInfo {
    /// Incompatible changes.
    pub(crate) major: i32,
    /// Additions.
    pub(crate) minor: i32,
    /// Fixes.
    pub(crate) patchlevel: i32,
    /// Name of the driver, by which user space knows it.
    pub(crate) name: &'static CStr,
    /// Description.
    pub(crate) desc: &'static CStr,
}

/// Who serves a user mapping of the device file.
pub(crate) enum MmapKind {
    /// A buffer object, found by the fake offset.
    Gem,
    /// The device: [`Driver::io_page()`] is asked for each page when it is accessed. The value is
    /// the offset of the first page in whatever the driver counts in.
    Io(u64),
}

/// A DRM driver.
pub(crate) trait Driver: Sized + Send + Sync + 'static {
    /// The module that holds the driver's code.
    type Module: ModuleMetadata;

    /// The driver's data in each device.
    type Data: Send + Sync;

    /// The driver's data for each open file. It may outlive the file.
    type File: Send + Sync;

    /// The type of the buffer objects.
    type Object: gem::DriverObject<Driver = Self>;

    /// Name and version.
    const INFO: DriverInfo;

    /// `FEAT_*`.
    const FEATURES: u32;

    /// The ioctls in the order of their numbers, without gaps.
    const IOCTLS: &'static [ioctl::Entry<Self>];

    /// The files in the device's debugfs directory.
    const DEBUGFS_FILES: &'static [debugfs::File<Self>] = &[];

    /// Switches a device off, for good: it does not access memory any more. Called once, before its bus
    /// device is unbound: nobody can enter, and what page tables and buffers there are goes next.
    ///
    /// The hardware may have been off all the time, if probe failed.
    fn power_off(dev: &Device<Self>);

    /// A file is being opened.
    fn open(dev: &Device<Self>) -> Result<Arc<Self::File>>;

    /// A file was closed, its buffer handles are gone.
    fn postclose(dev: &Device<Self>, file: Arc<Self::File>);

    /// Writes the driver's part of a file's fdinfo.
    fn show_fdinfo(dev: &Device<Self>, file: &File<Self>, printer: &Printer<'_>);

    /// Decides about a user mapping. The device is not unplugged during the call.
    fn mmap(dev: &Device<Self>, file: &File<Self>, req: &MmapRequest<'_>) -> Result<MmapKind>;

    /// The page behind an offset of a mapping of the kind [`MmapKind::Io`]. The device is not
    /// unplugged during the call.
    fn io_page(dev: &Device<Self>, offset: u64) -> Result<IoPage>;
}

/// The C tables of a driver.
pub(super) struct Vtable<T: Driver>(PhantomData<T>);

impl<T: Driver> Vtable<T> {
    /// The driver, as devices have it when they are initialised.
    pub(super) const DRIVER: bindings::drm_driver = bindings::drm_driver {
        release: Some(Device::<T>::release),
        ..Self::WITHOUT_RELEASE
    };

    /// The driver for devices whose data is not initialised yet.
    pub(super) const WITHOUT_RELEASE: bindings::drm_driver = {
        Self::check_ioctls();

        bindings::drm_driver {
            open: Some(file::open_callback::<T>),
            postclose: Some(file::postclose_callback::<T>),
            show_fdinfo: Some(file::show_fdinfo_callback::<T>),
            debugfs_init: debugfs::init::<T>(),

            gem_prime_import: gem::prime_import::<T>(),
            gem_prime_import_sg_table: gem::prime_import_sg_table::<T>(),

            major: T::INFO.major,
            minor: T::INFO.minor,
            patchlevel: T::INFO.patchlevel,
            name: as_char_ptr_in_const_context(T::INFO.name).cast_mut(),
            desc: as_char_ptr_in_const_context(T::INFO.desc).cast_mut(),

            driver_features: T::FEATURES,
            // CAST: `Entry` is a transparent wrapper.
            ioctls: T::IOCTLS.as_ptr().cast(),
            num_ioctls: T::IOCTLS.len() as c_int,
            fops: &Self::FOPS,

            ..pin_init::zeroed()
        }
    };

    const FOPS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<T::Module>().as_ptr(),
        open: Some(bindings::drm_open),
        release: Some(bindings::drm_release),
        unlocked_ioctl: Some(bindings::drm_ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: Some(bindings::drm_compat_ioctl),
        poll: Some(bindings::drm_poll),
        read: Some(bindings::drm_read),
        llseek: Some(bindings::noop_llseek),
        mmap: Some(mmap_callback::<T>),
        get_unmapped_area: Some(bindings::drm_gem_get_unmapped_area),
        show_fdinfo: Some(bindings::drm_show_fdinfo),
        // Fake offsets of buffers and MMIO pages may have the highest bit set.
        fop_flags: bindings::FOP_UNSIGNED_OFFSET,
        ..pin_init::zeroed()
    };

    /// `drm_ioctl()` uses the number as an index.
    const fn check_ioctls() {
        let mut i = 0;

        while i < T::IOCTLS.len() {
            assert!(T::IOCTLS[i].index() as usize == i);
            i += 1;
        }
    }
}

/// The `mmap` file operation.
///
/// # Safety
///
/// To be called by the mm core only, for an open file of a device of `T`.
unsafe extern "C" fn mmap_callback<T: Driver>(
    filp: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: `drm_open()` stored the DRM file, which is valid as long as the file is open.
    let file = unsafe { File::<T>::from_raw((*filp).private_data.cast()) };
    let dev = file.device();
    // SAFETY: The area is the one we were called for.
    let req = unsafe { MmapRequest::from_raw(vma) };

    let Some(_guard) = dev.enter() else {
        return ENODEV.to_errno();
    };

    match T::mmap(dev, file, &req) {
        // SAFETY: The arguments are those that we were called with.
        Ok(MmapKind::Gem) => unsafe { bindings::drm_gem_mmap(filp, vma) },
        // SAFETY: The area is valid. A copy on write of such a page is a `BUG_ON()`.
        Ok(MmapKind::Io(_)) if unsafe { bindings::kx_vma_is_cow_mapping(vma) } => EINVAL.to_errno(),
        Ok(MmapKind::Io(offset)) => {
            // SAFETY: The area is still private to us. Mappings of a device's registers are never
            // inherited, grown or dumped.
            unsafe {
                bindings::kx_vma_set_pgoff(vma, (offset >> kernel::page::PAGE_SHIFT) as usize);
                bindings::kx_vm_flags_mod(vma, bindings::KX_VM_IO_FLAGS, 0);
                bindings::kx_vma_set_noncached(vma);
                (*vma).vm_ops = const { &io_vm_ops::<T>() };
            }
            0
        }
        Err(err) => err.to_errno(),
    }
}

/// The operations of a mapping of the kind [`MmapKind::Io`].
const fn io_vm_ops<T: Driver>() -> bindings::vm_operations_struct {
    bindings::vm_operations_struct {
        fault: Some(io_fault_callback::<T>),
        ..pin_init::zeroed()
    }
}

/// The `fault` operation of a mapping of the kind [`MmapKind::Io`].
///
/// # Safety
///
/// To be called by the mm core only, for an area set up by [`mmap_callback`].
unsafe extern "C" fn io_fault_callback<T: Driver>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    // SAFETY: The fault and its area are valid, and the area holds its file, which is one that was
    // opened by `drm_open()`.
    let (vma, file) = unsafe {
        let vma = (*vmf).__bindgen_anon_1.vma;
        (
            vma,
            File::<T>::from_raw((*(*vma).vm_file).private_data.cast()),
        )
    };
    // SAFETY: As above.
    let pgoff = unsafe { (*vmf).__bindgen_anon_1.pgoff };
    let dev = file.device();

    // Unplugging removes the mapping after it has waited for this section.
    let Some(_guard) = dev.enter() else {
        return bindings::KX_VM_FAULT_SIGBUS;
    };

    match T::io_page(dev, (pgoff as u64) << kernel::page::PAGE_SHIFT) {
        // SAFETY: The area has `VM_PFNMAP` and is shared, and the address is inside it. The page is
        // one of a device, see `IoPage`, and no memory.
        Ok(page) => unsafe {
            bindings::kx_vmf_insert_page_of(vma, (*vmf).__bindgen_anon_1.address, page.addr())
        },
        Err(_) => bindings::KX_VM_FAULT_SIGBUS,
    }
}

/// The registration of a device with user space, which devres keeps; the device is unplugged when it
/// is dropped.
///
/// # Invariants
///
/// The device is registered.
pub(crate) struct Registration<T: Driver> {
    dev: ARef<Device<T>>,
}

// SAFETY: A device may be unplugged from any thread.
unsafe impl<T: Driver> Send for Registration<T> {}

impl<T: Driver> Registration<T> {
    /// Makes a device known to user space, until `parent` is unbound.
    pub(crate) fn add(
        parent: &device::Device<device::Bound>,
        dev: UnregisteredDevice<T>,
    ) -> Result {
        if !core::ptr::eq::<device::Device>(&**parent, dev.device().parent()) {
            return Err(EINVAL);
        }

        // SAFETY: The registration ends below, with the bus device or at once.
        let dev = unsafe { dev.open() };
        // SAFETY: The device is initialised and was not registered before.
        to_result(unsafe { bindings::drm_dev_register(dev.as_raw(), 0) })?;

        // INVARIANT: The device was registered above.
        devres::register::<Self, Error>(parent, Ok(Self { dev }), GFP_KERNEL)
    }
}

impl<T: Driver> Drop for Registration<T> {
    fn drop(&mut self) {
        // Waits for sections of `Device::enter()`, and removes all user mappings.
        //
        // SAFETY: The device is registered by the type invariants.
        unsafe { bindings::drm_dev_unplug(self.dev.as_raw()) };
    }
}
