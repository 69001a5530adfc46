// SPDX-License-Identifier: GPL-2.0 OR MIT

//! PRIME: buffer objects as dma-bufs, and dma-bufs as buffer objects.

use super::{
    super::{device::Device, driver::Driver},
    object::{Locked, Object},
    DriverObject,
};
use crate::kernel_ext::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, from_result, to_result},
    module::this_module,
    page::PAGE_SIZE,
    prelude::*,
    str::as_char_ptr_in_const_context,
    sync::{aref::ARef, atomic::Relaxed},
};

/// The `gem_prime_import` operation of a `struct drm_driver`.
pub(crate) type PrimeImport = Option<
    unsafe extern "C" fn(
        *mut bindings::drm_device,
        *mut bindings::dma_buf,
    ) -> *mut bindings::drm_gem_object,
>;

/// The `gem_prime_import_sg_table` operation of a `struct drm_driver`.
pub(crate) type PrimeImportSgTable = Option<
    unsafe extern "C" fn(
        *mut bindings::drm_device,
        *mut bindings::dma_buf_attachment,
        *mut bindings::sg_table,
    ) -> *mut bindings::drm_gem_object,
>;

/// The import operation for objects of `T`.
pub(in super::super) const fn prime_import<T: Driver>() -> PrimeImport {
    Some(import_callback::<T>)
}

/// The operation that makes an object of `T` of an imported scatter list.
pub(in super::super) const fn prime_import_sg_table<T: Driver>() -> PrimeImportSgTable {
    Some(import_sg_table_callback::<T>)
}

/// The operations of a dma-buf that was made of an object of `T`.
///
/// A driver has one of them, as a `static`: it is by its address that own exports are known again.
pub(crate) struct DmaBufOps<T>(bindings::dma_buf_ops, PhantomData<fn(&T)>);

impl<T: DriverObject> DmaBufOps<T> {
    /// The operations.
    pub(crate) const fn new() -> Self {
        Self(
            bindings::dma_buf_ops {
                attach: Some(bindings::drm_gem_map_attach),
                detach: Some(bindings::drm_gem_map_detach),
                map_dma_buf: Some(map_callback),
                unmap_dma_buf: Some(unmap_callback),
                release: Some(bindings::drm_gem_dmabuf_release),
                mmap: Some(bindings::drm_gem_dmabuf_mmap),
                vmap: Some(bindings::drm_gem_dmabuf_vmap),
                vunmap: Some(bindings::drm_gem_dmabuf_vunmap),
                begin_cpu_access: Some(begin_cpu_access_callback::<T>),
                end_cpu_access: Some(end_cpu_access_callback::<T>),
                ..pin_init::zeroed()
            },
            PhantomData,
        )
    }
}

/// `map_dma_buf`: remembers the mapping in the attachment, for cache maintenance around CPU access.
///
/// # Safety
///
/// To be called by the dma-buf core only.
unsafe extern "C" fn map_callback(
    attach: *mut bindings::dma_buf_attachment,
    dir: bindings::dma_data_direction,
) -> *mut bindings::sg_table {
    // SAFETY: The dma-buf core passes a valid attachment, with the reservation lock held.
    unsafe {
        let sgt = bindings::drm_gem_map_dma_buf(attach, dir);
        if from_err_ptr(sgt).is_ok() {
            (*attach).priv_ = sgt.cast();
        }
        sgt
    }
}

/// `unmap_dma_buf`.
///
/// # Safety
///
/// To be called by the dma-buf core only.
unsafe extern "C" fn unmap_callback(
    attach: *mut bindings::dma_buf_attachment,
    sgt: *mut bindings::sg_table,
    dir: bindings::dma_data_direction,
) {
    // SAFETY: The dma-buf core passes a valid attachment and what `map_callback()` returned for it,
    // with the reservation lock held.
    unsafe {
        (*attach).priv_ = core::ptr::null_mut();
        bindings::drm_gem_unmap_dma_buf(attach, sgt, dir);
    }
}

