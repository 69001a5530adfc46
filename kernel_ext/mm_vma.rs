// SPDX-License-Identifier: GPL-2.0 OR MIT

//! User mappings of a device.
//!
//! C header: `include/linux/mm.h`

use super::bindings;
use kernel::{
    io::{
        resource::{Flags, Resource},
        PhysAddr,
    },
    mm::virt::{flags, VmaNew},
    page::PAGE_SIZE,
    prelude::*,
};

/// A page of a device's registers, which may be mapped for user space.
///
/// # Invariants
///
/// It is the address of a page that is all in a memory resource of a device.
#[derive(Clone, Copy)]
pub(crate) struct IoPage(PhysAddr);

impl IoPage {
    /// The page at `offset` in a resource. `EINVAL` when it is not all in there, does not begin
    /// where a page of the CPU begins, or when the resource is none of memory.
    pub(crate) fn new(resource: &Resource, offset: PhysAddr) -> Result<Self> {
        let page = PAGE_SIZE as PhysAddr;
        let start = resource.start().checked_add(offset).ok_or(EINVAL)?;
        let end = offset.checked_add(page).ok_or(EINVAL)?;
        if !resource.flags().contains(Flags::IORESOURCE_MEM)
            || start % page != 0
            || end > resource.size()
        {
            return Err(EINVAL);
        }
        // INVARIANT: Checked above.
        Ok(Self(start))
    }

    pub(super) fn addr(self) -> PhysAddr {
        self.0
    }
}

/// A user mapping that is being set up by `mmap()`.
///
/// It has not all that [`VmaNew`] has: what the pages are is up to who serves their faults, and
/// `VM_MIXEDMAP` together with `VM_PFNMAP` is a `BUG_ON()`.
pub(crate) struct MmapRequest<'a> {
    vma: &'a VmaNew,
}

impl<'a> MmapRequest<'a> {
    /// Wraps the area that an `mmap` callback was given.
    ///
    /// # Safety
    ///
    /// `vma` is the valid area that is passed to an `mmap` callback, and `'a` ends before that
    /// callback does.
    pub(super) unsafe fn from_raw(vma: *mut bindings::vm_area_struct) -> Self {
        Self {
            // SAFETY: As promised by the caller.
            vma: unsafe { VmaNew::from_raw(vma) },
        }
    }

    /// The offset in the device file, in bytes.
    pub(crate) fn offset(&self) -> u64 {
        // SAFETY: The area is valid and not yet visible to others.
        let pgoff = unsafe { (*self.vma.as_ptr()).vm_pgoff };

        (pgoff as u64) << kernel::page::PAGE_SHIFT
    }

    /// The length of the mapping, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.vma.end().saturating_sub(self.vma.start())
    }

    /// Whether the mapping is shared, that is, not copied on write.
    pub(crate) fn is_shared(&self) -> bool {
        self.vma.flags() & flags::SHARED != 0
    }

    /// Whether the mapping can be executed.
    pub(crate) fn executable(&self) -> bool {
        self.vma.executable()
    }

    /// Forbids that the mapping is made writable later; `EINVAL` when it is now.
    pub(crate) fn try_clear_maywrite(&self) -> Result {
        self.vma.try_clear_maywrite()
    }
}
