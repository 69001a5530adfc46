// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM driver for Arm Mali GPUs with a command stream frontend.
//!
//! This is the crate root: the DRM driver and its table of ioctls. It holds no unsafe code, but
//! cannot forbid it, as that would cover `kernel_ext` as well.

mod kernel_ext;
mod panthor_device;
mod panthor_file;
mod panthor_fw;
mod panthor_gem;
mod panthor_gpu;
mod panthor_heap;
mod panthor_irq;
mod panthor_mmu;
mod panthor_power;
mod panthor_query;
mod panthor_reclaim;
mod panthor_regs;
mod panthor_sched;
mod panthor_sysfs;
mod panthor_uapi;

use crate::{
    kernel_ext::{
        drm::{self, debugfs, driver, ioctl},
        mm_vma::{IoPage, MmapRequest},
    },
    panthor_device::{PanthorData, PanthorPlatformDriver},
    panthor_file::PanthorFile,
    panthor_gem::PanthorBo,
};
use kernel::{prelude::*, sync::Arc};

kernel::module_platform_driver! {
    type: PanthorPlatformDriver,
    name: "panthor",
    authors: ["panthor in Rust developers"],
    description: "DRM driver for Arm Mali CSF GPUs",
    license: "Dual MIT/GPL",
    firmware: [
        "arm/mali/arch10.8/mali_csffw.bin",
        "arm/mali/arch10.10/mali_csffw.bin",
        "arm/mali/arch10.12/mali_csffw.bin",
        "arm/mali/arch11.8/mali_csffw.bin",
        "arm/mali/arch12.8/mali_csffw.bin",
        "arm/mali/arch13.8/mali_csffw.bin",
    ],
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

/// The same, in a section in which it is not unplugged.
pub(crate) type PanthorBound<'a> = drm::Enter<'a, PanthorDriver>;

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

    const IOCTLS: &'static [ioctl::Entry<Self>] = ioctl::table! {
        PanthorDriver, drm_panthor_ioctl_id_DRM_:
        (PANTHOR_DEV_QUERY, drm_panthor_dev_query, panthor_query::dev_query),
        (PANTHOR_VM_CREATE, drm_panthor_vm_create, panthor_mmu::ioctl::vm_create),
        (PANTHOR_VM_DESTROY, drm_panthor_vm_destroy, panthor_mmu::ioctl::vm_destroy),
        (PANTHOR_VM_BIND, drm_panthor_vm_bind, panthor_mmu::ioctl::vm_bind),
        (PANTHOR_VM_GET_STATE, drm_panthor_vm_get_state, panthor_mmu::ioctl::vm_get_state),
        (PANTHOR_BO_CREATE, drm_panthor_bo_create, panthor_gem::ioctl::bo_create),
        (PANTHOR_BO_MMAP_OFFSET, drm_panthor_bo_mmap_offset, panthor_gem::ioctl::bo_mmap_offset),
        (PANTHOR_GROUP_CREATE, drm_panthor_group_create, panthor_sched::group_create),
        (PANTHOR_GROUP_DESTROY, drm_panthor_group_destroy, panthor_sched::group_destroy),
        (PANTHOR_GROUP_SUBMIT, drm_panthor_group_submit, panthor_sched::group_submit),
        (PANTHOR_GROUP_GET_STATE, drm_panthor_group_get_state, panthor_sched::group_get_state),
        (PANTHOR_TILER_HEAP_CREATE, drm_panthor_tiler_heap_create, panthor_heap::tiler_heap_create),
        (
            PANTHOR_TILER_HEAP_DESTROY,
            drm_panthor_tiler_heap_destroy,
            panthor_heap::tiler_heap_destroy
        ),
        (PANTHOR_BO_SET_LABEL, drm_panthor_bo_set_label, panthor_gem::ioctl::bo_set_label),
        (
            PANTHOR_SET_USER_MMIO_OFFSET,
            drm_panthor_set_user_mmio_offset,
            panthor_file::set_user_mmio_offset
        ),
        (PANTHOR_BO_SYNC, drm_panthor_bo_sync, panthor_gem::ioctl::bo_sync),
        (PANTHOR_BO_QUERY_INFO, drm_panthor_bo_query_info, panthor_gem::ioctl::bo_query_info),
    };

    const DEBUGFS_FILES: &'static [debugfs::File<Self>] = &[
        debugfs::File {
            name: c"gems",
            mode: 0o444,
            show: debugfs::Show::Rows(panthor_gem::gems),
            write: None,
        },
        debugfs::File {
            name: c"gpuvas",
            mode: 0o444,
            show: debugfs::Show::Rows(panthor_mmu::gpuvas),
            write: None,
        },
        debugfs::File {
            name: c"shrink",
            mode: 0o600,
            show: debugfs::Show::Once(panthor_gem::show_shrink),
            write: Some(panthor_gem::set_shrink),
        },
        #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
        debugfs::File {
            name: c"bo_busy",
            mode: 0o200,
            show: debugfs::Show::Once(|_, _| Ok(())),
            write: Some(panthor_gem::set_busy),
        },
        #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
        debugfs::File {
            name: c"vm_resident",
            mode: 0o600,
            show: debugfs::Show::Once(panthor_mmu::show_resident),
            write: Some(panthor_mmu::set_resident),
        },
    ];

    fn power_off(dev: &PanthorDevice) {
        dev.switch_off();
    }

    fn open(_dev: &PanthorDevice) -> Result<Arc<PanthorFile>> {
        PanthorFile::new()
    }

    fn postclose(_dev: &PanthorDevice, file: Arc<PanthorFile>) {
        // Whoever works for the process at this moment keeps the rest of the file alive.
        file.vms.destroy_all();
    }

    fn show_fdinfo(dev: &PanthorDevice, file: &PanthorDrmFile, printer: &drm::Printer<'_>) {
        panthor_file::show_fdinfo(dev, file, printer);
    }

    fn mmap(
        _dev: &PanthorDevice,
        file: &PanthorDrmFile,
        req: &MmapRequest<'_>,
    ) -> Result<driver::MmapKind> {
        match req.offset().checked_sub(file.driver().user_mmio_offset()) {
            None => Ok(driver::MmapKind::Gem),
            Some(offset) => panthor_file::check_user_mmio(offset, req),
        }
    }

    fn io_page(dev: &PanthorDevice, _offset: u64) -> Result<IoPage> {
        // There is one page only.
        Ok(dev.regs.flush_id_page())
    }
}

#[cfg(CONFIG_KUNIT = "y")]
#[path = "tests/kunit/mod.rs"]
mod kunit;
