// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Shrinkers: what the kernel asks for memory when it is short.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use super::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted},
};

/// A memory cgroup on a node, or the root of all of them, during a call of a shrinker.
///
/// # Invariants
///
/// `memcg` is null or valid during `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    memcg: *mut bindings::mem_cgroup,
    nid: c_int,
    _lifetime: PhantomData<&'a ()>,
}

impl Group<'_> {
    pub(super) fn as_raw(&self) -> *mut bindings::mem_cgroup {
        self.memcg
    }

    pub(super) fn nid(&self) -> c_int {
        self.nid
    }
}

/// Whose objects a shrinker is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// Everybody's.
    All,
    /// Those that are charged to a cgroup itself. For memory as a whole the kernel asks for all
    /// cgroups, one after the other.
    Group(Group<'a>),
}

/// What a shrinker is asked.
#[derive(Clone, Copy)]
pub(crate) struct ShrinkControl<'a> {
    /// Whose objects are meant.
    pub(crate) scope: Scope<'a>,
    /// How many objects to scan.
    pub(crate) nr_to_scan: usize,
    /// Whether the caller is in a place where waiting is allowed.
    pub(crate) may_block: bool,
}

/// What there is to free.
pub(crate) enum Count {
    /// Nothing at all. The shrinker is not asked again for the cgroup before an object comes to
    /// one of its empty lists.
    Empty,
    /// About so many objects could be freed now; it may be 0.
    Objects(usize),
}

/// What a scan came to.
pub(crate) enum Scanned {
    /// So many objects were freed.
    Freed(usize),
    /// No progress is possible now: do not ask again soon.
    Stop,
}

/// A cache that can be shrunk.
pub(crate) trait Shrink: AlwaysRefCounted + Send + Sync + 'static {
    /// The name, for people to look at.
    const NAME: &'static CStr;

    /// About how many objects could be freed.
    fn count(&self, control: ShrinkControl<'_>) -> Count;

    /// Tries to free objects.
    fn scan(&self, control: ShrinkControl<'_>) -> Scanned;
}

/// A shrinker that is not registered yet, which lists for its objects can be made for. It is called
/// for every memory cgroup by itself.
pub(crate) struct Unregistered<T> {
    shrinker: NonNull<bindings::shrinker>,
    _data: PhantomData<fn(&T)>,
}

impl<T> Unregistered<T> {
    pub(super) fn as_raw(&self) -> *mut bindings::shrinker {
        self.shrinker.as_ptr()
    }
}

impl<T: Shrink> Unregistered<T> {
    /// Allocates a shrinker. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The format takes one string.
        let shrinker = unsafe {
            bindings::shrinker_alloc(
                bindings::KX_SHRINKER_FLAGS,
                c"%s".as_char_ptr(),
                T::NAME.as_char_ptr(),
            )
        };
        Ok(Self {
            shrinker: NonNull::new(shrinker).ok_or(ENOMEM)?,
            _data: PhantomData,
        })
    }

    /// From now on the kernel asks it for objects of `data`, until the registration is dropped: which
    /// must be before the module goes, and therefore is not left to drivers.
    pub(super) fn register(self, data: ARef<T>) -> Registration<T> {
        let shrinker = self.shrinker;
        core::mem::forget(self);
        // SAFETY: The shrinker is ours until it is registered; the data lives longer.
        unsafe {
            let s = shrinker.as_ptr();
            (*s).count_objects = Some(count_callback::<T>);
            (*s).scan_objects = Some(scan_callback::<T>);
            (*s).private_data = core::ptr::from_ref::<T>(&data).cast_mut().cast();
            bindings::shrinker_register(s);
        }
        // INVARIANT: Registered above.
        Registration {
            shrinker,
            _data: data,
        }
    }
}

impl<T> Drop for Unregistered<T> {
    fn drop(&mut self) {
        // SAFETY: Allocated, and not registered.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// A registered shrinker.
///
/// # Invariants
///
/// `shrinker` is registered and its private data is the address of `_data`.
pub(super) struct Registration<T: Shrink> {
    shrinker: NonNull<bindings::shrinker>,
    /// Keeps what is shrunk.
    _data: ARef<T>,
}

// SAFETY: A registration may be ended by any thread.
unsafe impl<T: Shrink> Send for Registration<T> {}
// SAFETY: There is nothing to do with a shared one.
unsafe impl<T: Shrink> Sync for Registration<T> {}

impl<T: Shrink> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered; this waits for calls that are going on.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}

/// # Safety
///
/// `sc` is valid, and `'a` ends with the call that it was passed to.
unsafe fn control<'a>(sc: *mut bindings::shrink_control) -> ShrinkControl<'a> {
    // SAFETY: The caller promises it.
    unsafe {
        ShrinkControl {
            // INVARIANT: The kernel keeps the cgroup during the call.
            scope: Scope::Group(Group {
                memcg: (*sc).memcg,
                nid: (*sc).nid,
                _lifetime: PhantomData,
            }),
            nr_to_scan: (*sc).nr_to_scan,
            may_block: bindings::kx_may_block((*sc).gfp_mask),
        }
    }
}

/// `SHRINK_EMPTY`: there is nothing at all.
const EMPTY: c_ulong = c_ulong::MAX - 1;
/// `SHRINK_STOP`: no progress is possible.
const STOP: c_ulong = c_ulong::MAX;

/// A number of objects, which the mm core takes as one with a sign.
fn number(count: usize) -> c_ulong {
    count.min(c_long::MAX as usize) as c_ulong
}

/// `count_objects` of `struct shrinker`.
///
/// # Safety
///
/// To be called by the mm core only.
unsafe extern "C" fn count_callback<T: Shrink>(
    shrinker: *mut bindings::shrinker,
    sc: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The private data is valid while the shrinker is registered.
    let (data, control) = unsafe { (&*(*shrinker).private_data.cast::<T>(), control(sc)) };
    match data.count(control) {
        Count::Empty => EMPTY,
        Count::Objects(count) => number(count),
    }
}

/// `scan_objects` of `struct shrinker`.
///
/// # Safety
///
/// To be called by the mm core only.
unsafe extern "C" fn scan_callback<T: Shrink>(
    shrinker: *mut bindings::shrinker,
    sc: *mut bindings::shrink_control,
) -> c_ulong {
    // SAFETY: The private data is valid while the shrinker is registered.
    let (data, control) = unsafe { (&*(*shrinker).private_data.cast::<T>(), control(sc)) };
    match data.scan(control) {
        Scanned::Freed(count) => number(count),
        Scanned::Stop => STOP,
    }
}
