// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Operations in two steps: what they need, and doing them.

use super::{
    super::{device::Enter, gem::stable_segments},
    prealloc::{Demand, Prealloc},
    vm::{GpuVm, Relation},
    DriverGpuVm, MapStep,
};
use crate::kernel_ext::bindings;
use kernel::{error::to_result, prelude::*};

/// A mapping to make.
pub(crate) struct MapRequest<T: DriverGpuVm> {
    /// First address.
    pub(crate) addr: u64,
    /// Number of bytes.
    pub(crate) range: u64,
    /// Where in the object the first byte is.
    pub(crate) offset: u64,
    /// The driver's data.
    pub(crate) mapping: T::Mapping,
    /// The object, related to the address space.
    pub(crate) relation: Relation<T>,
}

/// What an operation changes.
enum Change<T: DriverGpuVm> {
    Map(MapRequest<T>),
    Unmap { addr: u64, range: u64 },
}

/// An operation with all that it may need: the most memory that can be, and for a mapping the object,
/// pinned and related to the address space.
///
/// It need not be done by the thread that made it, nor soon: whatever other operations do meanwhile,
/// [`GpuVm::commit`] allocates nothing, takes no reservation lock, and does not fail for memory.
///
/// Dropping it frees what is left, and takes the reservation lock of the object: where neither is allowed, it
/// goes elsewhere before. The caller calls [`GpuVm::clean_up`] some time after that.
pub(crate) struct Prepared<T: DriverGpuVm> {
    prealloc: Prealloc<T>,
    change: Change<T>,
}

/// Looks at what the C side takes for granted: it would take an empty mapping for one that ends
/// before it begins, at address zero for one that covers everything.
fn check_range(addr: u64, range: u64) -> Result {
    match addr.checked_add(range) {
        Some(_) if range != 0 => Ok(()),
        _ => Err(EINVAL),
    }
}

impl<T: DriverGpuVm> MapRequest<T> {
    /// The translations to make.
    ///
    /// # Safety
    ///
    /// The device cannot be unplugged as long as it is used.
    unsafe fn step(&self) -> Result<MapStep<'_, T>> {
        Ok(MapStep {
            addr: self.addr,
            range: self.range,
            offset: T::offset(self.mapping, self.addr, self.offset),
            mapping: self.mapping,
            // SAFETY: The object is pinned, and the caller promises the rest.
            segments: unsafe { stable_segments(self.relation.pinned.object()) }.ok_or(ENODEV)?,
        })
    }
}

impl<T: DriverGpuVm> GpuVm<T> {
    /// Sees to all that it takes to make a mapping, in place of whatever is in its range. `EINVAL` for a
    /// range that is empty or has no end; `ENOMEM`, `EINTR`. Nothing is changed.
    ///
    /// `bound` is a section of the device of the address space.
    #[inline]
    pub(crate) fn prepare_map(
        &self,
        req: MapRequest<T>,
        bound: &Enter<'_, T::Driver>,
    ) -> Result<Prepared<T>> {
        check_range(req.addr, req.range)?;
        self.check_section(bound)?;
        let mut prealloc = self.take_spare();
        let demand = Demand {
            vas: 1,
            // SAFETY: The device is there.
            reserve: T::demand_of_map(&unsafe { req.step() }?)?,
        };
        prealloc.fill(demand.plus(Demand::TWO_CUTS))?;
        Ok(Prepared {
            prealloc,
            change: Change::Map(req),
        })
    }

    /// Sees to all that it takes to take all mappings out of a range. Errors as [`Self::prepare_map`].
    #[inline]
    pub(crate) fn prepare_unmap(&self, addr: u64, range: u64) -> Result<Prepared<T>> {
        check_range(addr, range)?;
        let mut prealloc = self.take_spare();
        prealloc.fill(Demand::TWO_CUTS)?;
        Ok(Prepared {
            prealloc,
            change: Change::Unmap { addr, range },
        })
    }

    /// What an operation before left, unless somebody holds the operation lock.
    fn take_spare(&self) -> Prealloc<T> {
        match self.owned.try_lock() {
            Some(mut owned) => core::mem::replace(&mut owned.spare, Prealloc::new()),
            None => Prealloc::new(),
        }
    }

    /// Does what was prepared, once. `EINVAL` for a mapping of an object that is related to another address
    /// space; errors of [`DriverGpuVm::may_map`] and [`DriverGpuVm::begin`] change nothing, one of
    /// [`DriverGpuVm::end`] says that the GPU may not know of the change.
    ///
    /// `bound` is a section of the device of the address space.
    #[inline]
    pub(crate) fn commit(
        &self,
        prepared: &mut Prepared<T>,
        bound: &Enter<'_, T::Driver>,
    ) -> Result {
        self.check_section(bound)?;
        let Prepared { prealloc, change } = prepared;
        match change {
            Change::Map(req) => self.commit_map(req, prealloc, bound),
            Change::Unmap { addr, range } => self.unmap_in(*addr, *range, prealloc, Some(bound)),
        }
    }

    #[inline]
    fn commit_map(
        &self,
        req: &MapRequest<T>,
        prealloc: &mut Prealloc<T>,
        bound: &Enter<'_, T::Driver>,
    ) -> Result {
        let vm_bo = &req.relation.vm_bo;
        // SAFETY: The entry is valid, as `vm_bo` holds a reference.
        let (vm, obj) = unsafe { ((*vm_bo.0.as_ptr()).vm, (*vm_bo.0.as_ptr()).obj) };
        if vm != self.as_raw() {
            return Err(EINVAL);
        }
        // SAFETY: The device is there.
        let step = unsafe { req.step() }?;
        let c_req = bindings::drm_gpuvm_map_req {
            map: bindings::drm_gpuva_op_map {
                va: bindings::drm_gpuva_op_map__bindgen_ty_1 {
                    addr: req.addr,
                    range: req.range,
                },
                gem: bindings::drm_gpuva_op_map__bindgen_ty_2 {
                    offset: req.offset,
                    obj,
                },
            },
        };
        self.run(
            (req.addr, req.range),
            Some((vm_bo, step)),
            Some(bound),
            prealloc,
            // SAFETY: The address space is valid, its operation lock is held, and `ctx` is what
            // the callbacks expect.
            |vm, ctx| to_result(unsafe { bindings::drm_gpuvm_sm_map(vm, ctx, &c_req) }),
        )
    }

    /// Takes all mappings out of a range; without a section, and with nothing in `prealloc`, for a range
    /// that cuts no mapping only: the memory for what would stay of it may be gone.
    pub(super) fn unmap_in(
        &self,
        addr: u64,
        range: u64,
        prealloc: &mut Prealloc<T>,
        bound: Option<&Enter<'_, T::Driver>>,
    ) -> Result {
        self.run((addr, range), None, bound, prealloc, |vm, ctx| {
            // SAFETY: As above.
            to_result(unsafe { bindings::drm_gpuvm_sm_unmap(vm, ctx, addr, range) })
        })
    }

    /// Whether a section is one of our device.
    fn check_section(&self, bound: &Enter<'_, T::Driver>) -> Result {
        if bound.as_raw() != self.dev().as_raw() {
            return Err(EINVAL);
        }
        Ok(())
    }
}
