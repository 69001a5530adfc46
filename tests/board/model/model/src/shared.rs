// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device behind its lock, and the thread of the microcontroller.

use crate::device::Gpu;
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
        if gpu.mcu.has_work() {
            self.work.notify_all();
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

    /// For the control socket, which can wait.
    pub fn inspect<R>(&self, f: impl FnOnce(&mut Gpu) -> R) -> R {
        while self.urgent.load(Ordering::Relaxed) != 0 {
            std::thread::yield_now();
        }
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
            if gpu.mcu.has_work() && !gpu.run_mcu() {
                continue;
            }
            // Stuck at a lock: look again soon, in case the UNLOCK came just before.
            let limit = if gpu.mcu.has_work() {
                Duration::from_micros(200)
            } else {
                Duration::from_secs(3600)
            };
            gpu = match self.work.wait_timeout(gpu, limit) {
                Ok((gpu, _)) => gpu,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}
