// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! How easily the memory of a buffer can be given up.

use super::PanthorBo;
use crate::kernel_ext::drm::{
    gem::Locked,
    gpuvm::{GpuMappings, MappingsLocked},
};
#[cfg(doc)]
use crate::PanthorDevice;

/// How easily the memory of a buffer can be given up: the first one the easiest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReclaimState {
    /// It has memory that nobody has mapped.
    Unused,
    /// Only the CPU has it mapped.
    CpuMapped,
    /// One GPU address space has it mapped.
    GpuMapped,
    /// Several GPU address spaces have it mapped.
    GpuShared,
    /// There is nothing to give up, or somebody needs it to stay.
    Unreclaimable,
}

impl ReclaimState {
    /// The state that follows from what is known of a buffer.
    pub(crate) fn new(own_pages: bool, pinned: bool, gpu: GpuMappings, cpu_mapped: bool) -> Self {
        match (own_pages && !pinned, gpu, cpu_mapped) {
            (false, _, _) => Self::Unreclaimable,
            (true, GpuMappings::Many, _) => Self::GpuShared,
            (true, GpuMappings::One, _) => Self::GpuMapped,
            (true, GpuMappings::None, true) => Self::CpuMapped,
            (true, GpuMappings::None, false) => Self::Unused,
        }
    }

    /// The place of such buffers in [`PanthorDevice::lists`], where the easiest come first.
    pub(crate) fn list(self) -> Option<usize> {
        match self {
            Self::Unused => Some(0),
            Self::CpuMapped => Some(1),
            Self::GpuMapped => Some(2),
            Self::GpuShared => Some(3),
            Self::Unreclaimable => None,
        }
    }
}

/// Moves a buffer to the list where it belongs now, unless it is there.
#[inline(always)]
pub(super) fn update(bo: &Locked<'_, PanthorBo>, mappings: &MappingsLocked<'_, PanthorBo>) {
    let new = ReclaimState::new(
        bo.has_own_pages(),
        bo.is_pinned(),
        mappings.count(),
        bo.is_cpu_mapped(),
    );
    bo.move_to_list(new.list());
}
