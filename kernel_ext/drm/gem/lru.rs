// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Lists of buffer objects, least recently used first.

use super::{
    super::device::Device,
    object::{DriverOf, Locked, Object},
    DriverObject,
};
use crate::kernel_ext::bindings;
use core::marker::PhantomData;
use kernel::{prelude::*, types::Opaque};

/// How a scan treats an object that the GPU may be using.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Wait a moment for the GPU.
    Wait,
    /// The objects of this list are not in use by the GPU: do not ask.
    Never,
}

/// A list of buffer objects of one device.
///
/// An object is in one list at most. All lists of a device are protected by one lock, which is
/// taken in reclaim: nothing is allocated under it.
#[pin_data]
pub(crate) struct Lru<T: DriverObject> {
    #[pin]
    lru: Opaque<bindings::drm_gem_lru>,
    _objects: PhantomData<fn(&Object<T>)>,
}

impl<T: DriverObject> Lru<T> {
    /// An empty list.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid for the list, and pinned.
            lru <- Opaque::ffi_init(|slot| unsafe { bindings::drm_gem_lru_init(slot) }),
            _objects: PhantomData,
        })
    }

    /// Moves an object to the end of this list, from whichever it is in.
    pub(crate) fn move_tail(&self, obj: &Object<T>) {
        // SAFETY: List and object are initialised.
        unsafe { bindings::drm_gem_lru_move_tail(self.lru.get(), obj.as_raw()) };
    }

    /// Takes an object out of the list it is in.
    pub(crate) fn remove(obj: &Object<T>) {
        // SAFETY: The object is initialised.
        unsafe { bindings::drm_gem_lru_remove(obj.as_raw()) };
    }

    /// How many CPU pages the objects in the list have; a hint, read without the lock.
    pub(crate) fn pages(&self) -> usize {
        // SAFETY: The list is initialised.
        let count = unsafe { &raw const (*self.lru.get()).count };
        // SAFETY: As above; a racy read of an aligned word.
        let count = unsafe { count.read_volatile() };
        usize::try_from(count).unwrap_or(0)
    }

    /// Offers objects to [`DriverObject::try_evict`], the least recently used first, until it
    /// has evicted `pages` CPU pages or the end is reached. Adds to `remaining` the pages of
    /// objects that could not be evicted now. Returns the number of pages evicted.
    ///
    /// Never waits for a lock.
    pub(crate) fn scan(
        &self,
        dev: &Device<DriverOf<T>>,
        pages: usize,
        remaining: &mut usize,
        busy: Busy,
    ) -> usize {
        let pages = c_uint::try_from(pages).unwrap_or(c_uint::MAX);
        let shrink = match busy {
            Busy::Wait => shrink_callback::<T, true>,
            Busy::Never => shrink_callback::<T, false>,
        };
        // SAFETY: Device and list are valid, and all objects in the list are of this class.
        unsafe {
            bindings::drm_gem_lru_scan(
                dev.as_raw(),
                self.lru.get(),
                pages,
                remaining,
                Some(shrink),
                core::ptr::null_mut(),
            ) as usize
        }
    }
}

/// What a scan of a list calls for each object.
///
/// # Safety
///
/// To be called by the GEM core only.
unsafe extern "C" fn shrink_callback<T: DriverObject, const WAIT: bool>(
    obj: *mut bindings::drm_gem_object,
    _ticket: *mut bindings::ww_acquire_ctx,
) -> bool {
    // SAFETY: The scan passes a live object of the list, and holds its reservation lock.
    let locked = unsafe { Locked::new(Object::<T>::from_raw(obj)) };
    T::try_evict(&locked, if WAIT { Busy::Wait } else { Busy::Never })
}

// SAFETY: A list is not tied to a thread.
unsafe impl<T: DriverObject> Send for Lru<T> {}
// SAFETY: All access is under the device's LRU lock, or a racy read of a counter.
unsafe impl<T: DriverObject> Sync for Lru<T> {}
