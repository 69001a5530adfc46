// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What ends when a bus device is unbound, in the order in which it must.
//!
//! A device may live on, with its address spaces and objects, when its bus device is unbound. What
//! they have of that goes before: the shrinker looks at them no more, the device is switched off, and
//! then page tables and buffers are not mapped for DMA any more. All of it is one action of devres,
//! which [`UnregisteredDevice::new()`] adds; no driver calls it, keeps it from being called, or calls
//! it twice.
//!
//! The registration is added to devres later, so that it ends before: nobody is inside of a section
//! of [`Device::enter()`] any more, nor gets into one. What a driver adds after it has made the device
//! (attributes, say) ends between the two, and what it has added before (interrupts, power) stays
//! until after.
//!
//! [`UnregisteredDevice::new()`]: super::UnregisteredDevice::new

use super::{device::Device, driver::Driver};
use crate::kernel_ext::shrinker::{self, Shrink};
use kernel::{
    device::{self, Bound},
    devres,
    prelude::*,
    sync::aref::ARef,
};

/// What a device does as long as its bus device is bound; it ends when this is dropped.
struct Working<T: Driver>
where
    Device<T>: Shrink,
{
    dev: ARef<Device<T>>,
    /// `None` from the beginning of the end.
    shrinker: Option<shrinker::Registration<Device<T>>>,
}

impl<T: Driver> Drop for Working<T>
where
    Device<T>: Shrink,
{
    fn drop(&mut self) {
        // Waits for calls that are going on: no buffer is given up while all are taken apart.
        self.shrinker = None;
        // Before address spaces give up what the hardware uses, which may not do any more what it
        // is told.
        T::power_off(&self.dev);
        self.dev.address_spaces().for_each(|vm| vm.release_device());
        self.dev.objects().for_each(|obj| {
            // SAFETY: The driver had its occasion to switch the device off. It was never registered,
            // or is not any more, see above: there is no section left, nor a new one, in which
            // somebody works with an object because its address space or a pin keeps the memory.
            unsafe { obj.lock().detach_device() };
        });
    }
}

/// Lets a device work until `parent`, which must be its own, is unbound. The kernel asks it for memory
/// from now on. On an error it has ended.
pub(super) fn end_with<T: Driver>(
    parent: &device::Device<Bound>,
    dev: &ARef<Device<T>>,
    shrinker: shrinker::Unregistered<Device<T>>,
) -> Result
where
    Device<T>: Shrink,
{
    let working = Working {
        dev: dev.clone(),
        shrinker: Some(shrinker.register(dev.clone())),
    };
    devres::register::<Working<T>, Error>(parent, Ok(working), GFP_KERNEL)
}
