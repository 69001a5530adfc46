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
pub(crate) mod offsets;
pub(crate) mod reclaim_state;
mod shrinker;

use crate::{
    kernel_ext::drm::{gem::Object, UnregisteredDevice},
    PanthorDriver,
};
use kernel::{prelude::*, sync::atomic::Atomic};

#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
pub(crate) use self::debugfs::set_busy;
pub(crate) use self::{
    bo::{BoKind, PanthorBo, SwapTurn},
    debugfs::{gems, set_shrink, show_shrink},
    object_set::ObjectSet,
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
    /// CPU pages that the last scan of the shrinker gave up, for debugfs.
    pub(crate) last_scan: Atomic<u64>,
    /// What the debugfs file `bo_busy` makes buffers wait for.
    #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
    #[pin]
    pub(crate) busy: Mutex<Option<TestFence>>,
    /// Whether the GPU sees the CPU's caches.
    pub(crate) coherent: bool,
}

impl GemDevice {
    /// The state of a device without buffers.
    pub(crate) fn new(coherent: bool) -> impl PinInit<Self> {
        pin_init!(Self {
            last_scan: Atomic::new(0),
            #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
            busy <- kernel::new_mutex!(None, "GemDevice::busy"),
            coherent,
        })
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
