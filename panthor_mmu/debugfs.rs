// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The debugfs file `gpuvas`.

use super::VmSpace;
use crate::{
    kernel_ext::drm::{debugfs::Rows, gpuvm::ShownVa},
    PanthorDevice, PanthorDriver,
};
use kernel::{prelude::*, seq_file::SeqFile, seq_print, sync::aref::ARef};

/// Where a reader of the table of all mappings is.
enum Row {
    /// At its beginning, which shows nothing.
    Start,
    /// At what stands above the mappings of a VM.
    Head(ARef<VmSpace>),
    /// At a mapping.
    Mapping(ARef<VmSpace>, ShownVa),
    /// At what stands below them.
    Foot(ARef<VmSpace>),
}

/// The table of all mappings of all VMs.
struct GpuVas {
    row: Row,
}

/// A table of all mappings of all VMs.
pub(crate) fn gpuvas(_dev: &PanthorDevice) -> Result<KBox<dyn Rows<PanthorDriver>>> {
    Ok(KBox::new(GpuVas { row: Row::Start }, GFP_KERNEL)?)
}

impl Rows<PanthorDriver> for GpuVas {
    fn rewind(&mut self) {
        self.row = Row::Start;
    }

    fn next(&mut self, dev: &PanthorDevice) -> bool {
        let mapping = |vm: ARef<VmSpace>, addr: Option<u64>| {
            let found = addr.and_then(|addr| vm.first_va_from(addr));
            match found {
                Some(va) => Row::Mapping(vm, va),
                None => Row::Foot(vm),
            }
        };
        let vm = match core::mem::replace(&mut self.row, Row::Start) {
            Row::Start => dev.address_spaces().after(None),
            Row::Head(vm) => {
                self.row = mapping(vm, Some(0));
                return true;
            }
            Row::Mapping(vm, va) => {
                self.row = mapping(vm, va.addr.checked_add(va.range));
                return true;
            }
            Row::Foot(vm) => dev.address_spaces().after(Some(&vm)),
        };
        match vm {
            Some(vm) => {
                self.row = Row::Head(vm);
                true
            }
            None => false,
        }
    }

    fn show(&self, _dev: &PanthorDevice, m: &SeqFile) -> Result {
        match &self.row {
            Row::Start => (),
            Row::Head(vm) => vm.show_head(m),
            Row::Mapping(_, va) => va.show(m),
            Row::Foot(_) => seq_print!(m, "\n"),
        }
        Ok(())
    }
}
