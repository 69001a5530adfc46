// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Lists of buffer objects, in the order in which they came, by memory cgroup.
//!
//! A `list_lru` is a list for each memory cgroup and node. It tells the cgroup that the shrinker
//! has something there, which the shrinker of a module cannot do by itself, and it moves what is
//! left of a dead cgroup to its parent. The cgroup of an object is the one that its memory is
//! charged to, as its first page says when it comes for the first time.
//!
//! C header: [`include/linux/list_lru.h`](srctree/include/linux/list_lru.h)

use super::{
    object::{Locked, Object},
    DriverObject,
};
use crate::kernel_ext::{
    bindings,
    registry::Registered,
    shrinker::{Scope, Unregistered},
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::{offset_of, replace},
    ptr::{null_mut, NonNull},
};
use kernel::{
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    types::Opaque,
};

/// How a scan treats an object that the GPU may be using.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Wait for the GPU, so many jiffies in all.
    Wait(usize),
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
    /// The cgroup that was last found to have a place in the list, or null.
    known: UnsafeCell<*mut bindings::obj_cgroup>,
    /// For the objects in it, which keep their device, and with it the list.
    _maker: ListMaker,
    _objects: PhantomData<fn(&Object<T>)>,
}

#[pinned_drop]
impl<T: DriverObject> PinnedDrop for Lru<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The list is initialised, and empty: objects keep their device. The reference on what
        // is known is ours.
        unsafe {
            bindings::list_lru_destroy(self.lru.get());
            bindings::kx_lru_put_charged(*self.known.get());
        }
    }
}

impl<T: DriverObject> Lru<T> {
    /// An empty list that `shrinker` scans. `ENOMEM`.
    pub(super) fn new<S>(shrinker: &Unregistered<S>) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            known: UnsafeCell::new(null_mut()),
            _maker: ListMaker::new()?,
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

