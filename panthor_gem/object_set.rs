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
    rbtree::RBTree,
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
/// A buffer remembers where it is in one set: that of the file that got the first handle of it, as
/// most have one handle. In the sets of other files it is found by its address.
#[pin_data]
pub(crate) struct ObjectSet {
    #[pin]
    objects: Mutex<Objects>,
}

/// One entry for each handle.
struct Objects {
    /// Those that know their place, in no order.
    placed: KVVec<ARef<Bo>>,
    /// The others, by their addresses, with the number of their handles.
    others: RBTree<usize, (ARef<Bo>, usize)>,
}

impl Objects {
    /// Adds a buffer that is to be found by its address. `ENOMEM`.
    fn insert_other(&mut self, bo: ARef<Bo>) -> Result {
        match self.others.get_mut(&address(&bo)) {
            Some((_, handles)) => *handles = handles.checked_add(1).ok_or(EOVERFLOW)?,
            None => {
                let key = address(&bo);
                self.others
                    .try_create_and_insert(key, (bo, 1), GFP_KERNEL_ACCOUNT)?;
            }
        }
        Ok(())
    }

    /// Takes one entry of a buffer out, whichever. Returns a reference that is left of it.
    fn remove(&mut self, bo: &Bo) -> Option<ARef<Bo>> {
        if !self.others.is_empty() {
            if let Some((_, handles)) = self.others.get_mut(&address(bo)) {
                if *handles > 1 {
                    *handles -= 1;
                    return None;
                }
                return self.others.remove(&address(bo)).map(|(bo, _)| bo);
            }
        }
        let place = bo.handle_place.load(Relaxed);
        let is_it = |other: &ARef<Bo>| core::ptr::eq::<Bo>(&**other, bo);
        if !self.placed.get(place).is_some_and(is_it) {
            return None;
        }
        let last = self.placed.pop()?;
        // The last one fills the gap, unless it is the one.
        let gone = match self.placed.get_mut(place) {
            Some(gap) => {
                last.handle_place.store(place, Relaxed);
                replace(gap, last)
            }
            None => last,
        };
        // The next one who gets a handle may place it.
        gone.is_placed.store(false, Relaxed);
        Some(gone)
    }

    /// All entries, of which there are at least as many as buffers.
    fn iter(&self) -> impl Iterator<Item = (&ARef<Bo>, usize)> {
        let others = self.others.values().map(|(bo, handles)| (bo, *handles));
        Iterator::chain(self.placed.iter().map(|bo| (bo, 1)), others)
    }
}

fn address(bo: &Bo) -> usize {
    core::ptr::from_ref(bo).addr()
}

impl ObjectSet {
    /// Without buffers.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            objects <- new_mutex!(
                Objects {
                    placed: KVVec::new(),
                    others: RBTree::new(),
                },
                "ObjectSet::objects"
            ),
        })
    }

    /// The file has got a handle of a buffer. `ENOMEM`.
    pub(crate) fn insert(&self, bo: ARef<Bo>) -> Result {
        let mut objects = self.objects.lock();
        if bo.is_placed.xchg(true, Relaxed) {
            return objects.insert_other(bo);
        }
        if let Err(e) = objects.placed.reserve(1, GFP_KERNEL_ACCOUNT) {
            bo.is_placed.store(false, Relaxed);
            return Err(e.into());
        }
        bo.handle_place.store(objects.placed.len(), Relaxed);
        objects.placed.push_within_capacity(bo).map_err(|_| ENOMEM)
    }

    /// The file has given up a handle of a buffer.
    pub(crate) fn remove(&self, bo: &Bo) {
        // This may be the last reference.
        let gone = self.objects.lock().remove(bo);
        drop(gone);
    }

    /// How much memory the buffers have, those with several handles several times.
    pub(crate) fn memory_stats(&self) -> MemoryStats {
        let mut stats = MemoryStats::default();
        for (bo, handles) in self.objects.lock().iter() {
            let size = (bo.size() as u64).saturating_mul(handles as u64);
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
            let count = self.objects.lock().iter().count();
            list.reserve(count, GFP_KERNEL)?;
            let objects = self.objects.lock();
            if objects.iter().count() > count {
                continue;
            }
            for (bo, _) in objects.iter() {
                if list.push_within_capacity(bo.clone()).is_err() {
                    break;
                }
            }
            return Ok(());
        }
    }
}
