// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The threads that run streams: outside of the lock that register accesses take.

pub mod cache;
mod memory;
pub mod speed;

use crate::clock::{ticks, Clock, Dice, Timing};
use crate::counters::Counter;
use crate::cs::env::{Env, FlushModes, Oddity, Scope, Work as Kind};
use crate::cs::state::{code, Failure};
use crate::device::caches;
use crate::device::gate::Gate;
use crate::device::Gpu;
use crate::inject::What;
use crate::mcu::program::Outcome;
use crate::mcu::work::{Offer, Work};
use crate::ram::Page;
use crate::violations::Violation;
use cache::Cache;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Instructions until a stream comes back, at most.
pub const BUDGET: u32 = 20_000;

/// The way to the device, which others use too.
pub trait Device {
    /// Calls `f` with the device.
    fn with(&self, f: &mut dyn FnMut(&mut Gpu));
}

/// What a piece of a stream needs to know of the device.
#[derive(Clone, Debug)]
pub struct Scene {
    clock: Clock,
    timing: Timing,
    timestamp_hz: u64,
    cycle_hz: u64,
    tiler_bytes: u32,
    gate: Arc<Gate>,
}

impl Scene {
    /// As it is now.
    pub fn of(gpu: &Gpu) -> Self {
        Self {
            clock: gpu.env.clock,
            timing: gpu.env.timing,
            timestamp_hz: gpu.env.identity.timestamp_hz,
            cycle_hz: gpu.env.identity.cycle_hz,
            tiler_bytes: gpu.env.tiler_bytes,
            gate: Arc::clone(&gpu.env.gate),
        }
    }
}

/// A thread's own things.
#[derive(Debug)]
pub struct Runner {
    /// Its place at the gate.
    number: usize,
    cache: Cache,
    dice: Dice,
}

impl Runner {
    /// Those of a thread. `number` is below [`RUNNERS`](crate::device::gate::RUNNERS).
    pub fn new(number: usize, seed: u64) -> Self {
        Self {
            number,
            cache: Cache::default(),
            dice: Dice::new(seed ^ (number as u64 + 1) << 56),
        }
    }

    /// Runs a piece of a stream.
    pub fn run(&mut self, device: &dyn Device, scene: Scene, work: &mut Work) -> Outcome {
        self.cache.clear();
        let group = work.group;
        let epoch = scene.gate.enter(self.number);
        let mut context = Context {
            device,
            runner: self.number,
            cache: &mut self.cache,
            dice: &mut self.dice,
            space: work.space,
            group,
            progress: &work.progress,
            recall: &work.recall,
            epoch,
            code: None,
            odd: Vec::new(),
            scene,
        };
        let outcome = work.program.run(&mut context, work.budget);
        let odd = std::mem::take(&mut context.odd);
        context.scene.gate.leave(self.number);
        let clock = context.scene.clock;
        if matches!(clock, Clock::Manual(_)) {
            device.with(&mut |gpu| gpu.env.clock.catch_up(clock));
        }
        if !odd.is_empty() {
            device.with(&mut |gpu| note(gpu, group, &odd));
        }
        outcome
    }

    /// Looks for a stream, runs a piece of it on this thread and gives it back. For tests; threads
    /// use [`Shared::run_streams`](crate::shared::Shared::run_streams).
    pub fn step(&mut self, device: &dyn Device) -> bool {
        let mut found = None;
        device.with(&mut |gpu| found = take(gpu).ok());
        let Some((mut work, scene)) = found else {
            return false;
        };
        let outcome = self.run(device, scene, &mut work);
        let mut work = Some(work);
        device.with(&mut |gpu| {
            if let Some(work) = work.take() {
                put_back(gpu, work, outcome);
            }
        });
        true
    }
}

/// Takes a stream that can go on, or says when there may be one.
pub fn take(gpu: &mut Gpu) -> Result<(Work, Scene), Option<u64>> {
    loop {
        let now = gpu.env.clock.now();
        let work = match gpu.mcu.take_work(now) {
            Offer::Work(work) => work,
            Offer::Later(at) => return Err(Some(at)),
            Offer::Nothing => return Err(None),
        };
        gpu.env.counters.inc(Counter::StreamRun);
        match spoil(gpu, work) {
            Ok(work) => return Ok((work, Scene::of(gpu))),
            Err(work) => gpu.mcu.put_back(now, work, Outcome::Hung),
        }
    }
}

