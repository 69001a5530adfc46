// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! How easily the memory of a buffer can be given up.

use super::{Bo, PanthorBo};
use crate::kernel_ext::drm::{
    gem::{Locked, Lru},
    gpuvm::{GpuMappings, MappingsLocked},
};
use kernel::{page::PAGE_SIZE, sync::atomic::Relaxed};

/// How easily the memory of a buffer can be given up: the first one the easiest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    pub(crate) fn new(resident: bool, pinned: bool, gpu: GpuMappings, cpu_mapped: bool) -> Self {
        match (resident && !pinned, gpu, cpu_mapped) {
            (false, _, _) => Self::Unreclaimable,
            (true, GpuMappings::Many, _) => Self::GpuShared,
            (true, GpuMappings::One, _) => Self::GpuMapped,
            (true, GpuMappings::None, true) => Self::CpuMapped,
            (true, GpuMappings::None, false) => Self::Unused,
        }
    }

    fn is_gpu_mapped(self) -> bool {
        matches!(self, Self::GpuMapped | Self::GpuShared)
    }
}

/// Moves a buffer to the list where it belongs now.
pub(super) fn update(bo: &Locked<'_, PanthorBo>, mappings: &MappingsLocked<'_, PanthorBo>) {
    let new = ReclaimState::new(
        bo.is_resident() && !bo.is_imported(),
        bo.is_pinned(),
        mappings.count(),
        bo.is_cpu_mapped(),
    );
    let old = bo.set_reclaim_state(new);
    if new == old {
        return;
    }
    count(bo, old, new);
    let lists = &bo.dev().gem.lists;
    match new {
        ReclaimState::Unused => lists.unused.move_tail(bo),
        ReclaimState::CpuMapped => lists.cpu_mapped.move_tail(bo),
        ReclaimState::GpuMapped => lists.gpu_mapped.move_tail(bo),
        ReclaimState::GpuShared => lists.gpu_shared.move_tail(bo),
        ReclaimState::Unreclaimable => Lru::remove(bo),
    }
}

/// A buffer is about to be freed: no list knows it any more.
pub(super) fn forget(bo: &Bo) {
    let old = bo.set_reclaim_state(ReclaimState::Unreclaimable);
    count(bo, old, ReclaimState::Unreclaimable);
    Lru::remove(bo);
}

fn count(bo: &Bo, old: ReclaimState, new: ReclaimState) {
    let pages = i64::try_from(bo.size() / PAGE_SIZE).unwrap_or(0);
    let change = match (old.is_gpu_mapped(), new.is_gpu_mapped()) {
        (false, true) => pages,
        (true, false) => -pages,
        _ => return,
    };
    bo.dev().gem.gpu_mapped_pages.add(change, Relaxed);
}
