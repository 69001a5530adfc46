// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The TLB of one address space. It forgets nothing by itself.

use super::lock::Region;
use super::walk::{Leaf, BLOCK, PAGE};
use std::collections::BTreeMap;

/// Entries after which all are forgotten: 1 GiB in pages. Keeps an UPDATE, which compares them all
/// with the tables, well under the 100 ms that a driver waits.
const LIMIT: usize = 1 << 18;

/// A remembered translation.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What the walk found.
    pub leaf: Leaf,
    /// A violation was counted for this entry already.
    pub reported: bool,
}

/// Translations by first address.
#[derive(Debug, Default)]
pub struct Tlb {
    pages: BTreeMap<u64, Entry>,
    blocks: BTreeMap<u64, Entry>,
}

impl Tlb {
    /// The entry for an address.
    pub fn lookup(&mut self, va: u64) -> Option<&mut Entry> {
        // A page wins over a block, as the later of two conflicting entries would.
        match self.pages.get_mut(&(va & !(PAGE - 1))) {
            Some(entry) => Some(entry),
            None => self.blocks.get_mut(&(va & !(BLOCK - 1))),
        }
    }

    /// The entry for an address, to look at.
    pub fn peek(&self, va: u64) -> Option<&Entry> {
        self.pages
            .get(&(va & !(PAGE - 1)))
            .or_else(|| self.blocks.get(&(va & !(BLOCK - 1))))
    }

    /// Adds an entry.
    pub fn fill(&mut self, leaf: Leaf) {
        if self.len() >= LIMIT {
            self.pages.clear();
            self.blocks.clear();
        }
        let map = if leaf.size == PAGE {
            &mut self.pages
        } else {
            &mut self.blocks
        };
        map.insert(
            leaf.va,
            Entry {
                leaf,
                reported: false,
            },
        );
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.pages.len() + self.blocks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, pages first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pages.values().chain(self.blocks.values())
    }

    /// Entries that touch a region.
    pub fn in_region(&mut self, region: Region) -> impl Iterator<Item = &mut Entry> {
        let pages = self.pages.range_mut(region.first..=region.last);
        let first_block = region.first & !(BLOCK - 1);
        let blocks = self.blocks.range_mut(first_block..=region.last);
        pages.chain(blocks).map(|(_, entry)| entry)
    }

    /// Drops the entries that touch a region; says how many.
    pub fn drop_region(&mut self, region: Region) -> usize {
        let before = self.len();
        if region.first == 0 && region.last >= (1 << 48) - 1 {
            self.pages.clear();
            self.blocks.clear();
            return before;
        }
        let keys = |map: &BTreeMap<u64, Entry>, first: u64| -> Vec<u64> {
            map.range(first..=region.last).map(|(va, _)| *va).collect()
        };
        for va in keys(&self.pages, region.first) {
            self.pages.remove(&va);
        }
        for va in keys(&self.blocks, region.first & !(BLOCK - 1)) {
            self.blocks.remove(&va);
        }
        before - self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(va: u64, size: u64) -> Leaf {
        Leaf {
            va,
            pa: va,
            size,
            attr: 1,
            memattr: 0x8f,
            read_only: false,
            no_exec: false,
            no_user: false,
        }
    }

    #[test]
    fn a_block_that_starts_before_the_region_goes_too() {
        let mut tlb = Tlb::default();
        tlb.fill(leaf(0x20_0000, BLOCK));
        tlb.fill(leaf(0x40_0000, PAGE));
        tlb.fill(leaf(0x60_0000, PAGE));
        assert_eq!(tlb.lookup(0x3f_ffff).map(|e| e.leaf.size), Some(BLOCK));
        let region = Region {
            first: 0x3f_8000,
            last: 0x40_7fff,
        };
        assert_eq!(tlb.in_region(region).count(), 2);
        assert_eq!(tlb.drop_region(region), 2);
        assert_eq!(tlb.len(), 1);
        assert!(tlb.lookup(0x20_0000).is_none());
        assert!(tlb.lookup(0x60_0fff).is_some());
        assert_eq!(tlb.drop_region(Region::ALL), 1);
        assert!(tlb.is_empty());
    }
}
