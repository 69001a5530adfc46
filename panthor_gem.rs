// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Buffer objects: their kinds and flags, who made them, and when their memory is given up.
//!
//! A buffer gets its pages when it is first used, by a CPU fault or a VM_BIND, and keeps them until
//! somebody evicts it: the kernel's shrinker, or the `mem_reclaim` attribute. What can be evicted,
//! and in which order, is its [`ReclaimState`](reclaim_state::ReclaimState).

mod bo;
mod creator;
mod debugfs;
pub(crate) mod ioctl;
mod label;
mod object_set;
pub(crate) mod reclaim_state;
mod shrinker;

use crate::{
    kernel_ext::drm::{gem::Object, UnregisteredDevice},
    PanthorDevice, PanthorDriver,
};
use kernel::{prelude::*, sync::atomic::Atomic};

#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
pub(crate) use self::debugfs::set_busy;
pub(crate) use self::{
    bo::{BoKind, PanthorBo, SwapTurn},
    debugfs::{set_shrink, show_gems, show_shrink},
    object_set::ObjectSet,
};
use crate::kernel_ext::{
    drm::gem::{Lru, LISTS},
    registry::Registry,
    shrinker::Unregistered,
};

#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
use crate::kernel_ext::test_fence::TestFence;
#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
use kernel::sync::Mutex;

/// A buffer object.
pub(crate) type Bo = Object<PanthorBo>;

/// What a device keeps about its buffers.
#[pin_data]
pub(crate) struct GemDevice {
    /// All buffers.
    #[pin]
    pub(crate) all: Registry<Bo>,
    /// Buffers with memory, by how easy it is to give up.
    #[pin]
    pub(crate) lists: ReclaimLists,
    /// CPU pages that the last scan of the shrinker gave up, for debugfs.
    pub(crate) last_scan: Atomic<u64>,
    /// What the debugfs file `bo_busy` makes buffers wait for.
    #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
    #[pin]
    pub(crate) busy: Mutex<Option<TestFence>>,
    /// Whether the GPU sees the CPU's caches.
    pub(crate) coherent: bool,
}

/// The lists of buffers with memory, each in the order in which they came into it.
#[pin_data]
pub(crate) struct ReclaimLists {
    /// See [`reclaim_state::ReclaimState::Unused`].
    #[pin]
    pub(crate) unused: Lru<PanthorBo>,
    /// See [`reclaim_state::ReclaimState::CpuMapped`].
    #[pin]
    pub(crate) cpu_mapped: Lru<PanthorBo>,
    /// See [`reclaim_state::ReclaimState::GpuMapped`].
    #[pin]
    pub(crate) gpu_mapped: Lru<PanthorBo>,
    /// See [`reclaim_state::ReclaimState::GpuShared`].
    #[pin]
    pub(crate) gpu_shared: Lru<PanthorBo>,
}

impl ReclaimLists {
    /// All of them, the easiest first.
    pub(crate) fn in_order(&self) -> [&Lru<PanthorBo>; LISTS] {
        [
            &self.unused,
            &self.cpu_mapped,
            &self.gpu_mapped,
            &self.gpu_shared,
        ]
    }
}

impl GemDevice {
    /// The state of a device without buffers.
    /// Their memory is given up by `shrinker`. `ENOMEM`.
    pub(crate) fn new(
        coherent: bool,
        shrinker: &Unregistered<PanthorDevice>,
    ) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            all <- Registry::new(),
            lists <- try_pin_init!(ReclaimLists {
                unused <- Lru::new(shrinker),
                cpu_mapped <- Lru::new(shrinker),
                gpu_mapped <- Lru::new(shrinker),
                gpu_shared <- Lru::new(shrinker),
            }? Error),
            last_scan: Atomic::new(0),
            #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
            busy <- kernel::new_mutex!(None, "GemDevice::busy"),
            coherent,
        }? Error)
    }
}

/// Makes buffers of huge pages where that is possible, unless the module parameter
/// `transparent_hugepage` says no.
pub(crate) fn use_huge_pages(unregistered: &UnregisteredDevice<PanthorDriver>) {
    if !cfg!(CONFIG_TRANSPARENT_HUGEPAGE) || !crate::module_parameters::transparent_hugepage.value()
    {
        return;
    }
    let dev = unregistered.device();
    match crate::kernel_ext::drm::gem::use_huge_pages(unregistered) {
        Ok(()) => dev_info!(dev.parent(), "Using transparent huge pages\n"),
        Err(e) => dev_warn!(dev.parent(), "Cannot use transparent huge pages: {e:?}\n"),
    }
}
