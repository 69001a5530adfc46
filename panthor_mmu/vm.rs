// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! VMs, as userspace has them.

#[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
use super::resident::Residency;
use super::{
    space::{self, Space, Tables, VmSpace},
    va_split,
};
use crate::{kernel_ext::drm::gpuvm::Keeper, panthor_gem::Bo, PanthorBound};
use kernel::{
    prelude::*,
    sync::{aref::ARef, Arc},
};

/// Whether a VM can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VmStatus {
    /// It can.
    Usable,
    /// An operation failed half-way, or the VM was destroyed.
    Unusable,
}

/// A VM.
#[pin_data]
pub(crate) struct Vm {
    space: Keeper<Space>,
    /// Where the kernel's part of the addresses begins.
    kernel_va_start: u64,
    /// Who keeps the VM in its hardware slot.
    #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
    #[pin]
    pub(super) residency: kernel::sync::Mutex<Residency>,
}

impl Vm {
    /// Makes a VM. `user_va_range` and errors as [`va_split::kernel_va_start`]; `ENOMEM`.
    pub(super) fn new(
        dev: &PanthorBound<'_>,
        user_va_range: u64,
        task_size: u64,
    ) -> Result<Arc<Self>> {
        let kernel_va_start =
            va_split::kernel_va_start(dev.info.va_bits(), user_va_range, task_size)?;
        Arc::pin_init(
            try_pin_init!(Self {
                space: Keeper::new(Space::create(dev)?),
                kernel_va_start,
                #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
                residency <- kernel::new_mutex!(Residency::OnDemand, "Vm::residency"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The address space.
    pub(crate) fn space(&self) -> &ARef<VmSpace> {
        &self.space
    }

    /// The first address that userspace cannot use.
    pub(crate) fn kernel_va_start(&self) -> u64 {
        self.kernel_va_start
    }

    /// Whether the VM can be used.
    pub(crate) fn status(&self) -> VmStatus {
        match self.space.lock().state() {
            Tables::Live(_) => VmStatus::Usable,
            Tables::Unusable(_) | Tables::Lost(_) | Tables::Gone => VmStatus::Unusable,
        }
    }

    /// Takes all mappings away and makes sure that there are no new ones. What else refers to the
    /// VM may go on to do so.
    pub(super) fn destroy(&self) {
        space::destroy(&self.space);
    }

    /// Adds references on the buffers that are mapped and for which `wanted` is true, some of them
    /// several times. `ENOMEM`.
    pub(crate) fn collect_mapped(
        &self,
        buffers: &mut KVVec<ARef<Bo>>,
        wanted: impl Fn(&Bo) -> bool,
    ) -> Result {
        loop {
            // Nothing is allocated under the operation lock: count, reserve, look again.
            let start = buffers.len();
            let mut missing = 0usize;
            self.space.lock().for_each_object(|bo| {
                if wanted(bo) && buffers.push_within_capacity(bo.into()).is_err() {
                    missing += 1;
                }
                true
            });
            if missing == 0 {
                return Ok(());
            }
            let found = buffers.len() - start;
            buffers.truncate(start);
            buffers.reserve(found + missing, GFP_KERNEL)?;
        }
    }

    /// Brings all memory of the VM back that was evicted, with its mappings: shared buffers as
    /// well. Stops at the first error but `EIO`: `ENOMEM`, `EINTR`, `ENODEV`. `EIO` says that some of
    /// it could not be read; all else is back. A VM that cannot be used any more needs no memory:
    /// that is not an error.
    pub(crate) fn restore(&self) -> Result {
        if self.status() == VmStatus::Unusable {
            return Ok(());
        }
        let result = self
            .restore_each()
            .and_then(|()| self.space.with_all_locked(|locked| locked.validate()));
        match result {
            // It may have been destroyed meanwhile.
            Err(_) if self.status() == VmStatus::Unusable => Ok(()),
            result => result,
        }
    }

    /// Brings evicted memory back with its mappings, one buffer after the other: whoever wants another
    /// one, which may be shared with him, does not wait. `EIO` ends it for one buffer only: the caller
    /// validates the VM, and hears of it there. `ENOMEM`, `EINTR`, `ENODEV`; `EINVAL` when the VM cannot be used any more.
    ///
    /// When memory is short, the shrinker may take some of it again meanwhile.
    fn restore_each(&self) -> Result {
        let mut evicted = KVVec::new();
        self.collect_mapped(&mut evicted, |bo| !bo.looks_resident())?;
        let result = evicted.iter().try_for_each(|bo| {
            if current!().signal_pending() {
                return Err(EINTR);
            }
            // It may be in the list several times, once for each mapping.
            if bo.looks_resident() || bo.is_abandoned() {
                return Ok(());
            }
            let locked = bo.lock_interruptible()?;
            match self.space.restore_object(&locked) {
                Err(e) if e != EIO => Err(e),
                _ => Ok(()),
            }
        });
        self.space.clean_up();
        result
    }

    /// Brings the VM into a hardware slot, with all its memory, for one more user. Returns the
    /// number of the slot. `EBUSY` when all slots are in use; others as [`Self::restore`].
    #[cfg_attr(not(CONFIG_DRM_PANTHOR_RS_TEST), expect(dead_code))] // Jobs will use it.
    pub(crate) fn activate(&self) -> Result<u32> {
        self.restore_each()?;
        self.space.with_all_locked(|locked| {
            locked.validate()?;
            let mut guard = self.space.lock();
            let config = self.space.config(guard.state())?;
            let slots = &self.space.dev().mmu.slots;
            slots.activate(&self.space.seat, &config)
        })
    }

    /// One user less; the last one leaves the VM in its slot, from where others may push it out.
    #[cfg_attr(not(CONFIG_DRM_PANTHOR_RS_TEST), expect(dead_code))] // Jobs will use it.
    pub(crate) fn deactivate(&self) {
        self.space.dev().mmu.slots.deactivate(&self.space.seat);
    }
}
