// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The end of an address space, or of its device.

use super::{super::gem::DriverObject, mappings::ObjectOf, vm::GpuVm, DriverGpuVm};
use kernel::prelude::*;

impl<T> GpuVm<T>
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    /// Releases what the device has of the address space: the device is off, or there is no
    /// reference any more, for which reason the driver sees the parts and not the whole.
    pub(in super::super) fn release_device(&self) {
        let destroyed = {
            let mut owned = self.owned.lock();
            T::release(self, self.dev(), &mut owned.state)
        };
        if let Some(vm) = destroyed {
            vm.unmap_all();
        }
    }

    /// Takes all mappings away.
    pub(crate) fn unmap_all(&self) {
        // SAFETY: The address space is initialised; its range never changes.
        let range = unsafe { (*self.as_raw()).mm_range };
        // Nothing is cut, so that nothing is allocated.
        if let Err(e) = self.unmap_in(0, range, None) {
            dev_err!(
                self.dev().parent(),
                "mappings of a VM cannot be removed: {:?}\n",
                e
            );
        }
        self.clean_up_all();
    }
}
