// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How many page tables a mapping needs.

use kernel::prelude::*;

#[kunit_tests(panthor_tables)]
mod tests {
    use crate::kernel_ext::io_pgtable::{most_tables, Demand, BLOCK, PAGE};

    const LEVEL_2: u64 = BLOCK << 9;
    const LEVEL_1: u64 = LEVEL_2 << 9;

    /// What mappings `(addr, pa, range)` need where `missing` tables are missing everywhere.
    fn tables(missing: usize, mappings: &[(u64, u64, u64)]) -> usize {
        let mut demand = Demand::new(|_| missing);
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
        for missing in 0..=3 {
            assert_eq!(tables(missing, &[(0, PAGE, PAGE)]), missing);
            // Nothing more for others in the same tables.
            assert_eq!(
                tables(missing, &[(0, PAGE, PAGE), (PAGE, 7 * PAGE, PAGE)]),
                missing
            );
            assert_eq!(tables(missing, &[(BLOCK - PAGE, 0, PAGE)]), missing);
        }
        assert_eq!(tables(1, &[(BLOCK - PAGE, 0, 2 * PAGE)]), 2);
        assert_eq!(tables(3, &[(BLOCK - PAGE, 0, 2 * PAGE)]), 4);
        assert_eq!(tables(3, &[(LEVEL_2 - PAGE, 0, 2 * PAGE)]), 5);
        assert_eq!(tables(3, &[(LEVEL_1 - PAGE, 0, 2 * PAGE)]), 6);
        // 32 tables of pages, one above them, one above that.
        assert_eq!(tables(3, &[(0, PAGE, 32 * BLOCK)]), 34);
        assert_eq!(tables(1, &[(0, PAGE, 32 * BLOCK)]), 32);
    }

    #[test]
    fn blocks() {
        // Blocks need no table of pages.
        for (missing, want) in [(0, 0), (1, 0), (2, 1), (3, 2)] {
            assert_eq!(tables(missing, &[(BLOCK, 4 * BLOCK, BLOCK)]), want);
            assert_eq!(tables(missing, &[(0, 0, 32 * BLOCK)]), want);
        }
        assert_eq!(tables(2, &[(LEVEL_2 - BLOCK, 0, 2 * BLOCK)]), 2);
        assert_eq!(tables(3, &[(LEVEL_2 - BLOCK, 0, 2 * BLOCK)]), 3);
        assert_eq!(tables(3, &[(LEVEL_1 - BLOCK, 0, 2 * BLOCK)]), 4);
        assert_eq!(tables(3, &[(0, 0, 3 * LEVEL_2)]), 4);
    }

    #[test]
    fn both() {
        // A block, and then pages in the part of the addresses of the same upper tables.
        assert_eq!(
            tables(
                3,
                &[(0, 0, BLOCK), (BLOCK, PAGE, BLOCK), (2 * BLOCK, 0, BLOCK)]
            ),
            3
        );
        // Pages up to where a block can begin, and after the last one.
        let start = BLOCK - 3 * PAGE;
        assert_eq!(tables(1, &[(start, start, 2 * BLOCK + 3 * PAGE)]), 1);
        assert_eq!(tables(1, &[(start, start, 2 * BLOCK + 4 * PAGE)]), 2);
    }

    #[test]
    fn some_are_there() {
        // Only the second part of 2 MiB has no table.
        let mut demand = Demand::new(|addr| usize::from(addr / BLOCK == 1));
        demand.add(0, PAGE, 3 * BLOCK);
        assert_eq!(demand.tables(), 1);
    }
}
