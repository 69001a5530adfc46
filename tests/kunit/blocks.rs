// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Blocks of 2 MiB: where they can be used, and how they are split.

use kernel::prelude::*;

#[kunit_tests(panthor_blocks)]
mod tests {
    use crate::{
        kernel_ext::io_pgtable::{chunk, BLOCK, PAGE},
        panthor_mmu::space::widen_to_blocks,
    };

    #[test]
    fn blocks_where_aligned() {
        assert_eq!(chunk(0, BLOCK, 0), (BLOCK, 1));
        assert_eq!(chunk(4 * BLOCK, 3 * BLOCK, 4 * BLOCK), (BLOCK, 3));
        // The rest is for the next round.
        assert_eq!(chunk(BLOCK, 2 * BLOCK + PAGE, BLOCK), (BLOCK, 2));
    }

    #[test]
    fn pages_up_to_the_next_block() {
        assert_eq!(chunk(PAGE, 4 * BLOCK, PAGE), (PAGE, BLOCK / PAGE - 1));
        assert_eq!(chunk(BLOCK - PAGE, 4 * BLOCK, BLOCK - PAGE), (PAGE, 1));
        // Aligned, but too short.
        assert_eq!(chunk(0, BLOCK - PAGE, 0), (PAGE, BLOCK / PAGE - 1));
        // The address is aligned, the memory is not.
        assert_eq!(chunk(PAGE, 4 * BLOCK, BLOCK), (PAGE, BLOCK / PAGE));
        assert_eq!(chunk(PAGE, 3 * PAGE, PAGE), (PAGE, 3));
    }

    #[test]
    fn middle_of_a_block() {
        let all = |_| true;

        assert_eq!(
            widen_to_blocks(BLOCK + PAGE, BLOCK + 2 * PAGE, 0, 4 * BLOCK, all),
            (BLOCK, 2 * BLOCK)
        );
        // One block at each end, and whole ones between.
        assert_eq!(
            widen_to_blocks(PAGE, 3 * BLOCK + PAGE, 0, 4 * BLOCK, all),
            (0, 4 * BLOCK)
        );
    }

    #[test]
    fn whole_blocks_stay() {
        let all = |_| true;

        assert_eq!(
            widen_to_blocks(BLOCK, 3 * BLOCK, 0, 4 * BLOCK, all),
            (BLOCK, 3 * BLOCK)
        );
    }

    #[test]
    fn pages_stay() {
        let none = |_| false;

        assert_eq!(
            widen_to_blocks(PAGE, 3 * BLOCK + PAGE, 0, 4 * BLOCK, none),
            (PAGE, 3 * BLOCK + PAGE)
        );
        // A block at the start only.
        assert_eq!(
            widen_to_blocks(PAGE, 3 * BLOCK + PAGE, 0, 4 * BLOCK, |addr| addr < BLOCK),
            (0, 3 * BLOCK + PAGE)
        );
    }

    #[test]
    fn never_beyond_the_mapping() {
        let all = |_| true;
        let (lower, upper) = (PAGE, 4 * BLOCK - PAGE);

        assert_eq!(
            widen_to_blocks(2 * PAGE, 4 * BLOCK - 2 * PAGE, lower, upper, all),
            (2 * PAGE, 4 * BLOCK - 2 * PAGE)
        );
        assert_eq!(
            widen_to_blocks(u64::MAX - PAGE, u64::MAX, 0, u64::MAX, all).1,
            u64::MAX
        );
    }
}
