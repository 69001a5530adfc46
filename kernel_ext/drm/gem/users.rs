// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counting those who use something, with a lock for the first and the last one only.

use kernel::sync::{
    atomic::{Acquire, Relaxed, Release},
    Refcount,
};

/// The most that another one can be added to.
const ONE_MORE: i32 = i32::MAX - 1;

/// How many use something. It goes from and to zero under a lock, which the methods that do it are
/// to be called with; all others need none.
///
/// It does not wrap: where there are too many, or one goes that never came, the kernel warns, and
/// from then on there are users for ever.
pub(crate) struct Users(Refcount);

impl Users {
    /// No users.
    pub(crate) fn new() -> Self {
        Self(Refcount::new(0))
    }

    /// As many as can be counted.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(crate) fn full() -> Self {
        Self(Refcount::new(i32::MAX))
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.0.as_atomic().load(Relaxed) != 0
    }

    /// One more, unless it would be the first.
    #[inline]
    pub(crate) fn join(&self) -> bool {
        let count = self.0.as_atomic();
        let mut old = count.load(Relaxed);
        loop {
            match old {
                0 => return false,
                1..=ONE_MORE => match count.cmpxchg(old, old + 1, Acquire) {
                    Ok(_) => return true,
                    Err(now) => old = now,
                },
                _ => {
                    self.0.inc();
                    return true;
                }
            }
        }
    }

    /// One more, by one who is there.
    #[inline]
    pub(crate) fn join_another(&self) {
        self.0.inc();
    }

    /// The first one. Under the lock, and nobody else is there.
    #[inline]
    pub(crate) fn begin(&self) {
        self.0.set(1);
    }

    /// One less, unless it is the last.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        let count = self.0.as_atomic();
        let mut old = count.load(Relaxed);
        loop {
            match old {
                1 => return false,
                2.. => match count.cmpxchg(old, old - 1, Release) {
                    Ok(_) => return true,
                    Err(now) => old = now,
                },
                _ => {
                    self.0.dec();
                    return true;
                }
            }
        }
    }

    /// One less; returns whether it was the last. Under the lock.
    #[inline]
    pub(crate) fn end(&self) -> bool {
        self.0.dec_and_test()
    }
}