/// `begin_cpu_access`.
///
/// # Safety
///
/// To be called by the dma-buf core only.
unsafe extern "C" fn begin_cpu_access_callback<T: DriverObject>(
    buf: *mut bindings::dma_buf,
    dir: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The private data of an export is its object, which the dma-buf keeps alive.
    let this = unsafe { Object::<T>::from_raw((*buf).priv_.cast()) };
    let locked = this.lock();
    if let Some(sgt) = locked.own_table() {
        // SAFETY: The table is the mapping of the object, kept by the reservation lock.
        unsafe { bindings::kx_drm_gem_sync_for_cpu(this.as_raw(), sgt.as_ptr(), dir) };
    }
    // SAFETY: The reservation lock is held.
    unsafe { bindings::kx_dma_buf_sync_attachments_for_cpu(buf, dir) };
    0
}

/// `end_cpu_access`.
///
/// # Safety
///
/// To be called by the dma-buf core only.
unsafe extern "C" fn end_cpu_access_callback<T: DriverObject>(
    buf: *mut bindings::dma_buf,
    dir: bindings::dma_data_direction,
) -> c_int {
    // SAFETY: The private data of an export is its object, which the dma-buf keeps alive.
    let this = unsafe { Object::<T>::from_raw((*buf).priv_.cast()) };
    let locked = this.lock();
    // SAFETY: The reservation lock is held.
    unsafe { bindings::kx_dma_buf_sync_attachments_for_device(buf, dir) };
    if let Some(sgt) = locked.own_table() {
        // SAFETY: The table is the mapping of the object, kept by the reservation lock.
        unsafe { bindings::kx_drm_gem_sync_for_device(this.as_raw(), sgt.as_ptr(), dir) };
    }
    0
}

/// An errno in the form of a pointer, as C functions return it.
fn err_ptr<P>(e: Error) -> *mut P {
    core::ptr::without_provenance_mut(e.to_errno() as isize as usize)
}

/// `export` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn export_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    flags: c_int,
) -> *mut bindings::dma_buf {
    // SAFETY: The GEM core passes a live object of ours.
    let this = unsafe { Object::<T>::from_raw(obj) };
    // A mapping of the dma-buf is known by the offset as well.
    if let Err(e) = T::may_export(this).and_then(|()| this.create_mmap_offset()) {
        return err_ptr(e);
    }
    let info = bindings::dma_buf_export_info {
        exp_name: as_char_ptr_in_const_context(<T::Driver as Driver>::INFO.name),
        owner: this_module::<<T::Driver as Driver>::Module>().as_ptr(),
        ops: &T::DMA_BUF_OPS.0,
        size: this.size(),
        flags,
        resv: this.resv(),
        priv_: obj.cast(),
    };
    // With the lock, so that whoever holds it to give the memory up sees all exports that there are.
    match this.lock_interruptible() {
        Ok(_locked) => this.exported.store(true, Relaxed),
        Err(e) => return err_ptr(e),
    }
    // SAFETY: `info` describes the object; the dma-buf takes a reference on it.
    unsafe { bindings::drm_gem_dmabuf_export((*obj).dev, (&raw const info).cast_mut()) }
}

/// `gem_prime_import` of `struct drm_driver`.
///
/// # Safety
///
/// To be called by the DRM core only.
unsafe extern "C" fn import_callback<T: Driver>(
    dev: *mut bindings::drm_device,
    buf: *mut bindings::dma_buf,
) -> *mut bindings::drm_gem_object {
    // SAFETY: The DRM core passes a valid device of this driver.
    let device = unsafe { Device::<T>::from_raw(dev) };
    // The core only looks whether the device is there. Unplugging must wait until the object is
    // complete: it takes the device away from it.
    let Some(_enter) = device.enter() else {
        return err_ptr(ENODEV);
    };
    // SAFETY: The DRM core passes a valid device and dma-buf.
    unsafe {
        if core::ptr::eq((*buf).ops, &T::Object::DMA_BUF_OPS.0) {
            let obj = (*buf).priv_.cast::<bindings::drm_gem_object>();
            // An export of this device: the object itself, not an import of it.
            if (*obj).dev == dev {
                bindings::drm_gem_object_get(obj);
                return obj;
            }
        }
        let obj = bindings::drm_gem_prime_import(dev, buf);
        if let Ok(obj) = from_err_ptr(obj) {
            // It is one of ours, new, as the core knows no export of ours, and complete now.
            Object::<T::Object>::from_raw(obj).publish();
        }
        obj
    }
}

