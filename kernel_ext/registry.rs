// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A list of all objects of a kind that does not keep them alive.
//!
//! For walking over all buffers or all address spaces of a device: to show them, and to take the
//! device away from them when it is unplugged.

use core::ptr::NonNull;
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{aref::ARef, aref::AlwaysRefCounted, CondVar, Mutex},
};

/// An object whose reference count can be taken up unless it is zero already.
///
/// # Safety
///
/// A reference that [`Self::get_unless_zero`] returns is as good as any other one.
pub(in crate::kernel_ext) unsafe trait TryGet:
    AlwaysRefCounted + Sized
{
    /// Takes a reference unless the last one is gone.
    ///
    /// # Safety
    ///
    /// The memory of the object is valid during the call.
    unsafe fn get_unless_zero(ptr: NonNull<Self>) -> Option<ARef<Self>>;
}

/// The place of an object in a [`Registry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel_ext) struct Id(u64);

struct Pointer<T>(NonNull<T>);

// SAFETY: The pointer is used to take a reference, which any thread may do.
unsafe impl<T: Send + Sync> Send for Pointer<T> {}

struct Inner<T> {
    next: u64,
    objects: RBTree<u64, Pointer<T>>,
}

/// All objects of a kind, in the order in which they came.
///
/// # Invariants
///
/// The memory of every object in the registry is valid.
///
/// # Locks
///
/// The lock is taken where objects are freed, which reclaim does as well: nothing is allocated
/// under it.
#[pin_data]
pub(crate) struct Registry<T: AlwaysRefCounted + Send + Sync> {
    #[pin]
    inner: Mutex<Inner<T>>,
    /// Something was removed.
    #[pin]
    removed: CondVar,
}

impl<T: AlwaysRefCounted + Send + Sync> Registry<T> {
    /// An empty registry.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_mutex!(
                Inner {
                    next: 1,
                    objects: RBTree::new(),
                },
                "Registry::inner"
            ),
            removed <- new_condvar!("Registry::removed"),
        })
    }
}

#[allow(private_bounds)]
impl<T: TryGet + Send + Sync> Registry<T> {
    /// Adds an object.
    ///
    /// # Safety
    ///
    /// The caller removes it before its memory is freed.
    pub(in crate::kernel_ext) unsafe fn insert(&self, obj: NonNull<T>) -> Result<Id> {
        // The key is known under the lock only.
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut inner = self.inner.lock();
        let id = inner.next;
        inner.next += 1;
        // INVARIANT: The caller removes the object in time.
        inner.objects.insert(node.into_node(id, Pointer(obj)));
        Ok(Id(id))
    }

    /// Removes an object.
    pub(in crate::kernel_ext) fn remove(&self, id: Id) {
        let node = self.inner.lock().objects.remove_node(&id.0);
        drop(node);
        self.removed.notify_all();
    }

    /// Calls `f` for all objects, in the order in which they came; those that come or go
    /// meanwhile may be left out. No lock is held during a call.
    ///
    /// Waits for objects that are just being freed, so that in the end each one that was there at
    /// the beginning has been seen or is gone.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&T)) {
        let mut from = 0;
        loop {
            let obj = {
                let mut inner = self.inner.lock();
                loop {
                    let Some(cursor) = inner.objects.cursor_lower_bound(&from) else {
                        return;
                    };
                    let (&id, &Pointer(ptr)) = cursor.current();
                    // SAFETY: The memory is valid by the type invariants.
                    if let Some(obj) = unsafe { T::get_unless_zero(ptr) } {
                        from = id + 1;
                        break obj;
                    }
                    self.removed.wait(&mut inner);
                }
            };
            f(&obj);
        }
    }
}
