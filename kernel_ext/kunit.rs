// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What KUnit cases say besides their result, and a device for them.
//!
//! C header: `include/kunit/test.h`

use super::bindings;
use core::ptr::from_ref;
use kernel::{device, devres, faux, fmt, prelude::*, sync::aref::ARef};

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

/// A device that is bound to a driver that does nothing, and can do DMA. It is unbound when this is
/// dropped.
pub(crate) struct BoundDevice(faux::Registration);

/// The limits of a device for DMA, which it has as long as it is bound.
struct Limits {
    dev: ARef<device::Device>,
    _limits: KBox<bindings::device_dma_parameters>,
}

// SAFETY: What is behind the pointers belongs to no thread.
unsafe impl Send for Limits {}

impl Drop for Limits {
    fn drop(&mut self) {
        let dev: *mut bindings::device = from_ref::<device::Device>(&self.dev).cast_mut().cast();
        // SAFETY: The device is valid, and what uses the limits has ended before.
        unsafe { (*dev).dma_parms = core::ptr::null_mut() };
    }
}

impl BoundDevice {
    /// `ENODEV` when it cannot be made.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let faux = faux::Registration::new(name, None)?;
        let bound: &device::Device<device::Bound> = faux.as_ref().as_ref();
        let dev: *mut bindings::device = from_ref(bound).cast_mut().cast();
        let limits = KBox::new(
            pin_init::zeroed::<bindings::device_dma_parameters>(),
            GFP_KERNEL,
        )?;
        // SAFETY: The bus makes devices without a mask and limits of their own. Nobody has mapped
        // anything yet. The mask lives as long as the device, and devres keeps the limits.
        unsafe {
            (*dev).dma_mask = &raw mut (*dev).coherent_dma_mask;
            (*dev).dma_parms = (&raw const *limits).cast_mut();
        }
        devres::register::<Limits, Error>(
            faux.as_ref().as_ref(),
            Ok(Limits {
                dev: bound.into(),
                _limits: limits,
            }),
            GFP_KERNEL,
        )?;
        Ok(Self(faux))
    }

    /// The device.
    pub(crate) fn device(&self) -> &device::Device<device::Bound> {
        self.0.as_ref().as_ref()
    }
}

/// Calls `f`, whose warnings do not get into the kernel log, and are counted instead.
pub(crate) fn count_warnings(f: impl FnOnce()) -> i32 {
    // SAFETY: May be asked by any task.
    let test = unsafe { bindings::kunit_get_current_test() };
    // SAFETY: The case that runs, by which this is called.
    let suppressed = unsafe { bindings::kunit_start_suppress_warning(test) };
    f();
    // SAFETY: Made above, and not ended yet. It lives as long as the case.
    unsafe {
        let count = bindings::kunit_suppressed_warning_count(suppressed);
        bindings::kunit_end_suppress_warning(test, suppressed);
        count
    }
}
