// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GEM buffer objects whose memory can be evicted.
//!
//! `rust/kernel` has shmem objects that keep their pages for life. These here get pages when they
//! are used and give them up when memory is short; the driver decides when, see
//! [`DriverObject::try_evict`] and [`DriverObject::state_changed`].
//!
//! C header: [`include/drm/drm_gem.h`](srctree/include/drm/drm_gem.h)

mod backing;
mod kmap;
mod lru;
mod mmap;
mod object;
mod prime;
mod reach;
mod resv;
pub(crate) mod users;

use super::{
    device::{Device, UnregisteredDevice},
    driver::Driver,
    gpuvm::{DriverGpuVm, MappingsLocked},
};
use crate::kernel_ext::{bindings, registry::Registry, shrinker::Unregistered};
use kernel::{
    prelude::*,
    sync::{aref::ARef, ArcBorrow},
};

pub(in crate::kernel_ext) use self::backing::stable_segments;
pub(crate) use self::{
    backing::{Pinned, Segments},
    kmap::KernelMapping,
    lru::{Busy, Lru},
    object::{Locked, Object},
    prime::DmaBufOps,
    resv::Resv,
};
pub(super) use self::{
    prime::{prime_import, prime_import_sg_table},
    resv::ResvObject,
};

/// How many lists a device sorts its objects into.
pub(crate) const LISTS: usize = 4;

/// How many bytes of offsets a device has for `mmap()` of its objects.
pub(crate) const MMAP_OFFSETS: u64 =
    (bindings::KX_DRM_FILE_PAGE_OFFSET_SIZE as u64) << kernel::page::PAGE_SHIFT;

/// A driver's type of buffer object: the data it adds to an [`Object`], and what it decides.
pub(crate) trait DriverObject: Sized + Send + Sync + 'static {
    /// The driver it belongs to.
    type Driver: Driver<Object = Self>;

    /// The GPU address spaces that objects are mapped in.
    type Vm: DriverGpuVm<Driver = Self::Driver>;

    /// What exported objects are known by: a `static` of the driver.
    const DMA_BUF_OPS: &'static DmaBufOps<Self>;

    /// The data of an object that is made of an imported dma-buf.
    fn for_import() -> impl PinInit<Self, Error>;

    /// A file gets a handle on the object; an error refuses it.
    fn open(obj: ARef<Object<Self>>, file: ArcBorrow<'_, <Self::Driver as Driver>::File>)
        -> Result;

    /// A file gives up a handle.
    fn close(obj: &Object<Self>, file: ArcBorrow<'_, <Self::Driver as Driver>::File>);

    /// Whether CPU mappings of the object are write-combined instead of cached.
    fn map_wc(obj: &Object<Self>) -> bool;

    /// Whether userspace may map the object; an error refuses it.
    fn may_mmap(obj: &Object<Self>) -> Result;

    /// Whether the object may be exported as a dma-buf; an error refuses it.
    fn may_export(obj: &Object<Self>) -> Result;

    /// Pages, pins, CPU mappings or GPU mappings of the object came or went. The driver moves it
    /// to the list that fits.
    fn state_changed(obj: &Locked<'_, Self>, mappings: &MappingsLocked<'_, Self>);

    /// Evicts an object during a scan of a list, without waiting for a lock; returns whether it
    /// did.
    fn try_evict(obj: &Locked<'_, Self>, busy: &mut Busy) -> bool;
}

/// What a device keeps about its objects.
#[pin_data]
pub(in crate::kernel_ext) struct Objects<T: DriverObject> {
    /// All of them.
    #[pin]
    pub(super) all: Registry<Object<T>>,
    /// Those whose memory could be given up.
    #[pin]
    lists: [Lru<T>; LISTS],
}

impl<T: DriverObject> Objects<T> {
    /// None yet. Their memory is given up by `shrinker`. `ENOMEM`.
    pub(super) fn new<S>(shrinker: &Unregistered<S>) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            all <- Registry::new(),
            lists <- pin_init::pin_init_array_from_fn(|_| Lru::new(shrinker)),
        }? Error)
    }
}

impl<D: Driver> Device<D> {
    /// All objects of the device.
    pub(crate) fn objects(&self) -> &Registry<Object<D::Object>> {
        &self.objects.all
    }

    /// The lists for objects whose memory could be given up, see [`Locked::move_to_list`].
    pub(crate) fn lists(&self) -> &[Lru<D::Object>; LISTS] {
        &self.objects.lists
    }
}

/// The address spaces that objects of a driver are mapped in.
pub(super) type VmOf<D> = <<D as Driver>::Object as DriverObject>::Vm;

/// Makes a device's objects use huge pages where they can. `ENOMEM`, or `EOPNOTSUPP` where the kernel
/// has no such pages.
pub(crate) fn use_huge_pages<D: Driver>(dev: &UnregisteredDevice<D>) -> Result {
    let raw = dev.device().as_raw();
    // SAFETY: The device is valid.
    kernel::error::to_result(unsafe { bindings::kx_drm_gem_huge_mnt_create(raw) })
}

/// Whether [`Object::swap_out`] works on this kernel: `shmem_reclaim_range()` is an addition of
/// this project, see `patches/`.
pub(crate) const fn can_swap_out() -> bool {
    cfg!(PANTHOR_HAS_SHMEM_RECLAIM)
}
