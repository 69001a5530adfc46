// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What an address space shows in debugfs, in the form of all drivers that use `drm_gpuvm`.

use super::{vm::GpuVm, DriverGpuVm};
use crate::kernel_ext::bindings;
use kernel::{prelude::*, seq_file::SeqFile, seq_print, str::BStr};

/// A mapping, for people to look at.
#[derive(Clone, Copy)]
pub(crate) struct ShownVa {
    /// First address.
    pub(crate) addr: u64,
    /// Number of bytes.
    pub(crate) range: u64,
    /// What tells objects apart: the address in the kernel.
    object: usize,
    /// Where in the object the first byte is.
    offset: u64,
}

impl ShownVa {
    /// Writes its line in the table.
    pub(crate) fn show(&self, m: &SeqFile) {
        seq_print!(
            m,
            "     | 0x{:016x} | 0x{:016x} | 0x{:016x} | 0x{:016x} | 0x{:016x}\n",
            self.addr,
            self.range,
            self.addr.saturating_add(self.range),
            self.object,
            self.offset
        );
    }
}

impl<T: DriverGpuVm> GpuVm<T> {
    /// Writes what stands above the mappings.
    pub(crate) fn show_head(&self, m: &SeqFile) {
        // SAFETY: The address space is initialised; its name is a static string, and its bounds
        // never change.
        let (name, start, range) = unsafe {
            let vm = self.as_raw();
            (
                CStr::from_char_ptr((*vm).name),
                (*vm).mm_start,
                (*vm).mm_range,
            )
        };
        seq_print!(
            m,
            "DRM GPU VA space ({}) [0x{:016x};0x{:016x}]\n\
             Kernel reserved node [0x{:016x};0x{:016x}]\n\n",
            BStr::from_bytes(name.to_bytes()),
            start,
            start.saturating_add(range),
            0,
            0
        );
        seq_print!(
            m,
            " VAs | start              | range              | end                | \
             object             | object offset\n"
        );
        for _ in 0..109 {
            seq_print!(m, "-");
        }
        seq_print!(m, "\n");
    }

    /// The first mapping that ends above an address.
    pub(crate) fn first_va_from(&self, addr: u64) -> Option<ShownVa> {
        // SAFETY: The address space is initialised; its bounds never change.
        let end = unsafe {
            (*self.as_raw())
                .mm_start
                .saturating_add((*self.as_raw()).mm_range)
        };
        let range = end.checked_sub(addr).filter(|range| *range != 0)?;
        let _guard = self.owned.lock();
        // SAFETY: The operation lock keeps the mappings as they are, and objects with them.
        unsafe {
            let va = bindings::drm_gpuva_find_first(self.as_raw(), addr, range).as_ref()?;
            Some(ShownVa {
                addr: va.va.addr,
                range: va.va.range,
                object: va.gem.obj.addr(),
                offset: va.gem.offset,
            })
        }
    }
}
