// SPDX-License-Identifier: GPL-2.0 OR MIT

//! GPU address spaces whose buffer objects can be evicted.
//!
//! `rust/kernel` has the immediate mode of `drm_gpuvm` without eviction. This is the immediate
//! mode with it: a mapping knows whether its translations are there, [`Locked::evict`] takes them
//! away together with the pages, and [`GpuVm::restore_object`] brings them back, as
//! [`VmLocked::validate`] does for all objects of an address space.
//!
//! # Locks
//!
//! Each address space has an *operation lock*, which owns the driver's page tables
//! ([`DriverGpuVm::State`]) and serialises all changes. It is taken inside reservation locks, and
//! the lock of an object's list of mappings is taken inside it. The shrinker takes it, without
//! waiting: nothing may be allocated under it. What an operation needs is set aside in a
//! `Prealloc`: how much that is can be seen under the lock only, so it is given up again for that,
//! if there is not enough.
//!
//! [`Locked::evict`]: super::gem::Locked::evict
//!
//! C header: [`include/drm/drm_gpuvm.h`](srctree/include/drm/drm_gpuvm.h)

mod evict;
mod mappings;
mod ops;
mod prealloc;
mod release;
mod show;
mod vm;

use super::{device::Device, driver::Driver, gem::Segments};
use kernel::{prelude::*, sync::aref::ARef};

pub(crate) use self::{
    evict::EvictError,
    mappings::{with_mappings, GpuMappings, MappingsGuard, MappingsLocked},
    ops::MapRequest,
    show::ShownVa,
    vm::{GpuVm, Keeper},
};

#[cfg(doc)]
pub(crate) use self::vm::VmLocked;

/// What an address space needs to know from its driver.
pub(crate) trait DriverGpuVm: Sized + Send + Sync + 'static {
    /// The driver it belongs to.
    type Driver: Driver;

    /// What the operation lock owns: the page tables.
    type State: Send + Unpin;

    /// What the driver keeps for each mapping; a mapping that is cut in two passes it on.
    type Mapping: Copy + Send + Sync;

    /// Memory set aside for operations.
    type Reserve: Reserve;

    /// Whatever the device has of an address space is released here: the last reference on it is
    /// gone, or the device is off. The operation lock is held, which `state` is under.
    ///
    /// An address space that is returned loses all its mappings after that: one that could not when
    /// it was destroyed, because the hardware did not let go of it, and that was kept by its own
    /// state since then.
    fn release(
        &self,
        dev: &Device<Self::Driver>,
        state: &mut Self::State,
    ) -> Option<ARef<GpuVm<Self>>>;

    /// The offset in the object of an address in a mapping; for mappings that repeat a part of
    /// their object. `linear` is what it is for all others.
    fn offset(_mapping: Self::Mapping, _addr: u64, linear: u64) -> u64 {
        linear
    }

    /// How much must be in the reserve for [`Self::map`]; it need not be exact when there is enough.
    /// An error when there may be no new mappings.
    fn demand_of_map(
        state: &mut Self::State,
        step: &MapStep<'_, Self>,
        reserve: &Self::Reserve,
    ) -> Result<usize>;

    /// How much must be in the reserve, in addition, for a [`Self::remap`] that cuts a mapping at
    /// an address: 0 or 1.
    fn demand_of_cut(state: &mut Self::State, addr: u64) -> usize;

    /// The translations of a range are going to change: the GPU must not use them until
    /// [`Self::end`]. An error means that it may: nothing is changed.
    fn begin(op: &mut Op<'_, Self>, addr: u64, range: u64) -> Result;

    /// The change is complete: the GPU must use the new translations from now on.
    ///
    /// An error means that the GPU may still use the old ones: memory behind them must stay. That
    /// of mappings that were removed does so until an operation on the address space succeeds,
    /// which must not be before the GPU is off.
    fn end(op: &mut Op<'_, Self>) -> Result;

    /// Makes translations for a new mapping, or one whose memory is back. After an error none
    /// are left.
    fn map(op: &mut Op<'_, Self>, step: &MapStep<'_, Self>) -> Result;

    /// Takes the translations of a whole mapping away.
    fn unmap(op: &mut Op<'_, Self>, addr: u64, range: u64);

    /// Takes translations away from the middle or an end of a mapping.
    fn remap(op: &mut Op<'_, Self>, step: &RemapStep<'_, Self>) -> Result;
}

/// Memory set aside for operations. What an operation does not need any more may come back into it.
pub(crate) trait Reserve: Default + Send + Unpin {
    /// How much there is.
    fn len(&self) -> usize;

    /// Sees to it that there is at least `len`. `ENOMEM`, `EINTR`.
    fn fill(&mut self, len: usize) -> Result;

    /// Frees what is not worth to be kept for later operations.
    fn trim(&mut self);
}

/// An operation on the translations of an address space, its lock held.
pub(crate) struct Op<'a, T: DriverGpuVm> {
    /// The address space.
    pub(crate) vm: &'a GpuVm<T>,
    /// What the lock owns.
    pub(crate) state: &'a mut T::State,
    /// Memory set aside for the operation.
    pub(crate) reserve: &'a mut T::Reserve,
}

/// Translations to make.
pub(crate) struct MapStep<'a, T: DriverGpuVm> {
    /// First address.
    pub(crate) addr: u64,
    /// Number of bytes.
    pub(crate) range: u64,
    /// Where in the object the first byte is.
    pub(crate) offset: u64,
    /// The driver's data of the mapping.
    pub(crate) mapping: T::Mapping,
    /// The object's memory.
    pub(crate) segments: Segments<'a>,
}

/// A part of a mapping that stays.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// First address.
    pub(crate) addr: u64,
    /// Number of bytes.
    pub(crate) range: u64,
    /// Where in the object the first byte is.
    pub(crate) offset: u64,
}

/// Translations to take away from a mapping of which something stays.
pub(crate) struct RemapStep<'a, T: DriverGpuVm> {
    /// First address to take away.
    pub(crate) addr: u64,
    /// Number of bytes.
    pub(crate) range: u64,
    /// What stays below.
    pub(crate) prev: Option<Part>,
    /// What stays above.
    pub(crate) next: Option<Part>,
    /// The driver's data of the mapping.
    pub(crate) mapping: T::Mapping,
    /// The object's memory.
    pub(crate) segments: Segments<'a>,
}
