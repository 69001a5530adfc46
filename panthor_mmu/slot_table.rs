// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Who sits in which address space slot. Bookkeeping only: the hardware is not touched here.

use crate::panthor_regs::mmu_control::MAX_SLOTS;
use kernel::prelude::*;

/// The slot that belongs to the microcontroller.
pub(crate) const MCU_SLOT: usize = 0;

/// Who can sit in a slot.
pub(crate) trait Occupant: Clone {
    /// Whether it is the same one.
    fn is(&self, other: &Self) -> bool;
}

/// State of a slot.
enum Slot<T> {
    /// The hardware does not have it.
    Absent,
    /// It is kept for the microcontroller, which is not there.
    Reserved,
    /// Nobody sits there.
    Free,
    /// Nobody uses it, but its occupant may stay until another wants the slot.
    Idle {
        /// The occupant.
        who: T,
        /// When it became idle, see [`SlotTable::clock`].
        since: u64,
    },
    /// It is in use.
    Active {
        /// The occupant.
        who: T,
        /// How many times it was acquired, at least 1.
        users: u32,
    },
    /// The hardware could not be made to leave its occupant alone. Nobody gets the slot any more.
    Lost {
        /// The occupant.
        who: T,
    },
}

impl<T> Slot<T> {
    /// The slot of this number, which the hardware has, without an occupant.
    fn empty(index: usize) -> Self {
        if index == MCU_SLOT {
            Slot::Reserved
        } else {
            Slot::Free
        }
    }

    fn occupant(&self) -> Option<&T> {
        match self {
            Slot::Absent | Slot::Reserved | Slot::Free => None,
            Slot::Idle { who, .. } | Slot::Active { who, .. } | Slot::Lost { who } => Some(who),
        }
    }
}

/// Where an occupant sits, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeatState {
    /// Nowhere.
    NoSlot,
    /// In this slot, without users.
    Idle(usize),
    /// In this slot, with this number of users.
    Active(usize, u32),
    /// In this slot, which the hardware did not let go of.
    Lost(usize),
}

/// What had to be done to give somebody a slot.
pub(crate) enum Acquired<T> {
    /// It was in use by the same one already.
    Shared,
    /// It was idle, its occupant is the same.
    Resumed,
    /// It was free.
    Taken,
    /// It was idle, this one had to leave it.
    Evicted(T),
}

/// The slots of a GPU.
pub(crate) struct SlotTable<T> {
    slots: [Slot<T>; MAX_SLOTS],
    /// Counts releases, to know which idle occupant was used last.
    clock: u64,
}

impl<T: Occupant> SlotTable<T> {
    /// Makes a table of the slots in the bitmap `present`, but for that of the microcontroller.
    pub(crate) fn new(present: u32) -> Self {
        Self {
            slots: core::array::from_fn(|i| {
                if present.checked_shr(i as u32).unwrap_or(0) & 1 != 0 {
                    Slot::empty(i)
                } else {
                    Slot::Absent
                }
            }),
            clock: 0,
        }
    }

    /// The slot that `who` sits in.
    fn position(&self, who: &T) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.occupant().is_some_and(|other| other.is(who)))
    }

    /// Where `who` sits.
    pub(crate) fn state(&self, who: &T) -> SeatState {
        let position = self
            .position(who)
            .and_then(|i| Some((i, self.slots.get(i)?)));

        match position {
            Some((i, Slot::Idle { .. })) => SeatState::Idle(i),
            Some((i, Slot::Active { users, .. })) => SeatState::Active(i, *users),
            Some((i, Slot::Lost { .. })) => SeatState::Lost(i),
            _ => SeatState::NoSlot,
        }
    }

    /// The occupant of a slot.
    pub(crate) fn occupant(&self, slot: usize) -> Option<&T> {
        self.slots.get(slot)?.occupant()
    }

    /// Gives `who` a slot and counts it as a user: its own one, else the lowest free one, else the
    /// one that has been idle for longest. `EBUSY` when all are in use, `EIO` when its own is lost.
    pub(crate) fn acquire(&mut self, who: &T) -> Result<(usize, Acquired<T>)> {
        let index = self
            .position(who)
            .or_else(|| self.slots.iter().position(|s| matches!(s, Slot::Free)))
            .or_else(|| self.longest_idle())
            .ok_or(EBUSY)?;
        let slot = self.slots.get_mut(index).ok_or(EBUSY)?;

        let users = match slot {
            Slot::Active { users, .. } => users.checked_add(1).ok_or(EOVERFLOW)?,
            Slot::Lost { .. } => return Err(EIO),
            _ => 1,
        };
        let before = core::mem::replace(
            slot,
            Slot::Active {
                who: who.clone(),
                users,
            },
        );

        Ok((
            index,
            match before {
                Slot::Active { .. } => Acquired::Shared,
                Slot::Idle { who: other, .. } if other.is(who) => Acquired::Resumed,
                Slot::Idle { who: other, .. } => Acquired::Evicted(other),
                Slot::Absent | Slot::Reserved | Slot::Free | Slot::Lost { .. } => Acquired::Taken,
            },
        ))
    }

    /// Gives the slot of the microcontroller to `who`, as its only user. `EBUSY` when somebody has it.
    pub(crate) fn acquire_mcu(&mut self, who: &T) -> Result<usize> {
        match self.slots.get_mut(MCU_SLOT) {
            Some(slot @ Slot::Reserved) => {
                *slot = Slot::Active {
                    who: who.clone(),
                    users: 1,
                };
                Ok(MCU_SLOT)
            }
            _ => Err(EBUSY),
        }
    }

    /// `who` has one user less; without any it becomes idle.
    pub(crate) fn release(&mut self, who: &T) {
        let Some(slot) = self.position(who).and_then(|i| self.slots.get_mut(i)) else {
            return;
        };
        let Slot::Active { users, .. } = slot else {
            return;
        };

        *users = users.saturating_sub(1);
        if *users == 0 {
            self.clock = self.clock.wrapping_add(1);
            *slot = Slot::Idle {
                who: who.clone(),
                since: self.clock,
            };
        }
    }

    /// Makes `who` leave its slot, used or not; returns the slot.
    pub(crate) fn remove(&mut self, who: &T) -> Option<usize> {
        let index = self.position(who)?;

        *self.slots.get_mut(index)? = Slot::empty(index);
        Some(index)
    }

    /// The hardware does not let go of the slot: it stays with `who`, who is or was its occupant.
    pub(crate) fn lose(&mut self, slot: usize, who: T) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = Slot::Lost { who };
        }
    }

    /// Makes the occupant of a slot leave it.
    pub(crate) fn vacate(&mut self, index: usize) -> Option<T> {
        let slot = self.slots.get_mut(index)?;

        slot.occupant()?;
        match core::mem::replace(slot, Slot::empty(index)) {
            Slot::Idle { who, .. } | Slot::Active { who, .. } | Slot::Lost { who } => Some(who),
            Slot::Absent | Slot::Reserved | Slot::Free => None,
        }
    }

    /// The slot that has been idle for longest.
    fn longest_idle(&self) -> Option<usize> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| match slot {
                Slot::Idle { since, .. } => Some((*since, i)),
                _ => None,
            })
            .min()
            .map(|(_, i)| i)
    }
}
