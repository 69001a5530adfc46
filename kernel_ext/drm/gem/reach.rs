// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Who can get at an object: by handles, names, exports, mappings.

use super::{super::gpuvm::with_mappings, object::Object, DriverObject};
use kernel::{prelude::*, sync::atomic::Relaxed};

impl<T: DriverObject> Object<T> {
    /// Whether the object has ever been exported as a dma-buf: who has that is not known, and it
    /// may live longer than the last handle.
    pub(crate) fn is_exported(&self) -> bool {
        self.exported.load(Relaxed)
    }

    /// Whether no file has a handle of the object. It may get one meanwhile.
    pub(crate) fn has_no_handle(&self) -> bool {
        // SAFETY: The object is initialised; the count is read as it is.
        unsafe { (&raw const (*self.as_raw()).handle_count).read_volatile() == 0 }
    }

    /// Whether others may have the object as well, as fdinfo counts it: it has several handles, or is a
    /// dma-buf. It may change meanwhile.
    pub(crate) fn looks_shared(&self) -> bool {
        // SAFETY: The object is initialised; both are read as the C side does for that purpose.
        unsafe {
            (&raw const (*self.as_raw()).handle_count).read_volatile() > 1
                || !(&raw const (*self.as_raw()).dma_buf)
                    .read_volatile()
                    .is_null()
        }
    }

    /// The global name of the object (`DRM_IOCTL_GEM_FLINK`), or zero. It may get one meanwhile.
    pub(crate) fn global_name(&self) -> c_int {
        // SAFETY: The object is initialised. The name is written under a lock that is not ours.
        unsafe { (&raw const (*self.as_raw()).name).read_volatile() }
    }

    /// Whether nobody can get at the content any more but by a reference of the kernel's own: no
    /// handle, no mapping, no export is left, nor comes again.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.has_no_handle()
            && !self.is_exported()
            && !self.is_cpu_mapped()
            && with_mappings(self, |mappings| {
                let mut none = true;
                mappings.for_each_vm(|_| {
                    none = false;
                    none
                });
                none
            })
    }
}
