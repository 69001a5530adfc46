// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Clocks, for comparing them with those of a device.
//!
//! C headers: `include/linux/timekeeping.h`, `include/linux/sched/clock.h`

use super::bindings;
use kernel::ffi::c_long;

/// A point in time of one of the kernel's clocks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Timespec {
    /// Seconds.
    pub(crate) sec: i64,
    /// Nanoseconds, less than a second.
    pub(crate) nsec: c_long,
}

impl Timespec {
    /// `CLOCK_MONOTONIC`.
    pub(crate) fn monotonic() -> Self {
        let mut ts = bindings::timespec64::default();

        // SAFETY: The pointer is valid.
        unsafe { bindings::ktime_get_ts64(&mut ts) };
        ts.into()
    }

    /// `CLOCK_MONOTONIC_RAW`.
    pub(crate) fn monotonic_raw() -> Self {
        let mut ts = bindings::timespec64::default();

        // SAFETY: The pointer is valid.
        unsafe { bindings::ktime_get_raw_ts64(&mut ts) };
        ts.into()
    }

    /// A monotonic time as the current process's time namespace shows it; unchanged for a process
    /// that exits and has left it.
    pub(crate) fn in_time_namespace(self) -> Self {
        let mut ts = bindings::timespec64 {
            tv_sec: self.sec,
            tv_nsec: self.nsec,
        };

        // SAFETY: The pointer is valid, and the function may be called by any process.
        unsafe { bindings::kx_timens_add_monotonic(&mut ts) };
        ts.into()
    }
}

impl From<bindings::timespec64> for Timespec {
    fn from(ts: bindings::timespec64) -> Self {
        Self {
            sec: ts.tv_sec,
            nsec: ts.tv_nsec,
        }
    }
}

/// A fast clock in nanoseconds that is to be compared on one CPU only.
pub(crate) fn local_clock() -> u64 {
    // SAFETY: Can be called in any context.
    unsafe { bindings::kx_local_clock() }
}

/// The rate of the architecture's system counter in Hz; 0 where there is none.
pub(crate) fn system_counter_freq() -> u32 {
    // SAFETY: Reads a register that every CPU has.
    unsafe { bindings::kx_arch_timer_freq() }
}
