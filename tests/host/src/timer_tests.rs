// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the times that the firmware gets.

use crate::timer::timer_count;
use proptest::prelude::*;

#[test]
fn counts_are_rounded_up() {
    assert_eq!(timer_count(10_000, 24_000_000), 235);
    assert_eq!(timer_count(800, 24_000_000), 19);
    assert_eq!(timer_count(0, 24_000_000), 0);
    assert_eq!(timer_count(1, 1), 1);
    assert_eq!(timer_count(u64::MAX, u64::MAX), 0x7fff_ffff);
}

proptest! {
    #[test]
    fn not_shorter_and_not_much_longer(us in 0u64..1_000_000_000, hz in 1u64..1_000_000_000) {
        let count = u128::from(timer_count(us, hz)) * 1024 * 1_000_000;
        let wanted = u128::from(us) * u128::from(hz);
        prop_assert!(count >= wanted);
        prop_assert!(count < wanted + 1025 * 1_000_000);
    }
}