    /// Offers objects to [`DriverObject::try_evict`], in the order in which they came into the list,
    /// until it has evicted `pages` CPU pages or all were asked once.
    ///
    /// Never waits for a reservation lock.
    pub(crate) fn scan(&self, scope: Scope<'_>, pages: usize, busy: Busy) -> Scan {
        let mut scan = Scan {
            number: SCANS.fetch_add(1, Relaxed),
            wanted: pages,
            freed: 0,
            contended: false,
            busy,
        };
        // Each is looked at once to be asked, and the first of a list once more to see that all
        // were. Twice is enough for that, and an end for a list that grows all the time.
        self.walk(
            scope,
            self.count(scope).saturating_mul(2),
            scan_callback::<T>,
            (&raw mut scan).cast(),
        );
        scan
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
// SAFETY: All access is under the list's locks, or a racy read of a counter; `known` is exchanged
// atomically.
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

/// Adds an object to a sample.
///
/// # Safety
///
/// To be called by a walk of a [`Lru<T>`] only, with a [`Sample`].
unsafe extern "C" fn sample_callback<T: DriverObject>(
    node: *mut bindings::list_head,
    _list: *mut bindings::list_lru_one,
    arg: *mut c_void,
) -> bindings::lru_status {
    // SAFETY: The walk's list is locked and has objects of this type only, which leave it before
    // their memory is freed.
    let (sample, obj) = unsafe { (&mut *arg.cast::<Sample>(), object_of::<T>(node).as_ref()) };
    sample.objects += 1;
    sample.pages = sample.pages.saturating_add(obj.size() / PAGE_SIZE);
    bindings::lru_status::LRU_SKIP
}

/// The number of the next scan of any list. 0 is that of none.
static SCANS: Atomic<u64> = Atomic::new(1);

/// A scan, as far as it is.
pub(crate) struct Scan {
    number: u64,
    wanted: usize,
    /// What is left of the time to wait.
    pub(crate) busy: Busy,
    /// How many CPU pages were evicted.
    pub(crate) freed: usize,
    /// Whether a reservation lock was taken, so that an object was not even asked.
    pub(crate) contended: bool,
}

/// Offers an object to the driver.
///
/// # Safety
///
/// To be called by a walk of a [`Lru<T>`] only, with a [`Scan`].
unsafe extern "C" fn scan_callback<T: DriverObject>(
    node: *mut bindings::list_head,
    list: *mut bindings::list_lru_one,
    arg: *mut c_void,
) -> bindings::lru_status {
    // SAFETY: As in `sample_callback()`.
    let (scan, ptr) = unsafe { (&mut *arg.cast::<Scan>(), object_of::<T>(node)) };
    // SAFETY: As above; the number is not behind a lock of the object.
    let last_scan = unsafe { &(*ptr.as_ptr()).listed.scan };
    if scan.freed >= scan.wanted || last_scan.load(Relaxed) == scan.number {
        // Enough, or the first of those that were asked: all are.
        // SAFETY: The list is locked; after this answer nobody unlocks it any more.
        unsafe { bindings::kx_list_lru_unlock(list) };
        return bindings::lru_status::LRU_STOP;
    }
    // SAFETY: An object leaves its list before its memory is freed.
    let Some(obj) = (unsafe { Object::<T>::get_unless_zero(ptr) }) else {
        return bindings::lru_status::LRU_SKIP;
    };
    // The walk starts anew after the lock was dropped: whoever could not be evicted must not come
    // first again.
    last_scan.store(scan.number, Relaxed);
    // SAFETY: The list is locked, and the object is in it. It is not used any more after this.
    unsafe { bindings::kx_list_lru_rotate_and_unlock(node, list) };

    // No lock is held from here on. It must be a try: memory may be asked for by the task that
    // brings in the pages of this very object.
    match obj.try_lock() {
        Some(locked) => {
            if T::try_evict(&locked, &mut scan.busy) {
                scan.freed = scan.freed.saturating_add(obj.size() / PAGE_SIZE);
            }
        }
        None => scan.contended = true,
    }
    drop(obj);
    // The list is unlocked with both.
    if scan.freed >= scan.wanted {
        bindings::lru_status::LRU_STOP
    } else {
        bindings::lru_status::LRU_RETRY
    }
}

/// The object that a list has as `node`.
///
/// # Safety
///
/// `node` is the one of an `Object<T>`.
unsafe fn object_of<T: DriverObject>(node: *mut bindings::list_head) -> NonNull<Object<T>> {
    let offset = offset_of!(Object<T>, listed) + offset_of!(Listed, node);
    // SAFETY: The caller promises that it is so far inside of an object.
    unsafe { NonNull::new_unchecked(node.byte_sub(offset).cast()) }
}

/// The cgroup that the memory of an object is charged to, or none. It has a place in all lists of
/// the device, as it or, when it is dead, the parent that inherited it.
struct Charged(*mut bindings::obj_cgroup);

impl Drop for Charged {
    fn drop(&mut self) {
        // SAFETY: We own the reference.
        unsafe { bindings::kx_lru_put_charged(self.0) };
    }
}

/// Where an object is listed.
enum Place {
    /// It never had memory.
    Unknown,
    /// In no list now.
    Out(Charged),
    /// In the list of this number in [`Device::lists`], which is this one.
    ///
    /// [`Device::lists`]: crate::kernel_ext::drm::Device::lists
    In(Charged, usize, NonNull<bindings::list_lru>),
}

impl Place {
    fn number(&self) -> Option<usize> {
        match self {
            Self::Unknown | Self::Out(_) => None,
            Self::In(_, number, _) => Some(*number),
        }
    }
}

/// What an object needs to be in a list.
///
/// # Invariants
///
/// `node` is in the list that `place` tells, and in none otherwise.
#[pin_data]
pub(super) struct Listed {
    /// Belongs to the lock of the list it is in.
    #[pin]
    node: Opaque<bindings::list_head>,
    /// The number of the last scan that asked the object. Belongs to that lock as well.
    scan: Atomic<u64>,
    /// Under the reservation lock of the object.
    place: UnsafeCell<Place>,
}

impl Listed {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: It is in no list.
            node <- Opaque::ffi_init(|node| {
                // SAFETY: The slot is valid.
                unsafe { bindings::INIT_LIST_HEAD(node) }
            }),
            scan: Atomic::new(0),
            place: UnsafeCell::new(Place::Unknown),
        })
    }
}

