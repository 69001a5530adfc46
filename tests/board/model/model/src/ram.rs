// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Guest memory, mapped. The only module with unsafe code.
//!
//! The guest and QEMU change this memory at any time, so no reference to it is ever made: words go
//! through relaxed atomics, bytes through raw copies.

#![allow(unsafe_code)]

use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One mapped piece.
#[derive(Debug)]
struct Region {
    base: u64,
    len: usize,
    at: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone and is reachable from every thread; all accesses
// are atomics or raw copies through pointers.
unsafe impl Send for Region {}

impl Region {
    fn map(base: u64, len: usize, fd: impl AsFd, offset: u64) -> io::Result<Self> {
        // SAFETY: a new shared mapping at an address that the kernel chooses touches no memory
        // that Rust knows of.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                offset,
            )
        }?;
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len, at })
    }

    /// Pointer to `len` bytes at `pa` if all of them lie in this piece.
    fn find(&self, pa: u64, len: usize) -> Option<*mut u8> {
        let offset = usize::try_from(pa.checked_sub(self.base)?).ok()?;
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset + len` is inside the mapping.
        Some(unsafe { self.at.as_ptr().add(offset) })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this is exactly what `map` got, and no pointer into it outlives a call of
        // `GuestRam`, which owns the region.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// All memory of the guest that the device may touch.
#[derive(Debug, Default)]
pub struct GuestRam {
    regions: Vec<Region>,
}

impl GuestRam {
    /// Maps a piece of a file at a guest physical address.
    pub fn map(&mut self, base: u64, len: u64, fd: impl AsFd, offset: u64) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let last = base.checked_add(len).ok_or_else(invalid)?;
        let overlaps = |r: &Region| base < r.base + r.len as u64 && r.base < last;
        if len == 0 || base % 4096 != 0 || self.regions.iter().any(overlaps) {
            return Err(invalid());
        }
        let len = usize::try_from(len).map_err(|_| invalid())?;
        self.regions.push(Region::map(base, len, fd, offset)?);
        Ok(())
    }

    /// Memory that is not shared with anybody, for tests.
    pub fn anonymous(base: u64, len: u64) -> io::Result<Self> {
        let fd = rustix::fs::memfd_create("ram", rustix::fs::MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&fd, len)?;
        let mut ram = Self::default();
        ram.map(base, len, fd, 0)?;
        Ok(ram)
    }

    /// Gives back all pieces inside a range.
    pub fn unmap(&mut self, base: u64, len: u64) {
        let end = base.saturating_add(len);
        self.regions
            .retain(|r| r.base < base || r.base + r.len as u64 > end);
    }

    /// Gives back everything.
    pub fn clear(&mut self) {
        self.regions.clear();
    }

    fn find(&self, pa: u64, len: usize) -> Option<*mut u8> {
        self.regions.iter().find_map(|r| r.find(pa, len))
    }

    /// Whether all of a range is memory.
    pub fn contains(&self, pa: u64, len: usize) -> bool {
        self.find(pa, len).is_some()
    }

    /// Reads an aligned word.
    pub fn read_u32(&self, pa: u64) -> Option<u32> {
        let at = self.find(pa, 4).filter(|_| pa % 4 == 0)?;
        // SAFETY: valid for four bytes, aligned since regions start at a page, and every other
        // access of this process is atomic or a raw copy under the same lock.
        Some(unsafe { AtomicU32::from_ptr(at.cast()) }.load(Ordering::Relaxed))
    }

    /// Writes an aligned word.
    pub fn write_u32(&self, pa: u64, value: u32) -> Option<()> {
        let at = self.find(pa, 4).filter(|_| pa % 4 == 0)?;
        // SAFETY: as in `read_u32`.
        unsafe { AtomicU32::from_ptr(at.cast()) }.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Reads an aligned double word.
    pub fn read_u64(&self, pa: u64) -> Option<u64> {
        let at = self.find(pa, 8).filter(|_| pa % 8 == 0)?;
        // SAFETY: as in `read_u32`, for eight bytes.
        Some(unsafe { AtomicU64::from_ptr(at.cast()) }.load(Ordering::Relaxed))
    }

    /// Writes an aligned double word.
    pub fn write_u64(&self, pa: u64, value: u64) -> Option<()> {
        let at = self.find(pa, 8).filter(|_| pa % 8 == 0)?;
        // SAFETY: as in `read_u32`, for eight bytes.
        unsafe { AtomicU64::from_ptr(at.cast()) }.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Copies bytes out.
    pub fn read(&self, pa: u64, data: &mut [u8]) -> Option<()> {
        let at = self.find(pa, data.len())?;
        // SAFETY: the source is valid for that many bytes; the destination is our own memory and
        // cannot overlap a mapping.
        unsafe { std::ptr::copy_nonoverlapping(at, data.as_mut_ptr(), data.len()) };
        Some(())
    }

    /// Copies bytes in.
    pub fn write(&self, pa: u64, data: &[u8]) -> Option<()> {
        let at = self.find(pa, data.len())?;
        // SAFETY: as in `read`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), at, data.len()) };
        Some(())
    }

    /// Calls `f` with every double word of an aligned range. Stops when it returns false.
    pub fn words(&self, pa: u64, count: usize, mut f: impl FnMut(u64) -> bool) -> Option<()> {
        let len = count.checked_mul(8)?;
        let at = self.find(pa, len).filter(|_| pa % 8 == 0)?.cast::<u64>();
        for i in 0..count {
            // SAFETY: inside the range just found, aligned as it is.
            let word = unsafe { AtomicU64::from_ptr(at.add(i)) }.load(Ordering::Relaxed);
            if !f(word) {
                break;
            }
        }
        Some(())
    }

    /// Writes every double word of an aligned range.
    pub fn fill(&self, pa: u64, count: usize, mut f: impl FnMut() -> u64) -> Option<()> {
        let len = count.checked_mul(8)?;
        let at = self.find(pa, len).filter(|_| pa % 8 == 0)?.cast::<u64>();
        for i in 0..count {
            // SAFETY: as in `words`.
            unsafe { AtomicU64::from_ptr(at.add(i)) }.store(f(), Ordering::Relaxed);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_alignment() {
        let ram = GuestRam::anonymous(0x4000_0000, 0x2000).unwrap();
        assert_eq!(ram.write_u64(0x4000_1ff8, 0x0123_4567_89ab_cdef), Some(()));
        assert_eq!(ram.read_u64(0x4000_1ff8), Some(0x0123_4567_89ab_cdef));
        assert_eq!(ram.read_u32(0x4000_1ffc), Some(0x0123_4567));
        assert_eq!(ram.read_u64(0x4000_1ffc), None);
        assert_eq!(ram.read_u32(0x4000_1ffe), None);
        assert_eq!(ram.read_u32(0x4000_2000), None);
        assert_eq!(ram.read_u32(0x3fff_fffc), None);
        assert_eq!(ram.read_u32(u64::MAX - 3), None);
        assert!(ram.contains(0x4000_0000, 0x2000));
        assert!(!ram.contains(0x4000_0000, 0x2001));
    }

    #[test]
    fn overlapping_maps_are_refused_and_unmap_works() {
        let mut ram = GuestRam::anonymous(0x1000, 0x1000).unwrap();
        let fd = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 0x1000).unwrap();
        assert!(ram.map(0x1000, 0x1000, &fd, 0).is_err());
        assert!(ram.map(0x2000, 0, &fd, 0).is_err());
        assert!(ram.map(u64::MAX - 0xfff, 0x1000, &fd, 0).is_err());
        ram.map(0x2000, 0x1000, &fd, 0).unwrap();
        assert!(ram.contains(0x2000, 0x1000));
        assert!(!ram.contains(0x1800, 0x1000), "two pieces are not one");
        ram.unmap(0x2000, 0x1000);
        assert!(!ram.contains(0x2000, 8));
        assert!(ram.contains(0x1000, 8));
    }
}
