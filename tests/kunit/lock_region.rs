// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Arithmetic of locked regions.

use kernel::prelude::*;

#[kunit_tests(panthor_lock_region)]
mod tests {
    use crate::panthor_mmu::region::LockRegion;

    /// What `LOCKADDR` is for a range.
    fn lockaddr(start: u64, size: u64) -> Option<u64> {
        LockRegion::new(start, size).map(LockRegion::lockaddr)
    }

    /// The block that a value of `LOCKADDR` stands for, as the hardware takes it: its first and
    /// its last byte.
    fn block(lockaddr: u64) -> (u64, u64) {
        let width = lockaddr & 0x3f;
        let mask = if width >= 63 {
            u64::MAX
        } else {
            (2u64 << width) - 1
        };

        (lockaddr & !mask, (lockaddr & !mask) | mask)
    }

    #[test]
    fn empty_or_too_long_is_refused() {
        assert!(lockaddr(0x1000, 0).is_none());
        assert!(lockaddr(u64::MAX, 2).is_none());
        assert!(lockaddr(u64::MAX - 0xfff, 0x1001).is_none());
        assert!(lockaddr(u64::MAX - 0xfff, 0x1000).is_some());
    }

    #[test]
    fn smallest_block_is_32_kib() {
        assert_eq!(lockaddr(0, 1), Some(14));
        assert_eq!(lockaddr(0x1000, 0x1000), Some(14));
        assert_eq!(lockaddr(0x8000, 0x8000), Some(0x8000 | 14));
        assert_eq!(lockaddr(0xf000, 0x1000), Some(0x8000 | 14));
    }

    #[test]
    fn block_is_naturally_aligned() {
        // One page on each side of a 2 MiB border needs a block of 4 MiB.
        assert_eq!(lockaddr(0x1f_f000, 0x2000), Some(21));
        assert_eq!(lockaddr(0x20_0000, 0x20_0000), Some(0x20_0000 | 20));
        assert_eq!(lockaddr(0x20_0000, 0x20_1000), Some(22));
        // Both sides of the middle of the address space.
        assert_eq!(lockaddr(0x7fff_ffff_f000, 0x2000), Some(47));
    }

    #[test]
    fn whole_address_space() {
        assert_eq!(lockaddr(0, u64::MAX), Some(63));
        assert_eq!(lockaddr(0x7fff_ffff_ffff_ffff, 2), Some(63));
        assert_eq!(
            lockaddr(0x8000_0000_0000_0000, 1 << 63),
            Some(0x8000_0000_0000_0000 | 62)
        );
    }

    #[test]
    fn block_always_holds_the_range() {
        let mut seed = 1u64;

        for _ in 0..1000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let start = (seed >> 16) & !0xfff;
            let size = ((seed & 0xffff) + 1) << 12;
            let (first, last) = block(lockaddr(start, size).unwrap_or(0));

            assert!(first <= start && start + (size - 1) <= last);
            // No block of half the size would do.
            let half = (last - first) / 2 + 1;
            assert!(half < 0x8000 || (start ^ (start + (size - 1))) & half != 0);
        }
    }

    #[test]
    fn union_holds_both() {
        let low = LockRegion::new(0x1000, 0x1000);
        let high = LockRegion::new(0x10_0000, 0x1000);

        if let (Some(low), Some(high)) = (low, high) {
            assert_eq!(Some(low.union(high)), LockRegion::new(0x1000, 0x10_0000));
            assert_eq!(low.union(high), high.union(low));
            assert_eq!(low.union(low), low);
        } else {
            assert!(false);
        }
    }
}
