// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Page tables of the format ARM_64_LPAE_S1, with pages of 4 KiB and blocks of 2 MiB.
//!
//! `rust/kernel` has these as well, but ties them to the lifetime of a bound device and lets them
//! allocate when they map. Here the tables for an operation come from a [`TableReserve`] that the
//! caller filled before, as mapping happens under locks that are taken in reclaim; and who holds
//! them may live longer than the device is bound, and frees them when it goes away.
//!
//! C header: [`include/linux/io-pgtable.h`](srctree/include/linux/io-pgtable.h)

mod demand;
mod reserve;

use super::{bindings, dma_range::DmaRange};
use core::{cell::Cell, ptr::NonNull};
use kernel::{
    device::{self, Bound},
    prelude::*,
    sizes::SZ_4K,
    sync::aref::ARef,
};

pub(crate) use self::{
    demand::{most_tables, Demand},
    reserve::TableReserve,
};

// A GPU address is an `unsigned long` to the C side, which would cut it.
const _: () = assert!(usize::BITS == 64, "GPU addresses have more than 32 bits");

/// The size of a page.
pub(crate) const PAGE: u64 = 0x1000;
/// The size of a block.
pub(crate) const BLOCK: u64 = 0x20_0000;

/// Reads are allowed (`IOMMU_READ`).
pub(crate) const READ: u32 = bindings::IOMMU_READ;
/// Writes are allowed (`IOMMU_WRITE`).
pub(crate) const WRITE: u32 = bindings::IOMMU_WRITE;
/// Accesses go through the caches (`IOMMU_CACHE`).
pub(crate) const CACHE: u32 = bindings::IOMMU_CACHE;
/// Instruction fetches are not allowed (`IOMMU_NOEXEC`).
pub(crate) const NOEXEC: u32 = bindings::IOMMU_NOEXEC;

/// Where the C side finds tables: shared by its callbacks and [`PageTable`].
struct Source {
    /// The reserve of the operation that is going on.
    reserve: Cell<*mut TableReserve>,
}

/// A set of page tables.
///
/// # Invariants
///
/// `ops` is valid, and has `source` as its cookie. `source.reserve` is null, or valid during a
/// call into `ops`.
pub(crate) struct PageTable {
    ops: NonNull<bindings::io_pgtable_ops>,
    source: KBox<Source>,
    /// The C side uses it, without a reference of its own, until the tables are freed.
    _dev: ARef<device::Device>,
}

// SAFETY: Page tables belong to no thread.
unsafe impl Send for PageTable {}

/// Gives the C side a table.
///
/// # Safety
///
/// To be called by the page table code only.
unsafe extern "C" fn alloc_callback(
    cookie: *mut c_void,
    size: usize,
    _gfp: bindings::gfp_t,
) -> *mut c_void {
    // SAFETY: The cookie is the source of the page table.
    let source = unsafe { &*cookie.cast::<Source>() };
    // A root table has no more entries than the addresses need. Smaller ones have to be aligned to
    // their size, which a page is.
    if size > SZ_4K {
        return core::ptr::null_mut();
    }
    // SAFETY: Valid during the call we are called from.
    let table = unsafe { source.reserve.get().as_mut() }.and_then(TableReserve::pop);
    table.map_or(core::ptr::null_mut(), NonNull::as_ptr)
}

/// Takes a table back.
///
/// # Safety
///
/// To be called by the page table code only.
unsafe extern "C" fn free_callback(cookie: *mut c_void, table: *mut c_void, _size: usize) {
    // SAFETY: The cookie is the source of the page table, and the reserve valid as above.
    let reserve = unsafe { (*cookie.cast::<Source>()).reserve.get().as_mut() };
    // SAFETY: The table came from `alloc_callback()`, and with that from a reserve.
    unsafe {
        match (reserve, NonNull::new(table)) {
            (Some(reserve), Some(table)) => reserve.push(table),
            _ => bindings::kx_free_table(table),
        }
    }
}

