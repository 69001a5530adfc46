// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How many tables a mapping needs.

use super::{chunk, BLOCK};

/// The parts of the addresses that a table of level 3, 2 and 1 stands for.
const PARTS: [u64; 3] = [BLOCK, BLOCK << 9, BLOCK << 18];

/// How many tables of level 3, 2 and 1 there can be behind a range of addresses, which is not empty
/// and ends below 2^64.
pub(crate) fn most_tables(addr: u64, range: u64) -> [u64; 3] {
    let last = addr.saturating_add(range.saturating_sub(1));
    PARTS.map(|part| last / part - addr / part + 1)
}

/// Counts the tables that are missing for mappings, which come in the order of their addresses.
pub(crate) struct Demand<F> {
    missing: F,
    tables: usize,
    /// Up to where tables of level 3, 2 and 1 are counted.
    counted: [u64; 3],
}

impl<F: Fn(u64) -> usize> Demand<F> {
    /// `missing` says how many tables are missing on the way to the entry of a page: 3 when there
    /// is none but the root.
    pub(crate) fn new(missing: F) -> Self {
        Self {
            missing,
            tables: 0,
            counted: [0; 3],
        }
    }

    /// How many tables are missing.
    pub(crate) fn tables(&self) -> usize {
        self.tables
    }

    /// Adds the mapping of `range` bytes at `addr` to memory at `pa`.
    pub(crate) fn add(&mut self, addr: u64, pa: u64, range: u64) {
        let mut done = 0;
        while done < range {
            let start = addr + done;
            let (size, count) = chunk(start | pa + done, range - done, start);
            done += size * count;
            // A block is an entry of a table of level 2.
            let lowest = usize::from(size == BLOCK);
            let mut at = start;
            while at < addr + done {
                at = self.count(lowest, at);
            }
        }
    }

    /// Counts what is missing of the tables on the way to an entry, from those that stand for
    /// `PARTS[lowest]` up. Returns the next address for which another table is needed.
    fn count(&mut self, lowest: usize, addr: u64) -> u64 {
        let mut missing = None;
        let mut next = u64::MAX;
        for (i, (part, counted)) in PARTS.iter().zip(&mut self.counted).enumerate().skip(lowest) {
            if *counted <= addr {
                *counted = (addr - addr % part).saturating_add(*part);
                // The lower ones are missing when an upper one is.
                let missing = *missing.get_or_insert_with(|| (self.missing)(addr));
                self.tables += usize::from(missing > i);
            }
            next = next.min(*counted);
        }
        next
    }
}
