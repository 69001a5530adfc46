// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a thread knows of translations, so that an access takes no lock.
//!
//! It is filled by [`Mmu::access`](crate::mmu::Mmu::access), with all its checks, and is good for one
//! epoch of the [`Gate`](crate::device::gate::Gate) and one piece of a stream at most. So a stale
//! entry of the TLB is found when the next piece uses it.

use crate::mmu::fault::Kind;
use crate::ram::Page;

/// Entries. A power of two.
const ENTRIES: usize = 1024;
/// Bits of an offset in a page.
const SHIFT: u32 = 12;

#[derive(Clone, Debug, Default)]
struct Entry {
    /// The page's number, and when it was found.
    number: u64,
    stamp: u64,
    /// A bit for each kind of access that was checked.
    checked: u8,
    page: Option<Page>,
}

/// A direct-mapped cache.
#[derive(Debug)]
pub struct Cache {
    entries: Vec<Entry>,
    /// Entries of other stamps are not good.
    stamp: u64,
}

fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Read => 1,
        Kind::Write => 2,
        Kind::Execute => 4,
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            entries: vec![Entry::default(); ENTRIES],
            stamp: 1,
        }
    }
}

impl Cache {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.stamp += 1;
    }

    fn index(number: u64) -> usize {
        (number ^ (number >> 10)) as usize % ENTRIES
    }

    /// The page of an address, if it was found for this kind of access.
    #[inline]
    pub fn find(&self, va: u64, kind: Kind) -> Option<&Page> {
        let number = va >> SHIFT;
        let entry = &self.entries[Self::index(number)];
        if entry.number == number && entry.stamp == self.stamp && entry.checked & bit(kind) != 0 {
            entry.page.as_ref()
        } else {
            None
        }
    }

    /// Remembers the page of an address.
    pub fn fill(&mut self, va: u64, kind: Kind, page: Page) {
        let number = va >> SHIFT;
        let entry = &mut self.entries[Self::index(number)];
        if entry.number != number || entry.stamp != self.stamp {
            entry.checked = 0;
        }
        entry.number = number;
        entry.stamp = self.stamp;
        entry.checked |= bit(kind);
        entry.page = Some(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::GuestRam;

    #[test]
    fn by_kind_until_cleared() {
        let ram = GuestRam::anonymous(0, 0x4000).unwrap();
        let mut cache = Cache::default();
        assert!(cache.find(0, Kind::Read).is_none(), "page 0 is no default");
        cache.fill(0x5123, Kind::Read, ram.page(0x1000).unwrap());
        assert!(cache.find(0x5fff, Kind::Read).is_some());
        assert!(cache.find(0x5000, Kind::Write).is_none());
        assert!(cache.find(0x6000, Kind::Read).is_none());
        cache.fill(0x5000, Kind::Write, ram.page(0x1000).unwrap());
        assert!(cache.find(0x5000, Kind::Read).is_some(), "still");
        cache.clear();
        assert!(cache.find(0x5000, Kind::Write).is_none());
        cache.fill(0x5000, Kind::Write, ram.page(0x2000).unwrap());
        assert!(cache.find(0x5000, Kind::Read).is_none(), "not of this time");
    }
}
