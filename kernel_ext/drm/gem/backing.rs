// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The memory of a buffer object: pages, their DMA mapping, pins, eviction.

use super::{
    super::device::Enter,
    object::{from_gem_ptr, DriverOf, Locked, Object},
    DriverObject,
};
use crate::kernel_ext::{bindings, dma_range::DmaRange};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    prelude::*,
    sizes::SZ_4M,
    sync::{aref::ARef, atomic::Relaxed},
};

/// So many bytes of caches are written back before it is asked whether to go on: some
/// milliseconds.
const SYNC_STEP: u64 = SZ_4M as u64;

/// What there is of an object's memory.
#[derive(Clone, Copy)]
pub(super) enum Backing {
    /// No pages: never used, or given up.
    Empty,
    /// Pages of the shmem file, held.
    Pages(NonNull<*mut bindings::page>),
    /// The same, and the device can reach them.
    Mapped(NonNull<*mut bindings::page>, NonNull<bindings::sg_table>),
    /// Another driver's memory, mapped for our device.
    Imported(NonNull<bindings::sg_table>),
    /// The device is gone: there will be no memory any more.
    Gone,
}

impl Backing {
    pub(super) fn is_resident(&self) -> bool {
        matches!(
            self,
            Self::Pages(..) | Self::Mapped(..) | Self::Imported(..)
        )
    }
}

/// The mapping of an object in the kernel's own address space.
pub(super) enum KernelMap {
    Unmapped,
    Mapped { addr: *mut c_void, users: u32 },
}

