// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The address space of the microcontroller, which sits in slot 0.

use super::{
    prot::MapFlags,
    space::{self, Space, VmSpace},
};
use crate::{
    kernel_ext::drm::{
        gem::{Pinned, Resv},
        gpuvm::MapRequest,
    },
    panthor_gem::PanthorBo,
    PanthorBound, PanthorDriver,
};
use kernel::{prelude::*, sync::aref::ARef};

/// The address space of the microcontroller. When this is dropped, nothing is mapped there any more.
pub(crate) struct McuVm {
    space: ARef<VmSpace>,
}

impl McuVm {
    /// One without mappings. `ENOMEM`.
    pub(crate) fn new(dev: &PanthorBound<'_>) -> Result<Self> {
        Ok(Self {
            space: Space::create(dev)?,
        })
    }

    /// The reservation lock, for buffers that are private to it.
    pub(crate) fn resv(&self) -> Resv<'_, PanthorDriver> {
        self.space.resv()
    }

    /// Maps the first `range` bytes of a buffer, a multiple of 4 KiB, which pages of the CPU need not be.
    /// The translations stay for as long as the caller keeps it pinned. `ENOMEM`; `EINVAL` for a range that
    /// does not exist.
    pub(crate) fn map(
        &self,
        dev: &PanthorBound<'_>,
        pinned: &Pinned<PanthorBo>,
        addr: u64,
        range: u64,
        flags: MapFlags,
    ) -> Result {
        let bo = pinned.object();
        // CAST: Widened.
        if range > bo.size() as u64 {
            return Err(EINVAL);
        }
        let relation = self.space.relate(Pinned::new_in(bo.clone(), dev)?)?;
        let ret = self.space.map(
            &MapRequest {
                addr,
                range,
                offset: 0,
                mapping: flags,
                relation: &relation,
            },
            dev,
        );
        drop(relation);
        self.space.clean_up();
        ret
    }

    /// Lets the hardware use it. Errors as [`AsSlots::activate_mcu`](super::slots::AsSlots::activate_mcu).
    pub(crate) fn activate(&self) -> Result {
        let mut guard = self.space.lock();
        let config = self.space.config(guard.state())?;
        let slots = &self.space.dev().mmu.slots;
        slots.activate_mcu(&self.space.seat, &config)
    }
}

impl Drop for McuVm {
    fn drop(&mut self) {
        space::destroy(&self.space);
    }
}
