// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Flags of the timestamp query.

use kernel::prelude::*;

#[kunit_tests(panthor_query)]
mod tests {
    use crate::panthor_query::TimestampFlags;

    #[test]
    fn known_flags() {
        for flags in [
            0,
            1,
            1 << 1,
            2 << 1,
            1 << 4,
            1 << 5,
            1 << 6,
            1 << 7,
            0xf3,
            0xf5,
        ] {
            assert!(TimestampFlags::new(flags).is_ok());
        }
    }

    #[test]
    fn unknown_flags() {
        for flags in [1 << 8, 1 << 31, 0x101, u32::MAX] {
            assert!(TimestampFlags::new(flags).is_err());
        }
    }

    #[test]
    fn unknown_cpu_clocks() {
        for clock in 3..=7 {
            assert!(TimestampFlags::new(clock << 1).is_err());
        }
    }
}
