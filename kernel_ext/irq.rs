// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Interrupts of a platform device that are released when it is unbound.
//!
//! C header: `include/linux/interrupt.h`

use kernel::{
    device::Bound,
    devres,
    irq::{Flags, ThreadedHandler, ThreadedRegistration},
    platform,
    prelude::*,
};

/// Requests the interrupt that the device tree calls `irq_name`, which may be shared with other
/// devices, with a hard and a threaded handler.
///
/// The interrupt is freed when the device is unbound, before resources that were requested
/// earlier.
pub(crate) fn request_threaded<T>(
    pdev: &platform::Device<Bound>,
    irq_name: &'static CStr,
    name: &'static CStr,
    handler: T,
) -> Result
where
    T: ThreadedHandler + Send + 'static,
{
    // SAFETY: The registration made with it is dropped by devres before the device ceases to be
    // bound, and the device lives at least as long.
    let pdev: &'static platform::Device<Bound> = unsafe { &*core::ptr::from_ref(pdev) };

    // SAFETY: Devres owns the registration and drops it.
    let registration = unsafe {
        pdev.request_threaded_irq_by_name(Flags::SHARED, irq_name, name, Ok::<T, Error>(handler))
    };

    devres::register::<ThreadedRegistration<'static, T>, Error>(
        pdev.as_ref(),
        registration,
        GFP_KERNEL,
    )
}
