// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs of the shader cores.

use super::super::env::{Env, Oddity};
use super::super::scoreboard::Op;
use super::super::state::{Stream, Trap};
use super::work::Done;

/// A job that is being executed.
#[derive(Debug)]
pub(in super::super) enum Active {}

impl Stream {
    /// Goes on with a job.
    pub(super) fn job<E: Env + ?Sized>(&mut self, env: &mut E, op: &Op) -> Result<Done, Trap> {
        let opcode = if matches!(op, Op::Compute(_)) { 4 } else { 7 };
        env.odd(Oddity::NotModelled(opcode));
        Ok(Done::Yes)
    }
}
