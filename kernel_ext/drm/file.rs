// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Open files of a DRM device.
//!
//! C header: `include/drm/drm_file.h`

use super::{Device, Driver};
use crate::kernel_ext::{bindings, pid::Pid};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    prelude::*,
    sync::{rcu, Arc, ArcBorrow},
    types::{ForeignOwnable, Opaque, ScopeGuard},
};

/// An open file of a device of the driver `T`.
///
/// # Invariants
///
/// It is a valid `struct drm_file` whose `driver_priv` is an `Arc<T::File>` in its foreign form,
/// set by [`open_callback`].
#[repr(transparent)]
pub(crate) struct File<T: Driver> {
    file: Opaque<bindings::drm_file>,
    _driver: PhantomData<T>,
}

impl<T: Driver> File<T> {
    /// Wraps a C file.
    ///
    /// # Safety
    ///
    /// `ptr` is an open file of a device of `T`, and stays open for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_file) -> &'a Self {
        // SAFETY: The layouts are the same, and the rest is promised by the caller.
        unsafe { &*ptr.cast() }
    }

    /// The driver's part of the file.
    pub(crate) fn driver(&self) -> ArcBorrow<'_, T::File> {
        // SAFETY: By the type invariants it is an `Arc`, released only in `postclose_callback()`,
        // when no borrow of the file exists any more.
        unsafe { Arc::borrow((*self.as_raw()).driver_priv) }
    }

    /// The device that the file belongs to.
    pub(crate) fn device(&self) -> &Device<T> {
        // SAFETY: The minor and its device live as long as the file.
        unsafe { Device::from_raw((*(*self.as_raw()).minor).dev) }
    }

    /// Whether the file is the one that may change the display of the device.
    pub(crate) fn is_current_master(&self) -> bool {
        // SAFETY: The file is valid by the type invariants.
        unsafe { bindings::drm_is_current_master(self.as_raw()) }
    }

    /// The C object.
    pub(crate) fn as_raw(&self) -> *mut bindings::drm_file {
        self.file.get()
    }
}

/// The `open` callback of a `struct drm_driver`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn open_callback<T: Driver>(
    raw_dev: *mut bindings::drm_device,
    raw_file: *mut bindings::drm_file,
) -> c_int {
    // SAFETY: The DRM core passes a registered device of this driver.
    let dev = unsafe { Device::<T>::from_raw(raw_dev) };

    match T::open(dev) {
        Ok(file) => {
            // SAFETY: The file is being opened, so nobody else uses it yet.
            unsafe { (*raw_file).driver_priv = file.into_foreign() };
            0
        }
        Err(err) => err.to_errno(),
    }
}

/// The `postclose` callback of a `struct drm_driver`.
///
/// # Safety
///
/// To be called by the DRM core only, for a file that [`open_callback`] succeeded on.
pub(super) unsafe extern "C" fn postclose_callback<T: Driver>(
    raw_dev: *mut bindings::drm_device,
    raw_file: *mut bindings::drm_file,
) {
    // SAFETY: The DRM core passes a device of this driver, which has been registered.
    let dev = unsafe { Device::<T>::from_raw(raw_dev) };
    // SAFETY: By the caller it was set by `open_callback()`. The file has left the file list and
    // its handles are gone, so it is not borrowed any more.
    let file = unsafe { Arc::<T::File>::from_foreign((*raw_file).driver_priv) };

    T::postclose(dev, file);
}

/// The `show_fdinfo` callback of a `struct drm_driver`.
///
/// # Safety
///
/// To be called by the DRM core only.
pub(super) unsafe extern "C" fn show_fdinfo_callback<T: Driver>(
    printer: *mut bindings::drm_printer,
    raw_file: *mut bindings::drm_file,
) {
    // SAFETY: The DRM core passes an open file of this driver and keeps it open.
    let file = unsafe { File::<T>::from_raw(raw_file) };
    // SAFETY: The DRM core passes a printer of its own.
    let printer = unsafe { super::Printer::from_raw(printer) };

    T::show_fdinfo(file.device(), file, &printer);
}

