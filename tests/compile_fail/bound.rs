// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The proof that a device is bound.

use crate::{
    kernel_ext::{
        drm::{gem::use_huge_pages, UnregisteredDevice},
        io_pgtable::PageTable,
    },
    PanthorDevice, PanthorDriver,
};
use kernel::prelude::*;

/// There is no section of what is not registered but for who shows that its bus device is bound.
fn enters_too_early(dev: &UnregisteredDevice<PanthorDriver>) {
    let _ = dev.enter(); //~ E0061
}

/// A reference on the device does not say that it is bound.
fn without_a_section(dev: &PanthorDevice) -> Result<PageTable> {
    PageTable::new(dev.parent(), 48, 40, false) //~ E0308
}

/// The proof ends with the section.
fn keeps_the_proof(dev: &PanthorDevice) -> Result<&kernel::device::Device<kernel::device::Bound>> {
    let section = dev.enter().ok_or(ENODEV)?;
    Ok(section.parent()) //~ E0515
}

/// How buffers are backed is decided before there are any.
fn decides_too_late(dev: &PanthorDevice) -> Result {
    use_huge_pages(dev) //~ E0308
}
