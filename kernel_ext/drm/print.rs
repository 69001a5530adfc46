// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM printers.
//!
//! C header: `include/drm/drm_print.h`

use crate::kernel_ext::bindings;
use core::marker::PhantomData;
use kernel::{prelude::*, types::NotThreadSafe};

/// A destination for text, such as the fdinfo file of an open device file.
///
/// # Invariants
///
/// The pointer is to a valid `struct drm_printer` for `'a`.
pub(crate) struct Printer<'a> {
    raw: *mut bindings::drm_printer,
    _lifetime: PhantomData<&'a ()>,
    _not_send: NotThreadSafe,
}

impl Printer<'_> {
    /// Wraps a C printer.
    ///
    /// # Safety
    ///
    /// `raw` is valid, and used by nobody else, for the lifetime of the result.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::drm_printer) -> Self {
        // INVARIANT: As promised by the caller.
        Self {
            raw,
            _lifetime: PhantomData,
            _not_send: NotThreadSafe,
        }
    }

    /// Writes formatted text; see [`drm_print!`].
    pub(crate) fn print(&self, args: core::fmt::Arguments<'_>) {
        // SAFETY: The printer is valid by the type invariants, and `%pA` wants a pointer to
        // `Arguments`.
        unsafe {
            bindings::drm_printf(
                self.raw,
                c"%pA".as_char_ptr(),
                core::ptr::from_ref(&args).cast::<c_void>(),
            )
        };
    }

    /// Writes the line `prefix-stat-region: size`, with a unit.
    pub(crate) fn size(&self, prefix: &CStr, stat: &CStr, region: &CStr, bytes: u64) {
        // SAFETY: The printer is valid by the type invariants.
        unsafe {
            bindings::drm_fdinfo_print_size(
                self.raw,
                prefix.as_char_ptr(),
                stat.as_char_ptr(),
                region.as_char_ptr(),
                bytes,
            )
        };
    }
}

/// Writes to a [`Printer`] with the syntax of `print!()`.
macro_rules! drm_print {
    ($printer:expr, $($arg:tt)+) => {
        $printer.print(::kernel::prelude::fmt!($($arg)+))
    };
}
pub(crate) use drm_print;
