// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! One buffer: out, and back.

use super::{
    outcome::{Done, Reason},
    target::{is_alone_with, is_mapped_in},
    ReclaimMode,
};
use crate::{
    kernel_ext::{drm::gpuvm::EvictError, swap},
    panthor_gem::{Bo, BoKind, SwapTurn},
    panthor_mmu::Vm,
    PanthorDevice,
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::{aref::ARef, Arc},
    time::{delay::fsleep, msecs_to_jiffies, Delta, Instant, Monotonic},
};

/// How long a call waits in all for buffers that are in use.
const WAIT_MS: i64 = 200;

/// How many bytes are swapped out before signals and the device are looked at again.
const SWAP_STEP: usize = 16 << 20;

/// How often swapping out is tried again when pages are left, although nobody seems to use them.
const SWAP_TRIES: usize = 3;

/// Evicts buffers of one process.
pub(super) struct Evictor<'a> {
    dev: &'a ARef<PanthorDevice>,
    /// The VMs of the process, in the order of [`Target::vms`].
    ///
    /// [`Target::vms`]: super::target::Target::vms
    vms: &'a [Arc<Vm>],
    /// How long it has waited.
    waited: Delta,
}

impl<'a> Evictor<'a> {
    /// Which has not waited yet.
    pub(super) fn new(dev: &'a ARef<PanthorDevice>, vms: &'a [Arc<Vm>]) -> Self {
        Self {
            dev,
            vms,
            waited: Delta::ZERO,
        }
    }

    /// How long it may still wait, in jiffies.
    fn jiffies_left(&self) -> usize {
        let left = WAIT_MS - self.waited.as_millis();
        msecs_to_jiffies(u32::try_from(left).unwrap_or(0)) as usize
    }

    /// Takes one buffer out of memory, as far as this kernel can.
    pub(super) fn evict(&mut self, bo: &Bo) -> Result<Done> {
        if current!().signal_pending() {
            return Err(EINTR);
        }
        if bo.is_abandoned() {
            // The process has ended, or closed it: our reference was the last one.
            return Ok(Done::Nothing);
        }
        if swap::free_pages() == 0 && bo.looks_resident() && self.is_ours(bo) {
            return Err(ENOSPC);
        }
        let done = self.give_up(bo)?;
        match (done, ReclaimMode::current()) {
            (Done::Moved { .. } | Done::Nothing, ReclaimMode::Swap) => {
                let pages = self.swap_out(bo)?;
                Ok(match (done, pages) {
                    (_, None) => Done::Kept(Reason::Busy),
                    // The kernel's shrinker gave it up before.
                    (Done::Nothing, Some(pages)) if pages > 0 => Done::Moved {
                        bytes: pages * PAGE_SIZE,
                    },
                    (done, Some(_)) => done,
                })
            }
            (done, _) => Ok(done),
        }
    }

    /// Whether the memory is the process's own to give up: not another driver's, not the
    /// kernel's, not reachable for another process.
    fn is_ours(&self, bo: &Bo) -> bool {
        matches!(bo.kind(), BoKind::User { .. })
            && !bo.is_exported()
            && bo.global_name() == 0
            && is_alone_with(bo, self.vms)
    }

