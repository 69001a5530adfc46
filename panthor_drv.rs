// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM driver for Arm Mali GPUs with a command stream frontend.
//!
//! This is the crate root: the DRM driver and its table of ioctls. It holds no unsafe code, but
//! cannot forbid it, as that would cover `kernel_ext` as well.

#![allow(dead_code)]

mod kernel_ext;
mod panthor_device;
mod panthor_file;
mod panthor_fw;
mod panthor_gem;
mod panthor_gpu;
mod panthor_irq;
mod panthor_mmu;
mod panthor_power;
mod panthor_regs;

use crate::{
    kernel_ext::{
        drm::{self, driver, ioctl},
        mm_vma::MmapRequest,
    },
    panthor_device::{PanthorData, PanthorPlatformDriver},
    panthor_file::PanthorFile,
    panthor_gem::PanthorBo,
};
use kernel::{io::PhysAddr, prelude::*, sync::Arc};

kernel::module_platform_driver! {
    type: PanthorPlatformDriver,
    name: "panthor",
    authors: ["panthor in Rust developers"],
    description: "DRM driver for Arm Mali CSF GPUs",
    license: "Dual MIT/GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        transparent_hugepage: bool {
            default: true,
            description: "Back buffers with huge pages where possible (default: true)",
        },
    },
}

/// The DRM driver.
pub(crate) struct PanthorDriver;

/// A DRM device of this driver.
pub(crate) type PanthorDevice = drm::Device<PanthorDriver>;

/// An open file of a device of this driver.
pub(crate) type PanthorDrmFile = drm::File<PanthorDriver>;

impl drm::Driver for PanthorDriver {
    type Module = DriverModule;
    type Data = PanthorData;
    type File = PanthorFile;
    type Object = PanthorBo;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 1,
        minor: 9,
        patchlevel: 0,
        name: c"panthor",
        desc: c"Panthor DRM driver in Rust",
    };

    const FEATURES: u32 = driver::FEAT_RENDER
        | driver::FEAT_GEM
        | driver::FEAT_SYNCOBJ
        | driver::FEAT_SYNCOBJ_TIMELINE;

    const IOCTLS: &'static [ioctl::Entry] = &[];

    fn open(dev: &PanthorDevice) -> Result<Arc<PanthorFile>> {
        PanthorFile::new(dev)
    }

    fn postclose(_dev: &PanthorDevice, file: Arc<PanthorFile>) {
        drop(file);
    }

    fn show_fdinfo(_dev: &PanthorDevice, _file: &PanthorDrmFile, _printer: &drm::Printer<'_>) {}

    fn mmap(
        _dev: &PanthorDevice,
        file: &PanthorDrmFile,
        req: &MmapRequest<'_>,
    ) -> Result<driver::MmapKind> {
        if req.offset() < file.driver().user_mmio_offset() {
            return Ok(driver::MmapKind::Gem);
        }

        Err(EINVAL)
    }

    fn io_page(_dev: &PanthorDevice, _offset: u64) -> Result<PhysAddr> {
        Err(ENODEV)
    }
}
