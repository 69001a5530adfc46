// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The page tables of a VM, and how its mappings get there.

use super::{
    memattr,
    prot::{MapFlags, SPARSE_PERIOD},
    slots::{AsConfig, Seat},
};
use crate::{
    kernel_ext::{
        dma_fence::Signalling,
        dma_range::DmaRange,
        drm::gpuvm::{DriverGpuVm, GpuVm, MapStep, Op, Part, RemapStep, Reserve},
        io_pgtable::{self, Demand, PageTable, TableReserve, BLOCK},
        swap,
    },
    panthor_regs::mmu_control,
    PanthorBound, PanthorDevice, PanthorDriver,
};
use kernel::{
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// An address space with its tree of mappings.
pub(crate) type VmSpace = GpuVm<Space>;

/// The driver's part of an address space.
#[pin_data]
pub(crate) struct Space {
    /// The place in the slots of the hardware.
    pub(super) seat: Arc<Seat>,
    /// What AS_MEMATTR gets.
    memattr: u64,
}

/// The page tables of an address space. The operation lock owns them.
pub(crate) enum Tables {
    /// There are page tables, and the GPU may use them.
    Live(PageTable),
    /// An operation failed half-way, or the hardware did not answer: the mappings are what they
    /// are, there will be no new ones.
    Unusable(PageTable),
    /// The hardware does not let go of the address space: as long as the GPU has power it may use
    /// the tables, and the memory that they lead to, now or did before an operation that failed.
    /// No mapping is changed until then, so that all of it stays.
    Lost(LostTables),
    /// The VM was destroyed, or the device is gone.
    Gone,
}

/// Page tables that the hardware does not let go of.
pub(crate) struct LostTables {
    _table: PageTable,
    /// What was taken out of them by the operation that found it out.
    _removed: TableReserve,
    /// A VM that was destroyed keeps itself, with all that is mapped in it.
    destroyed: Option<ARef<VmSpace>>,
}

impl Tables {
    /// The tables, if there are any that may be changed.
    pub(super) fn any(&mut self) -> Option<&mut PageTable> {
        match self {
            Self::Live(table) | Self::Unusable(table) => Some(table),
            Self::Lost(_) | Self::Gone => None,
        }
    }

    /// The tables, if new mappings may be made; else `EINVAL`.
    fn live(&mut self) -> Result<&mut PageTable> {
        match self {
            Self::Live(table) => Ok(table),
            Self::Unusable(_) | Self::Lost(_) | Self::Gone => Err(EINVAL),
        }
    }

    /// No new mappings from now on.
    pub(super) fn declare_unusable(&mut self) {
        *self = match core::mem::replace(self, Self::Gone) {
            Self::Live(table) | Self::Unusable(table) => Self::Unusable(table),
            other => other,
        };
    }

    /// The hardware does not let go of them, nor of what was `removed` just now.
    fn lose(&mut self, removed: &mut TableReserve) {
        *self = match core::mem::replace(self, Self::Gone) {
            Self::Live(table) | Self::Unusable(table) => Self::Lost(LostTables {
                _table: table,
                _removed: core::mem::take(removed),
                destroyed: None,
            }),
            other => other,
        };
    }
}

impl Space {
    /// Makes an address space without mappings. `ENOMEM`.
    pub(super) fn create(dev: &PanthorBound<'_>) -> Result<ARef<VmSpace>> {
        let info = &dev.info;
        let coherent = info.is_coherent();
        let table = PageTable::new(dev.parent(), info.va_bits(), info.pa_bits(), coherent)?;
        let memattr = memattr::from_mair(table.mair(), coherent);
        let seat = dev.mmu.slots.new_seat()?;
        let space = GpuVm::new(
            dev,
            c"panthor-GPU-VM",
            1 << info.va_bits(),
            Tables::Live(table),
            try_pin_init!(Self { seat, memattr }? Error),
        )?;
        if cfg!(CONFIG_PROVE_LOCKING) {
            // The shrinker takes the operation lock, and under it those of the slots; so does what
            // fences wait for. Let lockdep know before it happens.
            let take_all = || {
                let guard = space.lock();
                dev.mmu.slots.state(&space.seat);
                drop(guard);
            };
            swap::as_reclaim(take_all);
            let section = Signalling::begin();
            take_all();
            drop(section);
        }
        Ok(space)
    }

    /// Takes page tables and hardware slot away, for good. `EIO` when the hardware does not let go
    /// of them.
    fn detach(&self, dev: &PanthorDevice, tables: &mut Tables) -> Result {
        if let Err(err) = dev.mmu.slots.unbind(&self.seat) {
            tables.lose(&mut TableReserve::default());
            return Err(err);
        }
        *tables = Tables::Gone;
        Ok(())
    }
}

impl VmSpace {
    /// What the hardware needs to know to use the page tables. `ENODEV` when there are none, `EIO`
    /// when it does not let go of them.
    pub(super) fn config(&self, tables: &mut Tables) -> Result<AsConfig> {
        let table = match tables {
            Tables::Live(table) | Tables::Unusable(table) => table,
            Tables::Lost(_) => return Err(EIO),
            Tables::Gone => return Err(ENODEV),
        };
        Ok(AsConfig {
            transtab: table.root(),
            memattr: self.memattr,
            transcfg: transcfg(self.dev().info.va_bits(), self.dev().info.is_coherent()),
        })
    }
}

/// Takes all mappings away and makes sure that there are no new ones. What else refers to the
/// address space may go on to do so.
///
/// When the hardware does not let go of it, that is put off until the GPU is off.
pub(super) fn destroy(space: &ARef<VmSpace>) {
    // First, so that a VM_BIND that is on its way cannot map anything behind our back, and
    // that nothing of what follows can fail: there is no hardware in it any more.
    {
        let mut guard = space.lock();
        if space.detach(space.dev(), guard.state()).is_err() {
            if let Tables::Lost(lost) = guard.state() {
                lost.destroyed = Some(space.clone());
            }
            return;
        }
    }
    space.unmap_all();
}

/// The hardware does not do as it is told: takes the address space away from it. The VM cannot be
/// used any more. `EIO` when that does not work either.
fn take_away(op: &mut Op<'_, Space>) -> Result {
    op.state.declare_unusable();
    let dev = op.vm.dev();
    match dev.mmu.slots.unbind(&op.vm.seat) {
        Ok(()) => {
            dev_err!(
                dev.parent(),
                "The MMU does not answer: a VM cannot be used any more\n"
            );
            Ok(())
        }
        // That is said where it is found out.
        Err(err) => {
            op.state.lose(op.reserve);
            Err(err)
        }
    }
}

/// What AS_TRANSCFG gets for page tables of the format that [`PageTable`] has.
fn transcfg(va_bits: u32, coherent: bool) -> u64 {
    let shared = if coherent {
        mmu_control::TRANSCFG_WALK_OUTER
    } else {
        0
    };
    mmu_control::TRANSCFG_AARCH64_4K
        | mmu_control::transcfg_ina_bits(va_bits)
        | mmu_control::TRANSCFG_WALK_WB
        | mmu_control::TRANSCFG_WALK_RA
        | shared
}

/// Calls `f` with the address of each part of a mapping and the memory behind it, in the order of addresses: of a part of a buffer, or of the dummy buffer again and
/// again. Stops at the first error.
fn for_each_part(
    step: &MapStep<'_, Space>,
    mut f: impl FnMut(u64, DmaRange<'_>) -> Result,
) -> Result {
    let mut done = 0;
    while done < step.range {
        let addr = step.addr + done;
        let left = step.range - done;
        let (offset, len) = if step.mapping.is_sparse() {
            let start = addr % SPARSE_PERIOD;
            (start, left.min(SPARSE_PERIOD - start))
        } else {
            (step.offset + done, left)
        };
        let before = done;
        for part in step.segments.range(offset, len) {
            f(step.addr + done, part)?;
            done += part.len();
        }
        // Less memory than the mapping needs would be a fault of ours; do not call it success.
        if done - before < len {
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// The range of translations to take away so that no block is cut: `start..end` of a mapping that
/// goes on to `lower` and `upper`, widened to whole blocks where a block is.
pub(crate) fn widen_to_blocks(
    start: u64,
    end: u64,
    lower: u64,
    upper: u64,
    is_block: impl Fn(u64) -> bool,
) -> (u64, u64) {
    let block_start = start - start % BLOCK;
    let block_end = end.checked_next_multiple_of(BLOCK).unwrap_or(end);
    let new_start = if block_start < start && block_start >= lower && is_block(start) {
        block_start
    } else {
        start
    };
    let new_end = if block_end > end && block_end <= upper && is_block(end - 1) {
        block_end
    } else {
        end
    };
    (new_start, new_end)
}

/// How many tables of a reserve are kept for the next operation: what a mapping can need whose size
/// is that of a block or less.
const SPARE_TABLES: usize = 4;

/// Counts the tables that a mapping needs.
fn count_tables(
    step: &MapStep<'_, Space>,
    mut demand: Demand<impl Fn(u64) -> usize>,
) -> Result<usize> {
    for_each_part(step, |addr, part| {
        demand.add(addr, part.addr(), part.len());
        Ok(())
    })?;
    Ok(demand.tables())
}

/// The most tables that a sparse mapping may need. It is not counted part by part, as others are:
/// there is one of these for each 2 MiB, and their number is all up to userspace.
///
/// `ENOMEM` for a range of which not even the tables fit into memory, were it mapped with pages;
/// that keeps the time short which making the mapping takes.
fn most_tables_of_sparse(step: &MapStep<'_, Space>) -> Result<usize> {
    let [blocks, level2, level1] = io_pgtable::most_tables(step.addr, step.range);
    let most = usize::try_from(blocks + level2 + level1)?;
    if most > swap::ram_pages() {
        return Err(ENOMEM);
    }
    let in_a_block = |part: DmaRange<'_>| part.addr() % BLOCK == 0 && part.len() >= SPARSE_PERIOD;
    let mut period = step.segments.range(0, SPARSE_PERIOD);
    Ok(if period.next().is_some_and(in_a_block) {
        // Pages are needed at the ends only.
        usize::try_from(blocks.min(2) + level2 + level1)?
    } else {
        most
    })
}

impl Reserve for TableReserve {
    fn len(&self) -> usize {
        self.len()
    }

    fn fill(&mut self, len: usize) -> Result {
        self.fill(len)
    }

    fn trim(&mut self) {
        self.trim(SPARE_TABLES);
    }
}

impl DriverGpuVm for Space {
    type Driver = PanthorDriver;
    type State = Tables;
    type Mapping = MapFlags;
    type Reserve = TableReserve;

    fn release(&self, dev: &PanthorDevice, tables: &mut Tables) -> Option<ARef<VmSpace>> {
        // Either the GPU is off, or nobody refers to the address space any more, which means that
        // it was not lost when it was destroyed: nothing of what follows can fail.
        let destroyed = match tables {
            Tables::Lost(lost) => lost.destroyed.take(),
            _ => None,
        };
        let _ = self.detach(dev, tables);
        destroyed
    }

    fn offset(flags: MapFlags, addr: u64, linear: u64) -> u64 {
        if flags.is_sparse() {
            addr % SPARSE_PERIOD
        } else {
            linear
        }
    }

    fn demand_of_map(
        tables: &mut Tables,
        step: &MapStep<'_, Self>,
        reserve: &TableReserve,
    ) -> Result<usize> {
        let table = tables.live()?;
        if step.mapping.is_sparse() {
            return most_tables_of_sparse(step);
        }
        // As if there were no tables: to look which ones there are takes longer than to have a few
        // more than are needed, and they are kept for the next operation.
        let most = count_tables(step, Demand::new(|_| 3))?;
        if most <= reserve.len().max(SPARE_TABLES) {
            return Ok(most);
        }
        count_tables(step, table.demand())
    }

    fn demand_of_cut(tables: &mut Tables, addr: u64) -> usize {
        match tables.any() {
            // The rest of the block becomes pages.
            Some(table) if addr % BLOCK != 0 && table.is_block(addr) => 1,
            _ => 0,
        }
    }

    // Most VMs that change are in no slot, which is all that is to be seen here.
    #[inline]
    fn begin(op: &mut Op<'_, Self>, addr: u64, range: u64) -> Result {
        let slots = &op.vm.dev().mmu.slots;
        match slots.lock_region(&op.vm.seat, addr, range) {
            Err(err) if err != EINVAL => take_away(op),
            result => result,
        }
    }

    #[inline]
    fn end(op: &mut Op<'_, Self>) -> Result {
        let slots = &op.vm.dev().mmu.slots;
        // The GPU may still use the old translations, and with them memory that is about to be
        // given up.
        slots.unlock_region(&op.vm.seat).or_else(|_| take_away(op))
    }

    fn map(op: &mut Op<'_, Self>, step: &MapStep<'_, Self>) -> Result {
        let table = op.state.live()?;
        let prot = step.mapping.prot();
        let mut end = step.addr;
        for_each_part(step, |addr, part| {
            table.map(addr, part, prot, op.reserve)?;
            end = addr + part.len();
            Ok(())
        })
        .inspect_err(|_| table.unmap(step.addr, end - step.addr, op.reserve))
    }

    fn unmap(op: &mut Op<'_, Self>, addr: u64, range: u64) {
        if let Some(table) = op.state.any() {
            table.unmap(addr, range, op.reserve);
        }
    }

    fn remap(op: &mut Op<'_, Self>, step: &RemapStep<'_, Self>) -> Result {
        let Some(table) = op.state.any() else {
            return Ok(());
        };
        let end = step.addr + step.range;
        let lower = step.prev.map_or(step.addr, |prev| prev.addr);
        let upper = step.next.map_or(end, |next| next.addr + next.range);
        let (wide_start, wide_end) =
            widen_to_blocks(step.addr, end, lower, upper, |addr| table.is_block(addr));

        // The GPU must not see what stays disappear for a moment: lock all that changes.
        if (wide_start, wide_end) != (step.addr, end) {
            Self::begin(op, wide_start, wide_end - wide_start)?;
        }
        Self::unmap(op, wide_start, wide_end - wide_start);

        // With pages now, from the tables set aside.
        let mut restore = |part: Part, start: u64, len: u64| {
            if len == 0 {
                return Ok(());
            }
            let linear = part.offset + (start - part.addr);
            Self::map(
                op,
                &MapStep {
                    addr: start,
                    range: len,
                    offset: Self::offset(step.mapping, start, linear),
                    mapping: step.mapping,
                    segments: step.segments,
                },
            )
        };
        let result = (|| {
            if let Some(prev) = step.prev {
                restore(prev, wide_start, step.addr - wide_start)?;
            }
            if let Some(next) = step.next {
                restore(next, end, wide_end - end)?;
            }
            Ok(())
        })();
        if result.is_err() {
            op.state.declare_unusable();
        }
        result
    }
}
