// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A list of all objects of a kind that does not keep them alive.
//!
//! For walking over all buffers or all address spaces of a device: to show them, and to take the
//! device away from them when it is unplugged.

use core::{cell::Cell, ptr::NonNull};
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{aref::ARef, aref::AlwaysRefCounted, CondVar, Mutex},
};

/// An object that can be in a [`Registry`].
///
/// # Safety
///
/// A reference that [`Self::get_unless_zero`] returns is as good as any other one, and
/// [`Self::links`] always returns the same part of the object, which nobody else uses.
pub(in crate::kernel_ext) unsafe trait Registered:
    AlwaysRefCounted + Send + Sync + Sized
{
    /// Takes a reference unless the last one is gone.
    ///
    /// # Safety
    ///
    /// The memory of the object is valid during the call.
    unsafe fn get_unless_zero(ptr: NonNull<Self>) -> Option<ARef<Self>>;

    /// The place of the object in the list.
    fn links(&self) -> &Links<Self>;
}

/// The place of an object in a [`Registry`]: which one, and its neighbours.
///
/// # Invariants
///
/// `prev` and `next` are accessed with the lock of the registry held only; `home` by who inserts
/// and who removes the object.
pub(in crate::kernel_ext) struct Links<T: AlwaysRefCounted + Send + Sync> {
    home: Cell<Option<NonNull<Registry<T>>>>,
    prev: Cell<Option<NonNull<T>>>,
    next: Cell<Option<NonNull<T>>>,
}

impl<T: AlwaysRefCounted + Send + Sync> Links<T> {
    /// Of an object that is in no list.
    pub(in crate::kernel_ext) fn new() -> Self {
        Self {
            home: Cell::new(None),
            prev: Cell::new(None),
            next: Cell::new(None),
        }
    }
}

/// What the lock of a [`Registry`] protects.
struct Inner<T> {
    first: Option<NonNull<T>>,
    last: Option<NonNull<T>>,
    /// How many wait for something to be removed.
    waiting: usize,
}

// SAFETY: The pointers are used to take references, which any thread may do.
unsafe impl<T: Send + Sync> Send for Inner<T> {}

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
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_mutex!(
                Inner {
                    first: None,
                    last: None,
                    waiting: 0,
                },
                "Registry::inner"
            ),
            removed <- new_condvar!("Registry::removed"),
        })
    }
}

#[allow(private_bounds)]
impl<T: Registered> Registry<T> {
    /// Adds an object.
    ///
    /// # Safety
    ///
    /// It is in no registry, and the caller has a reference on it. It is removed before its memory is
    /// freed, or this registry.
    pub(in crate::kernel_ext) unsafe fn insert(&self, obj: &T) {
        obj.links().home.set(Some(NonNull::from(self)));
        let mut inner = self.inner.lock();
        // INVARIANT: The caller removes the object in time.
        let new = Some(NonNull::from(obj));
        let last = core::mem::replace(&mut inner.last, new);
        obj.links().prev.set(last);
        match last {
            // SAFETY: The memory is valid by the type invariants.
            Some(last) => unsafe { last.as_ref() }.links().next.set(new),
            None => inner.first = new,
        }
    }

    /// Removes an object from the registry that it is in, if it is in one.
    ///
    /// # Safety
    ///
    /// Its last reference is gone: [`Self::for_each`] goes on from an object that it has a reference
    /// on. Nobody else inserts or removes it meanwhile.
    pub(in crate::kernel_ext) unsafe fn remove(obj: &T) {
        let Some(home) = obj.links().home.take() else {
            return;
        };
        // SAFETY: It is there while objects are in it, see `insert()`.
        let home = unsafe { home.as_ref() };
        let mut inner = home.inner.lock();
        let (prev, next) = (obj.links().prev.take(), obj.links().next.take());
        match prev {
            // SAFETY: The memory is valid by the type invariants.
            Some(prev) => unsafe { prev.as_ref() }.links().next.set(next),
            None => inner.first = next,
        }
        match next {
            // SAFETY: As above.
            Some(next) => unsafe { next.as_ref() }.links().prev.set(prev),
            None => inner.last = prev,
        }
        if inner.waiting > 0 {
            home.removed.notify_all();
        }
    }

    /// Calls `f` for all objects, in the order in which they came; those that come or go
    /// meanwhile may be left out. No lock is held during a call.
    ///
    /// Waits for objects that are just being freed, so that in the end each one that was there at
    /// the beginning has been seen or is gone.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&T)) {
        let mut current = None;
        while let Some(next) = self.after(current.as_deref()) {
            f(&next);
            current = Some(next);
        }
    }

    /// The object after `current`, or the first one: a step of [`Self::for_each`]. Who goes on from
    /// an object has a reference, which keeps its place in the list.
    ///
    /// Nothing if `current` is of another registry.
    pub(crate) fn after(&self, current: Option<&T>) -> Option<ARef<T>> {
        let is_ours = |obj: &T| obj.links().home.get() == Some(NonNull::from(self));
        if current.is_some_and(|obj| !is_ours(obj)) {
            return None;
        }
        let mut inner = self.inner.lock();
        loop {
            let next = match current {
                Some(obj) => obj.links().next.get(),
                None => inner.first,
            };
            // SAFETY: The memory is valid by the type invariants.
            if let Some(obj) = unsafe { T::get_unless_zero(next?) } {
                return Some(obj);
            }
            inner.waiting += 1;
            self.removed.wait(&mut inner);
            inner.waiting -= 1;
        }
    }
}