impl PageTable {
    /// Makes an empty page table for addresses of `ias` bits and memory of `oas` bits, whose
    /// walks are coherent with the CPU's caches or not.
    ///
    /// Each table is mapped for DMA by `dev`, the bus device, which keeps that until it is unbound:
    /// the caller changes and drops the page table before. What is an address space does so in
    /// `DriverGpuVm::release`.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        ias: u32,
        oas: u32,
        coherent: bool,
    ) -> Result<Self> {
        // For the root table.
        let mut reserve = TableReserve::default();
        reserve.fill(1)?;
        let source = KBox::new(
            Source {
                reserve: Cell::new(&mut reserve),
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        // SAFETY: The device is valid; the callbacks and their cookie live longer than the tables.
        let ops = unsafe {
            bindings::kx_io_pgtable_arm_s1_alloc(
                core::ptr::from_ref(dev).cast_mut().cast(),
                ias,
                oas,
                coherent,
                Some(alloc_callback),
                Some(free_callback),
                (&raw const *source).cast_mut().cast(),
            )
        };
        source.reserve.set(core::ptr::null_mut());
        // INVARIANT: As given above.
        Ok(Self {
            // The C side returns null for all errors, of which memory is the likely one.
            ops: NonNull::new(ops).ok_or(ENOMEM)?,
            source,
            _dev: (&**dev).into(),
        })
    }

    /// The physical address of the root table.
    pub(crate) fn root(&self) -> u64 {
        // SAFETY: `ops` is valid.
        unsafe { bindings::kx_io_pgtable_arm_s1_ttbr(self.ops.as_ptr()) }
    }

    /// The memory attributes that entries refer to, as a CPU has them in `MAIR_ELx`.
    pub(crate) fn mair(&self) -> u64 {
        // SAFETY: `ops` is valid.
        unsafe { bindings::kx_io_pgtable_arm_s1_mair(self.ops.as_ptr()) }
    }

    /// Maps memory, with blocks where both addresses allow it. Tables come from `reserve`. On an error
    /// nothing of it stays mapped.
    pub(crate) fn map(
        &mut self,
        addr: u64,
        memory: DmaRange<'_>,
        prot: u32,
        reserve: &mut TableReserve,
    ) -> Result {
        let (pa, range) = (memory.addr(), memory.len());
        let mut done = 0;
        while done < range {
            let (size, count) = chunk(addr + done | pa + done, range - done, addr + done);
            let mut mapped = 0;
            let ops = self.ops.as_ptr();
            let ret = self.with_reserve(reserve, || {
                // SAFETY: `ops` is valid.
                unsafe {
                    bindings::kx_io_pgtable_map(
                        ops,
                        (addr + done) as usize,
                        (pa + done) as bindings::phys_addr_t,
                        size as usize,
                        count as usize,
                        prot as c_int,
                        &mut mapped,
                    )
                }
            });
            done += mapped as u64;
            if ret != 0 || mapped == 0 {
                self.unmap(addr, done, reserve);
                return Err(if ret == 0 {
                    ENOMEM
                } else {
                    Error::from_errno(ret)
                });
            }
        }
        Ok(())
    }

    /// Takes the translations of a range away that is mapped as a whole, and whose ends are not in
    /// the middle of a block. Tables that are needed no more go to `reserve`.
    pub(crate) fn unmap(&mut self, addr: u64, range: u64, reserve: &mut TableReserve) {
        let mut done = 0;
        while done < range {
            let (size, count) = chunk(addr + done, range - done, addr + done);
            let ops = self.ops.as_ptr();
            let unmapped = self.with_reserve(reserve, || {
                // SAFETY: `ops` is valid. Unmapping allocates nothing.
                unsafe {
                    bindings::kx_io_pgtable_unmap(
                        ops,
                        (addr + done) as usize,
                        size as usize,
                        count as usize,
                    )
                }
            });
            // A hole would be a fault of ours; step over it instead of leaving the rest mapped.
            done += (unmapped as u64).max(PAGE);
        }
    }

    /// Calls into `ops`, with `reserve` as the place where tables come from and go to.
    fn with_reserve<R>(&mut self, reserve: &mut TableReserve, f: impl FnOnce() -> R) -> R {
        // INVARIANT: Valid during the call.
        self.source.reserve.set(reserve);
        let ret = f();
        self.source.reserve.set(core::ptr::null_mut());
        ret
    }

    /// Whether an address is mapped by a block.
    pub(crate) fn is_block(&self, addr: u64) -> bool {
        // SAFETY: `ops` is valid.
        unsafe { bindings::kx_io_pgtable_is_block(self.ops.as_ptr(), addr as usize) }
    }

    /// Counts the tables that mappings need in addition to those that there are.
    pub(crate) fn demand(&self) -> Demand<impl Fn(u64) -> usize + '_> {
        // SAFETY: `ops` is valid.
        Demand::new(|addr| unsafe {
            bindings::kx_io_pgtable_missing(self.ops.as_ptr(), addr as usize) as usize
        })
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        // SAFETY: `ops` is valid, and used no more.
        unsafe { bindings::free_io_pgtable_ops(self.ops.as_ptr()) };
    }
}

/// The size of the entries, and how many of them, with which to begin a range of `range` bytes:
/// pages up to the next address where a block can begin, or blocks. `align` has the low bits of
/// all addresses that must be aligned; `addr` is where the range begins.
pub(crate) fn chunk(align: u64, range: u64, addr: u64) -> (u64, u64) {
    if align % BLOCK == 0 && range >= BLOCK {
        return (BLOCK, range / BLOCK);
    }
    let to_block = BLOCK - addr % BLOCK;
    (PAGE, to_block.min(range).div_ceil(PAGE))
}
