// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! One at a time swaps a buffer out.
//!
//! Two who do it at once take the pages from each other: each finds pages that it can neither free
//! nor call free. The second one waits instead, and finds nothing left to do.

use super::{Bo, GemDevice};
use kernel::prelude::*;

/// Whether somebody is swapping a buffer out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SwapTurn {
    /// Nobody.
    Free,
    /// Somebody.
    Taken,
}

/// The right to swap a buffer out, given back when it is dropped.
#[must_use]
pub(crate) struct SwapTurnGuard<'a>(&'a Bo);

impl Bo {
    /// Waits for the right to swap the buffer out. `EINTR` when a signal arrives first.
    pub(crate) fn take_swap_turn(&self) -> Result<SwapTurnGuard<'_>> {
        let gem: &GemDevice = &self.dev().gem;
        let mut turn = self.swap_turn.lock();
        while *turn == SwapTurn::Taken {
            if gem.swap_turn_over.wait_interruptible(&mut turn) {
                return Err(EINTR);
            }
        }
        *turn = SwapTurn::Taken;
        Ok(SwapTurnGuard(self))
    }
}

impl Drop for SwapTurnGuard<'_> {
    fn drop(&mut self) {
        *self.0.swap_turn.lock() = SwapTurn::Free;
        self.0.dev().gem.swap_turn_over.notify_all();
    }
}
