// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! VM_BIND: changing what is mapped in a VM.

use super::{prot::MapFlags, vm::Vm};
use crate::{
    kernel_ext::{
        drm::{gem::Pinned, gpuvm::MapRequest},
        io_pgtable::PAGE,
        uapi,
    },
    panthor_gem::Bo,
    PanthorBound, PanthorDrmFile,
};
use kernel::{prelude::*, sync::aref::ARef};

const TYPE_MASK: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_TYPE_MASK as u32;
const TYPE_MAP: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_TYPE_MAP as u32;
const TYPE_UNMAP: u32 = uapi::drm_panthor_vm_bind_op_flags_DRM_PANTHOR_VM_BIND_OP_TYPE_UNMAP as u32;

/// An operation of VM_BIND, checked as far as that is possible without the VM's buffers.
pub(crate) enum BindOp {
    /// Nothing.
    Nothing,
    /// Map a part of a buffer, or the dummy buffer.
    Map {
        addr: u64,
        range: u64,
        flags: MapFlags,
        /// `None` for a sparse mapping.
        bo: Option<BoRange>,
    },
    /// Take away what is mapped.
    Unmap { addr: u64, range: u64 },
}

/// A buffer of a file, from an offset on.
pub(crate) struct BoRange {
    handle: u32,
    offset: u64,
}

impl BindOp {
    /// Checks a synchronous operation on a VM whose kernel part begins at `kernel_va_start`.
    /// `EINVAL` for everything that does not fit.
    pub(crate) fn new(op: &uapi::drm_panthor_vm_bind_op, kernel_va_start: u64) -> Result<Self> {
        // Only asynchronous operations wait for something, or tell that they are done.
        if op.syncs.count != 0 {
            return Err(EINVAL);
        }
        if op.size == 0 {
            return Ok(Self::Nothing);
        }
        if (op.va | op.size | op.bo_offset) % PAGE != 0 {
            return Err(EINVAL);
        }
        let end = op.va.checked_add(op.size).ok_or(EINVAL)?;
        if end > kernel_va_start {
            return Err(EINVAL);
        }
        let (addr, range) = (op.va, op.size);
        let op_flags = op.flags;
        match op_flags & TYPE_MASK {
            TYPE_MAP => {
                let flags = MapFlags::new(op_flags & !TYPE_MASK)?;
                let bo = if flags.is_sparse() {
                    if op.bo_handle != 0 || op.bo_offset != 0 {
                        return Err(EINVAL);
                    }
                    None
                } else {
                    Some(BoRange {
                        handle: op.bo_handle,
                        offset: op.bo_offset,
                    })
                };
                Ok(Self::Map {
                    addr,
                    range,
                    flags,
                    bo,
                })
            }
            TYPE_UNMAP => {
                if op_flags != TYPE_UNMAP || op.bo_handle != 0 || op.bo_offset != 0 {
                    return Err(EINVAL);
                }
                Ok(Self::Unmap { addr, range })
            }
            // Synchronisation without syncs, or with a size: neither makes sense.
            _ => Err(EINVAL),
        }
    }

    /// Does it. `EINVAL` when it does not fit the buffer or the VM, `ENOMEM`, `EINTR`.
    pub(crate) fn run(&self, vm: &Vm, dev: &PanthorBound<'_>, file: &PanthorDrmFile) -> Result {
        match *self {
            Self::Nothing => Ok(()),
            Self::Map {
                addr,
                range,
                flags,
                bo: None,
            } => {
                let dummy = file.driver().vms.dummy(dev)?;
                vm.map(dev, dummy, 0, addr, range, flags)
            }
            Self::Map {
                addr,
                range,
                flags,
                bo: Some(ref part),
            } => {
                let bo = Bo::lookup(file, part.handle).map_err(|_| EINVAL)?;
                let end = part.offset.checked_add(range).ok_or(EINVAL)?;
                if end > bo.size() as u64 {
                    return Err(EINVAL);
                }
                if bo.is_private() && !bo.is_private_to(vm.space().resv()) {
                    return Err(EINVAL);
                }
                vm.map(dev, bo, part.offset, addr, range, flags)
            }
            Self::Unmap { addr, range } => vm.unmap(dev, addr, range),
        }
    }
}

impl Vm {
    /// Maps `range` bytes of a buffer, which it has from `offset` on. `EINVAL` when the VM is
    /// unusable, `ENOMEM`, `EINTR`.
    fn map(
        &self,
        dev: &PanthorBound<'_>,
        bo: ARef<Bo>,
        offset: u64,
        addr: u64,
        range: u64,
        mapping: MapFlags,
    ) -> Result {
        let space = self.space();
        let relation = space.relate(Pinned::new(bo)?)?;
        let ret = space.map(
            &MapRequest {
                addr,
                range,
                offset,
                mapping,
                relation: &relation,
            },
            dev,
        );
        // The buffer may be evicted from now on, with the mapping just made.
        drop(relation);
        space.clean_up();
        ret
    }

    /// Takes away what is mapped in a range. `ENOMEM`.
    fn unmap(&self, dev: &PanthorBound<'_>, addr: u64, range: u64) -> Result {
        let ret = self.space().unmap(addr, range, dev);
        self.space().clean_up();
        ret
    }
}