    /// Makes the pages of a buffer ordinary pages of its file.
    fn give_up(&mut self, bo: &Bo) -> Result<Done> {
        loop {
            let Some(_enter) = self.dev.enter() else {
                return Err(ENODEV);
            };
            let result = {
                let locked = bo.lock_interruptible()?;
                // Others get at it by a mapping or an export, which need this lock. If it gets a
                // global name just now, its content is safe: who uses it brings it back.
                if !self.is_ours(bo) {
                    return Ok(Done::Kept(Reason::NotOurs));
                }
                if !locked.is_resident() {
                    return Ok(Done::Nothing);
                }
                // Only asks: nobody else need wait for the lock until the GPU is done.
                if locked.wait_idle(0, true)? == 0 {
                    None
                } else {
                    Some(locked.evict())
                }
            };
            let Some(result) = result else {
                let jiffies = self.jiffies_left();
                if jiffies == 0 {
                    return Ok(Done::Kept(Reason::Busy));
                }
                let start = Instant::<Monotonic>::now();
                let left = bo.wait_idle(jiffies, true)?;
                self.waited += start.elapsed();
                if left == 0 {
                    return Ok(Done::Kept(Reason::Busy));
                }
                continue;
            };
            match result {
                Ok(()) => return Ok(Done::Moved { bytes: bo.size() }),
                // A VM_BIND holds the pages until it has mapped them, which does not take long.
                Err(EvictError::Pinned | EvictError::Contended) if self.jiffies_left() > 0 => {
                    if current!().signal_pending() {
                        return Err(EINTR);
                    }
                    let start = Instant::<Monotonic>::now();
                    fsleep(Delta::from_millis(1));
                    self.waited += start.elapsed();
                }
                Err(EvictError::Pinned | EvictError::Contended) => {
                    return Ok(Done::Kept(Reason::Busy))
                }
                Err(EvictError::Failed(e)) => return Err(e),
            }
        }
    }

    /// Writes the pages of a buffer to the swap device and frees them. Returns how many were
    /// freed, or nothing when others kept using them.
    fn swap_out(&self, bo: &Bo) -> Result<Option<usize>> {
        if bo.evictions() == 0 {
            return Ok(Some(0));
        }
        let turn = bo.take_swap_turn()?;
        // Also when there is nothing left in the file: it may be on its way since an earlier call.
        let mut freed = self.swap_out_once(bo, &turn)?;
        for _ in 0..SWAP_TRIES {
            if bo.cached_pages() == 0 || bo.is_abandoned() {
                return Ok(Some(freed));
            }
            if swap::free_pages() == 0 {
                return Err(ENOSPC);
            }
            // Whoever needs the buffer brings its pages in one by one, with the lock held: wait for
            // that instead of taking them away again.
            if bo.lock_interruptible()?.is_resident() {
                return Ok(Some(freed));
            }
            // The kernel may be in the middle of freeing some of it.
            fsleep(Delta::from_millis(1));
            freed += self.swap_out_once(bo, &turn)?;
        }
        Ok((bo.cached_pages() == 0).then_some(freed))
    }

    /// Once over all pages. What the device fails to take does not keep the rest in memory: `EIO`
    /// comes after all of it was tried.
    fn swap_out_once(&self, bo: &Bo, turn: &SwapTurn<'_>) -> Result<usize> {
        let step = SWAP_STEP / PAGE_SIZE;
        let count = bo.size() / PAGE_SIZE;
        let mut freed = 0;
        let mut failed = false;
        let mut start = 0;
        while start < count {
            if current!().signal_pending() {
                return Err(EINTR);
            }
            if bo.is_abandoned() {
                break;
            }
            // Only so that an unbind of the driver gets an answer soon: the pages are not the
            // device's any more.
            let Some(_enter) = self.dev.enter() else {
                return Err(ENODEV);
            };
            let end = start.saturating_add(step).min(count);
            match turn.swap_out(start, end - 1) {
                Ok(pages) => freed += pages,
                Err(e) if e == EIO => failed = true,
                Err(e) => return Err(e),
            }
            start = end;
        }
        if failed {
            return Err(EIO);
        }
        Ok(freed)
    }
}

/// Brings one buffer back, for the CPU: those that are mapped for the GPU came with their VMs.
/// Not what one of the VMs in `short` of memory has mapped: to make room for it, the kernel
/// would take what came back with another.
pub(super) fn restore(dev: &PanthorDevice, bo: &Bo, short: &[Arc<Vm>]) -> Result<Done> {
    if current!().signal_pending() {
        return Err(EINTR);
    }
    let Some(_enter) = dev.enter() else {
        return Err(ENODEV);
    };
    if bo.is_abandoned() {
        return Ok(Done::Nothing);
    }
    let locked = bo.lock_interruptible()?;
    if !locked.is_resident() {
        if is_mapped_in(bo, short) {
            return Ok(Done::Kept(Reason::NoMemory));
        }
        locked.prepare_cpu_map()?;
    }
    Ok(Done::Moved { bytes: bo.size() })
}
