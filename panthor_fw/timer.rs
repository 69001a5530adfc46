// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Times, as the firmware wants them. Nothing of the kernel is used here; `tests/host` has the tests.

/// What a timer of the firmware counts is this many ticks of the system counter.
const TICKS: u64 = 1024;

/// The most that the field holds. The bit above it chooses another clock.
const MOST: u64 = 0x7fff_ffff;

/// A time in microseconds as a number for a timer, rounded up, with a system counter of `hz`. The
/// longest there is for one that is longer.
pub(crate) fn timer_count(us: u64, hz: u64) -> u32 {
    let ticks = us.saturating_mul(hz).div_ceil(1_000_000);
    // CAST: At most `MOST`.
    ticks.div_ceil(TICKS).min(MOST) as u32
}
