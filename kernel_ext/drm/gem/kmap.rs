// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A buffer object in the kernel's own address space, for memory that is shared with a device.

use super::{object::Object, DriverObject};
use core::ptr::NonNull;
use kernel::{prelude::*, sync::aref::ARef};

/// The memory of an object, mapped for the kernel. Its pages stay while this lives.
///
/// The device, its firmware, and other threads may change it at any time. So nobody gets a
/// reference into it: words are read and written one by one, each exactly once, and bytes copied.
///
/// # Invariants
///
/// `addr` is what `Locked::vmap()` returned, for one user, which is this: the address of
/// `obj.size()` bytes, at the start of a page.
pub(crate) struct KernelMapping<T: DriverObject> {
    obj: ARef<Object<T>>,
    addr: NonNull<u8>,
}

// SAFETY: The mapping is reachable, and may be ended, by any thread.
unsafe impl<T: DriverObject> Send for KernelMapping<T> {}
// SAFETY: Words are accessed as the hardware does it, whole; what bytes are copied while somebody
// changes them is for the caller to say.
unsafe impl<T: DriverObject> Sync for KernelMapping<T> {}

impl<T: DriverObject> KernelMapping<T> {
    /// Maps an object. Takes the reservation lock; `EINTR`, `ENOMEM`, `ENODEV`, as
    /// [`Pinned::new`](super::Pinned::new). `EINVAL` for another driver's memory.
    pub(crate) fn new(obj: ARef<Object<T>>) -> Result<Self> {
        if obj.is_imported() {
            return Err(EINVAL);
        }
        let addr = obj.lock_interruptible()?.vmap()?;
        // INVARIANT: Mapped above, for us.
        Ok(Self {
            addr: NonNull::new(addr.cast()).ok_or(ENOMEM)?,
            obj,
        })
    }

    /// The number of bytes.
    pub(crate) fn size(&self) -> usize {
        self.obj.size()
    }

    /// The address of `len` bytes, if all of them are there.
    fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(len)?;
        // SAFETY: Inside of the mapping.
        (end <= self.size()).then(|| unsafe { self.addr.add(offset) })
    }

    /// The address of a word.
    fn word(&self, offset: usize) -> Option<NonNull<u32>> {
        if offset % size_of::<u32>() != 0 {
            return None;
        }
        Some(self.at(offset, size_of::<u32>())?.cast())
    }

    /// Reads the word at a multiple of four bytes; `None` for one that is not there.
    pub(crate) fn read32(&self, offset: usize) -> Option<u32> {
        // SAFETY: A word of the mapping, aligned as the mapping begins with a page.
        Some(u32::from_le(unsafe { self.word(offset)?.read_volatile() }))
    }

    /// Writes the word at a multiple of four bytes; `EINVAL` for one that is not there.
    pub(crate) fn write32(&self, offset: usize, value: u32) -> Result {
        let word = self.word(offset).ok_or(EINVAL)?;
        // SAFETY: As in `read32()`.
        unsafe { word.write_volatile(value.to_le()) };
        Ok(())
    }

    /// Copies bytes in; `EINVAL` if not all of them fit. Nobody else may use them meanwhile, or gets
    /// some of the old and some of the new ones.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result {
        let to = self.at(offset, data.len()).ok_or(EINVAL)?;
        // SAFETY: That many bytes of the mapping, to which there are no references.
        unsafe { core::ptr::copy_nonoverlapping(data.as_ptr(), to.as_ptr(), data.len()) };
        Ok(())
    }

    /// Zeroes bytes; else as [`Self::write`].
    pub(crate) fn zero(&self, offset: usize, len: usize) -> Result {
        let to = self.at(offset, len).ok_or(EINVAL)?;
        // SAFETY: As in `write()`.
        unsafe { core::ptr::write_bytes(to.as_ptr(), 0, len) };
        Ok(())
    }
}

impl<T: DriverObject> Drop for KernelMapping<T> {
    fn drop(&mut self) {
        // It was ours, so that there is no other way to get rid of it: no signal ends the wait.
        self.obj.lock().vunmap();
    }
}
