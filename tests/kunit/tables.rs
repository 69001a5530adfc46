// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How many page tables a mapping needs.

use kernel::prelude::*;

#[kunit_tests(panthor_tables)]
mod tests {
    use crate::kernel_ext::io_pgtable::{most_tables, Demand, BLOCK, PAGE};

    const LEVEL_2: u64 = BLOCK << 9;
    const LEVEL_1: u64 = LEVEL_2 << 9;

    /// What mappings `(addr, pa, range)` need.
    fn tables(mappings: &[(u64, u64, u64)]) -> usize {
        let mut demand = Demand::default();
        for (addr, pa, range) in mappings {
            demand.add(*addr, *pa, *range);
        }
        demand.tables()
    }

    #[test]
    fn most() {
        assert_eq!(most_tables(0, PAGE), [1, 1, 1]);
        assert_eq!(most_tables(BLOCK - PAGE, 2 * PAGE), [2, 1, 1]);
        assert_eq!(most_tables(0, 1 << 40), [1 << 19, 1 << 10, 2]);
        assert_eq!(most_tables(u64::MAX - PAGE + 1, PAGE), [1, 1, 1]);
    }

    #[test]
    fn pages() {
        assert_eq!(tables(&[(0, PAGE, PAGE)]), 3);
        // Nothing more for others in the same tables.
        assert_eq!(tables(&[(0, PAGE, PAGE), (PAGE, 7 * PAGE, PAGE)]), 3);
        assert_eq!(tables(&[(BLOCK - PAGE, 0, PAGE)]), 3);
        assert_eq!(tables(&[(BLOCK - PAGE, 0, 2 * PAGE)]), 4);
        assert_eq!(tables(&[(LEVEL_2 - PAGE, 0, 2 * PAGE)]), 5);
        assert_eq!(tables(&[(LEVEL_1 - PAGE, 0, 2 * PAGE)]), 6);
        // 32 tables of pages, one above them, one above that.
        assert_eq!(tables(&[(0, PAGE, 32 * BLOCK)]), 34);
    }

    #[test]
    fn blocks() {
        // Blocks need no table of pages.
        assert_eq!(tables(&[(BLOCK, 4 * BLOCK, BLOCK)]), 2);
        assert_eq!(tables(&[(0, 0, 32 * BLOCK)]), 2);
        assert_eq!(tables(&[(LEVEL_2 - BLOCK, 0, 2 * BLOCK)]), 3);
        assert_eq!(tables(&[(LEVEL_1 - BLOCK, 0, 2 * BLOCK)]), 4);
        assert_eq!(tables(&[(0, 0, 3 * LEVEL_2)]), 4);
    }

    #[test]
    fn both() {
        // A block, and then pages in the part of the addresses of the same upper tables.
        let mixed = [(0, 0, BLOCK), (BLOCK, PAGE, BLOCK), (2 * BLOCK, 0, BLOCK)];
        assert_eq!(tables(&mixed), 3);
        // Pages up to where a block can begin, and after the last one.
        let start = BLOCK - 3 * PAGE;
        assert_eq!(tables(&[(start, start, 2 * BLOCK + 3 * PAGE)]), 3);
        assert_eq!(tables(&[(start, start, 2 * BLOCK + 4 * PAGE)]), 4);
    }
}
