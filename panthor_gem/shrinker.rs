// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What the driver gives up when the kernel is short of memory.

use crate::{
    kernel_ext::{
        drm::gem::{Busy, LISTS},
        shrinker::{Count, Scanned, Shrink, ShrinkControl},
        swap,
    },
    PanthorDevice,
};
use kernel::{prelude::*, sync::atomic::Relaxed, time::msecs_to_jiffies};

/// How long a scan waits in all for the GPU to be done with buffers.
const SCAN_WAIT_MS: u32 = 40;

/// Whether the GPU may be using the buffers of each list.
const MAY_BE_BUSY: [bool; LISTS] = [false, false, true, true];

impl Shrink for PanthorDevice {
    const NAME: &'static CStr = c"drm-panthor-gem";

    fn count(&self, control: ShrinkControl<'_>) -> Count {
        let lists = self.lists();
        if lists.iter().all(|list| list.is_empty(control.scope)) {
            return Count::Empty;
        }
        // The content is needed: what has no place in swap space would be evicted for nothing.
        let mut pages = 0usize;
        let room = swap::free_pages_for(control.scope);
        for (list, may_be_busy) in lists.iter().zip(MAY_BE_BUSY) {
            if pages >= room || (may_be_busy && !control.may_block) {
                break;
            }
            pages = pages.saturating_add(list.pages(control.scope));
        }
        Count::Objects(pages.min(room))
    }

    fn scan(&self, control: ShrinkControl<'_>) -> Scanned {
        let gem = &self.gem;
        let mut freed = 0usize;
        let mut contended = false;

        if swap::free_pages_for(control.scope) > 0 {
            let mut wait = Busy::Wait(msecs_to_jiffies(SCAN_WAIT_MS) as usize);
            for (list, may_be_busy) in self.lists().iter().zip(MAY_BE_BUSY) {
                if freed >= control.nr_to_scan || (may_be_busy && !control.may_block) {
                    break;
                }
                let busy = if may_be_busy { wait } else { Busy::Never };
                let scan = list.scan(control.scope, control.nr_to_scan - freed, busy);
                if may_be_busy {
                    wait = scan.busy;
                }
                freed = freed.saturating_add(scan.freed);
                contended |= scan.contended;
            }
        }
        gem.last_scan.store(freed as u64, Relaxed);

        // A lock that is taken now may be free a moment later: do not give up. How often the kernel
        // asks is bounded by what it wants.
        if freed > 0 || contended {
            Scanned::Freed(freed)
        } else {
            Scanned::Stop
        }
    }
}