impl<T: DriverObject> Locked<'_, T> {
    /// Makes the object known to the memory cgroup that `page`, its first one, is charged to.
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `page` is a page of the object, and is held.
    pub(super) unsafe fn set_charged(&self, page: *mut bindings::page) -> Result {
        // SAFETY: The reservation lock is held, under which alone the place changes.
        let place = unsafe { &mut *self.listed.place.get() };
        if matches!(place, Place::Unknown) {
            let lists = self.dev().lists();
            let [.., last] = lists;
            let raw = lists.each_ref().map(|list| list.lru.get());
            let mut charged = null_mut();
            // SAFETY: The lists are initialised, with what they are made with, and the caller
            // promises that the page is valid and stays charged. `known` is of the last list, and
            // only this function writes it.
            let placed = unsafe {
                bindings::kx_lru_get_charged(
                    page,
                    raw.as_ptr(),
                    raw.len(),
                    last.known.get(),
                    &mut charged,
                )
            };
            if !placed {
                return Err(ENOMEM);
            }
            *place = Place::Out(Charged(charged));
        }
        Ok(())
    }

    /// Moves the object to the end of one of [`Device::lists`], or out of all of them. It keeps its
    /// place if it is there.
    ///
    /// [`Device::lists`]: crate::kernel_ext::drm::Device::lists
    pub(crate) fn move_to_list(&self, to: Option<usize>) {
        let node = self.listed.node.get();
        // SAFETY: The reservation lock is held, under which alone the place changes.
        let place = unsafe { &mut *self.listed.place.get() };
        if place.number() == to {
            return;
        }
        let (charged, from) = match replace(place, Place::Unknown) {
            Place::Unknown => return,
            Place::Out(charged) => (charged, null_mut()),
            Place::In(charged, _, list) => (charged, list.as_ptr()),
        };
        let to = to.and_then(|to| {
            let list = self.dev().lists().get(to)?.lru.get();
            // SAFETY: The pointer came from a reference.
            Some((to, unsafe { NonNull::new_unchecked(list) }))
        });
        let list = to.map_or(null_mut(), |(_, list)| list.as_ptr());
        // SAFETY: The object is in `from`, if that is a list, and the cgroup has a place in both. They
        // are initialised, and their device keeps them.
        unsafe { bindings::kx_lru_move(from, list, node, charged.0) };
        // INVARIANT: It is out of the old list, and in the new one.
        *place = match to {
            None => Place::Out(charged),
            Some((number, list)) => Place::In(charged, number, list),
        };
    }
}

impl<T: DriverObject> Object<T> {
    /// Whether the object is in a list; without the lock, for people to look at.
    pub(crate) fn is_listed(&self) -> bool {
        let node = self.listed.node.get();
        // SAFETY: The node is initialised. It is read as `list_empty()` does it, and not followed.
        let next = unsafe { (&raw const (*node).next).read_volatile() };
        !core::ptr::eq(next, node)
    }
}

/// What the lists of a cgroup are made with, which modules cannot do in another way than by an
/// allocation that is charged to it. All lists share one.
///
/// # Invariants
///
/// Comes with a reference on `kx_lru_maker`.
struct ListMaker(());

impl ListMaker {
    /// `ENOMEM`.
    fn new() -> Result<Self> {
        // SAFETY: The function may be called at any time.
        to_result(unsafe { bindings::kx_lru_maker_get() })?;
        // INVARIANT: Taken above.
        Ok(Self(()))
    }
}

impl Drop for ListMaker {
    fn drop(&mut self) {
        // SAFETY: Gives up the reference.
        unsafe { bindings::kx_lru_maker_put() };
    }
}
