// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Lists of buffer objects, least recently used first, by memory cgroup.
//!
//! A `list_lru` is a list for each memory cgroup and node. It tells the cgroup that the shrinker
//! has something there, which the shrinker of a module cannot do by itself, and it moves what is
//! left of a dead cgroup to its parent. The cgroup of an entry is the one that its memory is
//! charged to: so an entry is a slab object of its own, allocated when the object's pages come
//! for the first time, by the task that is charged for them as well.
//!
//! C header: [`include/linux/list_lru.h`](srctree/include/linux/list_lru.h)

use super::{
    object::{Locked, Object},
    DriverObject, LISTS,
};
use crate::kernel_ext::{
    bindings,
    registry::Registered,
    shrinker::{Scope, Unregistered},
};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{page::PAGE_SIZE, prelude::*, types::Opaque};

/// How a scan treats an object that the GPU may be using.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Wait a moment for the GPU.
    Wait,
    /// The objects of this list are not in use by the GPU: do not ask.
    Never,
}

/// So many entries of a list are looked at to say how large the objects in it are.
const SAMPLE: c_ulong = 64;

/// A list of buffer objects of one device.
///
/// An object is in one list at most. A list is protected by spin locks of its own.
#[pin_data(PinnedDrop)]
pub(crate) struct Lru<T: DriverObject> {
    #[pin]
    lru: Opaque<bindings::list_lru>,
    _objects: PhantomData<fn(&Object<T>)>,
}

#[pinned_drop]
impl<T: DriverObject> PinnedDrop for Lru<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The list is initialised, and empty: objects keep their device.
        unsafe { bindings::list_lru_destroy(self.lru.get()) };
    }
}

impl<T: DriverObject> Lru<T> {
    /// An empty list that `shrinker` scans. `ENOMEM`.
    pub(crate) fn new<S>(shrinker: &Unregistered<S>) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            lru <- Opaque::try_ffi_init(|slot: *mut bindings::list_lru| {
                // SAFETY: The slot is valid for the list, and pinned. The function wants the key
                // of lockdep to be set before, which is null here.
                unsafe {
                    slot.write_bytes(0, 1);
                    kernel::error::to_result(bindings::__list_lru_init(
                        slot,
                        true,
                        shrinker.as_raw(),
                    ))
                }
            }),
            _objects: PhantomData,
        }? Error)
    }

    /// How many objects there are; a hint, read without the lock.
    fn count(&self, scope: Scope<'_>) -> c_ulong {
        let lru = self.lru.get();
        match scope {
            // SAFETY: The list is initialised.
            Scope::All => unsafe { bindings::kx_list_lru_count(lru) },
            // SAFETY: As above; the cgroup is valid.
            Scope::Group(group) => unsafe {
                bindings::list_lru_count_one(lru, group.nid(), group.as_raw())
            },
        }
    }

    /// Whether there is no object.
    pub(crate) fn is_empty(&self, scope: Scope<'_>) -> bool {
        self.count(scope) == 0
    }

    /// About how many CPU pages the objects have: exactly, if they are few, or else estimated from
    /// those that come next.
    pub(crate) fn pages(&self, scope: Scope<'_>) -> usize {
        let count = self.count(scope);
        if count == 0 {
            return 0;
        }
        let mut sample = Sample {
            objects: 0,
            pages: 0,
        };
        self.walk(
            scope,
            count.min(SAMPLE),
            sample_callback::<T>,
            (&raw mut sample).cast(),
        );
        match (sample.pages as u64)
            .saturating_mul(count as u64)
            .checked_div(sample.objects)
        {
            Some(pages) => usize::try_from(pages).unwrap_or(usize::MAX),
            None => 0,
        }
    }

    /// Offers objects to [`DriverObject::try_evict`], the least recently used first, until it
    /// has evicted `pages` CPU pages or all were asked once. Adds to `remaining` the pages of
    /// objects that could not be evicted now. Returns the number of pages evicted.
    ///
    /// Never waits for a reservation lock.
    pub(crate) fn scan(
        &self,
        scope: Scope<'_>,
        pages: usize,
        remaining: &mut usize,
        busy: Busy,
    ) -> usize {
        let mut scan = Scan {
            wanted: pages,
            freed: 0,
            remaining: 0,
            busy,
        };
        self.walk(
            scope,
            self.count(scope),
            scan_callback::<T>,
            (&raw mut scan).cast(),
        );
        *remaining += scan.remaining;
        scan.freed
    }

    /// Calls `callback` for at most `entries` entries.
    fn walk(&self, scope: Scope<'_>, mut entries: c_ulong, callback: Callback, arg: *mut c_void) {
        let lru = self.lru.get();
        match scope {
            // SAFETY: The list is initialised; the callers pass what their callback expects.
            Scope::All => unsafe {
                bindings::kx_list_lru_walk(lru, Some(callback), arg, entries);
            },
            // SAFETY: As above; the cgroup is valid.
            Scope::Group(group) => unsafe {
                bindings::list_lru_walk_one(
                    lru,
                    group.nid(),
                    group.as_raw(),
                    Some(callback),
                    arg,
                    &mut entries,
                );
            },
        }
    }
}

