// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Guest memory, mapped. The only module with unsafe code.
//!
//! The guest, QEMU and the threads that run streams change this memory at any time, so no reference
//! to it is ever made and no byte of it is read or written but by a relaxed atomic.

#![allow(unsafe_code)]

use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;

/// Bytes of a [`Page`].
pub const PAGE: usize = 4096;

/// One mapped piece.
#[derive(Debug)]
struct Region {
    base: u64,
    len: usize,
    at: NonNull<u8>,
}

// SAFETY: the mapping belongs to this value alone and is reachable from every thread; all accesses
// are atomics.
unsafe impl Send for Region {}
// SAFETY: as above; nothing in the value itself changes after `map`.
unsafe impl Sync for Region {}

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

    /// `len` bytes at `pa` if all of them lie in this piece.
    fn find(&self, pa: u64, len: usize) -> Option<Bytes<'_>> {
        let offset = usize::try_from(pa.checked_sub(self.base)?).ok()?;
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset + len` is inside the mapping.
        let at = unsafe { self.at.add(offset) };
        Some(Bytes {
            at,
            len,
            region: std::marker::PhantomData,
        })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this is exactly what `map` got, and whatever points into it borrows the region or
        // holds a reference to it.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// Bytes of a region, valid while it is borrowed.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    at: NonNull<u8>,
    len: usize,
    region: std::marker::PhantomData<&'a Region>,
}

impl<'a> Bytes<'a> {
    fn byte(self, i: usize) -> Option<&'a AtomicU8> {
        // SAFETY: inside the bytes; every access of this process to them is atomic.
        (i < self.len).then(|| unsafe { AtomicU8::from_ptr(self.at.as_ptr().add(i)) })
    }

    fn word32(self, offset: usize) -> Option<&'a AtomicU32> {
        let end = offset.checked_add(4)?;
        // SAFETY: in range.
        let at = (end <= self.len).then(|| unsafe { self.at.as_ptr().add(offset) })?;
        // SAFETY: valid for four bytes, aligned; every access of this process is atomic.
        (at as usize % 4 == 0).then(|| unsafe { AtomicU32::from_ptr(at.cast()) })
    }

    fn word64(self, offset: usize) -> Option<&'a AtomicU64> {
        let end = offset.checked_add(8)?;
        // SAFETY: in range.
        let at = (end <= self.len).then(|| unsafe { self.at.as_ptr().add(offset) })?;
        // SAFETY: valid for eight bytes, aligned; every access of this process is atomic.
        (at as usize % 8 == 0).then(|| unsafe { AtomicU64::from_ptr(at.cast()) })
    }

    /// Copies bytes out, whole double words where both sides allow it.
    fn read(self, offset: usize, to: &mut [u8]) -> Option<()> {
        if offset.checked_add(to.len())? > self.len {
            return None;
        }
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match (rest.first_chunk_mut::<8>(), self.word64(offset + done)) {
                (Some(bytes), Some(word)) => {
                    *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
                    done += 8;
                }
                _ => {
                    rest[0] = self.byte(offset + done)?.load(Ordering::Relaxed);
                    done += 1;
                }
            }
        }
        Some(())
    }

    /// Copies bytes in.
    fn write(self, mut offset: usize, mut from: &[u8]) -> Option<()> {
        if offset.checked_add(from.len())? > self.len {
            return None;
        }
        while let Some((first, rest)) = from.split_first() {
            if let (Some(bytes), Some(word)) = (from.first_chunk::<8>(), self.word64(offset)) {
                word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
                (from, offset) = (&from[8..], offset + 8);
                continue;
            }
            self.byte(offset)?.store(*first, Ordering::Relaxed);
            (from, offset) = (rest, offset + 1);
        }
        Some(())
    }
}

/// A page of memory that stays mapped while this value lives.
#[derive(Clone, Debug)]
pub struct Page {
    at: NonNull<u8>,
    /// Keeps what `at` points to.
    _region: Arc<Region>,
}

// SAFETY: as of `Region`, which is held.
unsafe impl Send for Page {}
// SAFETY: as of `Region`, which is held.
unsafe impl Sync for Page {}

impl Page {
    fn bytes(&self) -> Bytes<'_> {
        Bytes {
            at: self.at,
            len: PAGE,
            region: std::marker::PhantomData,
        }
    }

    /// Copies bytes out. None if they are not all in the page.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Option<()> {
        self.bytes().read(offset, to)
    }

    /// Copies bytes in. None if they are not all in the page.
    pub fn write(&self, offset: usize, from: &[u8]) -> Option<()> {
        self.bytes().write(offset, from)
    }

    /// Reads an aligned word.
    #[inline]
    pub fn load32(&self, offset: usize) -> Option<u32> {
        Some(self.bytes().word32(offset)?.load(Ordering::Relaxed))
    }

    /// Reads an aligned double word.
    #[inline]
    pub fn load64(&self, offset: usize) -> Option<u64> {
        Some(self.bytes().word64(offset)?.load(Ordering::Relaxed))
    }

    /// Writes an aligned word.
    #[inline]
    pub fn store32(&self, offset: usize, value: u32) -> Option<()> {
        self.bytes().word32(offset)?.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Writes an aligned double word.
    #[inline]
    pub fn store64(&self, offset: usize, value: u64) -> Option<()> {
        self.bytes().word64(offset)?.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Changes an aligned word in one step; gives what was there. Before it, all that this thread
    /// has written so far is seen by whoever sees the new value.
    pub fn update32(&self, offset: usize, f: &mut dyn FnMut(u32) -> u32) -> Option<u32> {
        let word = self.bytes().word32(offset)?;
        let step = |old| Some(f(old));
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
            .ok()
    }

    /// The same for an aligned double word.
    pub fn update64(&self, offset: usize, f: &mut dyn FnMut(u64) -> u64) -> Option<u64> {
        let word = self.bytes().word64(offset)?;
        let step = |old| Some(f(old));
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
            .ok()
    }
}

/// All memory of the guest that the device may touch. A clone is a view of what is mapped now.
#[derive(Clone, Debug, Default)]
pub struct GuestRam {
    regions: Vec<Arc<Region>>,
}

impl GuestRam {
    /// Maps a piece of a file at a guest physical address.
    pub fn map(&mut self, base: u64, len: u64, fd: impl AsFd, offset: u64) -> io::Result<()> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let last = base.checked_add(len).ok_or_else(invalid)?;
        let overlaps = |r: &Arc<Region>| base < r.base + r.len as u64 && r.base < last;
        if len == 0 || base % PAGE as u64 != 0 || self.regions.iter().any(overlaps) {
            return Err(invalid());
        }
        let len = usize::try_from(len).map_err(|_| invalid())?;
        let region = Region::map(base, len, fd, offset)?;
        self.regions.push(Arc::new(region));
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

    /// Gives back all pieces inside a range. Pages that are held stay mapped until they are given
    /// back as well.
    pub fn unmap(&mut self, base: u64, len: u64) {
        let end = base.saturating_add(len);
        self.regions
            .retain(|r| r.base < base || r.base + r.len as u64 > end);
    }

    /// Gives back everything.
    pub fn clear(&mut self) {
        self.regions.clear();
    }

    fn find(&self, pa: u64, len: usize) -> Option<Bytes<'_>> {
        self.regions.iter().find_map(|r| r.find(pa, len))
    }

    /// Whether all of a range is memory.
    pub fn contains(&self, pa: u64, len: usize) -> bool {
        self.find(pa, len).is_some()
    }

    /// The page that an address lies in.
    pub fn page(&self, pa: u64) -> Option<Page> {
        let first = pa & !(PAGE as u64 - 1);
        self.regions.iter().find_map(|region| {
            Some(Page {
                at: region.find(first, PAGE)?.at,
                _region: Arc::clone(region),
            })
        })
    }

    /// Reads an aligned word.
    pub fn read_u32(&self, pa: u64) -> Option<u32> {
        Some(self.find(pa, 4)?.word32(0)?.load(Ordering::Relaxed))
    }

    /// Writes an aligned word.
    pub fn write_u32(&self, pa: u64, value: u32) -> Option<()> {
        self.find(pa, 4)?.word32(0)?.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Reads an aligned double word.
    pub fn read_u64(&self, pa: u64) -> Option<u64> {
        Some(self.find(pa, 8)?.word64(0)?.load(Ordering::Relaxed))
    }

    /// Writes an aligned double word.
    pub fn write_u64(&self, pa: u64, value: u64) -> Option<()> {
        self.find(pa, 8)?.word64(0)?.store(value, Ordering::Relaxed);
        Some(())
    }

    /// Copies bytes out.
    pub fn read(&self, pa: u64, data: &mut [u8]) -> Option<()> {
        self.find(pa, data.len())?.read(0, data)
    }

    /// Copies bytes in.
    pub fn write(&self, pa: u64, data: &[u8]) -> Option<()> {
        self.find(pa, data.len())?.write(0, data)
    }

    /// Calls `f` with every double word of an aligned range. Stops when it returns false.
    pub fn words(&self, pa: u64, count: usize, mut f: impl FnMut(u64) -> bool) -> Option<()> {
        let bytes = self.find(pa, count.checked_mul(8)?)?;
        for i in 0..count {
            if !f(bytes.word64(8 * i)?.load(Ordering::Relaxed)) {
                break;
            }
        }
        Some(())
    }

    /// Writes every double word of an aligned range.
    pub fn fill(&self, pa: u64, count: usize, mut f: impl FnMut() -> u64) -> Option<()> {
        let bytes = self.find(pa, count.checked_mul(8)?)?;
        for i in 0..count {
            bytes.word64(8 * i)?.store(f(), Ordering::Relaxed);
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

    #[test]
    fn bytes_of_every_alignment_and_length() {
        let ram = GuestRam::anonymous(0, 0x2000).unwrap();
        let page = ram.page(0x1234).unwrap();
        for (offset, len) in (0..9).flat_map(|o| (0..40).map(move |l| (o, l))) {
            let data: Vec<u8> = (0..len as u8).map(|i| i ^ offset as u8 ^ 0x5a).collect();
            page.write(offset, &data).unwrap();
            let mut back = vec![0; len];
            ram.read(0x1000 + offset as u64, &mut back).unwrap();
            assert_eq!(back, data, "{offset} {len}");
        }
    }

    #[test]
    fn a_page_ends_where_it_ends_and_outlives_its_map() {
        let mut ram = GuestRam::anonymous(0x1000, 0x1800).unwrap();
        assert!(ram.page(0x2000).is_none(), "only half of it is memory");
        let page = ram.page(0x1ff8).unwrap();
        assert_eq!(page.store64(0xff8, 7), Some(()));
        assert_eq!(page.load64(0xffc), None);
        assert_eq!(page.load32(0x1000), None);
        assert_eq!(page.load32(2), None);
        assert_eq!(page.read(0xfff, &mut [0; 2]), None);
        assert_eq!(page.write(usize::MAX, &[0; 2]), None);
        assert_eq!(page.update64(0xff8, &mut |v| v + 1), Some(7));
        assert_eq!(page.update32(0xff8, &mut |v| v * 2), Some(8));
        ram.clear();
        assert_eq!(page.load64(0xff8), Some(16));
    }
}
