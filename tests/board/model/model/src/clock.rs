// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Time of the device, in nanoseconds since it was made.

use rustix::time::{clock_gettime, ClockId};

/// The host's monotonic clock, in nanoseconds. Streams look at it all the time, so that it matters
/// what [`std::time::Instant`] takes for more.
fn host() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec as u64)
}

/// Where the time comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The host's monotonic clock, since it stood there.
    Host(u64),
    /// Moved by tests.
    Manual(u64),
}

impl Clock {
    /// A clock that starts now.
    pub fn host() -> Self {
        Self::host_after(0)
    }

    /// A clock that started so many nanoseconds ago.
    pub fn host_after(passed: u64) -> Self {
        Self::Host(host().wrapping_sub(passed))
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        match self {
            Self::Host(start) => host().wrapping_sub(*start),
            Self::Manual(now) => *now,
        }
    }

    /// Lets a clock of tests run on, since nothing else does while a stream waits for a time.
    pub fn creep(&mut self, ns: u64) {
        if let Self::Manual(now) = self {
            *now += ns;
        }
    }

    /// Follows a copy that ran on.
    pub fn catch_up(&mut self, copy: Clock) {
        if let (Self::Manual(now), Clock::Manual(later)) = (self, copy) {
            *now = later.max(*now);
        }
    }
}

/// How long the operations of the device take, in nanoseconds.
///
/// Short against what a guest can see, but not zero, so that a driver that does not wait is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// An address space command.
    pub as_command: u64,
    /// A cache flush.
    pub flush: u64,
    /// A power transition.
    pub power: u64,
    /// A reset.
    pub reset: u64,
    /// Least time until the firmware acknowledges a request; the most is three times that.
    pub ack: u64,
    /// A piece of work of a stream, by kind.
    pub work: WorkTimes,
}

/// Least times of the work that streams start. The most is twice that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkTimes {
    /// Loads and stores.
    pub load_store: u64,
    /// Cache flushes.
    pub flush: u64,
    /// Deferred instructions.
    pub deferred: u64,
    /// Jobs: compute, tiling, fragment.
    pub job: u64,
    /// Endpoints.
    pub resource: u64,
}

impl Default for WorkTimes {
    fn default() -> Self {
        Self {
            load_store: 300,
            flush: 5_000,
            deferred: 200,
            job: 10_000,
            resource: 1_000,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            as_command: 4_000,
            flush: 10_000,
            power: 10_000,
            reset: 50_000,
            ack: 10_000,
            work: WorkTimes::default(),
        }
    }
}

/// Ticks of a counter after some nanoseconds.
pub fn ticks(now: u64, hz: u64) -> u64 {
    (u128::from(now) * u128::from(hz) / 1_000_000_000) as u64
}

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins a row of numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = self.0;
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `n`; 0 if that is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll().checked_rem(n).unwrap_or(0)
    }

    /// A time from `least` to `times` as much.
    pub fn spread(&mut self, least: u64, times: u64) -> u64 {
        let more = least.saturating_mul(times.saturating_sub(1));
        least.saturating_add(self.below(more.saturating_add(1)))
    }
}
