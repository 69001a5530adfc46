// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Address space slots: the places where the hardware knows an address space.
//!
//! There are fewer slots than address spaces. One that is used by the GPU is active in a slot;
//! when the last user is gone it stays there, idle, until another needs the slot.
//!
//! Errors `ENODEV` of the registers mean that the device is gone, and the slots with it: what was
//! to be undone is then counted as done.
//!
//! # Hardware that does not answer
//!
//! An address space that cannot be disabled, or what it has written not be flushed, is *lost*
//! ([`SeatState::Lost`]): the GPU may go on to use its tables and the memory behind them. That is
//! remembered, so that nobody takes the absence of a slot for the absence of the hardware, and
//! nobody waits for it once more: every operation on such an address space is `EIO` at once. Its
//! slot is given to nobody. The end of it is the GPU without power, when the driver is unbound.

use super::{
    region::LockRegion,
    slot_table::{Acquired, Occupant, SlotTable},
};
use crate::{
    panthor_gpu::Gpu,
    panthor_irq::IrqBlock,
    panthor_regs::{gpu_control::FlushMode, irq::MmuIrq, mmu_control::*, Regs},
};
use kernel::{
    device, new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed},
        Arc, LockedBy, Mutex,
    },
};

pub(crate) use super::slot_table::SeatState;

/// How the hardware translates in an address space; the values of the registers.
#[derive(Clone, Copy)]
pub(crate) struct AsConfig {
    /// Physical address of the root table.
    pub(crate) transtab: u64,
    /// Memory attributes.
    pub(crate) memattr: u64,
    /// Format of the tables, and how they are read.
    pub(crate) transcfg: u64,
}

impl AsConfig {
    /// No translation: every access faults.
    const UNMAPPED: Self = Self {
        transtab: 0,
        memattr: 0,
        transcfg: TRANSCFG_UNMAPPED,
    };
}

/// The part of an address space that the slots know.
pub(crate) struct Seat {
    state: LockedBy<SeatData, Table>,
    /// Set by a fault, cleared by the next activation that makes the address space work again.
    faulty: Atomic<bool>,
    /// Whether it may be in a slot: false is certain while the operation lock is held, without which
    /// nobody is given a slot.
    seated: Atomic<bool>,
}

/// What changes under the lock of the slots.
struct SeatData {
    /// The region that is locked, whether or not the address space is in a slot.
    locked: Option<LockRegion>,
}

impl Seat {
    /// Whether the address space was disabled because of a fault.
    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty.load(Relaxed)
    }
}

impl Occupant for Arc<Seat> {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// What the lock of the slots protects.
struct Table {
    seats: SlotTable<Arc<Seat>>,
    /// The device is going away, nobody gets a slot any more.
    closed: bool,
}

/// The address space slots of a GPU.
///
/// Lock order: the lock of the slots is taken inside that of a VM's operations, and a cache flush
/// inside it. Nothing is allocated under it, as it is needed to signal fences and to reclaim.
#[pin_data]
pub(crate) struct AsSlots {
    pub(super) dev: ARef<device::Device>,
    pub(super) regs: Arc<Regs>,
    gpu: Arc<Gpu>,
    /// The slots that the hardware has.
    present: u32,
    #[pin]
    pub(super) irq: IrqBlock<MmuIrq>,
    #[pin]
    table: Mutex<Table>,
}

/// Counts "the device is gone" as success.
fn unless_gone(result: Result) -> Result {
    match result {
        Err(err) if err == ENODEV => Ok(()),
        other => other,
    }
}

impl AsSlots {
    /// Makes the slots of a GPU, all of them free.
    pub(crate) fn new(
        dev: ARef<device::Device>,
        regs: Arc<Regs>,
        gpu: Arc<Gpu>,
        as_present: u32,
    ) -> impl PinInit<Self, Error> {
        // One bit for each slot that has registers.
        let present = as_present & 0xffff;

        try_pin_init!(Self {
            dev,
            gpu,
            irq <- IrqBlock::new(regs.clone()),
            regs,
            table <- new_mutex!(Table {
                seats: SlotTable::new(present),
                closed: false,
            }),
            present,
        })
    }

