// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What KUnit cases say besides their result.
//!
//! C header: `include/kunit/test.h`

use super::bindings;
use core::ptr::from_ref;
use kernel::{fmt, prelude::*};

/// Adds a line to the results of the case that runs, in debugfs, and to the kernel log.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    pr_info!("{line}\n");
    // SAFETY: May be asked by any task.
    let test = unsafe { bindings::kunit_get_current_test() };
    if test.is_null() {
        return;
    }
    // SAFETY: The case runs until we return, so it and its log are there; the specifier takes a
    // pointer to `fmt::Arguments`.
    unsafe {
        bindings::kunit_log_append(
            (*test).log,
            c"%pA\n".as_char_ptr(),
            from_ref(&line).cast::<c_void>(),
        )
    };
}
