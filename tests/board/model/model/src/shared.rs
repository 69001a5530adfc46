// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device behind its lock, and the threads that work on it.

use crate::device::Gpu;
use crate::exec::{self, Device, Runner};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The device, shared by the threads.
pub struct Shared {
    gpu: Mutex<Gpu>,
    /// Register accesses that wait for the lock.
    urgent: AtomicUsize,
    /// The microcontroller has work.
    work: Condvar,
    /// Streams can go on.
    streams: Condvar,
    /// A locked region was given free.
    unlocked: Condvar,
}

impl Shared {
    /// Puts a device behind a lock.
    pub fn new(gpu: Gpu) -> Arc<Self> {
        Arc::new(Self {
            gpu: Mutex::new(gpu),
            urgent: AtomicUsize::new(0),
            work: Condvar::new(),
            streams: Condvar::new(),
            unlocked: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Gpu> {
        self.gpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends interrupts and wakes who waits for what just happened.
    fn settle(&self, gpu: &mut Gpu) {
        gpu.deliver();
        let unlocked = std::mem::take(&mut gpu.env.unlocked);
        if unlocked {
            self.unlocked.notify_all();
        }
        if gpu.mcu.due(gpu.env.clock.now()) || gpu.late_deadline().is_some() {
            self.work.notify_all();
        }
        if gpu.mcu.take_offered() {
            self.streams.notify_all();
        }
    }

    /// For the guest, which waits: goes before [`Self::inspect`].
    pub fn access<R>(&self, f: impl FnOnce(&mut Gpu) -> R) -> R {
        self.urgent.fetch_add(1, Ordering::Relaxed);
        let mut gpu = self.lock();
        self.urgent.fetch_sub(1, Ordering::Relaxed);
        let result = f(&mut gpu);
        self.settle(&mut gpu);
        result
    }

    /// Lets register accesses go first, but not for ever.
    fn give_way(&self) {
        for _ in 0..100 {
            if self.urgent.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// For the control socket and for threads that run streams, which can wait.
    pub fn inspect<R>(&self, f: impl FnOnce(&mut Gpu) -> R) -> R {
        self.give_way();
        let mut gpu = self.lock();
        gpu.advance();
        let result = f(&mut gpu);
        self.settle(&mut gpu);
        result
    }

    /// Waits until a locked region may have been given free.
    pub fn wait_unlock(&self, limit: Duration) {
        let gpu = self.lock();
        // Whoever is woken tries again, so nothing is lost when this returns early.
        let _ = self.unlocked.wait_timeout(gpu, limit);
    }

    /// Body of the microcontroller's thread.
    pub fn run_mcu(&self) -> ! {
        let mut gpu = self.lock();
        loop {
            let stalled = gpu.mcu.due(gpu.env.clock.now()) && gpu.run_mcu();
            self.settle(&mut gpu);
            let now = gpu.env.clock.now();
            // Stuck at a lock: look again soon, in case the UNLOCK came just before.
            let late = gpu.late_deadline();
            let until = match gpu.mcu.deadline().into_iter().chain(late).min() {
                _ if stalled => Some(now + 200_000),
                _ if gpu.mcu.has_work() => continue,
                deadline => deadline,
            };
            gpu = sleep(&self.work, gpu, now, until);
        }
    }

    /// Body of a thread that runs streams.
    pub fn run_streams(&self, mut runner: Runner) -> ! {
        let mut gpu = self.lock();
        loop {
            match exec::take(&mut gpu) {
                Ok((mut work, scene)) => {
                    drop(gpu);
                    let outcome = runner.run(self, scene, &mut work);
                    self.give_way();
                    gpu = self.lock();
                    exec::put_back(&mut gpu, work, outcome);
                    self.settle(&mut gpu);
                }
                Err(later) => {
                    let now = gpu.env.clock.now();
                    gpu = sleep(&self.streams, gpu, now, later);
                }
            }
        }
    }
}

impl Device for Shared {
    fn with(&self, f: &mut dyn FnMut(&mut Gpu)) {
        self.inspect(f);
    }
}

/// Waits for a condition, or for a time.
fn sleep<'a>(
    condition: &Condvar,
    gpu: MutexGuard<'a, Gpu>,
    now: u64,
    until: Option<u64>,
) -> MutexGuard<'a, Gpu> {
    let limit = match until {
        Some(at) => Duration::from_nanos(at.saturating_sub(now)),
        None => Duration::from_secs(3600),
    };
    match condition.wait_timeout(gpu, limit.min(Duration::from_secs(3600))) {
        Ok((gpu, _)) => gpu,
        Err(poisoned) => poisoned.into_inner().0,
    }
}
