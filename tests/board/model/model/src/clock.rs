// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Time of the device, in nanoseconds since it was made.

use std::time::Instant;

/// Where the time comes from.
#[derive(Debug)]
pub enum Clock {
    /// The host's monotonic clock.
    Host(Instant),
    /// Moved by tests.
    Manual(u64),
}

impl Clock {
    /// A clock that starts now.
    pub fn host() -> Self {
        Self::Host(Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        match self {
            Self::Host(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Self::Manual(now) => *now,
        }
    }
}

/// How long the operations of the device take, in nanoseconds.
///
/// Short against what a guest can see, but not zero, so that a driver that does not wait is found.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// An address space command.
    pub as_command: u64,
    /// A cache flush.
    pub flush: u64,
    /// A power transition.
    pub power: u64,
    /// A reset.
    pub reset: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            as_command: 4_000,
            flush: 10_000,
            power: 10_000,
            reset: 50_000,
        }
    }
}