impl<T: DriverObject> Locked<'_, T> {
    fn backing(&self) -> Backing {
        // SAFETY: The reservation lock is held, under which alone the backing changes.
        unsafe { *self.backing_ptr() }
    }

    fn set_backing(&self, backing: Backing) {
        // SAFETY: The reservation lock is held. Who reads without it knows that the backing does
        // not change meanwhile, see `stable_segments()`.
        unsafe { *self.backing_ptr() = backing };
        self.resident.store(backing.is_resident(), Relaxed);
    }

    /// Whether there is memory now.
    pub(crate) fn is_resident(&self) -> bool {
        self.backing().is_resident()
    }

    /// Whether there is memory now that is not another driver's.
    pub(crate) fn has_own_pages(&self) -> bool {
        self.pages().is_some()
    }

    /// Brings the pages in, from swap where they are there. `ENOMEM`, `EIO` (from the swap
    /// device), `EINTR`; `ENODEV` when the device is gone.
    #[link_section = ".text.kx_fast"]
    pub(crate) fn populate(&self) -> Result {
        match self.backing() {
            Backing::Empty => (),
            Backing::Gone => return Err(ENODEV),
            _ => return Ok(()),
        }
        // SAFETY: The object has a shmem file: others are never `Empty`.
        let pages = from_gem_ptr(unsafe { bindings::drm_gem_get_pages(self.as_raw()) })?;
        // SAFETY: The array is not empty, and its pages are held.
        if let Err(e) = unsafe { self.set_charged(*pages.as_ptr()) } {
            // SAFETY: The pages came from `drm_gem_get_pages()`.
            unsafe { bindings::drm_gem_put_pages(self.as_raw(), pages.as_ptr(), true, false) };
            return Err(e);
        }
        self.set_backing(Backing::Pages(pages));
        // Whatever the caller does next may fail: the shrinker must know the pages.
        self.update_state();
        Ok(())
    }

    /// Brings the pages in and makes them visible to the device. Errors as [`Self::populate`].
    pub(crate) fn dma_map(&self) -> Result {
        self.populate()?;
        if !matches!(self.backing(), Backing::Pages(_)) {
            return Ok(());
        }
        // A kernel mapping of an exported buffer may be asked for when the device is gone.
        let bound = self.dev().enter().ok_or(ENODEV)?;
        self.dma_map_in(&bound)
    }

    /// [`Self::dma_map`] in a section of the object's device; `EINVAL` in another one.
    pub(crate) fn dma_map_in(&self, bound: &Enter<'_, DriverOf<T>>) -> Result {
        if bound.as_raw() != self.dev().as_raw() {
            return Err(EINVAL);
        }
        self.populate()?;
        if let Backing::Pages(pages) = self.backing() {
            // SAFETY: `pages` are all pages of the object. The bus device is bound in this section.
            let sgt = from_gem_ptr(unsafe {
                bindings::kx_drm_gem_map_pages(self.as_raw(), pages.as_ptr())
            })?;
            self.set_backing(Backing::Mapped(pages, sgt));
        }
        Ok(())
    }

    /// Prepares the pages for a CPU mapping: write-combined ones must be clean in the caches
    /// first, which mapping them for the device does.
    pub(crate) fn prepare_cpu_map(&self) -> Result {
        if T::map_wc(self) {
            self.dma_map()
        } else {
            self.populate()
        }
    }

    /// The pages, in the order of the object.
    pub(super) fn pages(&self) -> Option<NonNull<*mut bindings::page>> {
        match self.backing() {
            Backing::Pages(pages) | Backing::Mapped(pages, _) => Some(pages),
            _ => None,
        }
    }

    /// The DMA mapping of the object's own pages, if there is one.
    pub(super) fn own_table(&self) -> Option<NonNull<bindings::sg_table>> {
        match self.backing() {
            Backing::Mapped(_, sgt) => Some(sgt),
            _ => None,
        }
    }

    /// What the device sees, if it sees anything. It is not to be used after the pages were given
    /// up.
    pub(in crate::kernel_ext) fn segments(&self) -> Option<Segments<'_>> {
        match self.backing() {
            Backing::Mapped(_, sgt) | Backing::Imported(sgt) => Some(Segments {
                sgt,
                _lifetime: PhantomData,
            }),
            _ => None,
        }
    }

    /// Takes the object out of all CPU mappings: the next access is a fault.
    pub(crate) fn zap_cpu_mappings(&self) {
        // SAFETY: The object is initialised.
        unsafe { bindings::kx_drm_vma_node_unmap(self.as_raw()) };
    }

    /// Gives the pages up: they become ordinary pages of the shmem file, dirty, that the kernel
    /// may swap out. Returns whether it did: not when they are pinned, or not there, or another
    /// driver's.
    ///
    /// # Safety
    ///
    /// The object is in no GPU and in no CPU mapping any more, and nobody has [`Segments`] of it.
    pub(in crate::kernel_ext) unsafe fn evict_pages(&self) -> bool {
        if self.is_pinned() || self.pages().is_none() {
            return false;
        }
        self.release_pages();
        // Only here, with the reservation lock. It does not begin anew: zero means never.
        let evictions = self.evictions.load(Relaxed);
        self.evictions.store(evictions.saturating_add(1), Relaxed);
        true
    }

    /// Takes the pages away from the device. What the CPU has written stays, whether or not it was
    /// told to write it back for the device.
    ///
    /// # Safety
    ///
    /// The table was made by [`Self::dma_map`], and nobody uses it any more. What somebody writes by a
    /// mapping of the kernel's meanwhile may get lost.
    unsafe fn dma_unmap(&self, sgt: NonNull<bindings::sg_table>) {
        // SAFETY: The caller promises it. What is mapped write-combined is in no cache.
        unsafe { bindings::kx_drm_gem_unmap_pages(self.as_raw(), sgt.as_ptr(), !T::map_wc(self)) };
    }

    fn release_pages(&self) {
        match self.backing() {
            Backing::Mapped(pages, sgt) => {
                self.set_backing(Backing::Empty);
                // SAFETY: The table was made for this object; nobody uses it any more.
                unsafe { self.dma_unmap(sgt) };
                // SAFETY: The pages came from `drm_gem_get_pages()`.
                unsafe { bindings::drm_gem_put_pages(self.as_raw(), pages.as_ptr(), true, false) };
            }
            Backing::Pages(pages) => {
                self.set_backing(Backing::Empty);
                // SAFETY: As above.
                unsafe { bindings::drm_gem_put_pages(self.as_raw(), pages.as_ptr(), true, false) };
            }
            Backing::Empty | Backing::Imported(_) | Backing::Gone => (),
        }
    }

    /// Ends all DMA of an object whose device goes away. Its content stays for those who hold it
    /// by other means (an importer, a kernel mapping); the device never sees it again.
    ///
    /// # Safety
    ///
    /// The device is off, and nobody looks at the object's memory without the reservation lock.
    pub(in super::super) unsafe fn detach_device(&self) {
        // Done by unplugging, unless the registration of the device failed.
        self.zap_cpu_mappings();
        match self.backing() {
            Backing::Mapped(pages, sgt) => {
                // SAFETY: The table was made for this object; the GPU is off.
                unsafe { self.dma_unmap(sgt) };
                self.set_backing(Backing::Pages(pages));
                self.release_unless_pinned();
            }
            Backing::Pages(_) => self.release_unless_pinned(),
            Backing::Imported(sgt) => {
                // SAFETY: The attachment lives as long as the object; the table came from it.
                unsafe {
                    bindings::dma_buf_unmap_attachment(
                        (*self.as_raw()).import_attach,
                        sgt.as_ptr(),
                        bindings::dma_data_direction::DMA_BIDIRECTIONAL,
                    );
                }
                self.set_backing(Backing::Gone);
            }
            Backing::Empty => self.set_backing(Backing::Gone),
            Backing::Gone => (),
        }
    }

    /// The end of an object's memory, unless somebody else still looks at it.
    fn release_unless_pinned(&self) {
        if !self.is_pinned() {
            self.release_pages();
            self.set_backing(Backing::Gone);
        }
    }

    /// Releases all there is, at the end of the object's life.
    pub(super) fn release_backing(&self) {
        // SAFETY: The object is ours alone.
        if let KernelMap::Mapped { addr, .. } = unsafe { &*self.vmap.get() } {
            // SAFETY: The address came from `vmap()`.
            unsafe { bindings::kx_vunmap(*addr) };
        }
        if self.is_imported() {
            let sgt = match self.backing() {
                Backing::Imported(sgt) => sgt.as_ptr(),
                _ => core::ptr::null_mut(),
            };
            self.set_backing(Backing::Gone);
            // SAFETY: The object is imported; a null table was unmapped before.
            unsafe { bindings::drm_prime_gem_destroy(self.as_raw(), sgt) };
        } else {
            self.release_pages();
        }
    }

    /// Makes sure that the pages stay, for [`Pinned`], exporters and kernel mappings.
    pub(super) fn pin_pages(&self) -> Result {
        if !self.pins.join() {
            self.populate()?;
            self.pins.begin();
            self.update_state();
        }
        Ok(())
    }

    /// Takes one pin back. The pages stay until somebody evicts them.
    pub(super) fn unpin_pages(&self) {
        if self.pins.end() {
            self.update_state();
        }
    }

    /// The address of all pages in the kernel's address space, for one more user.
    pub(super) fn vmap(&self) -> Result<*mut c_void> {
        // SAFETY: The reservation lock is held.
        let map = unsafe { &mut *self.vmap.get() };
        if let KernelMap::Mapped { addr, users } = map {
            *users = users.checked_add(1).ok_or(EOVERFLOW)?;
            return Ok(*addr);
        }
        self.pin_pages()?;
        let addr = self.prepare_cpu_map().and_then(|()| {
            let pages = self.pages().ok_or(ENODEV)?;
            let count = self.size() / kernel::page::PAGE_SIZE;
            // SAFETY: `pages` are all `count` pages of the object, pinned.
            let addr = unsafe {
                bindings::kx_vmap(pages.as_ptr(), u32::try_from(count)?, T::map_wc(self))
            };
            if addr.is_null() {
                return Err(ENOMEM);
            }
            Ok(addr)
        });
        match addr {
            Ok(addr) => *map = KernelMap::Mapped { addr, users: 1 },
            Err(_) => self.unpin_pages(),
        }
        addr
    }

    /// One user less of the kernel mapping.
    pub(super) fn vunmap(&self) {
        // SAFETY: The reservation lock is held.
        let map = unsafe { &mut *self.vmap.get() };
        if let KernelMap::Mapped { addr, users } = map {
            *users = users.saturating_sub(1);
            if *users == 0 {
                // SAFETY: The address came from `vmap()`, and this was the last user.
                unsafe { bindings::kx_vunmap(*addr) };
                *map = KernelMap::Unmapped;
                self.unpin_pages();
            }
        }
    }

    /// Writes back the CPU's caches for a byte range, and invalidates them with `invalidate`.
    /// Does nothing where there is no memory. The caller has checked the range, which may be long:
    /// errors of [`Device::may_go_on`], after a part of it.
    ///
    /// [`Device::may_go_on`]: crate::kernel_ext::drm::Device::may_go_on
    pub(crate) fn sync_cpu_caches(&self, offset: usize, size: usize, invalidate: bool) -> Result {
        if self.pages().is_none() {
            return Ok(());
        }
        self.dma_map()?;
        let Some(segments) = self.segments() else {
            return Ok(());
        };
        let mut left = SYNC_STEP;
        for range in segments.range(offset as u64, size as u64) {
            let (mut addr, mut len) = (range.addr(), range.len());
            while len > 0 {
                if left == 0 {
                    self.dev().may_go_on()?;
                    left = SYNC_STEP;
                }
                let part = len.min(left);
                // SAFETY: The range is part of the object's DMA mapping.
                unsafe {
                    bindings::kx_drm_gem_clean_range(self.as_raw(), addr, part as usize, invalidate)
                };
                addr = addr.wrapping_add(part);
                len -= part;
                left -= part;
            }
        }
        Ok(())
    }
}