/// What goes wrong with a stream that is to be run, if anything. Gives it as an error if it hangs.
fn spoil(gpu: &mut Gpu, mut work: Work) -> Result<Work, Work> {
    // One whose ring is empty is not spoilt.
    if work.program.stream.extract() == work.program.ring.insert {
        return Ok(work);
    }
    let (group, stream) = (work.group, work.stream);
    let pick = |what| match what {
        What::CsFault(_) | What::CsFatal(_) | What::Mmu(_) | What::Hang | What::Slow(_) => {
            Some(what)
        }
        _ => None,
    };
    let mut fail = |code, info, fatal| {
        let failure = Failure { code, info };
        work.program.stream.inject(failure, fatal);
    };
    match gpu.env.inject.take(group, Some(stream), pick) {
        Some(What::CsFault(code)) => fail(code, 0, false),
        Some(What::CsFatal(code)) => fail(code, 0, true),
        Some(What::Mmu(va)) => {
            gpu.mmu.inject_fault(&mut gpu.env, work.space, va);
            fail(code::CS_BUS_FAULT, va, true);
        }
        Some(What::Hang) => return Err(work),
        Some(What::Slow(time)) => {
            work.budget = 1;
            work.slow = time;
        }
        _ => {}
    }
    Ok(work)
}

/// Counts what a stream of a group did. What the driver answers for is a violation as well.
fn note(gpu: &mut Gpu, group: usize, odd: &[Oddity]) {
    gpu.env.odd.add(odd);
    for odd in odd {
        if let Oddity::HeapGone(va) = odd {
            gpu.env
                .violation(Violation::HeapGone, || format!("group {group} at {va:#x}"));
        }
    }
}

/// Gives a stream back.
pub fn put_back(gpu: &mut Gpu, work: Work, outcome: Outcome) {
    let now = gpu.env.clock.now();
    let outcome = match outcome {
        Outcome::More if work.slow != 0 => Outcome::Until(now.saturating_add(work.slow)),
        outcome => outcome,
    };
    gpu.env.event(|| {
        let extract = work.program.stream.extract();
        format!(
            "group {} stream {} extract {extract:#x}: {outcome:x?}",
            work.group, work.stream
        )
    });
    gpu.mcu.put_back(now, work, outcome);
}

/// What a stream sees of the device while a thread runs it.
struct Context<'a> {
    device: &'a dyn Device,
    runner: usize,
    cache: &'a mut Cache,
    dice: &'a mut Dice,
    space: usize,
    group: usize,
    /// Progress counters of the group's streams, none of which runs now but this one.
    progress: &'a [u64],
    recall: &'a AtomicBool,
    /// Of the cache and of `code`.
    epoch: u64,
    /// The page that instructions come from, and its number.
    code: Option<(u64, Page)>,
    odd: Vec<Oddity>,
    scene: Scene,
}

impl Env for Context<'_> {
    fn now(&mut self) -> u64 {
        self.scene.clock.creep(50);
        self.scene.clock.now()
    }

    fn timestamp(&mut self) -> u64 {
        ticks(self.scene.clock.now(), self.scene.timestamp_hz)
    }

    fn cycles(&mut self) -> u64 {
        ticks(self.scene.clock.now(), self.scene.cycle_hz)
    }

    fn latest_flush_id(&mut self) -> u32 {
        self.scene.gate.flush_id()
    }

    fn flush(&mut self, modes: FlushModes) {
        if let Some(modes) = caches::FlushModes::of(modes.payload()) {
            self.device.with(&mut |gpu| {
                gpu.env.caches.flush_now(modes);
                gpu.env.counters.inc(Counter::StreamFlush);
            });
        }
    }

    fn delay(&mut self, work: Kind) -> u64 {
        let times = &self.scene.timing.work;
        let least = match work {
            Kind::LoadStore => times.load_store,
            Kind::Flush => times.flush,
            Kind::Deferred => times.deferred,
            Kind::Compute | Kind::Tiling | Kind::Fragment => times.job,
            Kind::Resource => times.resource,
        };
        self.dice.spread(least, 2)
    }

    fn pick(&mut self, n: u32) -> u32 {
        self.dice.below(u64::from(n)) as u32
    }

    fn sync_written(&mut self, scope: Scope, _va: u64) {
        let group = self.group;
        self.device
            .with(&mut |gpu| gpu.mcu.sync_written(group, scope));
    }

    fn tiler_bytes(&mut self) -> u32 {
        self.scene.tiler_bytes
    }

    fn progress(&mut self, stream: u8) -> Option<u64> {
        self.progress.get(usize::from(stream)).copied()
    }

    fn odd(&mut self, what: Oddity) {
        self.odd.push(what);
        if self.odd.len() >= 256 {
            let odd = std::mem::take(&mut self.odd);
            let group = self.group;
            self.device.with(&mut |gpu| note(gpu, group, &odd));
        }
    }

    fn stopping(&mut self) -> bool {
        self.recall.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
