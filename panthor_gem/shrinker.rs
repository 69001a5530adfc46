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
use kernel::{
    prelude::*,
    sync::atomic::{Full, Relaxed},
};

/// Whether the GPU may be using the buffers of each list.
const BUSY: [Busy; LISTS] = [Busy::Never, Busy::Never, Busy::Wait, Busy::Wait];

impl Shrink for PanthorDevice {
    const NAME: &'static CStr = c"drm-panthor-gem";

    fn count(&self, control: ShrinkControl<'_>) -> Count {
        let lists = self.gem.lists.in_order();
        if lists.iter().all(|list| list.is_empty(control.scope)) {
            return Count::Empty;
        }
        // The content is needed: what has no place in swap space would be evicted for nothing.
        let mut pages = 0usize;
        let room = swap::free_pages_for(control.scope);
        for (list, busy) in lists.into_iter().zip(BUSY) {
            if pages >= room || (busy == Busy::Wait && !control.may_block) {
                break;
            }
            pages = pages.saturating_add(list.pages(control.scope));
        }
        Count::Objects(pages.min(room))
    }

    fn scan(&self, control: ShrinkControl<'_>) -> Scanned {
        let gem = &self.gem;
        let mut freed = 0usize;
        let mut remaining = 0;

        if swap::free_pages_for(control.scope) > 0 {
            for (list, busy) in gem.lists.in_order().into_iter().zip(BUSY) {
                if freed >= control.nr_to_scan || (busy == Busy::Wait && !control.may_block) {
                    break;
                }
                let wanted = control.nr_to_scan - freed;
                freed += list.scan(control.scope, wanted, &mut remaining, busy);
            }
        }
        gem.last_scan.store(freed as u64, Relaxed);

        if freed > 0 {
            gem.fruitless_scans.store(0, Relaxed);
            return Scanned::Freed(freed);
        }
        // Locks that were taken now may be free a moment later: ask once more before giving up.
        if remaining > 0 && gem.fruitless_scans.fetch_add(1, Full) == 0 {
            return Scanned::Freed(0);
        }
        gem.fruitless_scans.store(0, Relaxed);
        Scanned::Stop
    }
}