/// What the device sees of an object: ranges of DMA addresses, in order.
#[derive(Clone, Copy)]
pub(crate) struct Segments<'a> {
    sgt: NonNull<bindings::sg_table>,
    _lifetime: PhantomData<&'a ()>,
}

impl<'a> Segments<'a> {
    /// What is behind `size` bytes of the object from `offset` on.
    pub(crate) fn range(self, offset: u64, size: u64) -> impl Iterator<Item = DmaRange<'a>> + 'a {
        // SAFETY: The table is valid for the lifetime of `self`.
        let (mut sg, mut left) = unsafe { ((*self.sgt.as_ptr()).sgl, (*self.sgt.as_ptr()).nents) };
        let mut skip = offset;
        let mut size = size;
        core::iter::from_fn(move || {
            while left > 0 && size > 0 {
                // SAFETY: `sg` is one of the `nents` mapped entries of the table.
                let (addr, len) = unsafe {
                    (
                        bindings::sg_dma_address(sg),
                        u64::from(bindings::sg_dma_len(sg)),
                    )
                };
                left -= 1;
                if left > 0 {
                    // SAFETY: There is another entry.
                    sg = unsafe { bindings::sg_next(sg) };
                }
                if len <= skip {
                    skip -= len;
                    continue;
                }
                let part = (len - skip).min(size);
                let addr = addr + skip;
                skip = 0;
                size -= part;
                // INVARIANT: The object keeps its memory, and the mapping of it, for so long.
                // SAFETY: The range is inside of an entry of the table.
                return Some(unsafe { DmaRange::new(addr, part) });
            }
            None
        })
    }
}

