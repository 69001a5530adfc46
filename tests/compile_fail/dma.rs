// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What page tables lead to.

use crate::{
    kernel_ext::{
        dma_range::DmaRange,
        drm::gem::Pinned,
        io_pgtable::{PageTable, TableReserve, READ},
    },
    panthor_gem::PanthorBo,
    panthor_mmu::VmSpace,
};
use kernel::prelude::*;

/// An address is not memory of an object.
fn maps_any_address(table: &mut PageTable, reserve: &mut TableReserve) -> Result {
    table.map(0, 0x8000_0000, READ, reserve) //~ E0308
}

/// Nor does a driver say what is.
fn makes_a_range() -> DmaRange<'static> {
    DmaRange::new(0x8000_0000, 0x1000) //~ E0624
}

/// The pin stays as long as the relation that was made with it.
fn gives_up_the_pin(space: &VmSpace, pinned: Pinned<PanthorBo>) {
    let _relation = space.relate(pinned);
    drop(pinned); //~ E0382
}

/// It is not taken out of it either.
fn takes_the_pin_out(space: &VmSpace, pinned: Pinned<PanthorBo>) -> Result<Pinned<PanthorBo>> {
    Ok(space.relate(pinned)?.pinned) //~ E0616
}

/// Mappings that may be cut are taken away while the device is there.
fn unmaps_without_a_section(space: &VmSpace) -> Result {
    space.unmap(0, 0x1000, None) //~ E0308
}