/// `gem_prime_import_sg_table` of `struct drm_driver`.
///
/// # Safety
///
/// To be called by the DRM core only.
unsafe extern "C" fn import_sg_table_callback<T: Driver>(
    dev: *mut bindings::drm_device,
    attach: *mut bindings::dma_buf_attachment,
    sgt: *mut bindings::sg_table,
) -> *mut bindings::drm_gem_object {
    // SAFETY: The DRM core passes a device of this driver, and what it just attached.
    let (dev, size) = unsafe { (Device::<T>::from_raw(dev), (*(*attach).dmabuf).size) };
    let Some(sgt) = NonNull::new(sgt) else {
        return err_ptr(EINVAL);
    };
    // An exporter may pass any size on that its user gave. GEM takes whole pages only: others are
    // a `BUG_ON()`.
    if size == 0 || size % PAGE_SIZE != 0 {
        return err_ptr(EINVAL);
    }
    match Object::<T::Object>::import(dev, size, sgt, T::Object::for_import()) {
        Ok(obj) => ARef::into_raw(obj).as_ptr().cast(),
        Err(e) => err_ptr(e),
    }
}

/// `pin` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn pin_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
) -> c_int {
    // SAFETY: The GEM core passes a live object of ours and holds its reservation lock.
    let locked = unsafe { Locked::new(Object::<T>::from_raw(obj)) };
    from_result(|| {
        if !locked.is_imported() {
            locked.pin_pages()?;
        }
        Ok(0)
    })
}

/// `unpin` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn unpin_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
) {
    // SAFETY: The GEM core passes a live object of ours and holds its reservation lock.
    let locked = unsafe { Locked::new(Object::<T>::from_raw(obj)) };
    if !locked.is_imported() {
        locked.unpin_pages();
    }
}

/// `get_sg_table` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn get_sg_table_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
) -> *mut bindings::sg_table {
    // SAFETY: The GEM core passes a live object of ours, pinned, and holds its reservation lock.
    let locked = unsafe { Locked::new(Object::<T>::from_raw(obj)) };
    let Some(pages) = locked.pages() else {
        return err_ptr(EINVAL);
    };
    let count = locked.size() / PAGE_SIZE;
    // SAFETY: `pages` are all `count` pages of the object.
    unsafe { bindings::drm_prime_pages_to_sg((*obj).dev, pages.as_ptr(), count as c_uint) }
}

/// `vmap` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn vmap_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    map: *mut bindings::iosys_map,
) -> c_int {
    // SAFETY: The GEM core passes a live object of ours and holds its reservation lock.
    let locked = unsafe { Locked::new(Object::<T>::from_raw(obj)) };
    from_result(|| {
        if locked.is_imported() {
            // SAFETY: An imported object has an attachment.
            to_result(unsafe { bindings::dma_buf_vmap((*(*obj).import_attach).dmabuf, map) })?;
        } else {
            let addr = locked.vmap()?;
            // SAFETY: `map` is the caller's to fill.
            unsafe { bindings::kx_iosys_map_set_vaddr(map, addr) };
        }
        Ok(0)
    })
}

/// `vunmap` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn vunmap_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    map: *mut bindings::iosys_map,
) {
    // SAFETY: The GEM core passes a live object of ours and holds its reservation lock.
    let locked = unsafe { Locked::new(Object::<T>::from_raw(obj)) };
    if locked.is_imported() {
        // SAFETY: An imported object has an attachment; `map` is what the mapping returned.
        unsafe { bindings::dma_buf_vunmap((*(*obj).import_attach).dmabuf, map) };
    } else {
        locked.vunmap();
    }
}
