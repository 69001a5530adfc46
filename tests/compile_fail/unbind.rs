// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What ends with the bus device.

use crate::{kernel_ext::shrinker, panthor_gem::PanthorBo, PanthorDevice};
use kernel::{prelude::*, sync::aref::ARef};

/// A registration that could be leaked is not handed out.
fn registers_a_shrinker(dev: ARef<PanthorDevice>) -> Result {
    core::mem::forget(shrinker::Unregistered::<PanthorDevice>::new()?.register(dev)); //~ E0624
    Ok(())
}

/// A device is not taken away from its objects by a driver.
fn detaches(bo: &crate::kernel_ext::drm::gem::Locked<'_, PanthorBo>) {
    bo.detach_device(); //~ E0624
}

/// The lists are those of the device.
fn makes_a_list() {
    let _ = crate::kernel_ext::registry::Registry::<crate::panthor_gem::Bo>::new(); //~ E0624
}
