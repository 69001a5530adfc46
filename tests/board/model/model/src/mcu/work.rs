// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Streams go out to the threads that run them, and come back.

use super::group::Group;
use super::program::{Outcome, Program};
use super::slot::{Event, OomState, Park, Run, Slot};
use super::{Mcu, State};
use crate::cs::env::Scope;
use crate::exec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Time until a stream that met a locked region looks again, in nanoseconds.
const LOCKED_RETRY: u64 = 100_000;

/// A stream on its way.
#[derive(Debug)]
pub struct Work {
    /// Group slot.
    pub group: usize,
    /// Stream slot.
    pub stream: usize,
    /// The stream.
    pub program: Box<Program>,
    /// Address space.
    pub space: usize,
    /// Progress counters of all streams of the group; 0 of those that there are not.
    pub progress: Vec<u64>,
    /// Set when it must come back.
    pub recall: Arc<AtomicBool>,
    ticket: u64,
    /// Instructions until it must come back.
    pub budget: u32,
    /// Nanoseconds that it must wait then, if it could go on.
    pub slow: u64,
}

/// Whether there is work.
#[derive(Debug)]
pub enum Offer {
    /// A stream to run.
    Work(Work),
    /// Nothing before a time.
    Later(u64),
    /// Nothing.
    Nothing,
}

impl Mcu {
    /// Hands out a stream that can go on. All take turns.
    pub fn take_work(&mut self, now: u64) -> Offer {
        if self.state != State::Running {
            return Offer::Nothing;
        }
        let mut later: Option<u64> = None;
        let per = self.layout.streams as usize;
        let all = self.groups.len() * per;
        for i in 0..all {
            let n = (self.turn + 1 + i) % all;
            let (g, s) = (n / per, n % per);
            let Some(group) = self.groups.get_mut(g) else {
                continue;
            };
            // They share heaps and counters: one at a time.
            if !group.runs() || group.out() {
                continue;
            }
            let leaving = !group.active();
            let Some(slot) = group.slots.get_mut(s) else {
                continue;
            };
            if leaving {
                // Jobs that run are ended, nothing else.
                if !slot.busy() {
                    continue;
                }
                group.recall.store(false, Ordering::Release);
            }
            if let Run::Parked(_, Park::Until(at)) = slot.run {
                if at > now {
                    later = Some(later.map_or(at, |t| t.min(at)));
                }
            }
            slot.wake(|park| matches!(park, Park::Until(at) if at <= now));
            match std::mem::take(&mut slot.run) {
                Run::Ready(mut program) => {
                    program.ring = slot.ring();
                    let own = program.stream.progress();
                    self.turn = n;
                    self.tickets = self.tickets.wrapping_add(1);
                    slot.run = Run::Out(self.tickets);
                    slot.woken = false;
                    let mut progress: Vec<u64> = group.slots.iter().map(Slot::progress).collect();
                    progress[s] = own;
                    return Offer::Work(Work {
                        group: g,
                        stream: s,
                        program,
                        progress,
                        space: group.config.space as usize,
                        recall: Arc::clone(&group.recall),
                        ticket: self.tickets,
                        budget: exec::BUDGET,
                        slow: 0,
                    });
                }
                run => slot.run = run,
            }
        }
        later.map_or(Offer::Nothing, Offer::Later)
    }

    /// Takes a stream back. If its slot was given to another one, it is dropped.
    pub fn put_back(&mut self, now: u64, work: Work, outcome: Outcome) {
        self.attention = true;
        self.pending.hurry(work.group);
        let Some(group) = self.groups.get_mut(work.group) else {
            return;
        };
        let Some(slot) = group.slots.get_mut(work.stream) else {
            return;
        };
        if !matches!(slot.run, Run::Out(ticket) if ticket == work.ticket) {
            return;
        }
        let mut program = work.program;
        let advanced = work.progress.get(work.stream) != Some(&program.stream.progress());
        let extract = program.stream.extract();
        if slot.extract != extract || outcome == Outcome::More {
            slot.extract = extract;
            group.progress.0 = now;
        }
        // Another stream of the group may run now.
        self.offered = true;
        let woken = std::mem::take(&mut slot.woken);
        if let OomState::Answered(chunk) = slot.oom {
            slot.oom = OomState::after(chunk);
            program.stream.answer_oom(chunk);
        }
        slot.run = match outcome {
            Outcome::More => Run::Ready(program),
            Outcome::Empty if slot.insert != slot.extract => Run::Ready(program),
            Outcome::Empty => Run::Parked(program, Park::Empty),
            Outcome::Until(at) => Run::Parked(program, Park::Until(at)),
            Outcome::Locked => Run::Parked(program, Park::Until(now.saturating_add(LOCKED_RETRY))),
            Outcome::Sync | Outcome::Waits if woken => Run::Ready(program),
            Outcome::Hung => Run::Parked(program, Park::Hung),
            Outcome::Sync => Run::Parked(program, Park::Sync),
            Outcome::Waits => Run::Parked(program, Park::Waits),
            Outcome::Fault(failure) => {
                slot.queue.push_back(Event::Fault(failure));
                Run::Parked(program, Park::Fault)
            }
            Outcome::Fatal(failure) => {
                slot.queue.push_back(Event::Fatal(failure));
                Run::Dead(program)
            }
            Outcome::Oom { heap, counts } => {
                slot.queue.push_back(Event::Oom { heap, counts });
                slot.oom = OomState::Asked;
                Run::Ready(program)
            }
        };
        if advanced {
            // Also itself, if it waits for its own.
            for slot in &mut group.slots {
                slot.wake(|park| park == Park::Waits);
            }
        }
        if group.slots.iter().any(|s| s.oom == OomState::Refused) {
            group.settle();
        }
    }

    /// A stream wrote a sync object: whoever waits looks again.
    pub fn sync_written(&mut self, group: usize, scope: Scope) {
        if scope == Scope::System {
            if let Some(group) = self.groups.get_mut(group) {
                group.sync = true;
            }
            self.attention = true;
        }
        self.wake_sync();
    }

    /// Streams that wait for sync objects look again.
    pub(super) fn wake_sync(&mut self) {
        for group in &mut self.groups {
            for slot in &mut group.slots {
                self.offered |= slot.wake_sync();
            }
        }
    }

    /// Whether threads may have something to do that they had not when they were asked last.
    pub fn take_offered(&mut self) -> bool {
        std::mem::take(&mut self.offered)
    }

    /// Drops all groups: their streams, and those that come back.
    pub(super) fn drop_groups(&mut self) {
        for group in &mut self.groups {
            group.clear();
        }
    }

    /// Whether a group in a slot uses an address space.
    pub fn uses_space(&self, n: usize) -> bool {
        let uses = |g: &Group| g.active() && g.config.space as usize == n;
        self.groups.iter().any(uses)
    }

    /// Tells all threads to bring back what they have.
    pub fn recall_all(&self) {
        for group in &self.groups {
            group.recall.store(true, Ordering::Release);
        }
    }
}
