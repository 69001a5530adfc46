// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The buffers that a file has handles of.
//!
//! The DRM core has that table as well, but only while the file is open; whoever works for a
//! process that may end meanwhile needs one that lives as long as the driver's part of the file.

use super::Bo;
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNode},
    sync::{aref::ARef, Mutex},
};

/// A buffer with the number of handles that the file has of it.
struct Entry {
    bo: ARef<Bo>,
    handles: u32,
}

/// The buffers that a file has handles of, each with a reference.
#[pin_data]
pub(crate) struct ObjectSet {
    /// By their addresses.
    #[pin]
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    tree: RBTree<usize, Entry>,
    count: usize,
}

fn key(bo: &Bo) -> usize {
    core::ptr::from_ref(bo).addr()
}

impl ObjectSet {
    /// Without buffers.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            objects <- new_mutex!(Objects::default(), "ObjectSet::objects"),
        })
    }

    /// The file has got a handle of a buffer. `ENOMEM`.
    pub(crate) fn insert(&self, bo: ARef<Bo>) -> Result {
        let node = RBTreeNode::new(key(&bo), Entry { bo, handles: 1 }, GFP_KERNEL)?;
        let mut objects = self.objects.lock();
        // Replaces the entry that is there already, of which the count goes on.
        if let Some(old) = objects.tree.insert(node) {
            let (key, entry) = old.to_key_value();
            if let Some(new) = objects.tree.get_mut(&key) {
                new.handles = entry.handles.saturating_add(1);
            }
            drop(objects);
            drop(entry);
        } else {
            objects.count += 1;
        }
        Ok(())
    }

    /// The file has given up a handle of a buffer.
    pub(crate) fn remove(&self, bo: &Bo) {
        let mut objects = self.objects.lock();
        let gone = match objects.tree.get_mut(&key(bo)) {
            Some(entry) => {
                entry.handles = entry.handles.saturating_sub(1);
                entry.handles == 0
            }
            None => false,
        };
        if gone {
            let node = objects.tree.remove_node(&key(bo));
            objects.count -= 1;
            // The last reference may be in it.
            drop(objects);
            drop(node);
        }
    }

    /// Adds references on all buffers to a list. `ENOMEM`.
    pub(crate) fn collect(&self, list: &mut KVVec<ARef<Bo>>) -> Result {
        // A reserve that is a little too large costs less than allocating under the lock, behind
        // which creating a buffer would wait.
        loop {
            let count = self.objects.lock().count;
            list.reserve(count, GFP_KERNEL)?;
            let objects = self.objects.lock();
            if objects.count > count {
                continue;
            }
            for entry in objects.tree.values() {
                if list.push_within_capacity(entry.bo.clone()).is_err() {
                    break;
                }
            }
            return Ok(());
        }
    }
}
