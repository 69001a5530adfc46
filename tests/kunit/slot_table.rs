// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Who sits in which address space slot.

use kernel::prelude::*;

#[kunit_tests(panthor_slot_table)]
mod tests {
    use crate::panthor_mmu::slot_table::{Acquired, Occupant, SeatState, SlotTable};
    use kernel::prelude::*;

    impl Occupant for u32 {
        fn is(&self, other: &Self) -> bool {
            self == other
        }
    }

    /// The outcome of an acquisition in a form that can be compared.
    fn acquire(table: &mut SlotTable<u32>, who: u32) -> Result<(usize, &'static str, u32)> {
        let (slot, how) = table.acquire(&who)?;

        Ok(match how {
            Acquired::Shared => (slot, "shared", 0),
            Acquired::Resumed => (slot, "resumed", 0),
            Acquired::Taken => (slot, "taken", 0),
            Acquired::Evicted(other) => (slot, "evicted", other),
        })
    }

    /// A table of the eight slots of a G610.
    fn table() -> SlotTable<u32> {
        SlotTable::new(0xff)
    }

    #[test]
    fn lowest_free_slot_but_not_that_of_the_mcu() -> Result {
        let mut table = table();

        assert_eq!(acquire(&mut table, 10)?, (1, "taken", 0));
        assert_eq!(acquire(&mut table, 11)?, (2, "taken", 0));
        table.remove(&10);
        assert_eq!(acquire(&mut table, 12)?, (1, "taken", 0));
        assert_eq!(acquire(&mut table, 13)?, (3, "taken", 0));
        Ok(())
    }

    #[test]
    fn the_slot_of_the_mcu_is_for_nobody_else() -> Result {
        let mut table = table();

        assert_eq!(table.acquire_mcu(&7)?, 0);
        assert_eq!(table.state(&7), SeatState::Active(0, 1));
        assert_eq!(table.acquire_mcu(&8), Err(EBUSY));
        for who in 1..8 {
            acquire(&mut table, who + 100)?;
        }
        assert_eq!(acquire(&mut table, 108), Err(EBUSY));
        // Without an occupant it is not free either.
        assert_eq!(table.vacate(0), Some(7));
        assert_eq!(acquire(&mut table, 108), Err(EBUSY));
        assert_eq!(table.acquire_mcu(&9)?, 0);
        assert_eq!(table.remove(&9), Some(0));
        assert_eq!(acquire(&mut table, 108), Err(EBUSY));
        // A GPU without it has no microcontroller.
        assert_eq!(SlotTable::new(0b10).acquire_mcu(&1), Err(EBUSY));
        Ok(())
    }

    #[test]
    fn slots_that_are_not_present_are_not_used() -> Result {
        let mut table = SlotTable::new(0b1_0010_0001);

        assert_eq!(acquire(&mut table, 1)?, (5, "taken", 0));
        assert_eq!(acquire(&mut table, 2)?, (8, "taken", 0));
        assert_eq!(acquire(&mut table, 3), Err(EBUSY));
        Ok(())
    }

    #[test]
    fn users_are_counted() -> Result {
        let mut table = table();

        assert_eq!(table.state(&7), SeatState::NoSlot);
        assert_eq!(acquire(&mut table, 7)?, (1, "taken", 0));
        assert_eq!(acquire(&mut table, 7)?, (1, "shared", 0));
        assert_eq!(table.state(&7), SeatState::Active(1, 2));
        table.release(&7);
        assert_eq!(table.state(&7), SeatState::Active(1, 1));
        table.release(&7);
        assert_eq!(table.state(&7), SeatState::Idle(1));
        // One too many changes nothing.
        table.release(&7);
        assert_eq!(table.state(&7), SeatState::Idle(1));
        assert_eq!(acquire(&mut table, 7)?, (1, "resumed", 0));
        Ok(())
    }

    #[test]
    fn full_of_active_ones_is_busy() -> Result {
        let mut table = table();

        for who in 1..=7 {
            acquire(&mut table, who)?;
        }
        assert_eq!(acquire(&mut table, 8), Err(EBUSY));
        assert_eq!(table.state(&8), SeatState::NoSlot);
        table.release(&3);
        assert_eq!(acquire(&mut table, 8)?, (3, "evicted", 3));
        assert_eq!(table.state(&3), SeatState::NoSlot);
        Ok(())
    }

    #[test]
    fn longest_idle_one_is_evicted() -> Result {
        let mut table = table();

        for who in 1..=7 {
            acquire(&mut table, who)?;
        }
        for who in [5, 2, 6] {
            table.release(&who);
        }
        // Used again, so it is not the one that was idle for longest.
        acquire(&mut table, 5)?;
        table.release(&5);

        assert_eq!(acquire(&mut table, 8)?, (2, "evicted", 2));
        assert_eq!(acquire(&mut table, 9)?, (6, "evicted", 6));
        assert_eq!(acquire(&mut table, 10)?, (5, "evicted", 5));
        assert_eq!(acquire(&mut table, 11), Err(EBUSY));
        Ok(())
    }

    #[test]
    fn lost_slots_are_nobodys() -> Result {
        let mut table = table();

        for who in 1..=7 {
            acquire(&mut table, who)?;
        }
        table.release(&2);
        table.lose(2, 2);
        assert_eq!(table.state(&2), SeatState::Lost(2));
        assert_eq!(table.occupant(2), Some(&2));
        // Neither by its occupant, nor by another one, nor by its users going.
        assert_eq!(acquire(&mut table, 2), Err(EIO));
        assert_eq!(acquire(&mut table, 8), Err(EBUSY));
        table.release(&2);
        assert_eq!(table.state(&2), SeatState::Lost(2));
        // The one who was pushed out, and not the one who should have got the slot.
        table.release(&5);
        assert_eq!(acquire(&mut table, 8)?, (5, "evicted", 5));
        table.lose(5, 5);
        assert_eq!(table.state(&5), SeatState::Lost(5));
        assert_eq!(table.state(&8), SeatState::NoSlot);
        assert_eq!(table.vacate(5), Some(5));
        assert_eq!(acquire(&mut table, 8)?, (5, "taken", 0));
        Ok(())
    }

    #[test]
    fn removed_and_vacated_slots_are_free() -> Result {
        let mut table = table();

        acquire(&mut table, 1)?;
        acquire(&mut table, 2)?;
        table.release(&2);
        assert_eq!(table.remove(&1), Some(1));
        assert_eq!(table.remove(&1), None);
        assert_eq!(table.vacate(2), Some(2));
        assert_eq!(table.vacate(2), None);
        // That of the microcontroller, and one that does not exist.
        assert_eq!(table.vacate(0), None);
        assert_eq!(table.vacate(100), None);
        assert_eq!(table.occupant(1), None);
        Ok(())
    }
}