// SAFETY: A list is not tied to a thread.
unsafe impl<T: DriverObject> Send for Lru<T> {}
// SAFETY: All access is under the list's locks, or a racy read of a counter.
unsafe impl<T: DriverObject> Sync for Lru<T> {}

type Callback = unsafe extern "C" fn(
    *mut bindings::list_head,
    *mut bindings::list_lru_one,
    *mut c_void,
) -> bindings::lru_status;

/// What a look at some entries found.
struct Sample {
    objects: u64,
    pages: usize,
}

/// Adds an entry to a sample.
///
/// # Safety
///
/// To be called by a walk of a [`Lru<T>`] only, with a [`Sample`].
unsafe extern "C" fn sample_callback<T: DriverObject>(
    node: *mut bindings::list_head,
    _list: *mut bindings::list_lru_one,
    arg: *mut c_void,
) -> bindings::lru_status {
    // SAFETY: The walk's list is locked and has entries of this type only.
    let (sample, entry) = unsafe { (&mut *arg.cast::<Sample>(), &*node.cast::<EntryData<T>>()) };
    sample.objects += 1;
    sample.pages = sample.pages.saturating_add(entry.pages);
    bindings::lru_status::LRU_SKIP
}

/// A scan, as far as it is.
struct Scan {
    wanted: usize,
    freed: usize,
    remaining: usize,
    busy: Busy,
}

/// Offers the object of an entry to the driver.
///
/// # Safety
///
/// To be called by a walk of a [`Lru<T>`] only, with a [`Scan`].
unsafe extern "C" fn scan_callback<T: DriverObject>(
    node: *mut bindings::list_head,
    list: *mut bindings::list_lru_one,
    arg: *mut c_void,
) -> bindings::lru_status {
    // SAFETY: The walk's list is locked and has entries of this type only.
    let (scan, entry) = unsafe { (&mut *arg.cast::<Scan>(), &*node.cast::<EntryData<T>>()) };
    if scan.freed >= scan.wanted {
        // SAFETY: The list is locked; after this answer nobody unlocks it any more.
        unsafe { bindings::kx_list_lru_unlock(list) };
        return bindings::lru_status::LRU_STOP;
    }
    let pages = entry.pages;
    // SAFETY: An object leaves its list before its memory is freed.
    let Some(obj) = (unsafe { Object::<T>::get_unless_zero(entry.obj) }) else {
        return bindings::lru_status::LRU_SKIP;
    };
    // The walk starts anew after the lock was dropped: whoever could not be evicted must not come
    // first again.
    // SAFETY: The list is locked, and the entry is in it. It is not used any more after this.
    unsafe { bindings::kx_list_lru_rotate_and_unlock(node, list) };

    // No lock is held from here on. It must be a try: memory may be asked for by the task that
    // brings in the pages of this very object.
    match obj.try_lock() {
        Some(locked) if T::try_evict(&locked, scan.busy) => {
            scan.freed = scan.freed.saturating_add(pages);
        }
        _ => scan.remaining = scan.remaining.saturating_add(pages),
    }
    drop(obj);
    // The list is unlocked with both.
    if scan.freed >= scan.wanted {
        bindings::lru_status::LRU_STOP
    } else {
        bindings::lru_status::LRU_RETRY
    }
}

/// What stands for an object in a list.
#[repr(C)]
struct EntryData<T: DriverObject> {
    node: bindings::list_head,
    obj: NonNull<Object<T>>,
    pages: usize,
}

/// The size of an entry of any type.
const ENTRY_SIZE: usize = size_of::<[usize; 4]>();

