// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Driver ioctls.
//!
//! C header: `include/drm/drm_ioctl.h`

use super::{Device, Driver, Enter, File};
use crate::kernel_ext::{bindings, uaccess::Pod};
use core::marker::PhantomData;
use kernel::{ioctl::_IOWR, prelude::*, str::as_char_ptr_in_const_context};

/// One entry of the ioctl table of the driver `D`, made by [`table!`].
///
/// # Invariants
///
/// The function takes devices and files of `D`.
#[repr(transparent)]
pub(crate) struct Entry<D>(bindings::drm_ioctl_desc, PhantomData<fn(&D)>);

// SAFETY: An entry is never changed, and its name is a static string.
unsafe impl<D> Sync for Entry<D> {}

impl<D> Entry<D> {
    /// The index in the table for which this entry is meant.
    pub(super) const fn index(&self) -> u32 {
        (self.0.cmd & 0xff) - bindings::DRM_COMMAND_BASE
    }
}

/// An ioctl of the driver `D`, made by [`table!`].
pub(crate) trait Ioctl<D: Driver> {
    /// The number, counted from `DRM_COMMAND_BASE`.
    const NR: u32;

    /// The name that the DRM core shows in its debug messages.
    const NAME: &'static CStr;

    /// The argument; it is copied in before the call and out after it, also when it fails.
    type Args: Pod;

    /// Performs the call. The device is registered while it runs.
    fn run(dev: &Enter<'_, D>, args: &mut Self::Args, file: &File<D>) -> Result;
}

/// The ioctl table of a driver, in the order of the numbers. In the manner of
/// [`kernel::declare_drm_ioctls!`]: the name without `DRM_IOCTL_`, the argument's structure, and the
/// function that performs the call, of the form of [`Ioctl::run()`]. `$id` is what stands before the
/// name in that of the constant for the number.
macro_rules! table {
    ($driver:ty, $id:ident: $(($cmd:ident, $args:ident, $run:expr)),* $(,)?) => {
        &[$({
            struct Call;

            impl $crate::kernel_ext::drm::ioctl::Ioctl<$driver> for Call {
                const NR: u32 = {
                    use $crate::kernel_ext::uapi::*;
                    kernel::macros::concat_idents!($id, $cmd)
                };
                const NAME: &'static CStr = kernel::c_str!(core::stringify!($cmd));
                type Args = $crate::kernel_ext::uapi::$args;

                #[inline(always)]
                fn run(
                    dev: &$crate::kernel_ext::drm::Enter<'_, $driver>,
                    args: &mut Self::Args,
                    file: &$crate::kernel_ext::drm::File<$driver>,
                ) -> Result {
                    $run(dev, args, file)
                }
            }

            $crate::kernel_ext::drm::ioctl::entry::<$driver, Call>()
        }),*]
    };
}
pub(crate) use table;

/// Makes the entry of `I` for the ioctl table of `D`: read and write, allowed on render nodes.
pub(crate) const fn entry<D: Driver, I: Ioctl<D>>() -> Entry<D> {
    // INVARIANT: It is the callback for `D`.
    Entry(
        bindings::drm_ioctl_desc {
            cmd: _IOWR::<I::Args>(
                bindings::DRM_IOCTL_BASE as u32,
                bindings::DRM_COMMAND_BASE + I::NR,
            ),
            flags: bindings::drm_ioctl_flags_DRM_RENDER_ALLOW,
            func: Some(callback::<D, I>),
            name: as_char_ptr_in_const_context(I::NAME),
        },
        PhantomData,
    )
}

/// # Safety
///
/// To be called by `drm_ioctl()` only, for a device and file of `D` and the command of `I`.
unsafe extern "C" fn callback<D: Driver, I: Ioctl<D>>(
    raw_dev: *mut bindings::drm_device,
    data: *mut c_void,
    raw_file: *mut bindings::drm_file,
) -> c_int {
    // SAFETY: The DRM core passes the device of the file, which the driver `D` made, as the entry is
    // in the table of no other.
    let dev = unsafe { Device::<D>::from_raw(raw_dev) };
    // SAFETY: The file was opened on this device and stays open during the call.
    let file = unsafe { File::<D>::from_raw(raw_file) };
    // SAFETY: The buffer is a stack or slab buffer of the DRM core with at least the size of the
    // command, and aligned for any type; every bit pattern is a valid `Pod`.
    let args = unsafe { &mut *data.cast::<I::Args>() };

    let Some(dev) = dev.enter() else {
        return ENODEV.to_errno();
    };

    match I::run(&dev, args, file) {
        Ok(()) => 0,
        Err(err) => err.to_errno(),
    }
}