    /// Makes the seat of a new address space.
    pub(crate) fn new_seat(&self) -> Result<Arc<Seat>> {
        Ok(Arc::new(
            Seat {
                state: LockedBy::new(&self.table, SeatData { locked: None }),
                faulty: Atomic::new(false),
                seated: Atomic::new(false),
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// Starts to listen to faults.
    pub(crate) fn resume(&self) -> Result {
        self.irq.resume(self.present)
    }

    /// Disables all slots, for good, and stops listening. Those that cannot be disabled keep their
    /// address spaces until [`Self::powered_off`].
    pub(crate) fn suspend(&self) -> Result {
        let mut result = Ok(());

        {
            let mut table = self.table.lock();

            table.closed = true;
            for slot in 0..MAX_SLOTS {
                if let Some(seat) = table.seats.occupant(slot).cloned() {
                    result = result.and(self.take_slot(&mut table, &seat));
                }
            }
        }

        result.and(self.irq.suspend())
    }

    /// The GPU has no power any more: nothing is left in any slot.
    pub(crate) fn powered_off(&self) {
        let mut table = self.table.lock();

        for slot in 0..MAX_SLOTS {
            table.seats.vacate(slot);
        }
    }

    /// Gives the address space a slot where it is active, and returns the number of the slot.
    ///
    /// The caller holds the operation lock of the address space. Every call is to be matched by one
    /// of [`Self::deactivate()`]. `EBUSY` when all slots are active, `EIO` when the hardware does
    /// not answer, `ENODEV` when the device is going away.
    pub(crate) fn activate(&self, seat: &Arc<Seat>, cfg: &AsConfig) -> Result<u32> {
        let mut table = self.table.lock();

        if table.closed {
            return Err(ENODEV);
        }

        let (slot, how) = table.seats.acquire(seat)?;
        seat.seated.store(true, Relaxed);
        let enable = match how {
            Acquired::Shared => false,
            // A fault has disabled the slot.
            Acquired::Resumed => seat.is_faulty(),
            Acquired::Taken => true,
            Acquired::Evicted(other) => {
                let locked = other.state.access(&table).locked.is_some();

                if let Err(err) = unless_gone(self.disable_for_reuse(slot, locked)) {
                    // It goes no further, but what it has written is not where it should be.
                    let _ = self.configure(slot, &AsConfig::UNMAPPED);
                    self.lose(&mut table, slot, &other);
                    return Err(err);
                }
                true
            }
        };

        if enable {
            let locked = seat.state.access(&table).locked;

            if let Err(err) = self.enable(slot, cfg, locked) {
                // How much of it the hardware has taken over is not known.
                let taken = self.take_slot(&mut table, seat);
                if err != ENODEV && taken.is_ok() {
                    dev_err!(&*self.dev, "AS{}: cannot be enabled\n", slot);
                }
                return Err(err);
            }
            seat.faulty.store(false, Relaxed);
        }

        // CAST: There are `MAX_SLOTS` slots.
        Ok(slot as u32)
    }

    /// Gives the microcontroller's slot to its address space, and lets the hardware use that. It
    /// stays there until [`Self::suspend()`]. The caller holds its operation lock. `EBUSY` when it is
    /// there already; `EIO` and `ENODEV` as [`Self::activate()`].
    pub(crate) fn activate_mcu(&self, seat: &Arc<Seat>, cfg: &AsConfig) -> Result {
        let mut table = self.table.lock();

        if table.closed {
            return Err(ENODEV);
        }
        let slot = table.seats.acquire_mcu(seat)?;
        seat.seated.store(true, Relaxed);
        if let Err(err) = self.enable(slot, cfg, seat.state.access(&table).locked) {
            // How much of it the hardware has taken over is not known.
            let _ = self.take_slot(&mut table, seat);
            return Err(err);
        }
        Ok(())
    }

    /// Undoes one [`Self::activate()`]. The address space stays in its slot, idle, when it was the
    /// last one.
    pub(crate) fn deactivate(&self, seat: &Arc<Seat>) {
        self.table.lock().seats.release(seat);
    }

    /// Makes the address space leave its slot, if it has one, whatever its users. `EIO` when the
    /// hardware does not let go of it: it is lost then, and so it stays.
    ///
    /// To be called before the translation tables are freed.
    pub(crate) fn unbind(&self, seat: &Arc<Seat>) -> Result {
        self.take_slot(&mut self.table.lock(), seat)
    }

    /// [`Self::unbind`] under the lock.
    fn take_slot(&self, table: &mut Table, seat: &Arc<Seat>) -> Result {
        let slot = match table.seats.state(seat) {
            SeatState::NoSlot => return Ok(()),
            SeatState::Lost(_) => return Err(EIO),
            SeatState::Idle(slot) | SeatState::Active(slot, _) => slot,
        };
        let locked = seat.state.access(table).locked.is_some();

        if unless_gone(self.disable(slot, locked)).is_err() {
            self.lose(table, slot, seat);
            return Err(EIO);
        }
        table.seats.remove(seat);
        Ok(())
    }

    /// The hardware does not let go of an address space.
    fn lose(&self, table: &mut Table, slot: usize, seat: &Arc<Seat>) {
        table.seats.lose(slot, seat.clone());
        dev_err!(
            &*self.dev,
            "AS{}: cannot be disabled and flushed; its memory stays until the driver is unbound\n",
            slot
        );
    }

    /// Stalls accesses of the GPU to a range of addresses whose translations are about to change.
    ///
    /// When another range is locked already, the lock is widened to hold both. An address space
    /// that is in no slot is not accessed, and does not get one meanwhile: the caller holds its
    /// operation lock, up to [`Self::unlock_region`]. `EIO` for one that is lost, or when the
    /// hardware does not answer: its accesses are not stalled.
    #[inline]
    pub(crate) fn lock_region(&self, seat: &Arc<Seat>, start: u64, size: u64) -> Result {
        if !seat.seated.load(Relaxed) {
            return Ok(());
        }
        self.lock_region_of_seated(seat, start, size)
    }

    /// [`Self::lock_region`] of one that may be in a slot.
    fn lock_region_of_seated(&self, seat: &Arc<Seat>, start: u64, size: u64) -> Result {
        let region = LockRegion::new(start, size).ok_or(EINVAL)?;
        let mut table = self.table.lock();
        let slot = Self::slot_of(&table, seat)?;
        let data = seat.state.access_mut(&mut table);

        let (region, is_new) = match data.locked {
            Some(locked) => {
                let both = locked.union(region);
                (both, both.lockaddr() != locked.lockaddr())
            }
            None => (region, true),
        };

        if let (Some(slot), true) = (slot, is_new) {
            unless_gone(self.lock(slot, region))?;
        }
        data.locked = Some(region);
        Ok(())
    }

    /// Makes the changes of the translations known to the GPU, and lets it go on. `EIO` as for
    /// [`Self::lock_region`]: it may still use the old ones.
    #[inline]
    pub(crate) fn unlock_region(&self, seat: &Arc<Seat>) -> Result {
        if !seat.seated.load(Relaxed) {
            return Ok(());
        }
        self.unlock_region_of_seated(seat)
    }

    /// [`Self::unlock_region`] of one that may be in a slot.
    fn unlock_region_of_seated(&self, seat: &Arc<Seat>) -> Result {
        let mut table = self.table.lock();
        let slot = Self::slot_of(&table, seat)?;

        if seat.state.access_mut(&mut table).locked.take().is_none() {
            return Ok(());
        }

        let Some(slot) = slot else {
            return Ok(());
        };

        let flushed = self.flush();
        unless_gone(flushed.and_then(|()| self.command(slot, CMD_UNLOCK)))
    }

    /// Where the address space sits.
    pub(crate) fn state(&self, seat: &Arc<Seat>) -> SeatState {
        self.table.lock().seats.state(seat)
    }

    /// The slot that a seat is in. `EIO` when it is lost.
    fn slot_of(table: &Table, seat: &Arc<Seat>) -> Result<Option<usize>> {
        match table.seats.state(seat) {
            SeatState::NoSlot => Ok(None),
            SeatState::Idle(slot) | SeatState::Active(slot, _) => Ok(Some(slot)),
            SeatState::Lost(_) => Err(EIO),
        }
    }

    /// Takes an address space that has faulted out of operation. It keeps its slot, which works
    /// again after the next activation.
    ///
    /// `report` is called before, unless the fault is not there any more: it was that of an
    /// address space that has left the slot.
    pub(super) fn fault(&self, slot: usize, report: impl FnOnce() -> Result) -> Result {
        let table = self.table.lock();

        if self.irq.raw_status()? & fault_event(slot) == 0 {
            return Ok(());
        }
        report()?;
        self.irq.clear(fault_event(slot))?;

        let Some(seat) = table.seats.occupant(slot) else {
            return self.disable(slot, false);
        };
        if Self::slot_of(&table, seat).is_err() {
            // It was tried before.
            return self.irq.disable(fault_event(slot));
        }
        let locked = seat.state.access(&table).locked;

        seat.faulty.store(true, Relaxed);
        self.disable(slot, locked.is_some())?;

        // The update under way will unlock it once more.
        match locked {
            Some(region) => self.lock(slot, region),
            None => Ok(()),
        }
    }

    /// Waits for the end of a command. `EIO` when it does not end in time: as it is tried again to
    /// get out of that, only the one who decides what becomes of the address space says so.
    fn wait_idle(&self, slot: usize) -> Result {
        self.regs
            .wait_until(
                |regs| regs.read_at::<STATUS>(slot),
                |status| !status.active(),
                COMMAND_POLL,
                COMMAND_TIMEOUT,
            )
            .map_err(|err| if err == ENODEV { err } else { EIO })
    }

    /// Has a command done.
    fn command(&self, slot: usize, cmd: u32) -> Result {
        self.wait_idle(slot)?;
        self.regs.write_at(slot, COMMAND::from(cmd))?;
        self.wait_idle(slot)
    }

    /// Writes caches back, and drops what the MMU has read of translation tables.
    fn flush(&self) -> Result {
        self.gpu.flush_caches(
            FlushMode::CleanInvalidate,
            FlushMode::CleanInvalidate,
            FlushMode::Invalidate,
        )
    }

    /// Locks a region of the address space in a slot.
    fn lock(&self, slot: usize, region: LockRegion) -> Result {
        self.regs
            .write64_at(slot, LOCKADDR::from(region.lockaddr()))?;
        self.command(slot, CMD_LOCK)
    }

    /// Makes a slot translate as `cfg` says.
    fn configure(&self, slot: usize, cfg: &AsConfig) -> Result {
        self.regs.write64_at(slot, TRANSTAB::from(cfg.transtab))?;
        self.regs.write64_at(slot, MEMATTR::from(cfg.memattr))?;
        self.regs.write64_at(slot, TRANSCFG::from(cfg.transcfg))?;
        self.command(slot, CMD_UPDATE)
    }

    /// Puts a slot into operation.
    fn enable(&self, slot: usize, cfg: &AsConfig, locked: Option<LockRegion>) -> Result {
        // A fault of whoever was there before is not one of the next.
        self.irq.clear(fault_event(slot))?;
        self.irq.enable(fault_event(slot))?;
        self.configure(slot, cfg)?;

        match locked {
            Some(region) => self.lock(slot, region),
            None => Ok(()),
        }
    }

    /// Empties a slot: nothing of its address space is left in a cache.
    fn disable_for_reuse(&self, slot: usize, locked: bool) -> Result {
        self.irq.disable(fault_event(slot))?;
        self.flush()?;

        if locked {
            self.command(slot, CMD_UNLOCK)?;
        }
        Ok(())
    }

    /// Takes a slot out of operation.
    fn disable(&self, slot: usize, locked: bool) -> Result {
        // Even if caches cannot be flushed the slot must not translate any more.
        let emptied = self.disable_for_reuse(slot, locked);

        emptied.and(self.configure(slot, &AsConfig::UNMAPPED))
    }
}

/// The MMU interrupt's event for a fault in a slot.
pub(super) fn fault_event(slot: usize) -> u32 {
    // CAST: There are `MAX_SLOTS` slots.
    1u32.checked_shl(slot as u32).unwrap_or(0)
}
