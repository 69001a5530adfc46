// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How threads that run streams keep what they know of translations without a lock, and how an
//! address space command or a flush finds out that none of them uses what was true before it.
//!
//! Whatever changes translations, or must be seen by stores to come, begins a new epoch. A thread
//! compares the epoch with the one of its cache at each access, and forgets the cache when it is an
//! older one. So a thread that has seen an epoch has ended all accesses of those before.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Threads that there can be.
pub const RUNNERS: usize = 8;

/// A thread that is not between two accesses.
const OUTSIDE: u64 = u64::MAX;

/// The epoch, and which of them each thread has seen.
#[derive(Debug)]
pub struct Gate {
    epoch: AtomicU64,
    seen: [AtomicU64; RUNNERS],
    flush_id: AtomicU32,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            seen: std::array::from_fn(|_| AtomicU64::new(OUTSIDE)),
            flush_id: AtomicU32::new(1),
        }
    }
}

impl Gate {
    /// Begins an epoch.
    pub fn advance(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst).wrapping_add(1)
    }

    /// The epoch.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A thread begins accesses, or has forgotten its cache. Gives the epoch of its new one.
    pub fn enter(&self, runner: usize) -> u64 {
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            if let Some(seen) = self.seen.get(runner) {
                seen.store(epoch, Ordering::SeqCst);
            }
            if self.epoch.load(Ordering::SeqCst) == epoch {
                return epoch;
            }
        }
    }

    /// A thread does no access until it enters again.
    pub fn leave(&self, runner: usize) {
        if let Some(seen) = self.seen.get(runner) {
            seen.store(OUTSIDE, Ordering::SeqCst);
        }
    }

    /// Whether all threads have ended the accesses of earlier epochs.
    pub fn passed(&self, epoch: u64) -> bool {
        self.seen.iter().all(|s| s.load(Ordering::SeqCst) >= epoch)
    }

    /// LATEST_FLUSH_ID.
    pub fn flush_id(&self) -> u32 {
        self.flush_id.load(Ordering::Acquire)
    }

    /// A flush is over.
    pub(super) fn set_flush_id(&self, id: u32) {
        self.flush_id.store(id, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_passed_when_every_thread_inside_has_seen_it() {
        let gate = Gate::default();
        let first = gate.advance();
        assert!(gate.passed(first), "nobody is inside");
        assert_eq!(gate.enter(0), first);
        let second = gate.advance();
        assert!(!gate.passed(second));
        assert!(gate.passed(first));
        assert_eq!(gate.enter(1), second);
        assert!(!gate.passed(second), "the other one has not");
        assert_eq!(gate.enter(0), second);
        assert!(gate.passed(second));
        let third = gate.advance();
        gate.leave(0);
        gate.leave(1);
        assert!(gate.passed(third));
    }
}
