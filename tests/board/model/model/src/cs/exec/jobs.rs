// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs of the shader cores.

use super::super::env::{Env, MemError, Oddity};
use super::super::scoreboard::Op;
use super::super::state::{Stream, Trap};
use super::work::Done;
use crate::shader::job::{JobError, Progress};
use crate::shader::{Compute, Fragment};

/// Instructions of a thread, or pixels, between two looks at anything else.
const SLICE: u64 = 20_000;

/// A job that is being executed.
pub(in super::super) enum Active {
    Compute(Box<Compute>),
    Fragment(Box<Fragment>),
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compute(job) => write!(f, "Compute({:?})", job.stats()),
            Self::Fragment(job) => write!(f, "Fragment({:?})", job.stats()),
        }
    }
}

impl Stream {
    /// Goes on with a job: the one at hand, which then is that of `op`, or else a new one.
    pub(super) fn job<E: Env + ?Sized>(&mut self, env: &mut E, op: &Op) -> Result<Done, Trap> {
        self.sliced = true;
        let mut active = match (self.active.take(), op) {
            (Some(active), _) => active,
            (None, Op::Compute(job)) => Active::Compute(Box::new(Compute::new(job))),
            (None, Op::Fragment(job)) => Active::Fragment(Box::new(Fragment::new(job))),
            (None, _) => return Ok(Done::Yes),
        };
        let result = match &mut active {
            Active::Compute(job) => job.run(env, SLICE),
            Active::Fragment(job) => job.run(env, SLICE),
        };
        match result {
            Ok(Progress::Done(stats)) => {
                if stats.skipped != 0 {
                    env.odd(Oddity::JobSkipped(stats.skipped));
                }
                env.job_done(stats);
                Ok(Done::Yes)
            }
            Ok(Progress::More) => {
                self.active = Some(active);
                Ok(Done::Working)
            }
            Err(JobError::Memory(MemError::Locked)) => {
                self.active = Some(active);
                Err(Trap::Locked)
            }
            Err(JobError::Memory(error)) => Err(error.into()),
            Err(JobError::Fault(fault)) => {
                env.odd(Oddity::Job(fault));
                Err(Trap::fault(fault.code(), fault.info()))
            }
        }
    }
}
