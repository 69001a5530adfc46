// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What runs in a stream slot: a stream with its ring, and what came of the last run.

use crate::cs::env::Env;
use crate::cs::state::{Failure, Status, Why};
use crate::cs::{self, Ring, Stream};

/// Why a stream came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It can go on at once.
    More,
    /// The ring is empty.
    Empty,
    /// Nothing to do before a time, unless something is written.
    Until(u64),
    /// It waits for somebody to write, or to answer.
    Waits,
    /// It waits for a sync object.
    Sync,
    /// It does not go on, as it was told to.
    Hung,
    /// A region that it needs is locked.
    Locked,
    /// A fault after which it goes on.
    Fault(Failure),
    /// A fault after which it does not.
    Fatal(Failure),
    /// The tiler has no memory.
    Oom {
        /// Heap context.
        heap: u64,
        /// Counters: vertex and tiler work started, ended, fragment work ended.
        counts: [u32; 3],
    },
}

impl From<cs::Outcome> for Outcome {
    fn from(outcome: cs::Outcome) -> Self {
        match outcome {
            cs::Outcome::More => Self::More,
            cs::Outcome::Idle => Self::Empty,
            cs::Outcome::Waiting {
                until: Some(at), ..
            } => Self::Until(at),
            cs::Outcome::Waiting {
                why: Why::Sync { .. },
                ..
            } => Self::Sync,
            cs::Outcome::Waiting { .. } => Self::Waits,
            cs::Outcome::TilerOom(request) => Self::Oom {
                heap: request.heap,
                counts: [request.vt_start, request.vt_end, request.frag_end],
            },
            cs::Outcome::Fault(failure) => Self::Fault(failure),
            cs::Outcome::Fatal(failure) => Self::Fatal(failure),
            cs::Outcome::Locked => Self::Locked,
            // Without its address space it cannot go on.
            cs::Outcome::Off => Self::Fatal(Failure {
                code: cs::state::code::CS_BUS_FAULT,
                info: 0,
            }),
        }
    }
}

/// A stream and the ring that it executes.
#[derive(Debug)]
pub struct Program {
    /// The stream.
    pub stream: Stream,
    /// Its ring, as it was when it last went out.
    pub ring: Ring,
}

impl Program {
    /// A stream that starts at a place of its ring.
    pub fn new(extract: u64, ring: Ring) -> Self {
        Self {
            stream: Stream::new(extract),
            ring,
        }
    }

    /// What STATUS_UPDATE and SUSPEND show.
    pub fn status(&self) -> Status {
        self.stream.status(&self.ring)
    }

    /// All that must be kept in a suspend buffer; nothing while a job of it is executed.
    pub fn save(&self, now: u64) -> Option<Vec<u8>> {
        self.stream.save(now)
    }

    /// Reads what [`Self::save`] wrote.
    pub fn load(bytes: &[u8], ring: Ring, now: u64) -> Option<Self> {
        let stream = Stream::load(bytes, now)?;
        Some(Self { stream, ring })
    }

    /// Runs until something stops it.
    pub fn run<E: Env + ?Sized>(&mut self, env: &mut E, budget: u32) -> Outcome {
        self.stream.run(env, &self.ring, budget).into()
    }
}
