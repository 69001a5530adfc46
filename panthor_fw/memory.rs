// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The memory of the microcontroller: the sections of the image at their addresses.

use super::{
    image::{Access, Image, ImageError, Section},
    layout::Shared,
};
use crate::{
    kernel_ext::drm::gem::{KernelMapping, Pinned},
    panthor_gem::{BoKind, PanthorBo},
    panthor_mmu::{prot::MapFlags, McuVm},
    PanthorBound,
};
use kernel::{device, firmware::Firmware, prelude::*};

/// A section that has its memory, which stays where it is.
struct Loaded {
    pinned: Pinned<PanthorBo>,
}

/// The section with the interfaces, which the driver sees as well.
pub(super) struct SharedSection(KernelMapping<PanthorBo>);

impl SharedSection {
    /// Writes the word at an offset that is in the section. `EINVAL` for another.
    pub(super) fn write(&self, offset: u32, value: u32) -> Result {
        // CAST: Widened.
        self.0.write32(offset as usize, value)
    }
}

impl Shared for SharedSection {
    fn size(&self) -> u32 {
        u32::try_from(self.0.size()).unwrap_or(u32::MAX)
    }

    fn word(&self, offset: u32) -> u32 {
        // CAST: Widened.
        self.0.read32(offset as usize).unwrap_or(0)
    }
}

/// The memory of the microcontroller.
///
/// Fields are dropped in order.
pub(super) struct Memory {
    shared: SharedSection,
    vm: McuVm,
    _sections: KVec<Loaded>,
}

impl Memory {
    /// Makes memory for all sections of an image, and loads them. `EINVAL` for an image that cannot be
    /// used, `ENOMEM`.
    pub(super) fn new(bound: &PanthorBound<'_>, firmware: &Firmware) -> Result<Self> {
        let dev = bound.parent();
        let image = parse(dev, firmware)?;
        if let Some(sha) = image.git_sha() {
            dev_info!(dev, "Firmware git sha: {}\n", sha);
        }
        let vm = McuVm::new(bound)?;
        let mut sections = KVec::new();
        let mut shared = None;
        for section in image.sections() {
            if section.protected {
                dev_info!(dev, "Firmware: the protected mode is not used\n");
                continue;
            }
            let loaded = Loaded::new(bound, &vm, &section)?;
            let mapping = loaded.load(&section)?;
            if section.is_interface() {
                shared = Some(mapping);
            }
            sections.push(loaded, GFP_KERNEL)?;
        }
        // The image has one, or it would not have been taken.
        let shared = SharedSection(shared.ok_or(EINVAL)?);
        Ok(Self {
            shared,
            vm,
            _sections: sections,
        })
    }

    /// The section with the interfaces.
    pub(super) fn shared(&self) -> &SharedSection {
        &self.shared
    }

    /// The address space.
    pub(super) fn vm(&self) -> &McuVm {
        &self.vm
    }
}

/// Looks at an image, and says what is wrong with it.
fn parse<'a>(dev: &device::Device, firmware: &'a Firmware) -> Result<Image<'a>> {
    Image::parse(firmware.data()).map_err(|err: ImageError| {
        let (what, at) = err.describe();
        dev_err!(dev, "Bad firmware image: {} (offset {:#x})\n", what, at);
        EINVAL
    })
}

/// How a section is mapped.
fn flags(access: Access) -> MapFlags {
    let mut flags = MapFlags::ALL_CACHED;
    if !access.write {
        flags = flags.readonly();
    }
    if !access.execute {
        flags = flags.noexec();
    }
    if !access.cached {
        flags = flags.uncached();
    }
    flags
}

impl Loaded {
    /// Memory for a section, at its addresses.
    fn new(bound: &PanthorBound<'_>, vm: &McuVm, section: &Section<'_>) -> Result<Self> {
        let size = u64::from(section.size());
        let bo = PanthorBo::create(bound, size, BoKind::Kernel, Some(vm.resv()))?;
        let pinned = Pinned::new_in(bo, bound)?;
        let flags = flags(section.access);
        vm.map(bound, &pinned, section.start.into(), size, flags)?;
        Ok(Self { pinned })
    }

    /// Fills it.
    fn load(&self, section: &Section<'_>) -> Result<KernelMapping<PanthorBo>> {
        let mapping = KernelMapping::new(self.pinned.object().clone())?;
        mapping.write(0, section.data)?;
        if section.zero {
            let from = section.data.len();
            mapping.zero(from, mapping.size().saturating_sub(from))?;
        }
        Ok(mapping)
    }
}
