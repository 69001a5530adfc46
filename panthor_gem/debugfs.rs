// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The debugfs files `gems`, `shrink` and `bo_busy`.

use super::{Bo, BoKind};
use crate::{
    kernel_ext::{
        drm::debugfs::Rows,
        shrinker::{Scope, Shrink, ShrinkControl},
    },
    PanthorDevice, PanthorDriver,
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    str::BStr,
    sync::{aref::ARef, atomic::Relaxed},
};

/// The buffer is another driver's memory.
const STATE_IMPORTED: u32 = 1 << 0;
/// The buffer is a dma-buf as well.
const STATE_EXPORTED: u32 = 1 << 1;
/// The buffer's memory was given up and is not back.
const STATE_EVICTED: u32 = 1 << 2;

/// The buffer is the kernel's own.
const USAGE_KERNEL: u32 = 1 << 0;
/// The microcontroller has the buffer mapped.
const USAGE_FW_MAPPED: u32 = 1 << 1;

/// Sums over buffers, in bytes.
#[derive(Clone, Copy, Default)]
struct Totals {
    size: usize,
    resident: usize,
    reclaimable: usize,
}

/// Where a reader of the table of all buffers is.
enum Row {
    /// At what stands above it.
    Head,
    /// At a buffer, with what is added to the totals for it: as it was when the row was reached.
    Buffer(ARef<Bo>, Totals),
    /// At what stands below it.
    Totals,
}

/// The table of all buffers.
struct Gems {
    row: Row,
    /// Of the rows above.
    totals: Totals,
}

/// A table of all buffers.
pub(crate) fn gems(_dev: &PanthorDevice) -> Result<KBox<dyn Rows<PanthorDriver>>> {
    Ok(KBox::new(
        Gems {
            row: Row::Head,
            totals: Totals::default(),
        },
        GFP_KERNEL,
    )?)
}

impl Rows<PanthorDriver> for Gems {
    fn rewind(&mut self) {
        self.row = Row::Head;
        self.totals = Totals::default();
    }

    fn next(&mut self, dev: &PanthorDevice) -> bool {
        let next = match &self.row {
            Row::Head => dev.objects().after(None),
            Row::Buffer(bo, totals) => {
                self.totals.size = self.totals.size.saturating_add(totals.size);
                self.totals.resident = self.totals.resident.saturating_add(totals.resident);
                self.totals.reclaimable =
                    self.totals.reclaimable.saturating_add(totals.reclaimable);
                dev.objects().after(Some(bo))
            }
            Row::Totals => return false,
        };
        self.row = match next {
            Some(bo) => {
                let resident = if bo.looks_resident() && !bo.is_imported() {
                    bo.size()
                } else {
                    0
                };
                let totals = Totals {
                    size: bo.size(),
                    resident,
                    reclaimable: if bo.is_listed() { resident } else { 0 },
                };
                Row::Buffer(bo, totals)
            }
            None => Row::Totals,
        };
        true
    }

    fn show(&self, _dev: &PanthorDevice, m: &SeqFile) -> Result {
        match &self.row {
            Row::Head => show_head(m),
            Row::Buffer(bo, totals) => show_bo(bo, m, totals.resident),
            Row::Totals => {
                rule(m, '=');
                seq_print!(
                    m,
                    "Total size: {}, Total resident: {}, Total reclaimable: {}\n",
                    self.totals.size,
                    self.totals.resident,
                    self.totals.reclaimable
                );
            }
        }
        Ok(())
    }
}

fn show_head(m: &SeqFile) {
    seq_print!(
        m,
        "GEM state flags: imported (0x{STATE_IMPORTED:x}), exported (0x{STATE_EXPORTED:x}), \
         evicted (0x{STATE_EVICTED:x})\n"
    );
    seq_print!(
        m,
        "GEM usage flags: kernel (0x{USAGE_KERNEL:x}), fw-mapped (0x{USAGE_FW_MAPPED:x})\n\n"
    );
    seq_print!(
        m,
        "created-by                      global-name     refcount   evictions  size            \
         resident-size   file-offset       state      usage       label\n"
    );
    rule(m, '-');
}

fn rule(m: &SeqFile, c: char) {
    for _ in 0..148 {
        seq_print!(m, "{c}");
    }
    seq_print!(m, "\n");
}

/// Writes the row of a buffer that has so many bytes resident.
fn show_bo(bo: &Bo, m: &SeqFile, resident: usize) {
    let mut state = 0;
    if bo.is_imported() {
        state |= STATE_IMPORTED;
    } else if resident == 0 && bo.evictions() > 0 {
        state |= STATE_EVICTED;
    }
    if bo.is_exported() {
        state |= STATE_EXPORTED;
    }
    let usage = match bo.kind() {
        BoKind::Kernel => USAGE_KERNEL,
        BoKind::User { .. } | BoKind::Imported => 0,
    };

    // The reader holds one, for itself. A file holds two for each handle: that of the handle, and
    // that in its `ObjectSet`, which the C driver does not have.
    let references = bo.ref_count().saturating_sub(1);

    bo.creator.show(m, 32);
    seq_print!(
        m,
        "{:<16}{:<11}{:<11}{:<16}{:<16}0x{:<16x}0x{:<8x} 0x{:<10x}{}\n",
        bo.global_name(),
        references,
        bo.evictions(),
        bo.size(),
        resident,
        bo.mmap_offset() >> kernel::page::PAGE_SHIFT,
        state,
        usage,
        BStr::from_bytes(bo.label.lock().bytes())
    );
}

/// Writes how many CPU pages the last scan of the shrinker gave up.
pub(crate) fn show_shrink(dev: &PanthorDevice, m: &SeqFile) -> Result {
    seq_print!(m, "0x{:08x}\n", dev.gem.last_scan.load(Relaxed));
    Ok(())
}

/// Runs a scan of the shrinker for a number of CPU pages, decimal or hexadecimal with `0x`.
pub(crate) fn set_shrink(dev: &PanthorDevice, text: &str) -> Result {
    let nr_to_scan = match text.trim().strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16),
        None => text.trim().parse(),
    }
    .map_err(|_| EINVAL)?;
    crate::kernel_ext::swap::as_reclaim(|| {
        dev.scan(ShrinkControl {
            scope: Scope::All,
            nr_to_scan,
            may_block: true,
        })
    });
    Ok(())
}

/// Makes the GPU seem to use all buffers of a process, or none any more: `TGID on` or `TGID off`. One
/// process at a time.
///
/// Jobs do that once there are any. Until then this is how waiting for the GPU can be tested.
#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
pub(crate) fn set_busy(dev: &PanthorDevice, text: &str) -> Result {
    use crate::kernel_ext::{pid::Pid, test_fence::TestFence};

    let (tgid, on) = match text.split_once(' ').ok_or(EINVAL)? {
        (tgid, "on") => (tgid, true),
        (tgid, "off") => (tgid, false),
        _ => return Err(EINVAL),
    };
    let pid = Pid::find_vpid(tgid.parse::<i32>().map_err(|_| EINVAL)?).ok_or(ESRCH)?;
    let mut busy = dev.gem.busy.lock();
    *busy = None;
    if !on {
        return Ok(());
    }
    let fence = TestFence::new()?;
    let mut bos = KVVec::new();
    for file in dev.files_of(&pid)? {
        file.objects.collect(&mut bos)?;
    }
    for bo in &bos {
        bo.lock().add_fence(&fence)?;
    }
    *busy = Some(fence);
    Ok(())
}