/// An object whose pages stay where they are, visible to the device, while this lives.
pub(crate) struct Pinned<T: DriverObject> {
    obj: ARef<Object<T>>,
}

impl<T: DriverObject> Pinned<T> {
    /// Brings an object's pages in and pins them. Takes the reservation lock; a signal ends the
    /// wait with `EINTR`. Other errors as [`Locked::populate`].
    pub(crate) fn new(obj: ARef<Object<T>>) -> Result<Self> {
        Self::map_with(obj, |locked| locked.dma_map())
    }

    /// The same, in a section of the object's device, which need not be registered.
    pub(crate) fn new_in(obj: ARef<Object<T>>, bound: &Enter<'_, DriverOf<T>>) -> Result<Self> {
        Self::map_with(obj, |locked| locked.dma_map_in(bound))
    }

    // Part of each VM_BIND.
    #[inline(always)]
    fn map_with(
        obj: ARef<Object<T>>,
        dma_map: impl FnOnce(&Locked<'_, T>) -> Result,
    ) -> Result<Self> {
        {
            let locked = obj.lock_interruptible()?;
            if !obj.is_imported() {
                locked.pin_pages()?;
                if let Err(e) = dma_map(&locked) {
                    locked.unpin_pages();
                    return Err(e);
                }
            } else if locked.segments().is_none() {
                return Err(ENODEV);
            }
        }
        Ok(Self { obj })
    }

    /// The object.
    pub(crate) fn object(&self) -> &ARef<Object<T>> {
        &self.obj
    }
}

impl<T: DriverObject> Drop for Pinned<T> {
    fn drop(&mut self) {
        if self.obj.is_imported() || self.obj.pins.leave() {
            return;
        }
        self.obj.lock().unpin_pages();
    }
}

/// What the device sees of an object that cannot lose its memory at the moment.
///
/// # Safety
///
/// The device cannot be unplugged meanwhile, and the object is pinned, or has a GPU mapping that is
/// not evicted and whose address space's operation lock is held: its backing is `Mapped` or
/// `Imported` and does not change.
pub(in crate::kernel_ext) unsafe fn stable_segments<T: DriverObject>(
    obj: &Object<T>,
) -> Option<Segments<'_>> {
    // SAFETY: The backing does not change, as the caller promises.
    match unsafe { *obj.backing.get() } {
        Backing::Mapped(_, sgt) | Backing::Imported(sgt) => Some(Segments {
            sgt,
            _lifetime: PhantomData,
        }),
        _ => None,
    }
}
