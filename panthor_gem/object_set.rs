// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The buffers that a file has handles of.
//!
//! The DRM core has that table as well, but only while the file is open; whoever works for a
//! process that may end meanwhile needs one that lives as long as the driver's part of the file.

use super::Bo;
use core::mem::replace;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{aref::ARef, atomic::Relaxed, Mutex},
};

/// How much memory buffers have, in bytes.
#[derive(Default)]
pub(crate) struct MemoryStats {
    /// All of them.
    pub(crate) total: u64,
    /// Those that others may have as well.
    pub(crate) shared: u64,
    /// Those that the GPU is using.
    pub(crate) active: u64,
    /// Those that have memory now.
    pub(crate) resident: u64,
}

/// The buffers that a file has handles of, each with a reference.
///
/// A buffer remembers where it is in the set of the file that got the last handle of it. To give up
/// a handle of another file takes a search.
#[pin_data]
pub(crate) struct ObjectSet {
    /// One for each handle, in no order.
    #[pin]
    objects: Mutex<KVVec<ARef<Bo>>>,
}

impl ObjectSet {
    /// Without buffers.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            objects <- new_mutex!(KVVec::new(), "ObjectSet::objects"),
        })
    }

    /// The file has got a handle of a buffer. `ENOMEM`.
    pub(crate) fn insert(&self, bo: ARef<Bo>) -> Result {
        let mut objects = self.objects.lock();
        bo.handle_place.store(objects.len(), Relaxed);
        Ok(objects.push(bo, GFP_KERNEL_ACCOUNT)?)
    }

    /// The file has given up a handle of a buffer.
    pub(crate) fn remove(&self, bo: &Bo) {
        let is_it = |other: &ARef<Bo>| core::ptr::eq::<Bo>(&**other, bo);
        let mut objects = self.objects.lock();
        let place = bo.handle_place.load(Relaxed);
        let place = if objects.get(place).is_some_and(is_it) {
            Some(place)
        } else {
            objects.iter().position(is_it)
        };
        let Some((place, last)) = place.and_then(|place| Some((place, objects.pop()?))) else {
            return;
        };
        // The last one fills the gap, unless it is the one.
        let gone = match objects.get_mut(place) {
            Some(gap) => {
                last.handle_place.store(place, Relaxed);
                replace(gap, last)
            }
            None => last,
        };
        // This may be the last reference.
        drop(objects);
        drop(gone);
    }

    /// How much memory the buffers have, those with several handles several times.
    pub(crate) fn memory_stats(&self) -> MemoryStats {
        let mut stats = MemoryStats::default();
        for bo in self.objects.lock().iter() {
            let size = bo.size() as u64;
            stats.total = stats.total.saturating_add(size);
            if bo.looks_shared() {
                stats.shared = stats.shared.saturating_add(size);
            }
            if bo.is_imported() || bo.looks_resident() {
                stats.resident = stats.resident.saturating_add(size);
            }
            // Only asks; an error is that it is not known.
            if bo.wait_idle(0, false) == Ok(0) {
                stats.active = stats.active.saturating_add(size);
            }
        }
        stats
    }

    /// Adds references on all buffers to a list, some of them several times. `ENOMEM`.
    pub(crate) fn collect(&self, list: &mut KVVec<ARef<Bo>>) -> Result {
        // A reserve that is a little too large costs less than allocating under the lock, behind
        // which creating a buffer would wait.
        loop {
            let count = self.objects.lock().len();
            list.reserve(count, GFP_KERNEL)?;
            let objects = self.objects.lock();
            if objects.len() > count {
                continue;
            }
            for bo in objects.iter() {
                if list.push_within_capacity(bo.clone()).is_err() {
                    break;
                }
            }
            return Ok(());
        }
    }
}
