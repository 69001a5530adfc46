// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! How the GPU may use a mapping: the flags of VM_BIND.

use crate::kernel_ext::{io_pgtable, uapi};
use kernel::prelude::*;

const READONLY: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_READONLY as u32;
const NOEXEC: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_NOEXEC as u32;
const UNCACHED: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_UNCACHED as u32;
const SPARSE: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_MAP_SPARSE as u32;

/// The size of the dummy buffer that sparse mappings repeat.
pub(crate) const SPARSE_PERIOD: u64 = io_pgtable::BLOCK;

/// How the GPU may use a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapFlags(u32);

impl MapFlags {
    /// Takes the flags of VM_BIND for a map operation, without its type. `EINVAL` for flags that
    /// do not exist, and for a sparse mapping with instructions.
    pub(crate) fn new(flags: u32) -> Result<Self> {
        if flags & !(READONLY | NOEXEC | UNCACHED | SPARSE) != 0 {
            return Err(EINVAL);
        }
        if flags & SPARSE != 0 && flags & NOEXEC == 0 {
            return Err(EINVAL);
        }
        Ok(Self(flags))
    }

    /// All accesses, through the caches.
    pub(crate) const ALL_CACHED: Self = Self(0);

    /// The same without writing.
    pub(crate) fn readonly(self) -> Self {
        Self(self.0 | READONLY)
    }

    /// The same without instruction fetches.
    pub(crate) fn noexec(self) -> Self {
        Self(self.0 | NOEXEC)
    }

    /// The same, not through the caches.
    pub(crate) fn uncached(self) -> Self {
        Self(self.0 | UNCACHED)
    }

    /// Whether the mapping repeats the dummy buffer.
    pub(crate) fn is_sparse(self) -> bool {
        self.0 & SPARSE != 0
    }

    /// The same for the page tables.
    pub(crate) fn prot(self) -> u32 {
        let mut prot = io_pgtable::READ;
        if self.0 & READONLY == 0 {
            prot |= io_pgtable::WRITE;
        }
        if self.0 & UNCACHED == 0 {
            prot |= io_pgtable::CACHE;
        }
        if self.0 & NOEXEC != 0 {
            prot |= io_pgtable::NOEXEC;
        }
        prot
    }
}
