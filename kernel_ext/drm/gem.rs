// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GEM buffer objects.

use super::driver::Driver;
use crate::kernel_ext::bindings;

/// A driver's type of buffer object.
pub(crate) trait DriverObject {
    /// The driver it belongs to.
    type Driver: Driver;
}

/// The `gem_prime_import` operation of a `struct drm_driver`.
pub(crate) type PrimeImport = Option<
    unsafe extern "C" fn(
        *mut bindings::drm_device,
        *mut bindings::dma_buf,
    ) -> *mut bindings::drm_gem_object,
>;

/// The `gem_prime_import_sg_table` operation of a `struct drm_driver`.
pub(crate) type PrimeImportSgTable = Option<
    unsafe extern "C" fn(
        *mut bindings::drm_device,
        *mut bindings::dma_buf_attachment,
        *mut bindings::sg_table,
    ) -> *mut bindings::drm_gem_object,
>;

/// Returns the import operation for `T`; `None` is the default of the DRM core.
pub(super) const fn prime_import<T: Driver>() -> PrimeImport {
    None
}

/// Returns the operation that makes an object of an imported scatter list.
pub(super) const fn prime_import_sg_table<T: Driver>() -> PrimeImportSgTable {
    None
}
