// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Files in the debugfs directory of a DRM device.
//!
//! C header: `include/drm/drm_debugfs.h`

use super::{Device, Driver};
use crate::kernel_ext::{
    bindings,
    task::{cond_resched, fatal_signal_pending},
};
use kernel::{
    error::{from_result, to_result},
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
};

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
    /// How its contents are written.
    pub(crate) show: Show<T>,
    /// Takes what was written to it, without the newline at the end.
    pub(crate) write: Option<fn(&Device<T>, &str) -> Result>,
}

/// How the contents of a file are written.
pub(crate) enum Show<T: Driver> {
    /// All at once: what is short. It may be written again, when it does not fit.
    Once(fn(&Device<T>, &SeqFile) -> Result),
    /// Part by part, by what is returned when the file is opened.
    Rows(fn(&Device<T>) -> Result<RowsOf<T>>),
}

/// Goes through the rows of a table of a driver.
pub(crate) type RowsOf<T> = KBox<dyn Rows<T>>;

/// What goes through the rows of a table, for one open file.
///
/// Whoever reads slowly keeps it for long: it holds no locks between calls. A row that does not fit
/// is written again.
pub(crate) trait Rows<T: Driver>: Send {
    /// Goes to the first row.
    fn rewind(&mut self);

    /// Goes on to the next row. False when there is none.
    fn next(&mut self, dev: &Device<T>) -> bool;

    /// Writes the row.
    fn show(&self, dev: &Device<T>, m: &SeqFile) -> Result;
}

/// Where an open file is in its rows.
struct Cursor<T: Driver> {
    rows: KBox<dyn Rows<T>>,
    /// The number of the row where `rows` is.
    pos: bindings::loff_t,
    /// Whether there is one.
    is_row: bool,
    /// The open file.
    filp: *mut bindings::file,
}

impl<T: Driver> Cursor<T> {
    /// Goes to a row, which is where it is already when the file is read from its beginning to its
    /// end. `EINTR` when the task is being killed.
    fn go_to(&mut self, dev: &Device<T>, pos: bindings::loff_t) -> Result<bool> {
        if pos < self.pos {
            self.rows.rewind();
            self.pos = 0;
            self.is_row = true;
        }
        while self.pos < pos && self.is_row {
            if fatal_signal_pending() {
                return Err(EINTR);
            }
            cond_resched();
            self.is_row = self.rows.next(dev);
            self.pos += 1;
        }
        Ok(self.pos == pos && self.is_row)
    }
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
        release: Some(release_callback::<T>),
        write: Some(write_callback::<T>),
        ..pin_init::zeroed()
    }
}

/// The operations of a file with rows.
const fn seq_ops<T: Driver>() -> bindings::seq_operations {
    bindings::seq_operations {
        start: Some(start_callback::<T>),
        stop: Some(stop_callback),
        next: Some(next_callback::<T>),
        show: Some(show_row_callback::<T>),
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
    // SAFETY: debugfs holds off the removal while the file is opened.
    let (dev, file) = unsafe { context::<T>(filp) };

    match file.show {
        // SAFETY: The file stays valid as long as it is open, and so as long as it can be shown.
        Show::Once(_) => unsafe {
            bindings::single_open(filp, Some(show_callback::<T>), filp.cast())
        },
        Show::Rows(make) => from_result(|| {
            let cursor = KBox::new(
                Cursor {
                    rows: make(dev)?,
                    pos: 0,
                    is_row: true,
                    filp,
                },
                GFP_KERNEL,
            )?;
            // SAFETY: The file is being opened; the operations are static.
            to_result(unsafe { bindings::seq_open(filp, const { &seq_ops::<T>() }) })?;
            // SAFETY: `seq_open()` made the sequence file the private data.
            unsafe {
                (*(*filp).private_data.cast::<bindings::seq_file>()).private =
                    KBox::into_raw(cursor).cast();
            }
            Ok(0)
        }),
    }
}

/// # Safety
///
/// To be called by debugfs only, for a file that [`open_callback`] succeeded on.
unsafe extern "C" fn release_callback<T: Driver>(
    inode: *mut bindings::inode,
    filp: *mut bindings::file,
) -> c_int {
    // SAFETY: The description is static, and the device is not looked at: it may have been removed.
    let file: &'static File<T> = unsafe { &*bindings::debugfs_get_aux(filp).cast_const().cast() };

    match file.show {
        // SAFETY: Opened by `single_open()`.
        Show::Once(_) => unsafe { bindings::single_release(inode, filp) },
        Show::Rows(_) => {
            // SAFETY: `open_callback()` left it there, and nobody reads any more.
            unsafe {
                let seq = (*filp).private_data.cast::<bindings::seq_file>();
                drop(KBox::from_raw((*seq).private.cast::<Cursor<T>>()));
                bindings::seq_release(inode, filp)
            }
        }
    }
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

    from_result(|| {
        match file.show {
            Show::Once(show) => show(dev, seq)?,
            Show::Rows(_) => return Err(EINVAL),
        }
        Ok(0)
    })
}

/// The cursor and the device of a sequence file.
///
/// # Safety
///
/// Called by `seq_read()` or `seq_lseek()`, which hold its lock for `'a`, for a file with rows.
unsafe fn cursor<'a, T: Driver>(
    seq: *mut bindings::seq_file,
) -> (&'a mut Cursor<T>, &'a Device<T>) {
    // SAFETY: `open_callback()` left it there; debugfs holds off the removal while the file is read.
    unsafe {
        let cursor = &mut *(*seq).private.cast::<Cursor<T>>();
        let (dev, _) = context::<T>(cursor.filp);
        (cursor, dev)
    }
}

/// What stands for a row where there is one: the cursor, as there must be a pointer.
///
/// # Safety
///
/// As for [`cursor`].
unsafe fn go_to<T: Driver>(seq: *mut bindings::seq_file, pos: bindings::loff_t) -> *mut c_void {
    // SAFETY: The caller promises it.
    let (cursor, dev) = unsafe { cursor::<T>(seq) };

    match cursor.go_to(dev, pos) {
        Ok(true) => core::ptr::from_mut(cursor).cast(),
        Ok(false) => core::ptr::null_mut(),
        Err(e) => e.to_ptr(),
    }
}

/// # Safety
///
/// To be called by `seq_read()` and `seq_lseek()` only.
unsafe extern "C" fn start_callback<T: Driver>(
    seq: *mut bindings::seq_file,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: The caller holds the lock, and passes a valid position.
    unsafe { go_to::<T>(seq, *pos) }
}

/// # Safety
///
/// As for [`start_callback`].
unsafe extern "C" fn next_callback<T: Driver>(
    seq: *mut bindings::seq_file,
    _row: *mut c_void,
    pos: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: As above.
    unsafe {
        *pos = (*pos).saturating_add(1);
        go_to::<T>(seq, *pos)
    }
}

/// # Safety
///
/// As for [`start_callback`].
unsafe extern "C" fn stop_callback(_seq: *mut bindings::seq_file, _row: *mut c_void) {}

/// # Safety
///
/// As for [`start_callback`].
unsafe extern "C" fn show_row_callback<T: Driver>(
    seq: *mut bindings::seq_file,
    _row: *mut c_void,
) -> c_int {
    // SAFETY: As above.
    let (cursor, dev) = unsafe { cursor::<T>(seq) };
    // SAFETY: The sequence file is locked by the caller.
    let seq = unsafe { SeqFile::from_raw(seq) };

    from_result(|| cursor.rows.show(dev, seq).map(|()| 0))
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
