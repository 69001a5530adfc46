// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The engine behind `mem_reclaim` and `mem_claim`: files of a process, their VMs and buffers,
//! evict or restore.
//!
//! It knows nothing of how it is asked: sysfs today, an ioctl would be another front door.
//!
//! # Locks
//!
//! None is held from one buffer to the next, and none at all while memory is swapped out. Files are
//! found under `filelist_mutex`, VMs under the `xa_lock` of their pool; both are given up before
//! the work begins, which goes on with references.

mod buffer;
pub(crate) mod outcome;
mod target;

use self::outcome::Outcome;
use self::{buffer::Evictor, target::Target};
use crate::{
    kernel_ext::{drm::gem, pid::Pid, swap, trace},
    PanthorDevice,
};
use kernel::{
    prelude::*,
    sync::aref::ARef,
    time::{Instant, Monotonic},
};

/// How far `mem_reclaim` gets on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReclaimMode {
    /// Memory is on the swap device when it returns.
    Swap,
    /// Memory is given up: the kernel swaps it out when it needs to.
    Evict,
}

impl ReclaimMode {
    /// What this kernel can do.
    pub(crate) const fn current() -> Self {
        if gem::can_swap_out() {
            Self::Swap
        } else {
            Self::Evict
        }
    }

    /// The name in sysfs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Evict => "evict",
        }
    }
}

/// Gives up the memory of all buffers that belong to the process `tgid` alone and are not needed
/// this instant, and swaps it out where the kernel can do that.
///
/// Buffers that the GPU uses are waited for, 200 ms in all.
///
/// * `ESRCH`: the process has no file of this device.
/// * `ENOSPC`: there is no swap space, or not enough.
/// * `EBUSY`: something stayed because it was in use.
/// * `EINTR`: a signal arrived.
/// * `EIO`, `ENOMEM`: it could not be swapped out.
/// * `ENODEV`: the device is gone.
///
/// What was done stays done in every case; another call goes on with the rest.
pub(crate) fn reclaim(dev: &ARef<PanthorDevice>, tgid: &Pid) -> Result {
    let start = Instant::<Monotonic>::now();
    let mut outcome = Outcome::default();
    let result = reclaim_all(dev, tgid, &mut outcome);
    trace::mem_reclaim(tgid, &outcome.amounts(), start.elapsed(), &result);
    result
}

/// [`reclaim`], with what came of it so far.
fn reclaim_all(dev: &ARef<PanthorDevice>, tgid: &Pid, outcome: &mut Outcome) -> Result {
    let Target { vms, buffers } = Target::find(dev, tgid)?;
    if swap::free_pages() == 0 {
        return Err(ENOSPC);
    }

    let mut evictor = Evictor::new(dev, &vms);
    for bo in buffers {
        let done = evictor.evict(&bo);
        if !outcome.count(bo.size(), done) {
            break;
        }
    }
    outcome.result()
}

/// Brings all memory of the process `tgid` back that was evicted, and maps it for the GPU again:
/// buffers that it shares with others as well.
///
/// It is never needed: whoever uses the memory brings it back. Errors as [`reclaim`], but for
/// `ENOSPC` and `EBUSY`; the first one is returned, after everything has been tried.
pub(crate) fn claim(dev: &ARef<PanthorDevice>, tgid: &Pid) -> Result {
    let start = Instant::<Monotonic>::now();
    let mut outcome = Outcome::default();
    let result = claim_all(dev, tgid, &mut outcome);
    trace::mem_claim(tgid, &outcome.amounts(), start.elapsed(), &result);
    result
}

/// [`claim`], with what came of it so far.
fn claim_all(dev: &ARef<PanthorDevice>, tgid: &Pid, outcome: &mut Outcome) -> Result {
    let mut target = Target::find(dev, tgid)?;

    // Which ones come back, before those that are mapped for the GPU come with their VMs.
    target.keep_evicted();
    let mut short = KVec::with_capacity(target.vms.len(), GFP_KERNEL)?;
    for vm in &target.vms {
        let Some(_enter) = dev.enter() else {
            outcome.fail(ENODEV);
            break;
        };
        if let Err(e) = vm.restore() {
            outcome.fail(e);
            if e == ENOMEM {
                // There is room for all.
                short.push(vm.clone(), GFP_KERNEL)?;
            }
        }
        if current!().signal_pending() {
            outcome.fail(EINTR);
            break;
        }
    }
    for bo in target.buffers {
        if !outcome.count(bo.size(), buffer::restore(dev, &bo, &short)) {
            break;
        }
    }
    outcome.result()
}
