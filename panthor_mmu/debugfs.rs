// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The debugfs file `gpuvas`.

use crate::PanthorDevice;
use kernel::{prelude::*, seq_file::SeqFile, seq_print};

/// Writes a table of all mappings of all VMs.
pub(crate) fn show_gpuvas(dev: &PanthorDevice, m: &SeqFile) -> Result {
    let mut result = Ok(());
    dev.address_spaces().for_each(|space| {
        if result.is_ok() {
            result = space.show(m);
            seq_print!(m, "\n");
        }
    });
    result
}
