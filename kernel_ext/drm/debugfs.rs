// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Files in the debugfs directory of a DRM device.
//!
//! C header: `include/drm/drm_debugfs.h`

use super::{Device, Driver};
use crate::kernel_ext::bindings;
use kernel::{module::this_module, prelude::*, seq_file::SeqFile};

/// Longest text that can be written to a file.
const MAX_WRITE: usize = 127;

/// A file in the debugfs directory of the device.
///
/// The directory is removed when the device is unplugged; that waits for calls under way.
pub(crate) struct File<T: Driver> {
    /// The name of the file.
    pub(crate) name: &'static CStr,
    /// Permissions.
    pub(crate) mode: u16,
    /// Writes the contents of the file.
    pub(crate) show: fn(&Device<T>, &SeqFile) -> Result,
    /// Takes what was written to it, without the newline at the end.
    pub(crate) write: Option<fn(&Device<T>, &str) -> Result>,
}

/// The `debugfs_init` callback of a `struct drm_driver`.
pub(super) const fn init<T: Driver>() -> Option<unsafe extern "C" fn(*mut bindings::drm_minor)> {
    if cfg!(CONFIG_DEBUG_FS) {
        Some(init_callback::<T>)
    } else {
        None
    }
}

/// # Safety
///
/// To be called by the DRM core only, for a minor of a device of `T`.
unsafe extern "C" fn init_callback<T: Driver>(minor: *mut bindings::drm_minor) {
    for file in T::DEBUGFS_FILES {
        let fops: &'static bindings::file_operations = const { &fops::<T>() };

        // SAFETY: The file is removed with the directory, before the device goes away; until then
        // debugfs keeps callbacks and removal apart. The file's description is static.
        unsafe {
            bindings::debugfs_create_file_full(
                file.name.as_char_ptr(),
                file.mode,
                (*minor).debugfs_root,
                (*minor).dev.cast(),
                core::ptr::from_ref(file).cast(),
                fops,
            )
        };
    }
}

/// The operations of the files.
const fn fops<T: Driver>() -> bindings::file_operations {
    bindings::file_operations {
        // Also after the file was removed, debugfs uses this table until the file is closed.
        owner: this_module::<T::Module>().as_ptr(),
        open: Some(open_callback::<T>),
        read: Some(bindings::seq_read),
        llseek: Some(bindings::seq_lseek),
        release: Some(bindings::single_release),
        write: Some(write_callback::<T>),
        ..pin_init::zeroed()
    }
}

/// Returns the device and the description of an open file.
///
/// # Safety
///
/// `filp` is an open file made by [`init_callback`] for `T`, and its removal is held off for `'a`.
unsafe fn context<'a, T: Driver>(filp: *mut bindings::file) -> (&'a Device<T>, &'static File<T>) {
    // SAFETY: The inode's private data is the device, which has not been removed.
    let dev = unsafe { Device::from_raw((*(*filp).f_inode).i_private.cast()) };
    // SAFETY: It was given as the description in `init_callback()`.
    let file = unsafe { &*bindings::debugfs_get_aux(filp).cast_const().cast() };

    (dev, file)
}

/// # Safety
///
/// To be called by debugfs only.
unsafe extern "C" fn open_callback<T: Driver>(
    _inode: *mut bindings::inode,
    filp: *mut bindings::file,
) -> c_int {
    // SAFETY: The file stays valid as long as it is open, and so as long as it can be shown.
    unsafe { bindings::single_open(filp, Some(show_callback::<T>), filp.cast()) }
}

/// # Safety
///
/// To be called by `seq_read()` only.
unsafe extern "C" fn show_callback<T: Driver>(
    seq: *mut bindings::seq_file,
    _v: *mut c_void,
) -> c_int {
    // SAFETY: `open_callback()` made the file the private data; debugfs holds off the removal
    // while the file is read.
    let (dev, file) = unsafe { context::<T>((*seq).private.cast()) };
    // SAFETY: The sequence file is locked by `seq_read()`.
    let seq = unsafe { SeqFile::from_raw(seq) };

    match (file.show)(dev, seq) {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}

/// # Safety
///
/// To be called by debugfs only.
unsafe extern "C" fn write_callback<T: Driver>(
    filp: *mut bindings::file,
    user: *const c_char,
    len: usize,
    _pos: *mut bindings::loff_t,
) -> isize {
    // SAFETY: debugfs holds off the removal while the file is written.
    let (dev, file) = unsafe { context::<T>(filp) };

    let written = || -> Result<usize> {
        let write = file.write.ok_or(EACCES)?;
        let mut buf = [0u8; MAX_WRITE];
        let text = buf.get_mut(..len).ok_or(E2BIG)?;

        kernel::uaccess::UserSlice::new(
            kernel::uaccess::UserPtr::from_ptr(user.cast_mut().cast()),
            len,
        )
        .reader()
        .read_slice(text)?;

        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        write(dev, text.strip_suffix('\n').unwrap_or(text))?;

        Ok(len)
    };

    match written() {
        Ok(len) => len as isize,
        Err(err) => err.to_errno() as isize,
    }
}