impl<T: Driver> Device<T> {
    /// Collects the driver's part of all files that the process `tgid` has opened.
    ///
    /// The device's list of files is locked only to count and to take references: others who open
    /// and close the device do not wait for what the caller does with them.
    ///
    /// Fails with `EINTR` when a signal arrives while it waits for that lock.
    pub(crate) fn files_of(&self, tgid: &Pid) -> Result<KVec<Arc<T::File>>> {
        let mut files = KVec::new();

        loop {
            let count = self.with_files_of(tgid, |_| true)?;

            files.reserve(count, GFP_KERNEL)?;

            // Others may have been opened meanwhile; nothing is allocated under the lock.
            let found = self.with_files_of(tgid, |file| {
                files.push_within_capacity(file.driver().into()).is_ok()
            })?;

            if found == files.len() {
                return Ok(files);
            }

            files.clear();
        }
    }

    /// Collects the driver's part of all open files, each with the process that opened it, by its
    /// number in the initial PID namespace. Errors as [`Self::files_of`].
    #[cfg_attr(not(CONFIG_DRM_PANTHOR_RS_TEST), expect(dead_code))] // A test's file uses it.
    pub(crate) fn all_files(&self) -> Result<KVec<(i32, Arc<T::File>)>> {
        let mut files = KVec::new();

        loop {
            let count = self.with_files(|_| true, |_| true)?;

            files.reserve(count, GFP_KERNEL)?;
            let found = self.with_files(
                |_| true,
                |file| {
                    let entry = (owner_nr(file.as_raw()), file.driver().into());
                    files.push_within_capacity(entry).is_ok()
                },
            )?;

            if found == files.len() {
                return Ok(files);
            }
            files.clear();
        }
    }

    /// Calls `f` with every file of the process `tgid`, under `filelist_mutex`, until it returns
    /// `false`; returns how many it was called with.
    fn with_files_of(&self, tgid: &Pid, f: impl FnMut(&File<T>) -> bool) -> Result<usize> {
        self.with_files(|raw| file_pid(raw) == NonNull::new(tgid.as_raw()), f)
    }

    /// Calls `f` with every file that `is_wanted`, under `filelist_mutex`, until it returns
    /// `false`; returns how many it was called with.
    fn with_files(
        &self,
        is_wanted: impl Fn(*mut bindings::drm_file) -> bool,
        mut f: impl FnMut(&File<T>) -> bool,
    ) -> Result<usize> {
        let dev = self.as_raw();
        let mut count = 0usize;

        // SAFETY: The mutex is valid as long as the device.
        let lock = unsafe { &raw mut (*dev).filelist_mutex };
        // SAFETY: As above.
        if unsafe { bindings::kx_mutex_lock_interruptible(lock) } != 0 {
            return Err(EINTR);
        }
        let _unlock = ScopeGuard::new(|| {
            // SAFETY: Locked above.
            unsafe { bindings::mutex_unlock(lock) }
        });

        // SAFETY: The head of the list is valid as long as the device.
        let head = unsafe { &raw mut (*dev).filelist };
        // SAFETY: The list is stable while `filelist_mutex` is held.
        let mut entry = unsafe { (*head).next };

        while entry != head {
            // SAFETY: Every entry is the `lhead` of a `struct drm_file`, which is removed from the
            // list before it is closed.
            let raw = unsafe { kernel::container_of!(entry, bindings::drm_file, lhead) };

            if is_wanted(raw) {
                count = count.saturating_add(1);
                // SAFETY: Files in the list are open: `open_callback()` was successful, and
                // `postclose_callback()` is called after the file has left the list.
                if !f(unsafe { File::from_raw(raw) }) {
                    break;
                }
            }

            // SAFETY: The list is stable while `filelist_mutex` is held.
            entry = unsafe { (*entry).next };
        }

        Ok(count)
    }
}

/// The process that a file of the file list belongs to, to be compared only.
fn file_pid(file: *mut bindings::drm_file) -> Option<NonNull<bindings::pid>> {
    let _rcu = rcu::read_lock();

    // The owner may be changed at any time by an ioctl of a process that inherited the file. Only
    // the pointer is looked at: the caller holds a reference on the one it compares with.
    //
    // SAFETY: The file is valid, as it is in the file list, whose lock the caller holds.
    NonNull::new(unsafe { core::ptr::read_volatile(&raw const (*file).pid) }.cast())
}

/// The number of the process that opened a file, in the initial PID namespace.
fn owner_nr(file: *mut bindings::drm_file) -> i32 {
    let _rcu = rcu::read_lock();

    // SAFETY: The file is valid as above, and its pid as long as the RCU lock is held.
    unsafe { bindings::kx_pid_nr(core::ptr::read_volatile(&raw const (*file).pid).cast()) }
}