/// Owned memory of an entry.
struct Entry<T: DriverObject>(NonNull<EntryData<T>>);

impl<T: DriverObject> Entry<T> {
    /// Allocates an entry for a list; the cgroup that is charged for it has a place in the list
    /// from then on. `ENOMEM`.
    fn new(list: &Lru<T>, obj: &Object<T>) -> Result<Self> {
        const { assert!(size_of::<EntryData<T>>() <= ENTRY_SIZE) };
        // SAFETY: The list is initialised.
        let ptr = unsafe { bindings::kx_lru_entry_alloc(list.lru.get()) };
        let ptr = NonNull::new(ptr.cast::<EntryData<T>>()).ok_or(ENOMEM)?;
        // SAFETY: The memory is ours, and large enough, as asserted above.
        unsafe {
            ptr.write(EntryData {
                node: bindings::list_head::default(),
                obj: NonNull::from(obj),
                pages: obj.size() / PAGE_SIZE,
            });
            bindings::INIT_LIST_HEAD(ptr.cast().as_ptr());
        }
        Ok(Self(ptr))
    }

    fn node(&self) -> *mut bindings::list_head {
        self.0.cast().as_ptr()
    }
}

impl<T: DriverObject> Drop for Entry<T> {
    fn drop(&mut self) {
        // SAFETY: The memory is ours, and in no list any more, see `Entries`.
        unsafe { bindings::kx_lru_entry_free(self.0.cast().as_ptr()) };
    }
}

/// The entries of an object, one for each list. Only one is ever in its list; but which cgroup the
/// next one would belong to could have changed.
///
/// # Invariants
///
/// Only the entry number `place` is in its list, and none when this is dropped.
pub(super) struct Entries<T: DriverObject> {
    entries: [Entry<T>; LISTS],
    place: Option<usize>,
}

impl<T: DriverObject> Locked<'_, T> {
    /// Makes the object known to memory cgroups, before it has pages for the first time. `ENOMEM`.
    pub(super) fn make_entries(&self) -> Result {
        // SAFETY: The reservation lock is held, under which alone the entries change.
        let entries = unsafe { &mut *self.entries.get() };
        if entries.is_none() {
            let [a, b, c, d] = T::lists(self.dev());
            *entries = Some(Entries {
                entries: [
                    Entry::new(a, self)?,
                    Entry::new(b, self)?,
                    Entry::new(c, self)?,
                    Entry::new(d, self)?,
                ],
                place: None,
            });
        }
        Ok(())
    }

    /// Moves the object to the end of one of [`DriverObject::lists`], or out of all of them.
    pub(crate) fn move_to_list(&self, place: Option<usize>) {
        // SAFETY: As above.
        let Some(entries) = (unsafe { &mut *self.entries.get() }) else {
            return;
        };
        let lists = T::lists(self.dev());
        if let Some((list, entry)) = at(&lists, entries, entries.place) {
            // SAFETY: Both are initialised, and this list is the only one the entry can be in.
            unsafe { bindings::list_lru_del_obj(list.lru.get(), entry.node()) };
        }
        if let Some((list, entry)) = at(&lists, entries, place) {
            // SAFETY: As above. The entry's cgroup has a place in this list.
            unsafe { bindings::list_lru_add_obj(list.lru.get(), entry.node()) };
        }
        // INVARIANT: It is out of the old list and in the new one.
        entries.place = place;
    }
}

fn at<'a, T: DriverObject>(
    lists: &[&'a Lru<T>; LISTS],
    entries: &'a Entries<T>,
    place: Option<usize>,
) -> Option<(&'a Lru<T>, &'a Entry<T>)> {
    let place = place?;
    Some((lists.get(place)?, entries.entries.get(place)?))
}

/// What all entries are allocated from, in the module's data: it outlives all objects.
pub(crate) struct EntryCache(());

impl EntryCache {
    /// Makes the cache; there is one at a time. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The caller keeps the result for as long as there are objects.
        kernel::error::to_result(unsafe { bindings::kx_lru_entry_cache_create(ENTRY_SIZE) })?;
        Ok(Self(()))
    }
}

impl Drop for EntryCache {
    fn drop(&mut self) {
        // SAFETY: Made in `new()`. Objects keep the module loaded, and none is left.
        unsafe { bindings::kx_lru_entry_cache_destroy() };
    }
}
