// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The driver's part of a buffer object.

use super::{creator::Creator, label::Label, offsets::Offset, reclaim_state, Bo};
use crate::{
    kernel_ext::{
        drm::{
            gem::{self, Busy, DmaBufOps, Locked, Resv},
            gpuvm::MappingsLocked,
        },
        mutex::lock_interruptible,
        swap, uapi,
    },
    panthor_file::PanthorFile,
    panthor_mmu::Space,
    PanthorDevice, PanthorDriver,
};
use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::{aref::ARef, atomic::Atomic, ArcBorrow, Mutex, MutexGuard, SetOnce},
};

/// Where a buffer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoKind {
    /// BO_CREATE, with its flags.
    User {
        /// `DRM_PANTHOR_BO_*`.
        flags: u32,
    },
    /// Made by the driver for itself.
    Kernel,
    /// Another driver's memory.
    Imported,
}

impl BoKind {
    /// Whether it is userspace that says how large it is.
    fn is_limited(self) -> bool {
        matches!(self, Self::User { .. })
    }
}

/// Whether a buffer of so many pages is larger than memory and swap.
fn can_never_be_resident(pages: usize) -> bool {
    // Most are small: do not look further.
    let memory = swap::ram_pages();
    pages > memory && pages > memory.saturating_add(swap::free_pages())
}

/// The right to swap a buffer out.
///
/// Two who do it at once take the pages from each other: each finds pages that it can neither free
/// nor call free. So the second one waits, and finds nothing left to do.
pub(crate) struct SwapTurn<'a> {
    bo: &'a Bo,
    _turn: MutexGuard<'a, ()>,
}

impl SwapTurn<'_> {
    /// See [`gem::Object::swap_out`].
    pub(crate) fn swap_out(&self, start: usize, end: usize) -> Result<usize> {
        self.bo.swap_out(start, end)
    }
}

/// The driver's part of a buffer object.
#[pin_data]
pub(crate) struct PanthorBo {
    kind: BoKind,
    /// Who made it.
    pub(super) creator: Creator,
    /// What userspace calls it.
    #[pin]
    pub(super) label: Mutex<Label>,
    /// Which file has asked for its offset, out of whose share it is.
    pub(super) offset: SetOnce<Offset>,
    /// The right to swap it out.
    #[pin]
    swap_turn: Mutex<()>,
    /// Whether one [`ObjectSet`] has it at a place that it remembers, as `handle_place`.
    ///
    /// [`ObjectSet`]: super::ObjectSet
    pub(super) is_placed: Atomic<bool>,
    /// Where it is there. Changed with the lock of that set held.
    pub(super) handle_place: Atomic<usize>,
}

impl PanthorBo {
    fn init(kind: BoKind) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            kind,
            creator: Creator::current(),
            label <- new_mutex!(Label::None, "PanthorBo::label"),
            offset: SetOnce::new(),
            swap_turn <- new_mutex!((), "PanthorBo::swap_turn"),
            is_placed: Atomic::new(false),
            handle_place: Atomic::new(0),
        }? Error)
    }

    /// Creates a buffer of at least `size` bytes; with `private_to` it can be mapped in that
    /// address space only. `EINVAL` for sizes that do not exist, `ENOMEM`.
    pub(crate) fn create(
        dev: &PanthorDevice,
        size: u64,
        kind: BoKind,
        private_to: Option<Resv<'_, PanthorDriver>>,
    ) -> Result<ARef<Bo>> {
        let size = usize::try_from(size)?
            .checked_next_multiple_of(PAGE_SIZE)
            .ok_or(EINVAL)?;
        if kind.is_limited() && can_never_be_resident(size / PAGE_SIZE) {
            return Err(ENOMEM);
        }
        Bo::new(dev, size, private_to, Self::init(kind))
    }

    /// Where it comes from.
    pub(crate) fn kind(&self) -> BoKind {
        self.kind
    }

    /// The flags of BO_CREATE.
    pub(crate) fn create_flags(&self) -> u32 {
        match self.kind {
            BoKind::User { flags } => flags,
            BoKind::Kernel => uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP,
            BoKind::Imported => 0,
        }
    }

    fn has_flag(&self, flag: uapi::drm_panthor_bo_flags) -> bool {
        self.create_flags() & flag != 0
    }

    /// Whether userspace asked for a buffer that the CPU never sees.
    pub(crate) fn is_no_mmap(&self) -> bool {
        self.has_flag(uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_NO_MMAP)
    }
}

static DMA_BUF_OPS: DmaBufOps<PanthorBo> = DmaBufOps::new();

impl Bo {
    /// Waits for the right to swap the buffer out. No other lock of it may be held. `EINTR`.
    pub(crate) fn take_swap_turn(&self) -> Result<SwapTurn<'_>> {
        Ok(SwapTurn {
            bo: self,
            _turn: lock_interruptible(&self.swap_turn)?,
        })
    }
}

impl gem::DriverObject for PanthorBo {
    type Driver = PanthorDriver;
    type Vm = Space;
    const DMA_BUF_OPS: &'static DmaBufOps<Self> = &DMA_BUF_OPS;

    fn for_import() -> impl PinInit<Self, Error> {
        Self::init(BoKind::Imported)
    }

    fn open(bo: ARef<Bo>, file: ArcBorrow<'_, PanthorFile>) -> Result {
        file.objects.insert(bo)
    }

    fn close(bo: &Bo, file: ArcBorrow<'_, PanthorFile>) {
        file.objects.remove(bo);
    }

    fn map_wc(bo: &Bo) -> bool {
        // A coherent GPU sees the caches: a write-combined mapping would miss what the kernel
        // zeroed through them.
        !bo.has_flag(uapi::drm_panthor_bo_flags_DRM_PANTHOR_BO_WB_MMAP) && !bo.dev().gem.coherent
    }

    fn may_mmap(bo: &Bo) -> Result {
        if bo.is_no_mmap() {
            return Err(EPERM);
        }
        Ok(())
    }

    fn may_export(bo: &Bo) -> Result {
        if bo.is_private() {
            return Err(EINVAL);
        }
        Ok(())
    }

    // Each fault and each VM_BIND comes here.
    #[inline(always)]
    fn state_changed(bo: &Locked<'_, Self>, mappings: &MappingsLocked<'_, Self>) {
        reclaim_state::update(bo, mappings);
    }

    fn try_evict(bo: &Locked<'_, Self>, busy: &mut Busy) -> bool {
        bo.try_evict_idle(busy)
    }
}
