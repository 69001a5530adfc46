// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What belongs to a process: its files, their VMs, the buffers in both, and those that nothing but
//! the mappings of its CPU lead to.

use crate::{
    kernel_ext::{drm::gpuvm::with_mappings, pid::Pid},
    panthor_file::PanthorFile,
    panthor_gem::Bo,
    panthor_mmu::{Vm, VmSpace},
    PanthorDevice,
};
use kernel::{
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// What belongs to a process, at the time it was looked for: each part with a reference, so that
/// the process may go on meanwhile, or end.
pub(super) struct Target {
    /// In the order of the addresses of their spaces in the kernel.
    pub(super) vms: KVec<Arc<Vm>>,
    /// Each buffer once, in the order of their addresses in the kernel. Whoever is done with one lets
    /// it go at once: the process may have ended meanwhile, or closed it.
    pub(super) buffers: KVVec<ARef<Bo>>,
}

impl Target {
    /// Finds what belongs to the process `tgid`. `ESRCH` when it has no file of the device,
    /// `EINTR`, `ENOMEM`.
    pub(super) fn find(dev: &PanthorDevice, tgid: &Pid) -> Result<Self> {
        let files: KVec<Arc<PanthorFile>> = dev.files_of(tgid)?;
        if files.is_empty() {
            return Err(ESRCH);
        }

        let mut vms = KVec::new();
        for file in &files {
            for (_, vm) in file.vms.snapshot()? {
                vms.push(vm, GFP_KERNEL)?;
            }
        }

        vms.sort_unstable_by_key(|vm| space_address(vm.space()));

        let mut buffers = KVVec::new();
        for file in &files {
            file.objects.collect(&mut buffers)?;
        }
        for vm in &vms {
            vm.collect_mapped(&mut buffers, |_| true)?;
        }
        // Whoever has a handle of one has it in the set of that file.
        dev.collect_cpu_mapped(tgid, &mut buffers, Bo::has_no_handle)?;
        // A buffer has a handle and mappings, several of them at times.
        buffers.sort_unstable_by_key(address);
        let mut last = None;
        buffers.retain(|bo| last.replace(address(bo)) != Some(address(bo)));

        Ok(Self { vms, buffers })
    }

    /// Buffers whose memory was given up and is not back; the others are let go.
    pub(super) fn keep_evicted(&mut self) {
        self.buffers
            .retain(|bo| bo.evictions() > 0 && !bo.looks_resident());
    }
}

/// Whether a buffer is mapped in `vms` only, which are in the order of [`Target::vms`].
pub(super) fn is_alone_with(bo: &Bo, vms: &[Arc<Vm>]) -> bool {
    let mut alone = true;
    with_mappings(bo, |mappings| {
        mappings.for_each_vm(|space| {
            alone = contains(vms, space);
            alone
        });
    });
    alone
}

/// Whether a buffer is mapped in one of `vms`, which are in the order of [`Target::vms`].
pub(super) fn is_mapped_in(bo: &Bo, vms: &[Arc<Vm>]) -> bool {
    let mut found = false;
    with_mappings(bo, |mappings| {
        mappings.for_each_vm(|space| {
            found = contains(vms, space);
            !found
        });
    });
    found
}

/// Whether `vms`, in the order of [`Target::vms`], have `space` among them.
fn contains(vms: &[Arc<Vm>], space: &VmSpace) -> bool {
    vms.binary_search_by_key(&space_address(space), |vm| space_address(vm.space()))
        .is_ok()
}

fn address(bo: &ARef<Bo>) -> usize {
    core::ptr::from_ref::<Bo>(bo).addr()
}

fn space_address(space: &VmSpace) -> usize {
    core::ptr::from_ref(space).addr()
}
