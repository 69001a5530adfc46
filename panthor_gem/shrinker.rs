// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What the driver gives up when the kernel is short of memory.

use super::{GemDevice, PanthorBo};
use crate::{
    kernel_ext::{
        drm::gem::{Busy, Lru},
        shrinker::{Scanned, Shrink, ShrinkControl},
        swap,
    },
    PanthorDevice,
};
use kernel::{
    prelude::*,
    sync::atomic::{Full, Relaxed},
};

impl GemDevice {
    /// CPU pages that a scan could give up.
    fn count(&self, control: ShrinkControl) -> usize {
        // The content is needed: without swap space there is nowhere to put it.
        if swap::free_pages() == 0 {
            return 0;
        }
        let easy = self.lists.unused.pages() + self.lists.cpu_mapped.pages();
        if !control.may_block {
            return easy;
        }
        let mapped = self.gpu_mapped_pages.load(Relaxed);
        easy.saturating_add(usize::try_from(mapped).unwrap_or(0))
    }
}

impl Shrink for PanthorDevice {
    const NAME: &'static CStr = c"drm-panthor-gem";

    fn count(&self, control: ShrinkControl) -> usize {
        self.gem.count(control)
    }

    fn scan(&self, control: ShrinkControl) -> Scanned {
        let gem = &self.gem;
        let lists: [(&Lru<PanthorBo>, Busy); 4] = [
            (&gem.lists.unused, Busy::Never),
            (&gem.lists.cpu_mapped, Busy::Never),
            (&gem.lists.gpu_mapped, Busy::Wait),
            (&gem.lists.gpu_shared, Busy::Wait),
        ];
        let mut freed = 0usize;
        let mut remaining = 0;

        if swap::free_pages() > 0 {
            for (list, busy) in lists {
                if freed >= control.nr_to_scan || (busy == Busy::Wait && !control.may_block) {
                    break;
                }
                freed += list.scan(self, control.nr_to_scan - freed, &mut remaining, busy);
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
