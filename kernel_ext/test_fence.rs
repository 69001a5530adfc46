// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Fences that stand for work of the GPU in tests.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

use super::{
    bindings,
    drm::gem::{DriverObject, Locked},
};
use core::ptr::NonNull;
use kernel::{error::to_result, prelude::*};

/// A fence that is signalled when this is dropped.
///
/// # Invariants
///
/// The pointer is a fence that is not signalled, and comes with a reference.
pub(crate) struct TestFence(NonNull<bindings::dma_fence>);

// SAFETY: A fence may be signalled and given up by any thread.
unsafe impl Send for TestFence {}

impl TestFence {
    /// A fence that is not signalled. `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Allocates and initialises a fence.
        let fence = unsafe { bindings::kx_test_fence_new() };
        // INVARIANT: It is new, and so is the reference.
        NonNull::new(fence).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for TestFence {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, of which the reference goes with the call.
        unsafe { bindings::kx_test_fence_signal(self.0.as_ptr()) };
    }
}

impl<T: DriverObject> Locked<'_, T> {
    /// The object is in use until the fence is signalled. `ENOMEM`.
    pub(crate) fn add_fence(&self, fence: &TestFence) -> Result {
        // SAFETY: The reservation lock is held; the fence is valid.
        to_result(unsafe { bindings::kx_dma_resv_add_fence(self.resv(), fence.0.as_ptr()) })
    }
}
